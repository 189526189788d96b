//! Reading a finished database back, table by table, before anybody else does.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::path::Path;

use duckdb::Connection;
use duckdb::arrow::array::AsArray;
use duckdb::arrow::datatypes::UInt64Type;

use super::stored::{self, Complaints};
use crate::ImporterError;
use crate::apply::FileRecord;
use crate::db::{Access, Session};
use crate::generation::Quarantined;
use crate::search::{SCHEMA_ENTITIES, SCHEMA_SECTIONS};
use crate::tables::{ident, literal, with_table};
use baft_dataset::dataset::Datasets;

const NAME: &str = "sealed";

/// The columns of `entities` that say what an entity is and where it comes from.
const ENTITIES: &str = "id, type, title, status, epistemic_tag, confidence, content, tags, updated_date, local_id, \
                        source_path, line_start, line_end, blob_oid, commit_oid, row_hash, schema_valid, stale";
/// Those that depend on how the database was made.
const ENTITIES_APART: &str = "docid, imported_at";

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
    /// `_errors`, in short.
    pub complaints: Complaints,
    /// What each table holds.
    pub tables: Tables,
}

/// Tables and what they hold.
pub type Tables = BTreeMap<String, TableDigest>;

/// How many rows a table has, and the sum of their hashes: independent of their order.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TableDigest {
    /// Rows.
    pub rows: i64,
    /// Sum of the hashes of the rows.
    pub sum: i128,
}

impl TableDigest {
    /// Counts one more row, which has this hash.
    pub fn add(&mut self, hash: u64) {
        self.rows += 1;
        self.sum += i128::from(hash);
    }
}

/// A query that reads every row of a table.
struct Reading {
    table: String,
    sql: String,
    /// The same rows always give the same digest, however they came there.
    content: bool,
}

impl Reading {
    fn is_index(&self) -> bool {
        let schema = self.table.split_once('.').map(|(schema, _)| schema);
        schema.is_some_and(|schema| [SCHEMA_ENTITIES, SCHEMA_SECTIONS].contains(&schema))
    }

    /// The rows themselves are needed too.
    fn is_read_apart(&self) -> bool {
        ["entities", "_files", "_errors"].contains(&self.table.as_str())
    }
}

fn reading(table: &str, columns: &str, from: &str, content: bool) -> Reading {
    let name = literal(table);
    let sql = format!("SELECT {name}, count(*), coalesce(sum(hash({columns})::HUGEINT), 0), 0::HUGEINT FROM {from}");
    Reading { table: table.to_owned(), sql, content }
}

/// Reads columns that are content and such as depend on how the database was made, in one go.
fn reading_with(table: &str, columns: &str, others: &str) -> Reading {
    let name = literal(table);
    let sum = |columns| format!("coalesce(sum(hash({columns})::HUGEINT), 0)");
    let sql = format!("SELECT {name}, count(*), {}, {} FROM {table}", sum(columns), sum(others));
    Reading { table: table.to_owned(), sql, content: true }
}

