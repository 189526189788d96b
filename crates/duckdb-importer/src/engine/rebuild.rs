//! Building a generation from nothing but the source.

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::Ordering;

use baft_bus::payload::Counts;
use duckdb::Connection;

use super::compare::{changed_fields, file_record};
use super::read::{Outcome, Reading, read};
use super::scene::Scenery;
use super::seal::Tables;
use super::update::NAME;
use super::{Engine, Made, Progress, pool, resolve};
use crate::ImporterError;
use crate::apply::{Builder, ErrorRecord, FileRecord, Meta, Micros, entity_document, error_records, section_document};
use crate::db::{Access, RowGroups};
use crate::generation::Attempt;
use crate::search::Document;
use crate::tables;

impl Engine {
    /// Makes a database from the source. The rows of the generation before, when it is sound, only serve to tell what
    /// changed.
    pub(super) fn rebuild(&mut self) -> Result<Made, ImporterError> {
        // It has the name that the new file gets.
        self.standby = None;
        let before = self.workspace.current().filter(|published| published.check().is_ok());
        let attempt = self.workspace.begin()?;
        self.scenery.read_history()?;
        let old = before.as_ref().map(|published| published.db.clone());
        let building = std::time::Instant::now();
        let (meta, counts) = self.build(&attempt, old.as_deref())?;
        self.lap("write", building);
        Ok(Made { attempt, meta, counts, rebuilt: true, untouched: Tables::new() })
    }

    fn build(&mut self, attempt: &Attempt, old: Option<&std::path::Path>) -> Result<(Meta, Counts), ImporterError> {
        let threads = self.settings.publish.threads;
        let paths = self.scenery.dataset_files();
        self.scenery.fetch(paths.iter().cloned())?;
        self.session()?;
        let old_meta = old.map(|old| self.open_old(old)).transpose()?.flatten();
        let meta = Meta { next_docid: 1, next_section: 1, carried: 0, ..self.next_meta(old_meta.as_ref()) };
        let progress = self.progress.clone();
        let Some(session) = &self.session else { return Err(ImporterError::Stopped) };
        session.attach(attempt.db(), NAME, Access::Create)?;
        session.use_file(NAME)?;
        session.work_with(threads, RowGroups::Leave)?;
        let written = session.in_transaction(|connection| {
            let meta = fill(connection, &mut self.scenery, &paths, meta, threads, &progress)?;
            if old_meta.is_some() { tell_changes(connection, meta) } else { count_all(connection, meta) }
        });
        let written = written.and_then(|written| session.checkpoint(NAME).map(|()| written));
        let mut detached = session.detach(NAME);
        if old_meta.is_some() {
            detached = detached.and(session.detach("old"));
        }
        let written = written?;
        detached?;
        Ok(written)
    }

    /// Attaches the generation before; nothing when it was made by an importer with other tables.
    fn open_old(&self, old: &std::path::Path) -> Result<Option<Meta>, ImporterError> {
        let Some(session) = &self.session else { return Ok(None) };
        session.attach(old, "old", Access::Read)?;
        session.use_file("old")?;
        let meta = Meta::read(session.connection())?;
        if meta.is_none() {
            session.detach("old")?;
        }
        Ok(meta)
    }
}

/// A file read, with the index entries of what it contributes.
struct Prepared {
    outcome: Outcome,
    entities: HashMap<String, Document>,
    sections: Vec<Document>,
}

fn fill(
    connection: &Connection,
    scenery: &mut Scenery,
    paths: &[String],
    meta: Meta,
    threads: usize,
    progress: &Progress,
) -> Result<Meta, ImporterError> {
    let datasets = scenery.datasets();
    connection.execute_batch(&tables::ddl(&datasets)).map_err(ImporterError::db("making the tables"))?;
    let mut builder = Builder::new(connection, &datasets, Micros::now())?;
    let chains = paths.iter().map(|path| scenery.versions(path)).collect::<Result<Vec<_>, _>>()?;
    let tasks: Vec<_> = paths.iter().zip(&chains).filter_map(|(path, chain)| scenery.task(path, chain, None)).collect();
    progress.total.store(tasks.len(), Ordering::Relaxed);
    let mut owners: HashMap<String, String> = HashMap::new();
    let mut files: Vec<FileRecord> = Vec::new();
    let mut errors: Vec<ErrorRecord> = Vec::new();
    pool::each(
        &tasks,
        threads,
        scenery.contents(),
        |task, blobs| prepare(read(task, blobs)?),
        |_, mut prepared| {
            // Files come in path order, so an id that is taken belongs to an earlier file.
            let outcome = &mut prepared.outcome;
            resolve::drop_lost(outcome, |id| owners.get(id).cloned());
            for dated in &outcome.rows {
                owners.insert(dated.row.id.clone(), outcome.path.clone());
                let document = prepared.entities.remove(&dated.row.id).unwrap_or_default();
                builder.entity(dated, document, &outcome.path, &outcome.dataset)?;
            }
            for (section, document) in outcome.sections.iter().zip(prepared.sections) {
                builder.section(section, document, &outcome.path)?;
            }
            files.push(file_record(outcome));
            errors.extend(error_records(&outcome.issues, &outcome.since));
            progress.done.fetch_add(1, Ordering::Relaxed);
            Ok(())
        },
    )?;
    let (records, issues) = scenery.rule_records(&scenery.rule_files());
    files.extend(records);
    errors.extend(issues);
    builder.finish(&files, &errors, Meta { truncated: scenery.truncated(), ..meta })
}

