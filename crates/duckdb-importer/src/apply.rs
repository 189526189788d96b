//! Writing rows: all of them into a new database ([`Builder`]), or what changed into a copy of the last one ([`update`]).
//!
//! Both go through DuckDB's appender, which is a hundred times faster than inserting, and through temporary tables where
//! SQL must decide something. There is no schema change and no index in the file itself. Both run inside one transaction
//! that the caller begins and commits.

mod among;
mod books;
mod build;
mod columns;
mod edges;
mod index;
mod touch;
mod typed;
mod update;

pub(crate) use among::among;
pub use books::{ErrorRecord, FileRecord, Meta, error_records};
pub use build::Builder;
pub use touch::{Touch, Touched};
pub use update::{Change, Delta, Gone, NewRow, NewSection, SectionTouch, update};

use duckdb::types::{TimeUnit, Value};
use duckdb::{Appender, Connection, params};

use crate::ImporterError;
use crate::engine::DatedRow;
use crate::search::{Document, document};

/// Microseconds since 1970.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Micros(pub i64);

impl Micros {
    /// The time now.
    #[must_use]
    pub fn now() -> Self {
        let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
        Self(i64::try_from(since.as_micros()).unwrap_or(i64::MAX))
    }

    fn value(self) -> Value {
        Value::Timestamp(TimeUnit::Microsecond, self.0)
    }
}

/// The index entry of an entity.
#[must_use]
pub fn entity_document(row: &baft_dataset::rows::EntityRow) -> Document {
    let mut ids = vec![row.id.as_str()];
    ids.extend(row.aliases.iter().map(String::as_str));
    document(&ids, &row.search.title, &row.search.tags, &row.search.content)
}

/// The index entry of a section.
#[must_use]
pub fn section_document(section: &baft_dataset::rows::SectionRow) -> Document {
    document(&[], &section.title, &section.tags.join("\n"), &section.content)
}

/// What identifies a section in the whole database.
#[must_use]
pub fn section_key(path: &str, pointer: &str) -> String {
    format!("{path}#{pointer}")
}

/// Appends one row to `entities`.
fn append_entity(
    appender: &mut Appender<'_>,
    dated: &DatedRow,
    path: &str,
    docid: i32,
    now: Micros,
) -> Result<(), duckdb::Error> {
    let row = &dated.row;
    appender.append_row(params![
        row.id,
        row.type_name,
        row.title,
        row.status,
        row.epistemic_tag,
        row.confidence,
        row.content,
        row.tags,
        Value::Date32(dated.since.day),
        now.value(),
        row.local_id,
        docid,
        path,
        row.line_start,
        row.line_end,
        dated.since.blob,
        dated.since.commit,
        row.row_hash,
        row.schema_valid,
        dated.stale,
    ])
}

/// An appender to a table of the file in use.
fn appender<'c>(connection: &'c Connection, table: &str) -> Result<Appender<'c>, ImporterError> {
    connection.appender(table).map_err(ImporterError::db("opening a table"))
}

/// An appender to a temporary table.
fn temp_appender<'c>(connection: &'c Connection, table: &str) -> Result<Appender<'c>, ImporterError> {
    connection.appender_to_catalog_and_db(table, "temp", "main").map_err(ImporterError::db("opening a staging table"))
}

/// Writes out what an appender holds. Errors of single rows only show here.
fn finish(mut appender: Appender<'_>) -> Result<(), ImporterError> {
    appender.flush().map_err(ImporterError::db("writing rows"))
}

fn run(connection: &Connection, what: &'static str, sql: &str) -> Result<(), ImporterError> {
    connection.execute_batch(sql).map_err(ImporterError::db(what))
}

const fn wrote(error: duckdb::Error) -> ImporterError {
    ImporterError::Database { what: "writing rows", source: error }
}
