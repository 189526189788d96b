//! What the published database knows, read from an attached file.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use duckdb::types::Value;
use duckdb::{Connection, Row};

use super::read::{BaseRow, Since};
use super::resolve::ELSEWHERE;
use super::seal::TableDigest;
use crate::ImporterError;
use crate::apply::{FileRecord, among};
use baft_dataset::rows::Severity;

type Failed = duckdb::Error;

/// A row of `entities`, without its text.
#[derive(Debug, Clone)]
pub struct StoredRow {
    /// Its id.
    pub id: String,
    /// Its type.
    pub type_name: String,
    /// Its file.
    pub path: String,
    /// Its document number.
    pub docid: i32,
    /// Its place.
    pub lines: (u32, u32),
    /// Whether it satisfies its schema.
    pub schema_valid: bool,
    /// Its hash and past.
    pub base: BaseRow,
}

/// Its columns.
const ROW: [&str; 12] = [
    "id",
    "type",
    "source_path",
    "docid",
    "line_start",
    "line_end",
    "schema_valid",
    "row_hash",
    "commit_oid",
    "blob_oid",
    "updated_date",
    "stale",
];

/// The columns of `_files`.
pub const FILES: &str = "path, blob_oid, bytes, kind, rows, state, good_blob_oid, since_commit";

/// The columns of `_errors`.
pub const ERRORS: &str = "path, line, col, pointer, entity_id, severity, code, message, commit_oid";

/// A row of `sections`.
#[derive(Debug, Clone)]
pub struct StoredSection {
    /// Its document number.
    pub docid: i32,
    /// The section.
    pub section: baft_dataset::rows::SectionRow,
}

/// What an import must know of `_errors`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Complaints {
    /// Files that have any.
    pub files: BTreeSet<String>,
    /// Line, column and text of the first error of a file; not of a warning.
    pub first: BTreeMap<String, (u32, u32, String)>,
    /// How many errors there are, without the warnings.
    pub severe: u64,
    /// Ids that files have lost to others, with those files.
    pub losers: HashMap<String, Vec<String>>,
}

fn all<T>(
    connection: &Connection,
    what: &'static str,
    sql: &str,
    row: impl FnMut(&Row<'_>) -> Result<T, Failed>,
) -> Result<Vec<T>, ImporterError> {
    let read = || connection.prepare(sql)?.query_map([], row)?.collect::<Result<Vec<_>, Failed>>();
    read().map_err(ImporterError::db(what))
}

/// What every import asks a file for: tables, and columns of them.
pub fn asked_for() -> [(String, &'static [&'static str]); 6] {
    let index = |table| format!("{}.{table}", crate::search::SCHEMA_ENTITIES);
    [
        ("entities".to_owned(), &ROW),
        ("edges".to_owned(), &["src_id"]),
        ("aliases".to_owned(), &["alias", "id"]),
        (index("terms"), &["docid", "termid"]),
        (index("dict"), &["term", "termid"]),
        (index("docs"), &["docid"]),
    ]
}

/// `_files`, by path.
pub fn files(connection: &Connection) -> Result<(BTreeMap<String, FileRecord>, TableDigest), ImporterError> {
    let sql = format!("SELECT {FILES}, hash({FILES}) FROM _files");
    let mut digest = TableDigest::default();
    let records = all(connection, "reading _files", &sql, |row| {
        digest.add(row.get(8)?);
        Ok(FileRecord {
            path: row.get(0)?,
            blob: row.get(1)?,
            bytes: row.get::<_, i64>(2)?.unsigned_abs(),
            kind: row.get(3)?,
            rows: row.get::<_, i32>(4)?.unsigned_abs() as usize,
            state: row.get(5)?,
            good_blob: row.get(6)?,
            since: row.get(7)?,
        })
    })?;
    Ok((records.into_iter().map(|record| (record.path.clone(), record)).collect(), digest))
}

