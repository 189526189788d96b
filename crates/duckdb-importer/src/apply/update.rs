//! Putting what changed into a copy of the last generation.

use std::borrow::Cow;
use std::collections::BTreeSet;

use duckdb::{Connection, params};

use super::among::{among, among_numbers};
use super::books::{append_errors, append_files};
use super::columns::{Cell, Column, Rows};
use super::edges::resolve_edges;
use super::index::{INDEX_TABLES, IndexChange};
use super::touch::{Touch, touch_rows};
use super::typed::{SectionRows, TypedRows};
use super::{
    ErrorRecord, FileRecord, Meta, Micros, append_entity, appender, entity_document, finish, run, section_document,
    section_key, temp_appender, wrote,
};
use crate::ImporterError;
use crate::db::Session;
use crate::engine::DatedRow;
use crate::search::{SCHEMA_ENTITIES, SCHEMA_SECTIONS};
use crate::tables::{ident, with_table};
use baft_dataset::dataset::Datasets;
use baft_dataset::rows::SectionRow;

/// How many entries `_changes` keeps.
const KEPT_CHANGES: i64 = 10_000;

/// Everything one import changes.
#[derive(Debug, Default)]
pub struct Delta {
    /// Rows that go: deleted entities, and the old rows of changed ones.
    pub gone: Vec<Gone>,
    /// New rows, and the new rows of changed entities.
    pub rows: Vec<NewRow>,
    /// Rows of which only the lines, the past or a flag changed.
    pub touched: Vec<Touch>,
    /// Document numbers of sections that go, changed ones included.
    pub gone_sections: Vec<i32>,
    /// New and changed sections.
    pub sections: Vec<NewSection>,
    /// Sections that only moved.
    pub touched_sections: Vec<SectionTouch>,
    /// Paths whose entries in `_files` go.
    pub paths: Vec<String>,
    /// Paths whose entries in `_errors` go.
    pub troubled: Vec<String>,
    /// Their new entries in `_files`.
    pub files: Vec<FileRecord>,
    /// Their new entries in `_errors`.
    pub errors: Vec<ErrorRecord>,
    /// What to tell in `_changes`.
    pub changes: Vec<Change>,
    /// Ids and aliases that appear or vanish: references to them must be resolved again.
    pub names: Vec<String>,
}

impl Delta {
    /// The tables that applying it writes, by the names that [`crate::engine`] reads them back by.
    #[must_use]
    pub fn writes(&self) -> BTreeSet<String> {
        let rows = !self.gone.is_empty() || !self.rows.is_empty();
        let renamed = self.gone.iter().any(|row| !row.keeps_names) || self.rows.iter().any(|row| !row.keeps_names);
        let documents = !self.gone_sections.is_empty() || !self.sections.is_empty();
        let mut written: BTreeSet<String> = [
            (true, "_meta"),
            (rows || !self.touched.is_empty(), "entities"),
            (renamed, "aliases"),
            (renamed || !self.names.is_empty(), "edges"),
            (documents || !self.touched_sections.is_empty(), "sections"),
            (!self.paths.is_empty() || !self.files.is_empty(), "_files"),
            (!self.troubled.is_empty() || !self.errors.is_empty(), "_errors"),
            (!self.changes.is_empty(), "_changes"),
        ]
        .into_iter()
        .filter(|(written, _)| *written)
        .map(|(_, table)| table.to_owned())
        .collect();
        for (changed, schema) in [(rows, SCHEMA_ENTITIES), (documents, SCHEMA_SECTIONS)] {
            written.extend(INDEX_TABLES.iter().filter(|_| changed).map(|table| format!("{schema}.{table}")));
        }
        written.extend(self.gone.iter().map(|row| row.dataset.clone()));
        written.extend(self.rows.iter().map(|row| row.dataset.clone()));
        written
    }
}

/// A row to be removed.
#[derive(Debug)]
pub struct Gone {
    /// The entity.
    pub id: String,
    /// The dataset its file belongs to.
    pub dataset: String,
    /// Its document number.
    pub docid: i32,
    /// Its aliases and references stay, because its new row has the same.
    pub keeps_names: bool,
}

/// A row to be added.
#[derive(Debug)]
pub struct NewRow {
    /// The row.
    pub dated: DatedRow,
    /// Its file.
    pub path: String,
    /// Its dataset.
    pub dataset: String,
    /// Its document number.
    pub docid: i32,
    /// Its aliases and references are those of the row it replaces, and stay.
    pub keeps_names: bool,
}

