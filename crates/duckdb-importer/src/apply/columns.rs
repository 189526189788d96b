//! Rows gathered as columns: so the appender takes lists and records too, and many rows at once.

use std::sync::Arc;

use duckdb::arrow::array::{
    ArrayRef, BooleanBuilder, Date32Builder, Float64Builder, Int32Builder, Int64Builder, ListBuilder, StringBuilder,
    StructBuilder, TimestampMicrosecondBuilder,
};
use duckdb::arrow::datatypes::{DataType, Field};
use duckdb::arrow::record_batch::RecordBatch;
use duckdb::{Appender, Connection};

use super::{Micros, appender, finish, wrote};
use crate::ImporterError;

/// So many rows are gathered before they are handed over: what DuckDB takes at once.
const BATCH: usize = 2048;

/// What one column of one row holds.
#[derive(Debug, Clone, Copy)]
pub(super) enum Cell<'a> {
    Null,
    Text(&'a str),
    Small(i32),
    Integer(i64),
    Number(f64),
    Boolean(bool),
    /// Days since 1970.
    Date(i32),
    Time(Micros),
    List(&'a [String]),
    /// One inner list per record, one text per field.
    Records(&'a [Vec<Option<String>>]),
}

impl Cell<'_> {
    /// A count, which is never near the limit.
    pub(super) fn count(number: u32) -> Self {
        Cell::Small(i32::try_from(number).unwrap_or(i32::MAX))
    }
}

impl<'a> From<Option<&'a str>> for Cell<'a> {
    fn from(text: Option<&'a str>) -> Self {
        text.map_or(Cell::Null, Cell::Text)
    }
}

/// A column that is being filled.
#[derive(Debug)]
pub(super) enum Column {
    Text(StringBuilder),
    Small(Int32Builder),
    Integer(Int64Builder),
    Number(Float64Builder),
    Boolean(BooleanBuilder),
    Date(Date32Builder),
    Time(TimestampMicrosecondBuilder),
    List(ListBuilder<StringBuilder>),
    Records(ListBuilder<StructBuilder>, usize),
}

impl Column {
    /// A column of text.
    pub(super) fn text() -> Self {
        Self::Text(StringBuilder::new())
    }

    /// A column of whole numbers of 32 bits.
    pub(super) fn small() -> Self {
        Self::Small(Int32Builder::new())
    }

    /// A column of whole numbers of 64 bits.
    pub(super) fn integer() -> Self {
        Self::Integer(Int64Builder::new())
    }

    /// A column of moments.
    pub(super) fn time() -> Self {
        Self::Time(TimestampMicrosecondBuilder::new())
    }

    /// A column of lists of text.
    pub(super) fn list() -> Self {
        Self::List(ListBuilder::new(StringBuilder::new()))
    }

    /// A column of lists of records with these fields of text.
    pub(super) fn records(fields: &[String]) -> Self {
        let fields: Vec<_> = fields.iter().map(|name| Field::new(name, DataType::Utf8, true)).collect();
        let count = fields.len();
        Self::Records(ListBuilder::new(StructBuilder::from_fields(fields, 0)), count)
    }

    /// Adds the value of one more row; one of another kind than the column is null.
    fn push(&mut self, cell: Cell<'_>) {
        match (self, cell) {
            (Self::Text(column), Cell::Text(text)) => column.append_value(text),
            (Self::Text(column), _) => column.append_null(),
            (Self::Small(column), Cell::Small(number)) => column.append_value(number),
            (Self::Small(column), _) => column.append_null(),
            (Self::Integer(column), Cell::Integer(number)) => column.append_value(number),
            (Self::Integer(column), _) => column.append_null(),
            (Self::Number(column), Cell::Number(number)) => column.append_value(number),
            (Self::Number(column), _) => column.append_null(),
            (Self::Boolean(column), Cell::Boolean(truth)) => column.append_value(truth),
            (Self::Boolean(column), _) => column.append_null(),
            (Self::Date(column), Cell::Date(day)) => column.append_value(day),
            (Self::Date(column), _) => column.append_null(),
            (Self::Time(column), Cell::Time(time)) => column.append_value(time.0),
            (Self::Time(column), _) => column.append_null(),
            (Self::List(column), Cell::List(elements)) => column.append_value(elements.iter().map(Some)),
            (Self::List(column), _) => column.append_null(),
            (Self::Records(column, fields), Cell::Records(records)) => {
                for record in records {
                    let one = column.values();
                    for field in 0..*fields {
                        let text = record.get(field).and_then(Option::as_deref);
                        if let Some(column) = one.field_builder::<StringBuilder>(field) {
                            column.append_option(text);
                        }
                    }
                    one.append(true);
                }
                column.append(true);
            }
            (Self::Records(column, _), _) => column.append_null(),
        }
    }

    fn take(&mut self) -> ArrayRef {
        match self {
            Self::Text(column) => Arc::new(column.finish()),
            Self::Small(column) => Arc::new(column.finish()),
            Self::Integer(column) => Arc::new(column.finish()),
            Self::Number(column) => Arc::new(column.finish()),
            Self::Boolean(column) => Arc::new(column.finish()),
            Self::Date(column) => Arc::new(column.finish()),
            Self::Time(column) => Arc::new(column.finish()),
            Self::List(column) => Arc::new(column.finish()),
            Self::Records(column, _) => Arc::new(column.finish()),
        }
    }
}

/// Rows on their way into one table.
pub(super) struct Rows<'c> {
    appender: Appender<'c>,
    columns: Vec<Column>,
    waiting: usize,
}

impl<'c> Rows<'c> {
    /// For a table of the file in use, which has these columns.
    pub(super) fn open(connection: &'c Connection, table: &str, columns: Vec<Column>) -> Result<Self, ImporterError> {
        Ok(Self { appender: appender(connection, table)?, columns, waiting: 0 })
    }

    /// Adds a row, one cell for each column.
    pub(super) fn add<'a>(&mut self, cells: impl IntoIterator<Item = Cell<'a>>) -> Result<(), ImporterError> {
        let mut cells = cells.into_iter();
        for column in &mut self.columns {
            column.push(cells.next().unwrap_or(Cell::Null));
        }
        self.waiting += 1;
        if self.waiting >= BATCH { self.hand_over() } else { Ok(()) }
    }

    /// Writes out what is left.
    pub(super) fn finish(mut self) -> Result<(), ImporterError> {
        self.hand_over()?;
        finish(self.appender)
    }

    fn hand_over(&mut self) -> Result<(), ImporterError> {
        if std::mem::take(&mut self.waiting) == 0 {
            return Ok(());
        }
        let columns = self.columns.iter_mut().enumerate().map(|(n, column)| (n.to_string(), column.take()));
        append_batch(&mut self.appender, RecordBatch::try_from_iter(columns.collect::<Vec<_>>()))
    }
}

/// Hands a batch of rows to an appender.
pub(super) fn append_batch(
    appender: &mut Appender<'_>,
    batch: Result<RecordBatch, duckdb::arrow::error::ArrowError>,
) -> Result<(), ImporterError> {
    let batch = batch.map_err(|error| wrote(duckdb::Error::ToSqlConversionFailure(Box::new(error))))?;
    appender.append_record_batch(batch).map_err(wrote)
}
