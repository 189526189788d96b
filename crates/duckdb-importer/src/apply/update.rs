//! Putting what changed into a copy of the last generation.

use std::collections::BTreeSet;

use duckdb::{Connection, params};

use super::among::{among, among_numbers};
use super::books::{append_errors, append_files};
use super::columns::{Cell, Column, Rows};
use super::edges::resolve_edges;
use super::index::update_index;
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
    /// Paths whose entries in `_files` and `_errors` go.
    pub paths: Vec<String>,
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
    /// The tables that applying it writes; a search index counts as one, by the name of its schema.
    #[must_use]
    pub fn writes(&self) -> BTreeSet<&str> {
        let rows = !self.gone.is_empty() || !self.rows.is_empty();
        let documents = !self.gone_sections.is_empty() || !self.sections.is_empty();
        let mut written: BTreeSet<_> = [
            (true, "_meta"),
            (rows || !self.touched.is_empty(), "entities"),
            (rows, "aliases"),
            (rows || !self.names.is_empty(), "edges"),
            (rows, SCHEMA_ENTITIES),
            (documents || !self.touched_sections.is_empty(), "sections"),
            (documents, SCHEMA_SECTIONS),
            (!self.paths.is_empty() || !self.files.is_empty(), "_files"),
            (!self.paths.is_empty() || !self.errors.is_empty(), "_errors"),
            (!self.changes.is_empty(), "_changes"),
        ]
        .into_iter()
        .filter_map(|(written, table)| written.then_some(table))
        .collect();
        written.extend(self.gone.iter().map(|row| row.dataset.as_str()));
        written.extend(self.rows.iter().map(|row| row.dataset.as_str()));
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

/// Applies a delta to the database in use, and writes `meta` with its change counter advanced. The search index and the
/// books are as much to write as everything else, and are written beside it through `other`, a second handle on the same
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
    std::thread::scope(|scope| {
        let beside = scope.spawn(move || other.in_transaction(|it| write_beside(it, delta, meta, now)));
        let rows = session.in_transaction(|it| write_rows(it, datasets, delta, now));
        let meta = beside.join().unwrap_or(Err(ImporterError::Stopped))?;
        rows.map(|()| meta)
    })
}

/// Entities and sections, and what follows from them.
fn write_rows(connection: &Connection, datasets: &Datasets, delta: &Delta, now: Micros) -> Result<(), ImporterError> {
    remove_rows(connection, datasets, &delta.gone)?;
    add_rows(connection, datasets, &delta.rows, now)?;
    touch_rows(connection, &delta.touched)?;
    change_sections(connection, delta)?;
    resolve_edges(connection, delta)
}

/// The search index and the books, which no other table depends on.
fn write_beside(connection: &Connection, delta: &Delta, meta: Meta, now: Micros) -> Result<Meta, ImporterError> {
    let documents =
        delta.rows.iter().map(|new| (new.docid, new.dated.row.id.as_str(), entity_document(&new.dated.row)));
    let gone: Vec<_> = delta.gone.iter().map(|gone| gone.docid).collect();
    update_index(connection, SCHEMA_ENTITIES, &gone, &documents.collect::<Vec<_>>())?;
    let keys: Vec<_> = delta.sections.iter().map(|new| section_key(&new.path, &new.section.pointer)).collect();
    let documents =
        delta.sections.iter().zip(&keys).map(|(new, key)| (new.docid, key.as_str(), section_document(&new.section)));
    update_index(connection, SCHEMA_SECTIONS, &delta.gone_sections, &documents.collect::<Vec<_>>())?;
    if !delta.paths.is_empty() {
        let paths = among(connection, "stage_paths", &delta.paths)?;
        let sql = format!("DELETE FROM _files WHERE path IN {paths}; DELETE FROM _errors WHERE path IN {paths};");
        run(connection, "updating the books", &sql)?;
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
    let ids = |rows: &[&Gone]| rows.iter().map(|row| row.id.clone()).collect::<Vec<_>>();
    let all = among(connection, "stage_ids", &ids(&gone.iter().collect::<Vec<_>>()))?;
    let mut sql = String::new();
    for (table, column) in [("entities", "id"), ("aliases", "id"), ("edges", "src_id")] {
        sql.push_str(&format!("DELETE FROM {table} WHERE {column} IN {all};"));
    }
    run(connection, "removing rows", &sql)?;
    for dataset in with_table(datasets) {
        let mine: Vec<_> = gone.iter().filter(|row| row.dataset == dataset.id.as_str()).collect();
        if !mine.is_empty() {
            let ids = among(connection, "stage_ids", &ids(&mine))?;
            let sql = format!("DELETE FROM {} WHERE id IN {ids}", ident(dataset.id.as_str()));
            run(connection, "removing rows", &sql)?;
        }
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
        for alias in &new.dated.row.aliases {
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