/// A section to be added.
#[derive(Debug)]
pub struct NewSection {
    /// The section.
    pub section: SectionRow,
    /// Its file.
    pub path: String,
    /// Its document number.
    pub docid: i32,
}

/// A section that only moved.
#[derive(Debug, Clone, Copy)]
pub struct SectionTouch {
    /// Which section.
    pub docid: i32,
    /// Where it begins now.
    pub line_start: u32,
    /// Its place in the reading order.
    pub ord: u32,
}

/// One entry of `_changes`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// `insert`, `update` or `delete`.
    pub op: &'static str,
    /// The entity's type.
    pub type_name: String,
    /// The entity.
    pub id: String,
    /// The hash before.
    pub old_hash: Option<String>,
    /// The hash after.
    pub new_hash: Option<String>,
    /// Top-level fields that differ, for an update.
    pub fields: Vec<String>,
    /// The commit the change came with, or `WORKTREE`.
    pub commit: Option<String>,
}

/// Applies a delta to the database in use, and writes `meta` with its change counter advanced. The postings of the search
/// indexes are as much to write as everything else, and are written beside it through `other`, a second handle on the same
/// database. What was written is in the file after the next checkpoint.
///
/// # Errors
/// When DuckDB refuses; the caller then throws the copy away, of which one half may be written.
pub fn update(
    session: &Session,
    other: Session,
    datasets: &Datasets,
    delta: &Delta,
    meta: Meta,
    now: Micros,
) -> Result<Meta, ImporterError> {
    let indexes = &index_changes(delta);
    std::thread::scope(|scope| {
        let beside =
            scope.spawn(move || other.in_transaction(|it| indexes.iter().try_for_each(|one| one.postings(it))));
        let written = session.in_transaction(|connection| {
            write_rows(connection, datasets, delta, now)?;
            indexes.iter().try_for_each(|one| one.docs(connection))?;
            write_books(connection, delta, meta, now)
        });
        beside.join().unwrap_or(Err(ImporterError::Stopped))?;
        written
    })
}

/// What changes in the indexes of entities and of sections.
fn index_changes(delta: &Delta) -> [IndexChange<'_>; 2] {
    let entities = delta.rows.iter().map(|new| {
        let row = &new.dated.row;
        (new.docid, Cow::Borrowed(row.id.as_str()), entity_document(row))
    });
    let sections = delta.sections.iter().map(|new| {
        let section = &new.section;
        (new.docid, Cow::Owned(section_key(&new.path, &section.pointer)), section_document(section))
    });
    [
        IndexChange {
            schema: SCHEMA_ENTITIES,
            gone: delta.gone.iter().map(|gone| gone.docid).collect(),
            added: entities.collect(),
        },
        IndexChange { schema: SCHEMA_SECTIONS, gone: delta.gone_sections.clone(), added: sections.collect() },
    ]
}

/// Entities and sections, and the references between them.
fn write_rows(connection: &Connection, datasets: &Datasets, delta: &Delta, now: Micros) -> Result<(), ImporterError> {
    remove_rows(connection, datasets, &delta.gone)?;
    add_rows(connection, datasets, &delta.rows, now)?;
    touch_rows(connection, &delta.touched)?;
    change_sections(connection, delta)?;
    resolve_edges(connection, delta)
}

/// The books: files, errors, what to tell, the counters.
fn write_books(connection: &Connection, delta: &Delta, meta: Meta, now: Micros) -> Result<Meta, ImporterError> {
    for (table, paths) in [("_files", &delta.paths), ("_errors", &delta.troubled)] {
        if !paths.is_empty() {
            let paths = among(connection, "stage_paths", paths)?;
            run(connection, "updating the books", &format!("DELETE FROM {table} WHERE path IN {paths}"))?;
        }
    }
    append_files(connection, &delta.files)?;
    append_errors(connection, &delta.errors)?;
    let next_change = append_changes(connection, &delta.changes, &meta, now)?;
    let meta = Meta { next_change, ..meta };
    meta.write(connection)?;
    Ok(meta)
}

