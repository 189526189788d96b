//! Reading a finished database back, table by table, before anybody else does.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::path::Path;

use duckdb::Connection;
use duckdb::arrow::array::AsArray;

use super::stored;
use crate::ImporterError;
use crate::apply::FileRecord;
use crate::db::{Access, Session};
use crate::generation::Quarantined;
use crate::search::{SCHEMA_ENTITIES, SCHEMA_SECTIONS};
use crate::tables::{ident, literal, with_table};
use baft_dataset::dataset::Datasets;

const NAME: &str = "sealed";

/// What a finished database holds, as read from the file.
#[derive(Debug)]
pub struct Sealed {
    /// Digest over the content, equal for equal content however it was made.
    pub digest: String,
    /// Rows of each type.
    pub rows: BTreeMap<String, u64>,
    /// `_files`.
    pub files: BTreeMap<String, FileRecord>,
    /// Files in quarantine, with their first error.
    pub quarantined: Vec<Quarantined>,
    /// Entries in `_errors` of severity error.
    pub errors: u64,
    /// What each table holds.
    pub tables: Tables,
}

/// Tables and what they hold.
pub type Tables = BTreeMap<String, TableDigest>;

/// How many rows a table has, and the sum of their hashes: independent of their order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TableDigest {
    /// Rows.
    pub rows: i64,
    /// Sum of the hashes of the rows.
    pub sum: i128,
}

/// A query that reads every row of a table.
struct Reading {
    table: String,
    sql: String,
    /// Where the rows are: the table, or the schema of a search index.
    place: String,
    /// The same rows always give the same digest, however they came there.
    content: bool,
}

impl Reading {
    fn is_index(&self) -> bool {
        [SCHEMA_ENTITIES, SCHEMA_SECTIONS].contains(&self.place.as_str())
    }
}

fn reading(table: &str, columns: &str, from: &str, content: bool) -> Reading {
    let name = literal(table);
    let sql = format!("SELECT {name}, count(*), coalesce(sum(hash({columns})::HUGEINT), 0) FROM {from}");
    let place = from.split_once('.').map_or(from, |(schema, _)| schema).trim_matches('"').to_owned();
    Reading { table: table.to_owned(), sql, place, content }
}

/// Reads everything that readers may, once.
fn readings(datasets: &Datasets) -> Vec<Reading> {
    let entities = "id, type, title, status, epistemic_tag, confidence, content, tags, updated_date, local_id, source_path, \
                    line_start, line_end, blob_oid, commit_oid, row_hash, schema_valid, stale";
    let sections = "doc_kind, doc_id, pointer, section_id, parent_pointer, ord, depth, level, title, tags, content, \
                    source_path, line_start, key";
    let files = "path, blob_oid, bytes, kind, rows, state, good_blob_oid, since_commit";
    let errors = "path, line, col, pointer, entity_id, severity, code, message, commit_oid";
    let mut all = vec![
        reading("entities", entities, "entities", true),
        reading("sections", sections, "sections", true),
        reading("edges", "src_id, field, raw, dst_id, resolved, target", "edges", true),
        reading("aliases", "alias, id", "aliases", true),
        reading("_files", files, "_files", true),
        reading("_errors", errors, "_errors", true),
        reading(
            "_changes",
            "seq, generation, commit_oid, op, type, id, old_hash, new_hash, fields, observed_at",
            "_changes",
            false,
        ),
        reading("_meta", "key, value", "_meta", false),
        reading("docids", "docid, imported_at", "entities", false),
        reading("section_docids", "docid", "sections", false),
    ];
    for dataset in with_table(datasets) {
        let name = dataset.id.as_str();
        let columns = dataset.columns.iter().map(|column| ident(&column.name)).collect::<Vec<_>>().join(", ");
        all.push(reading(name, &format!("id, {columns}, extra"), &ident(name), true));
    }
    for schema in [SCHEMA_ENTITIES, SCHEMA_SECTIONS] {
        for (table, columns) in [
            ("docs", "docid, name, len"),
            ("dict", "termid, term, stem"),
            ("terms", "docid, fieldid, termid, tf"),
            ("fields", "fieldid, field"),
        ] {
            all.push(reading(&format!("{schema}.{table}"), columns, &format!("{schema}.{table}"), false));
        }
    }
    all
}

