//! Putting what changed into a copy of the last generation.

use duckdb::types::Value;
use duckdb::{Connection, params};

use super::books::{append_errors, append_files};
use super::build::RESOLVE;
use super::index::update_index;
use super::typed::{SectionStage, Stage};
use super::{
    ErrorRecord, FileRecord, Meta, Micros, append_entity, appender, entity_document, finish, run, section_document,
    section_key, temp_appender, wrote,
};
use crate::ImporterError;
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
    /// Ids whose rows go: deleted entities, and the old rows of changed ones.
    pub gone: Vec<String>,
    /// Document numbers of those.
    pub gone_docs: Vec<i32>,
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

/// New values of the columns that are not content.
#[derive(Debug)]
pub struct Touch {
    /// Which row.
    pub docid: i32,
    /// Its file.
    pub path: String,
    /// Its place, past and flags.
    pub dated: DatedRow,
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

/// Applies a delta to the database in use, and writes `meta` with its change counter advanced.
///
/// # Errors
/// When DuckDB refuses; the caller then throws the copy away.
pub fn update(
    connection: &Connection,
    datasets: &Datasets,
    delta: &Delta,
    meta: Meta,
    now: Micros,
) -> Result<Meta, ImporterError> {
    remove_rows(connection, datasets, &delta.gone)?;
    add_rows(connection, datasets, &delta.rows, now)?;
    touch_rows(connection, &delta.touched)?;
    change_sections(connection, delta)?;
    resolve_edges(connection, delta)?;
    let documents =
        delta.rows.iter().map(|new| (new.docid, new.dated.row.id.as_str(), entity_document(&new.dated.row)));
    update_index(connection, SCHEMA_ENTITIES, &delta.gone_docs, &documents.collect::<Vec<_>>())?;
    let keys: Vec<_> = delta.sections.iter().map(|new| section_key(&new.path, &new.section.pointer)).collect();
    let documents =
        delta.sections.iter().zip(&keys).map(|(new, key)| (new.docid, key.as_str(), section_document(&new.section)));
    update_index(connection, SCHEMA_SECTIONS, &delta.gone_sections, &documents.collect::<Vec<_>>())?;
    if !delta.paths.is_empty() {
        stage_names(connection, "stage_paths", &delta.paths)?;
        let sql = "DELETE FROM _files WHERE path IN (FROM temp.stage_paths); DELETE FROM _errors WHERE path IN (FROM temp.stage_paths);";
        run(connection, "updating the books", sql)?;
    }
    append_files(connection, &delta.files)?;
    append_errors(connection, &delta.errors)?;
    let next_change = append_changes(connection, &delta.changes, &meta, now)?;
    let meta = Meta { next_change, ..meta };
    meta.write(connection)?;
    Ok(meta)
}

/// A temporary table with one column of names.
pub(crate) fn stage_names(connection: &Connection, table: &str, names: &[String]) -> Result<(), ImporterError> {
    run(connection, "making a staging table", &format!("CREATE OR REPLACE TEMP TABLE {table} (name VARCHAR)"))?;
    let mut stage = temp_appender(connection, table)?;
    for name in names {
        stage.append_row(params![name]).map_err(wrote)?;
    }
    finish(stage)
}

fn remove_rows(connection: &Connection, datasets: &Datasets, gone: &[String]) -> Result<(), ImporterError> {
    if gone.is_empty() {
        return Ok(());
    }
    stage_names(connection, "stage_ids", gone)?;
    let mut sql = String::new();
    let tables = with_table(datasets).map(|dataset| (ident(dataset.id.as_str()), "id"));
    let fixed = [("entities".to_owned(), "id"), ("aliases".to_owned(), "id"), ("edges".to_owned(), "src_id")];
    for (table, column) in fixed.into_iter().chain(tables) {
        sql.push_str(&format!("DELETE FROM {table} WHERE {column} IN (FROM temp.stage_ids);"));
    }
    run(connection, "removing rows", &sql)
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
            let mut stage = Stage::open(connection, dataset)?;
            mine.try_for_each(|new| stage.add(&new.dated.row))?;
            stage.finish()?;
        }
    }
    Ok(())
}

fn touch_rows(connection: &Connection, touched: &[Touch]) -> Result<(), ImporterError> {
    if touched.is_empty() {
        return Ok(());
    }
    run(
        connection,
        "making a staging table",
        "CREATE OR REPLACE TEMP TABLE stage_touched AS SELECT docid, source_path, line_start, line_end, blob_oid, commit_oid, \
         updated_date, schema_valid, stale FROM entities LIMIT 0",
    )?;
    let mut stage = temp_appender(connection, "stage_touched")?;
    for touch in touched {
        let DatedRow { row, since, stale } = &touch.dated;
        stage
            .append_row(params![
                touch.docid,
                touch.path,
                row.line_start,
                row.line_end,
                since.blob,
                since.commit,
                Value::Date32(since.day),
                row.schema_valid,
                stale,
            ])
            .map_err(wrote)?;
    }
    finish(stage)?;
    // Each column by itself: a column that is not touched is not written again.
    let mut sql = String::new();
    for columns in [
        &["line_start", "line_end"][..],
        &["source_path"],
        &["blob_oid", "commit_oid", "updated_date"],
        &["schema_valid", "stale"],
    ] {
        let set = columns.iter().map(|column| format!("{column} = s.{column}")).collect::<Vec<_>>().join(", ");
        let differ = columns
            .iter()
            .map(|column| format!("t.{column} IS DISTINCT FROM s.{column}"))
            .collect::<Vec<_>>()
            .join(" OR ");
        sql.push_str(&format!(
            "UPDATE entities AS t SET {set} FROM temp.stage_touched AS s WHERE t.docid = s.docid AND ({differ});"
        ));
    }
    run(connection, "updating rows", &sql)
}