fn prepare(reading: Reading) -> Result<Prepared, ImporterError> {
    match reading {
        Reading::Done(outcome) => {
            let entities =
                outcome.rows.iter().map(|dated| (dated.row.id.clone(), entity_document(&dated.row))).collect();
            let sections = outcome.sections.iter().map(section_document).collect();
            Ok(Prepared { outcome: *outcome, entities, sections })
        }
        Reading::NeedsHistory => {
            Err(ImporterError::Refused("the whole history was given, and more was asked for".to_owned()))
        }
    }
}

/// What is new against nothing: every row. It is not told row by row; the generation itself is the news.
fn count_all(connection: &Connection, meta: Meta) -> Result<(Meta, Counts), ImporterError> {
    let inserted = connection
        .query_row("SELECT count(*) FROM entities", [], |row| row.get::<_, i64>(0))
        .map_err(ImporterError::db("counting rows"))?;
    Ok((meta, Counts { inserted: inserted.unsigned_abs(), ..Counts::default() }))
}

/// Carries the change feed on and adds what differs from the generation before.
fn tell_changes(connection: &Connection, meta: Meta) -> Result<(Meta, Counts), ImporterError> {
    let failed = || ImporterError::db("comparing with the generation before");
    connection.execute_batch("INSERT INTO _changes SELECT * FROM old._changes").map_err(failed())?;
    let differing =
        "FROM entities AS n FULL JOIN old.entities AS o ON o.id = n.id WHERE n.row_hash IS DISTINCT FROM o.row_hash";
    let read = || {
        let sql = format!("SELECT n.id, o.content, n.content {differing} AND n.id IS NOT NULL AND o.id IS NOT NULL");
        let mut statement = connection.prepare(&sql)?;
        let rows = statement.query_map([], |row| {
            let (old, new): (String, String) = (row.get(1)?, row.get(2)?);
            Ok((row.get::<_, String>(0)?, changed_fields(&old, &new)))
        })?;
        rows.collect::<Result<BTreeMap<_, _>, duckdb::Error>>()
    };
    let fields: BTreeMap<String, Vec<String>> = read().map_err(failed())?;
    let stage = "CREATE OR REPLACE TEMP TABLE stage_fields (id VARCHAR, fields VARCHAR)";
    connection.execute_batch(stage).map_err(failed())?;
    for (id, fields) in &fields {
        let insert = "INSERT INTO temp.stage_fields VALUES (?, ?)";
        connection.execute(insert, duckdb::params![id, fields.join("\u{1f}")]).map_err(failed())?;
    }
    let (first, generation) = (meta.next_change, meta.generation.number);
    let commit = meta.commit.as_deref().map_or("NULL".to_owned(), tables::literal);
    let insert = format!(
        "INSERT INTO _changes SELECT {first} - 1 + row_number() OVER (ORDER BY coalesce(n.id, o.id)), {generation},
           coalesce(n.commit_oid, {commit}),
           CASE WHEN o.id IS NULL THEN 'insert' WHEN n.id IS NULL THEN 'delete' ELSE 'update' END,
           coalesce(n.type, o.type), coalesce(n.id, o.id), o.row_hash, n.row_hash,
           coalesce((SELECT CASE WHEN f.fields <> '' THEN string_split(f.fields, chr(31)) END FROM temp.stage_fields AS f WHERE f.id = n.id), []),
           make_timestamp({now}) {differing}",
        now = Micros::now().0,
    );
    connection.execute_batch(&insert).map_err(failed())?;
    let count = |op: &str| -> Result<u64, ImporterError> {
        let sql = format!("SELECT count(*) FROM _changes WHERE seq >= {first} AND op = '{op}'");
        let count = connection.query_row(&sql, [], |row| row.get::<_, i64>(0)).map_err(failed())?;
        Ok(count.unsigned_abs())
    };
    let counts = Counts {
        inserted: count("insert")?,
        updated: count("update")?,
        deleted: count("delete")?,
        ..Counts::default()
    };
    let told = i64::try_from(counts.inserted + counts.updated + counts.deleted).unwrap_or(0);
    let meta = Meta { next_change: first + told, ..meta };
    meta.write_again(connection)?;
    Ok((meta, counts))
}