fn remove_rows(connection: &Connection, datasets: &Datasets, gone: &[Gone]) -> Result<(), ImporterError> {
    if gone.is_empty() {
        return Ok(());
    }
    let remove = |from: &[(&str, &str)], which: &dyn Fn(&&Gone) -> bool| {
        let ids: Vec<_> = gone.iter().filter(which).map(|row| row.id.clone()).collect();
        if ids.is_empty() {
            return Ok(());
        }
        let ids = among(connection, "stage_ids", &ids)?;
        let sql = from.iter().map(|(table, column)| format!("DELETE FROM {table} WHERE {column} IN {ids};"));
        run(connection, "removing rows", &sql.collect::<String>())
    };
    remove(&[("entities", "id")], &|_| true)?;
    remove(&[("aliases", "id"), ("edges", "src_id")], &|row| !row.keeps_names)?;
    for dataset in with_table(datasets) {
        let name = dataset.id.as_str();
        remove(&[(&ident(name), "id")], &|row| row.dataset == name)?;
    }
    Ok(())
}

fn add_rows(connection: &Connection, datasets: &Datasets, rows: &[NewRow], now: Micros) -> Result<(), ImporterError> {
    if rows.is_empty() {
        return Ok(());
    }
    let mut entities = appender(connection, "entities")?;
    let mut aliases = appender(connection, "aliases")?;
    for new in rows {
        append_entity(&mut entities, &new.dated, &new.path, new.docid, now).map_err(wrote)?;
        for alias in new.dated.row.aliases.iter().filter(|_| !new.keeps_names) {
            aliases.append_row(params![alias, new.dated.row.id]).map_err(wrote)?;
        }
    }
    finish(entities)?;
    finish(aliases)?;
    for dataset in with_table(datasets) {
        let mut mine = rows.iter().filter(|new| new.dataset == dataset.id.as_str()).peekable();
        if mine.peek().is_some() {
            let mut typed = TypedRows::open(connection, dataset)?;
            mine.try_for_each(|new| typed.add(&new.dated.row))?;
            typed.finish()?;
        }
    }
    Ok(())
}

fn change_sections(connection: &Connection, delta: &Delta) -> Result<(), ImporterError> {
    if !delta.gone_sections.is_empty() {
        let gone = among_numbers(connection, "stage_gone_sections", &delta.gone_sections)?;
        run(connection, "removing sections", &format!("DELETE FROM sections WHERE docid IN {gone}"))?;
    }
    if !delta.sections.is_empty() {
        let mut sections = SectionRows::open(connection)?;
        for new in &delta.sections {
            sections.add(&new.section, &new.path, &section_key(&new.path, &new.section.pointer), new.docid)?;
        }
        sections.finish()?;
    }
    if !delta.touched_sections.is_empty() {
        let sql = "CREATE OR REPLACE TEMP TABLE stage_moved (docid INTEGER, line_start INTEGER, ord INTEGER)";
        run(connection, "making a staging table", sql)?;
        let mut stage = temp_appender(connection, "stage_moved")?;
        for touch in &delta.touched_sections {
            stage.append_row(params![touch.docid, touch.line_start, touch.ord]).map_err(wrote)?;
        }
        finish(stage)?;
        let sql = "UPDATE sections AS t SET line_start = s.line_start, ord = s.ord FROM temp.stage_moved AS s WHERE t.docid = s.docid";
        run(connection, "updating sections", sql)?;
    }
    Ok(())
}

fn append_changes(connection: &Connection, changes: &[Change], meta: &Meta, now: Micros) -> Result<i64, ImporterError> {
    if changes.is_empty() {
        return Ok(meta.next_change);
    }
    let generation = i64::try_from(meta.generation.number).unwrap_or(i64::MAX);
    let columns = vec![
        Column::integer(), // seq
        Column::integer(), // generation
        Column::text(),    // commit_oid
        Column::text(),    // op
        Column::text(),    // type
        Column::text(),    // id
        Column::text(),    // old_hash
        Column::text(),    // new_hash
        Column::list(),    // fields
        Column::time(),    // observed_at
    ];
    let mut rows = Rows::open(connection, "_changes", columns)?;
    let mut next = meta.next_change;
    for change in changes {
        rows.add([
            Cell::Integer(next),
            Cell::Integer(generation),
            change.commit.as_ref().or(meta.commit.as_ref()).map(String::as_str).into(),
            Cell::Text(change.op),
            Cell::Text(&change.type_name),
            Cell::Text(&change.id),
            change.old_hash.as_deref().into(),
            change.new_hash.as_deref().into(),
            Cell::List(&change.fields),
            Cell::Time(now),
        ])?;
        next += 1;
    }
    rows.finish()?;
    let oldest = next - KEPT_CHANGES;
    if oldest > 0 {
        run(connection, "writing _changes", &format!("DELETE FROM _changes WHERE seq < {oldest}"))?;
    }
    Ok(next)
}
