//! Typed tables, and the table of sections.

use chrono::NaiveDate;
use duckdb::Connection;
use duckdb::arrow::array::{BooleanBuilder, Date32Builder, Float64Builder, Int64Builder};

use super::columns::{Cell, Column, Rows};
use crate::ImporterError;
use baft_dataset::dataset::{ColumnType, Dataset};
use baft_dataset::rows::{EntityRow, SectionRow, TypedValue};

/// Rows on their way into one typed table.
pub(super) struct TypedRows<'c>(Rows<'c>);

impl<'c> TypedRows<'c> {
    pub(super) fn open(connection: &'c Connection, dataset: &Dataset) -> Result<Self, ImporterError> {
        let columns = dataset.columns.iter().map(|declared| column(&declared.column_type));
        let columns = std::iter::once(Column::text()).chain(columns).chain(std::iter::once(Column::text()));
        Ok(Self(Rows::open(connection, dataset.id.as_str(), columns.collect())?))
    }

    pub(super) fn add(&mut self, row: &EntityRow) -> Result<(), ImporterError> {
        let id = std::iter::once(Cell::Text(&row.id));
        self.0.add(id.chain(row.typed.iter().map(cell)).chain(std::iter::once(row.extra.as_deref().into())))
    }

    pub(super) fn finish(self) -> Result<(), ImporterError> {
        self.0.finish()
    }
}

/// Sections on their way into their table.
pub(super) struct SectionRows<'c>(Rows<'c>);

impl<'c> SectionRows<'c> {
    pub(super) fn open(connection: &'c Connection) -> Result<Self, ImporterError> {
        let text = Column::text;
        let columns = vec![
            text(),          // doc_kind
            text(),          // doc_id
            text(),          // pointer
            text(),          // section_id
            text(),          // parent_pointer
            Column::small(), // ord
            Column::small(), // depth
            Column::small(), // level
            text(),          // title
            Column::list(),  // tags
            text(),          // content
            text(),          // source_path
            Column::small(), // line_start
            text(),          // key
            Column::small(), // docid
        ];
        Ok(Self(Rows::open(connection, "sections", columns)?))
    }

    pub(super) fn add(&mut self, section: &SectionRow, path: &str, key: &str, docid: i32) -> Result<(), ImporterError> {
        let level = section.level.and_then(|level| i32::try_from(level).ok());
        self.0.add([
            Cell::Text(&section.doc_kind),
            Cell::Text(&section.doc_id),
            Cell::Text(&section.pointer),
            Cell::Text(&section.section_id),
            section.parent_pointer.as_deref().into(),
            Cell::count(section.ord),
            Cell::count(section.depth),
            level.map_or(Cell::Null, Cell::Small),
            Cell::Text(&section.title),
            Cell::List(&section.tags),
            Cell::Text(&section.content),
            Cell::Text(path),
            Cell::count(section.line_start),
            Cell::Text(key),
            Cell::Small(docid),
        ])
    }

    pub(super) fn finish(self) -> Result<(), ImporterError> {
        self.0.finish()
    }
}

fn column(declared: &ColumnType) -> Column {
    match declared {
        ColumnType::Text | ColumnType::Json => Column::text(),
        ColumnType::Integer => Column::Integer(Int64Builder::new()),
        ColumnType::Number | ColumnType::PercentLow | ColumnType::PercentHigh => Column::Number(Float64Builder::new()),
        ColumnType::Boolean => Column::Boolean(BooleanBuilder::new()),
        ColumnType::Date => Column::Date(Date32Builder::new()),
        ColumnType::TextList => Column::list(),
        ColumnType::Records(fields) => Column::records(fields),
    }
}

fn cell(value: &TypedValue) -> Cell<'_> {
    match value {
        TypedValue::Null => Cell::Null,
        TypedValue::Text(text) | TypedValue::Json(text) => Cell::Text(text),
        TypedValue::Integer(number) => Cell::Integer(*number),
        TypedValue::Number(number) => Cell::Number(*number),
        TypedValue::Boolean(truth) => Cell::Boolean(*truth),
        TypedValue::Date(text) => day(text).map_or(Cell::Null, Cell::Date),
        TypedValue::TextList(elements) => Cell::List(elements),
        TypedValue::Records(records) => Cell::Records(records),
    }
}

/// The day of a calendar date, which is how YAML and the importer write dates: `YYYY-MM-DD`.
fn day(date: &str) -> Option<i32> {
    let date = NaiveDate::parse_from_str(date, "%Y-%m-%d").ok()?;
    i32::try_from(date.signed_duration_since(NaiveDate::default()).num_days()).ok()
}