fn change_sections(connection: &Connection, delta: &Delta) -> Result<(), ImporterError> {
    if !delta.gone_sections.is_empty() {
        run(connection, "making a staging table", "CREATE OR REPLACE TEMP TABLE stage_gone_sections (docid INTEGER)")?;
        let mut stage = temp_appender(connection, "stage_gone_sections")?;
        for docid in &delta.gone_sections {
            stage.append_row(params![docid]).map_err(wrote)?;
        }
        finish(stage)?;
        run(connection, "removing sections", "DELETE FROM sections WHERE docid IN (FROM temp.stage_gone_sections)")?;
    }
    if !delta.sections.is_empty() {
        let mut stage = SectionStage::open(connection)?;
        for new in &delta.sections {
            stage.add(&new.section, &new.path, &section_key(&new.path, &new.section.pointer), new.docid)?;
        }
        stage.finish()?;
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

fn resolve_edges(connection: &Connection, delta: &Delta) -> Result<(), ImporterError> {
    if delta.rows.iter().any(|new| !new.dated.row.edges.is_empty()) {
        let sql =
            "CREATE OR REPLACE TEMP TABLE stage_edges (src_id VARCHAR, field VARCHAR, raw VARCHAR, target VARCHAR)";
        run(connection, "making a staging table", sql)?;
        let mut stage = temp_appender(connection, "stage_edges")?;
        for row in delta.rows.iter().map(|new| &new.dated.row) {
            for edge in &row.edges {
                stage.append_row(params![row.id, edge.field, edge.raw, edge.target_id]).map_err(wrote)?;
            }
        }
        finish(stage)?;
        let sql = format!(
            "INSERT INTO edges SELECT s.src_id, s.field, s.raw, coalesce(e.id, a.id, s.target),
               e.id IS NOT NULL OR a.id IS NOT NULL, s.target FROM temp.stage_edges AS s {RESOLVE}"
        );
        run(connection, "resolving references", &sql)?;
    }
    if !delta.names.is_empty() {
        stage_names(connection, "stage_names", &delta.names)?;
        let sql = format!(
            "UPDATE edges AS t SET dst_id = r.dst_id, resolved = r.resolved FROM (
               SELECT s.target, coalesce(e.id, a.id, s.target) AS dst_id, e.id IS NOT NULL OR a.id IS NOT NULL AS resolved
               FROM (SELECT DISTINCT name AS target FROM temp.stage_names) AS s {RESOLVE}) AS r
             WHERE t.target = r.target AND (t.dst_id IS DISTINCT FROM r.dst_id OR t.resolved IS DISTINCT FROM r.resolved)"
        );
        run(connection, "resolving references", &sql)?;
    }
    Ok(())
}

fn append_changes(connection: &Connection, changes: &[Change], meta: &Meta, now: Micros) -> Result<i64, ImporterError> {
    if changes.is_empty() {
        return Ok(meta.next_change);
    }
    let sql =
        "CREATE OR REPLACE TEMP TABLE stage_changes AS SELECT * REPLACE (''::VARCHAR AS fields) FROM _changes LIMIT 0";
    run(connection, "making a staging table", sql)?;
    let mut stage = temp_appender(connection, "stage_changes")?;
    let mut next = meta.next_change;
    let generation = i64::try_from(meta.generation.number).unwrap_or(i64::MAX);
    for change in changes {
        let fields = change.fields.join("\u{1f}");
        stage
            .append_row(params![
                next,
                generation,
                change.commit.as_ref().or(meta.commit.as_ref()),
                change.op,
                change.type_name,
                change.id,
                change.old_hash,
                change.new_hash,
                fields,
                Value::Timestamp(duckdb::types::TimeUnit::Microsecond, now.0),
            ])
            .map_err(wrote)?;
        next += 1;
    }
    finish(stage)?;
    let oldest = next - KEPT_CHANGES;
    let sql = format!(
        "INSERT INTO _changes SELECT * REPLACE (CASE WHEN fields = '' THEN [] ELSE string_split(fields, chr(31)) END AS fields) \
         FROM temp.stage_changes; DELETE FROM _changes WHERE seq < {oldest};"
    );
    run(connection, "writing _changes", &sql)?;
    Ok(next)
}