/// Reads everything that readers may, once.
fn readings(datasets: &Datasets) -> Vec<Reading> {
    let sections = "doc_kind, doc_id, pointer, section_id, parent_pointer, ord, depth, level, title, tags, content, \
                    source_path, line_start, key";
    let mut all = vec![
        reading_with("entities", ENTITIES, ENTITIES_APART),
        reading_with("sections", sections, "docid"),
        reading("edges", "src_id, field, raw, dst_id, resolved, target", "edges", true),
        reading("aliases", "alias, id", "aliases", true),
        reading("_files", stored::FILES, "_files", true),
        reading("_errors", stored::ERRORS, "_errors", true),
        reading(
            "_changes",
            "seq, generation, commit_oid, op, type, id, old_hash, new_hash, fields, observed_at",
            "_changes",
            false,
        ),
        reading("_meta", "key, value", "_meta", false),
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
pub fn untouched(mut tables: Tables, written: &BTreeSet<String>) -> Tables {
    tables.retain(|table, _| !written.contains(table.as_str()));
    tables
}

/// Opens a finished file as a reader would, reads every row of every table, and checks what must hold. Tables that are
/// `untouched` since this process read them in the file's predecessor, of which the file is a copy, are not read again. When
/// all is well the file stays open until [`close`], which takes a moment that a publication need not wait for.
pub fn check(
    session: &Session,
    db: &Path,
    datasets: &Datasets,
    untouched: Tables,
    complaints: Complaints,
) -> Result<Sealed, ImporterError> {
    session.attach(db, NAME, Access::Read)?;
    session.use_file(NAME)?;
    let sealed = read_back(session, datasets, untouched, complaints);
    if sealed.is_err() {
        close(session)?;
    }
    sealed
}

/// Closes the file that [`check`] read.
pub fn close(session: &Session) -> Result<(), ImporterError> {
    session.detach(NAME)
}

fn read_back(
    session: &Session,
    datasets: &Datasets,
    mut found: Tables,
    complaints: Complaints,
) -> Result<Sealed, ImporterError> {
    let connection = session.connection();
    let readings = readings(datasets);
    let wanted = readings.iter().filter(|reading| !reading.is_read_apart() && !found.contains_key(&reading.table));
    let (indexes, others): (Vec<_>, Vec<_>) = wanted.partition(|reading| reading.is_index());
    let complaints = found.contains_key("_errors").then_some(complaints);
    // The search indexes and the books are about as much to read as everything else.
    let other = session.another_using(NAME)?;
    let beside = move || {
        let connection = other.connection();
        let mut found = digests(connection, indexes.into_iter())?;
        let (files, digest) = stored::files(connection)?;
        found.insert("_files".to_owned(), digest);
        let complaints = match complaints {
            Some(complaints) => complaints,
            None => {
                let (complaints, digest) = stored::complaints(connection)?;
                found.insert("_errors".to_owned(), digest);
                complaints
            }
        };
        Ok::<_, ImporterError>((found, files, complaints))
    };
    let (ids, files, complaints) = std::thread::scope(|scope| {
        let beside = scope.spawn(beside);
        found.extend(digests(connection, others.into_iter())?);
        let ids = Ids::read(connection)?;
        let (books, files, complaints) = beside.join().unwrap_or(Err(ImporterError::Stopped))?;
        found.extend(books);
        Ok::<_, ImporterError>((ids, files, complaints))
    })?;
    found.insert("entities".to_owned(), ids.digest);
    let count = |table: &str| found.get(table).map_or(-1, |digest| digest.rows);
    for (documents, table) in [(SCHEMA_ENTITIES, "entities"), (SCHEMA_SECTIONS, "sections")] {
        let (docs, rows) = (count(&format!("{documents}.docs")), count(table));
        if docs != rows {
            return Err(ImporterError::Damaged(format!("{table} has {rows} rows, its search index {docs} documents")));
        }
    }
    if ids.different != count("entities") {
        let different = ids.different;
        return Err(ImporterError::Damaged(format!("entities has {} rows, but {different} ids", count("entities"))));
    }
    let mut hasher = blake3::Hasher::new();
    for (table, digest) in &found {
        if readings.iter().any(|reading| reading.content && reading.table == *table) {
            hasher.update(format!("{table} {} {}\n", digest.rows, digest.sum).as_bytes());
        }
    }
    let digest = hasher.finalize().to_hex().to_string();
    let quarantined = quarantined(&files, &complaints);
    Ok(Sealed { digest, rows: ids.by_type, files, quarantined, complaints, tables: found })
}

/// `entities`, read once for its digest and for what the manifest says of it.
struct Ids {
    /// How many different ids there are.
    different: i64,
    /// How many rows of each type.
    by_type: BTreeMap<String, u64>,
    digest: TableDigest,
}

impl Ids {
    fn read(connection: &Connection) -> Result<Self, ImporterError> {
        let read = || {
            // Counted here: the hash tables of GROUP BY and DISTINCT cost more than the rows.
            let sql = format!("SELECT type, id, hash({ENTITIES}), hash({ENTITIES_APART}) FROM entities");
            let mut statement = connection.prepare(&sql)?;
            let (mut ids, mut by_type, mut digest) = (HashSet::new(), BTreeMap::new(), TableDigest::default());
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
                batch.column(2).as_primitive::<UInt64Type>().values().iter().for_each(|hash| digest.add(*hash));
            }
            Ok(Self { different: i64::try_from(ids.len()).unwrap_or(i64::MAX), by_type, digest })
        };
        read().map_err(ImporterError::db("reading entities"))
    }
}

/// Files that are not shown as they are, each with its first error.
fn quarantined(files: &BTreeMap<String, FileRecord>, complaints: &Complaints) -> Vec<Quarantined> {
    let found = files.values().filter(|file| file.state != "ok").map(|file| {
        let (line, column, message) = complaints.first.get(&file.path).cloned().unwrap_or_default();
        Quarantined { path: file.path.clone(), line, column, message, new: false }
    });
    found.collect()
}
