//! The importer's own books: `_meta`, `_files`, `_errors`.

use std::collections::BTreeMap;

use baft_bus::payload::Generation;
use duckdb::{Connection, params};

use super::{finish, run, wrote};
use crate::ImporterError;
use baft_dataset::rows::Issue;

/// One row of `_files`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileRecord {
    /// The file.
    pub path: String,
    /// Its content now.
    pub blob: String,
    /// Its size now.
    pub bytes: u64,
    /// Its dataset, or `schema`, or `config`.
    pub kind: String,
    /// How many entities it shows.
    pub rows: usize,
    /// `ok`, `partial` (some entities could not be used) or `quarantined`.
    pub state: String,
    /// The version that shown rows are from, where that is not the newest alone.
    pub good_blob: Option<String>,
    /// The commit that introduced the content, or `WORKTREE`.
    pub since: String,
}

/// One row of `_errors`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ErrorRecord {
    /// What and where.
    pub issue: Issue,
    /// The commit that introduced the file's content, or `WORKTREE`.
    pub commit: String,
}

/// The rows of `_errors` for one file.
pub fn error_records(issues: &[Issue], commit: &str) -> Vec<ErrorRecord> {
    issues.iter().map(|issue| ErrorRecord { issue: issue.clone(), commit: commit.to_owned() }).collect()
}

/// What `_meta` says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Meta {
    /// Which generation this is.
    pub generation: Generation,
    /// The commit it was built from.
    pub commit: Option<String>,
    /// Which rules made it: when they differ it must be rebuilt.
    pub rules: String,
    /// The next document number of an entity; numbers are never used twice.
    pub next_docid: i32,
    /// The next document number of a section.
    pub next_section: i32,
    /// The next number in `_changes`.
    pub next_change: i64,
    /// Dates before the oldest commit that was read are not exact.
    pub truncated: bool,
    /// How many times it was carried on since it was built from nothing.
    pub carried: u64,
    /// When it was made, RFC 3339.
    pub imported_at: String,
}

impl Meta {
    pub(super) fn write(&self, connection: &Connection) -> Result<(), ImporterError> {
        run(connection, "writing _meta", "DELETE FROM _meta")?;
        let mut appender = super::appender(connection, "_meta")?;
        let rows = [
            ("schema_version", crate::tables::SCHEMA_VERSION.to_string()),
            ("parser_version", baft_dataset::extract::PARSER_VERSION.to_string()),
            ("importer_version", env!("CARGO_PKG_VERSION").to_owned()),
            ("lineage", self.generation.lineage.clone()),
            ("generation", self.generation.number.to_string()),
            ("commit", self.commit.clone().unwrap_or_default()),
            ("rules", self.rules.clone()),
            ("next_docid", self.next_docid.to_string()),
            ("next_section", self.next_section.to_string()),
            ("next_change", self.next_change.to_string()),
            ("history_truncated", self.truncated.to_string()),
            ("carried", self.carried.to_string()),
            ("imported_at", self.imported_at.clone()),
        ];
        for (key, value) in rows {
            appender.append_row(params![key, value]).map_err(wrote)?;
        }
        finish(appender)
    }

    /// Writes it once more, with other counters.
    ///
    /// # Errors
    /// When DuckDB refuses.
    pub fn write_again(&self, connection: &Connection) -> Result<(), ImporterError> {
        self.write(connection)
    }

    /// Reads it back; nothing when it was written by something else.
    ///
    /// # Errors
    /// When the table cannot be read.
    pub fn read(connection: &Connection) -> Result<Option<Self>, ImporterError> {
        let mut values = read_pairs(connection).map_err(ImporterError::db("reading _meta"))?;
        let version = values.remove("schema_version");
        if version.as_deref() != Some(&crate::tables::SCHEMA_VERSION.to_string()) {
            return Ok(None);
        }
        let mut text = |key: &str| values.remove(key).unwrap_or_default();
        let generation = Generation { lineage: text("lineage"), number: text("generation").parse().unwrap_or(0) };
        let commit = text("commit");
        let (next_docid, next_section, next_change) = (text("next_docid"), text("next_section"), text("next_change"));
        let (Ok(next_docid), Ok(next_section), Ok(next_change)) =
            (next_docid.parse(), next_section.parse(), next_change.parse())
        else {
            return Ok(None);
        };
        Ok(Some(Self {
            generation,
            commit: Some(commit).filter(|commit| !commit.is_empty()),
            rules: text("rules"),
            next_docid,
            next_section,
            next_change,
            truncated: text("history_truncated") == "true",
            carried: text("carried").parse().unwrap_or(0),
            imported_at: text("imported_at"),
        }))
    }
}

fn read_pairs(connection: &Connection) -> Result<BTreeMap<String, String>, duckdb::Error> {
    let mut statement = connection.prepare("SELECT key, value FROM _meta")?;
    let rows = statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?;
    rows.collect()
}

pub(super) fn append_files(connection: &Connection, files: &[FileRecord]) -> Result<(), ImporterError> {
    let mut appender = super::appender(connection, "_files")?;
    for file in files {
        let bytes = i64::try_from(file.bytes).unwrap_or(i64::MAX);
        let rows = i32::try_from(file.rows).unwrap_or(i32::MAX);
        appender
            .append_row(params![file.path, file.blob, bytes, file.kind, rows, file.state, file.good_blob, file.since])
            .map_err(wrote)?;
    }
    finish(appender)
}

pub(super) fn append_errors(connection: &Connection, errors: &[ErrorRecord]) -> Result<(), ImporterError> {
    if errors.is_empty() {
        return Ok(());
    }
    let mut appender = super::appender(connection, "_errors")?;
    for ErrorRecord { issue, commit } in errors {
        appender
            .append_row(params![
                issue.path,
                issue.line,
                issue.col,
                issue.pointer,
                issue.entity_id,
                issue.severity.as_str(),
                issue.code,
                issue.message,
                commit,
            ])
            .map_err(wrote)?;
    }
    finish(appender)
}