/// Both search indexes by what they say, not by their numbers.
fn index_readings() -> Vec<Reading> {
    let mut all = Vec::new();
    for schema in [SCHEMA_ENTITIES, SCHEMA_SECTIONS] {
        all.push(reading(&format!("{schema}.docs"), "name, len", &format!("{schema}.docs"), true));
        all.push(reading(&format!("{schema}.dict"), "term, stem", &format!("{schema}.dict"), true));
        let terms = format!("{schema}.terms JOIN {schema}.docs USING (docid) JOIN {schema}.dict USING (termid)");
        all.push(reading(&format!("{schema}.terms"), "name, fieldid, term, tf", &terms, true));
    }
    all
}

fn digests<'a>(connection: &Connection, readings: impl Iterator<Item = &'a Reading>) -> Result<Tables, ImporterError> {
    let sql = readings.map(|reading| reading.sql.as_str()).collect::<Vec<_>>().join(" UNION ALL ");
    if sql.is_empty() {
        return Ok(Tables::new());
    }
    let read = || {
        let mut statement = connection.prepare(&sql)?;
        let rows =
            statement.query_map([], |row| Ok((row.get(0)?, TableDigest { rows: row.get(1)?, sum: row.get(2)? })))?;
        rows.collect::<Result<BTreeMap<_, _>, duckdb::Error>>()
    };
    read().map_err(ImporterError::db("reading every table"))
}

/// The digest of every table by content: what must be equal however a database was made. The file in use is read.
pub fn table_digests(connection: &Connection, datasets: &Datasets) -> Result<Tables, ImporterError> {
    let all: Vec<_> =
        readings(datasets).into_iter().filter(|reading| reading.content).chain(index_readings()).collect();
    digests(connection, all.iter())
}

/// What `tables` says of those that were not written since.
#[must_use]
pub fn untouched(mut tables: Tables, datasets: &Datasets, written: &BTreeSet<&str>) -> Tables {
    for reading in readings(datasets) {
        if written.contains(reading.place.as_str()) {
            tables.remove(&reading.table);
        }
    }
    tables
}

/// Opens a finished file as a reader would, reads every row of every table, and checks what must hold. Tables that are
/// `untouched` since this process read them in the file's predecessor, of which the file is a copy, are not read again. When
/// all is well the file stays open until [`close`], which takes a moment that a publication need not wait for.
pub fn check(session: &Session, db: &Path, datasets: &Datasets, untouched: Tables) -> Result<Sealed, ImporterError> {
    session.attach(db, NAME, Access::Read)?;
    session.use_file(NAME)?;
    let sealed = read_back(session, datasets, untouched);
    if sealed.is_err() {
        close(session)?;
    }
    sealed
}

/// Closes the file that [`check`] read.
pub fn close(session: &Session) -> Result<(), ImporterError> {
    session.detach(NAME)
}

