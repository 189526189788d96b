//! Typed tables. The appender takes no lists, so rows are staged with lists as text and unpacked by SQL.

use duckdb::types::Value;
use duckdb::{Appender, Connection, appender_params_from_iter};

use super::{finish, run, temp_appender, wrote};
use crate::ImporterError;
use crate::tables::ident;
use baft_dataset::dataset::{ColumnType, Dataset};
use baft_dataset::rows::{EntityRow, SectionRow, TypedValue};

/// Before every element of a list, every field of a record, and in place of a field that is absent. YAML text can hold
/// these characters only through escapes that nobody writes; they become blanks.
const ELEMENT: char = '\u{1f}';
const ABSENT: char = '\u{1e}';
const RECORD: char = '\u{1d}';

/// Rows on their way into one typed table.
pub(super) struct Stage<'c> {
    connection: &'c Connection,
    insert: String,
    appender: Appender<'c>,
}

impl<'c> Stage<'c> {
    pub(super) fn open(connection: &'c Connection, dataset: &Dataset) -> Result<Self, ImporterError> {
        let name = format!("stage_{}", dataset.id.as_str());
        let columns =
            dataset.columns.iter().enumerate().map(|(n, column)| format!("c{n} {}", staged_type(&column.column_type)));
        let columns = columns.collect::<Vec<_>>().join(", ");
        let sql = format!("CREATE OR REPLACE TEMP TABLE {} (id VARCHAR, {columns}, extra VARCHAR)", ident(&name));
        run(connection, "making a staging table", &sql)?;
        let values = dataset.columns.iter().enumerate().map(|(n, column)| unpack(n, &column.column_type));
        let values = values.collect::<Vec<_>>().join(", ");
        let insert =
            format!("INSERT INTO {} SELECT id, {values}, extra FROM temp.{}", ident(dataset.id.as_str()), ident(&name));
        Ok(Self { connection, insert, appender: temp_appender(connection, &name)? })
    }

    pub(super) fn add(&mut self, row: &EntityRow) -> Result<(), ImporterError> {
        let id = std::iter::once(Value::Text(row.id.clone()));
        let extra = row.extra.clone().map_or(Value::Null, Value::Text);
        let values = id.chain(row.typed.iter().map(pack)).chain(std::iter::once(extra));
        self.appender.append_row(appender_params_from_iter(values)).map_err(wrote)
    }

    pub(super) fn finish(self) -> Result<(), ImporterError> {
        finish(self.appender)?;
        run(self.connection, "filling a typed table", &self.insert)
    }
}

/// Sections on their way into their table.
pub(super) struct SectionStage<'c> {
    connection: &'c Connection,
    appender: Appender<'c>,
}

impl<'c> SectionStage<'c> {
    pub(super) fn open(connection: &'c Connection) -> Result<Self, ImporterError> {
        let sql = "CREATE OR REPLACE TEMP TABLE stage_sections AS SELECT * REPLACE (''::VARCHAR AS tags) FROM sections LIMIT 0";
        run(connection, "making a staging table", sql)?;
        Ok(Self { connection, appender: temp_appender(connection, "stage_sections")? })
    }

    pub(super) fn add(&mut self, section: &SectionRow, path: &str, key: &str, docid: i32) -> Result<(), ImporterError> {
        let level = section.level.and_then(|level| i32::try_from(level).ok());
        self.appender
            .append_row(duckdb::params![
                section.doc_kind,
                section.doc_id,
                section.pointer,
                section.section_id,
                section.parent_pointer,
                section.ord,
                section.depth,
                level,
                section.title,
                pack_list(&section.tags),
                section.content,
                path,
                section.line_start,
                key,
                docid,
            ])
            .map_err(wrote)
    }

    pub(super) fn finish(self) -> Result<(), ImporterError> {
        finish(self.appender)?;
        let sql =
            format!("INSERT INTO sections SELECT * REPLACE ({} AS tags) FROM temp.stage_sections", unpack_list("tags"));
        run(self.connection, "filling the sections", &sql)
    }
}

fn staged_type(column: &ColumnType) -> &'static str {
    match column {
        ColumnType::Integer => "BIGINT",
        ColumnType::Number | ColumnType::PercentLow | ColumnType::PercentHigh => "DOUBLE",
        ColumnType::Boolean => "BOOLEAN",
        _ => "VARCHAR",
    }
}

fn clean(text: &str) -> String {
    text.replace([ELEMENT, ABSENT, RECORD], " ")
}

fn pack_list(elements: &[String]) -> String {
    elements.iter().flat_map(|element| [ELEMENT.to_string(), clean(element)]).collect()
}

fn pack(value: &TypedValue) -> Value {
    match value {
        TypedValue::Null => Value::Null,
        TypedValue::Text(text) | TypedValue::Date(text) | TypedValue::Json(text) => Value::Text(text.clone()),
        TypedValue::Integer(number) => Value::BigInt(*number),
        TypedValue::Number(number) => Value::Double(*number),
        TypedValue::Boolean(truth) => Value::Boolean(*truth),
        TypedValue::TextList(elements) => Value::Text(pack_list(elements)),
        TypedValue::Records(records) => {
            let mut text = String::new();
            for record in records {
                text.push(RECORD);
                for field in record {
                    text.push(ELEMENT);
                    match field {
                        Some(field) => text.push_str(&clean(field)),
                        None => text.push(ABSENT),
                    }
                }
            }
            Value::Text(text)
        }
    }
}

fn unpack_list(column: &str) -> String {
    format!(
        "CASE WHEN {column} = '' THEN [] WHEN {column} IS NOT NULL THEN string_split(substr({column}, 2), chr(31)) END"
    )
}

fn unpack(n: usize, column: &ColumnType) -> String {
    let name = format!("c{n}");
    match column {
        ColumnType::Date => format!("CAST({name} AS DATE)"),
        ColumnType::TextList => unpack_list(&name),
        ColumnType::Records(fields) => {
            // Part 1 is what stands before the first field: nothing.
            let fields = fields
                .iter()
                .enumerate()
                .map(|(n, field)| format!("{}: nullif(string_split(r, chr(31))[{}], chr(30))", ident(field), n + 2));
            let fields = fields.collect::<Vec<_>>().join(", ");
            format!(
                "CASE WHEN {name} = '' THEN [] WHEN {name} IS NOT NULL \
                 THEN list_transform(string_split(substr({name}, 2), chr(29)), lambda r: {{{fields}}}) END"
            )
        }
        _ => name,
    }
}