/// The rows of some files.
pub fn rows(connection: &Connection, paths: &[String]) -> Result<Vec<StoredRow>, ImporterError> {
    let paths = among(connection, "stage_paths", paths)?;
    let sql = format!("SELECT {} FROM entities WHERE source_path IN {paths}", ROW.join(", "));
    all(connection, "reading rows", &sql, |row| {
        let day = match row.get(10)? {
            Value::Date32(day) => day,
            _ => 0,
        };
        Ok(StoredRow {
            id: row.get(0)?,
            type_name: row.get(1)?,
            path: row.get(2)?,
            docid: row.get(3)?,
            lines: (row.get(4)?, row.get(5)?),
            schema_valid: row.get(6)?,
            base: BaseRow {
                hash: row.get(7)?,
                since: Since { commit: row.get(8)?, blob: row.get(9)?, day },
                stale: row.get(11)?,
            },
        })
    })
}

/// The sections of some files.
pub fn sections(connection: &Connection, paths: &[String]) -> Result<HashMap<String, StoredSection>, ImporterError> {
    let paths = among(connection, "stage_paths", paths)?;
    let sql = format!(
        "SELECT key, docid, doc_kind, doc_id, pointer, section_id, parent_pointer, ord, depth, level, title, tags, \
         content, line_start FROM sections WHERE source_path IN {paths}"
    );
    let found = all(connection, "reading sections", &sql, |row| {
        let tags = match row.get(11)? {
            Value::List(tags) => tags,
            _ => Vec::new(),
        };
        let text = |tag| match tag {
            Value::Text(tag) => Some(tag),
            _ => None,
        };
        let section = baft_dataset::rows::SectionRow {
            doc_kind: row.get(2)?,
            doc_id: row.get(3)?,
            pointer: row.get(4)?,
            section_id: row.get(5)?,
            parent_pointer: row.get(6)?,
            ord: row.get(7)?,
            depth: row.get(8)?,
            level: row.get::<_, Option<i32>>(9)?.map(i64::from),
            title: row.get(10)?,
            tags: tags.into_iter().filter_map(text).collect(),
            content: row.get(12)?,
            line_start: row.get(13)?,
        };
        Ok((row.get(0)?, StoredSection { docid: row.get(1)?, section }))
    })?;
    Ok(found.into_iter().collect())
}

/// Which files show these ids.
pub fn owners(connection: &Connection, ids: &[String]) -> Result<HashMap<String, String>, ImporterError> {
    if ids.is_empty() {
        return Ok(HashMap::new());
    }
    let ids = among(connection, "stage_ids", ids)?;
    let sql = format!("SELECT id, source_path FROM entities WHERE id IN {ids}");
    Ok(all(connection, "reading ids", &sql, |row| Ok((row.get(0)?, row.get(1)?)))?.into_iter().collect())
}

/// `_errors`, in short.
pub fn complaints(connection: &Connection) -> Result<(Complaints, TableDigest), ImporterError> {
    let sql = format!("SELECT {ERRORS}, hash({ERRORS}) FROM _errors ORDER BY path, line, col");
    let (mut complaints, mut digest) = (Complaints::default(), TableDigest::default());
    all(connection, "reading _errors", &sql, |row| {
        digest.add(row.get(9)?);
        let path: String = row.get(0)?;
        if row.get::<_, String>(5)? == Severity::Error.as_str() {
            complaints.severe += 1;
            if !complaints.first.contains_key(&path) {
                complaints.first.insert(path.clone(), (row.get(1)?, row.get(2)?, row.get(7)?));
            }
        }
        if let (ELSEWHERE, Some(id)) = (row.get::<_, String>(6)?.as_str(), row.get(4)?) {
            complaints.losers.entry(id).or_default().push(path.clone());
        }
        complaints.files.insert(path);
        Ok(())
    })?;
    Ok((complaints, digest))
}

/// The content of entities.
pub fn contents(connection: &Connection, ids: &[String]) -> Result<HashMap<String, String>, ImporterError> {
    let ids = among(connection, "stage_ids", ids)?;
    let sql = format!("SELECT id, content FROM entities WHERE id IN {ids}");
    Ok(all(connection, "reading rows", &sql, |row| Ok((row.get(0)?, row.get(1)?)))?.into_iter().collect())
}

/// The aliases of entities.
pub fn aliases(connection: &Connection, ids: &[String]) -> Result<Vec<(String, String)>, ImporterError> {
    let ids = among(connection, "stage_ids", ids)?;
    let sql = format!("SELECT id, alias FROM aliases WHERE id IN {ids}");
    all(connection, "reading aliases", &sql, |row| Ok((row.get(0)?, row.get(1)?)))
}