fn read_back(session: &Session, datasets: &Datasets, untouched: Tables) -> Result<Sealed, ImporterError> {
    let connection = session.connection();
    let readings = readings(datasets);
    let wanted = readings.iter().filter(|reading| !untouched.contains_key(&reading.table));
    let (indexes, others): (Vec<_>, Vec<_>) = wanted.partition(|reading| reading.is_index());
    // The search indexes and the books are about as much to read as everything else.
    let other = session.another_using(NAME)?;
    let beside = move || {
        let connection = other.connection();
        Ok::<_, ImporterError>((digests(connection, indexes.into_iter())?, Books::read(connection)?))
    };
    let (mut found, (indexes, books)) = std::thread::scope(|scope| {
        let beside = scope.spawn(beside);
        let found = digests(connection, others.into_iter())?;
        let beside = beside.join().unwrap_or_else(|_| Err(ImporterError::Stopped));
        Ok::<_, ImporterError>((found, beside?))
    })?;
    found.extend(indexes);
    found.extend(untouched);
    let Books { ids, rows, files, quarantined, errors } = books;
    let count = |table: &str| found.get(table).map_or(-1, |digest| digest.rows);
    for (documents, table) in [(SCHEMA_ENTITIES, "entities"), (SCHEMA_SECTIONS, "sections")] {
        let (docs, rows) = (count(&format!("{documents}.docs")), count(table));
        if docs != rows {
            return Err(ImporterError::Damaged(format!("{table} has {rows} rows, its search index {docs} documents")));
        }
    }
    if ids != count("entities") {
        return Err(ImporterError::Damaged(format!("entities has {} rows, but {ids} ids", count("entities"))));
    }
    let mut hasher = blake3::Hasher::new();
    for (table, digest) in &found {
        if readings.iter().any(|reading| reading.content && reading.table == *table) {
            hasher.update(format!("{table} {} {}\n", digest.rows, digest.sum).as_bytes());
        }
    }
    let digest = hasher.finalize().to_hex().to_string();
    Ok(Sealed { digest, rows, files, quarantined, errors, tables: found })
}

/// What the manifest says of a file.
struct Books {
    ids: i64,
    rows: BTreeMap<String, u64>,
    files: BTreeMap<String, FileRecord>,
    quarantined: Vec<Quarantined>,
    errors: u64,
}

impl Books {
    fn read(connection: &Connection) -> Result<Self, ImporterError> {
        let (ids, rows) = rows_by_type(connection)?;
        let files = stored::files(connection)?;
        let (quarantined, errors) = quarantined(connection, &files)?;
        Ok(Self { ids, rows, files, quarantined, errors })
    }
}

/// How many different ids there are, and how many rows of each type.
fn rows_by_type(connection: &Connection) -> Result<(i64, BTreeMap<String, u64>), ImporterError> {
    let read = || {
        // Counted here: the hash tables of GROUP BY and DISTINCT cost more than the rows.
        let mut statement = connection.prepare("SELECT type, id FROM entities")?;
        let (mut ids, mut by_type) = (HashSet::new(), BTreeMap::new());
        for batch in statement.query_arrow([])? {
            let [types, names] = [0, 1].map(|column| batch.column(column).as_string::<i32>());
            for (row_type, name) in types.iter().zip(names) {
                ids.insert(name.unwrap_or_default().to_owned());
                match by_type.get_mut(row_type.unwrap_or_default()) {
                    Some(count) => *count += 1,
                    None => {
                        by_type.insert(row_type.unwrap_or_default().to_owned(), 1);
                    }
                }
            }
        }
        Ok((i64::try_from(ids.len()).unwrap_or(i64::MAX), by_type))
    };
    read().map_err(ImporterError::db("counting rows"))
}

fn quarantined(
    connection: &Connection,
    files: &BTreeMap<String, FileRecord>,
) -> Result<(Vec<Quarantined>, u64), ImporterError> {
    let read = || {
        let mut statement = connection.prepare(
            "SELECT path, line, col, message FROM _errors WHERE severity = 'error' ORDER BY path, line DESC, col DESC",
        )?;
        let rows = statement.query_map([], |row| {
            Ok((row.get::<_, String>(0)?, row.get::<_, u32>(1)?, row.get::<_, u32>(2)?, row.get::<_, String>(3)?))
        })?;
        rows.collect::<Result<Vec<_>, _>>()
    };
    let errors = read().map_err(ImporterError::db("reading _errors"))?;
    let count = errors.len() as u64;
    // The last one of a path to be inserted is its first in the file.
    let first: BTreeMap<_, _> =
        errors.into_iter().map(|(path, line, column, message)| (path, (line, column, message))).collect();
    let found = files.values().filter(|file| file.state != "ok").map(|file| {
        let (line, column, message) = first.get(&file.path).cloned().unwrap_or_default();
        Quarantined { path: file.path.clone(), line, column, message, new: false }
    });
    Ok((found.collect(), count))
}
