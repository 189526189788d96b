//! Applying what changed to a copy of the current generation.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::atomic::Ordering;
use std::time::Instant;

use baft_bus::payload::Counts;

use super::plan::{Base, Plan};
use super::read::{BaseFile, Outcome, Reading, Task, read};
use super::scene::{AHEAD, SETTLING, Scenery};
use super::seal::Tables;
use super::standby::Handles;
use super::stored::StoredRow;
use super::{Engine, Known, Made, compare, pool, report, resolve, seal, stored};
use crate::ImporterError;
use crate::apply::{self, Delta, Meta, Micros};
use crate::daemon::{self, Report};
use crate::db::{Access, RowGroups};
use crate::generation::{Attempt, FileId, Published, check_alone, check_digest, copy_checked, copy_trusted};
use crate::source::{Range, Version, WORKTREE};
use baft_dataset::dataset::Dataset;
use baft_dataset::rows::FileState;

/// The name under which a generation in the making is attached.
pub(super) const NAME: &str = "itp";

impl Engine {
    /// Publishes what changed. Nothing when the current generation cannot be carried on and must be built anew.
    pub(super) fn update(&mut self, started: Instant) -> Result<Option<Report>, ImporterError> {
        let Some(published) = self.workspace.current() else { return Ok(None) };
        let Some(known) = self.know(&published)? else { return Ok(None) };
        if known.meta.rules != self.scenery.fingerprint() {
            tracing::info!("the datasets' declaration or the importer changed; building the database anew");
            return Ok(None);
        }
        let plan = self.scenery.plan(&known.base)?;
        if plan.is_empty() {
            let mut counts = Counts { unchanged: published.manifest.rows.values().sum(), ..Counts::default() };
            counts.errors = published.manifest.counts.errors;
            let mut report = report(&published.manifest, counts, daemon::Outcome::Unchanged, started.elapsed());
            report.commit = self.scenery.target.commit().map(|commit| commit.to_string());
            return Ok(Some(report));
        }
        self.scenery.fetch(plan.read.iter().cloned())?;
        self.scenery.read_ahead(&plan.read);
        let copying = Instant::now();
        let Some((attempt, handles)) = self.open_copy(&published, &known)? else { return Ok(None) };
        attempt.sync_early();
        self.lap("copy", copying);
        let now = Micros::now();
        let meta = self.next_meta(Some(&known.meta));
        // What one edit changes is little, and handing it to other threads costs more than they save.
        let groups = row_groups(meta.carried, published.manifest.rows.values().sum());
        self.session()?.work_with(1, groups)?;
        let result = self.apply(&plan, &known, meta, now, handles);
        let detached = self.session()?.detach(NAME);
        let (meta, counts, untouched) = result?;
        detached?;
        let made = Made { attempt, meta, counts, rebuilt: false, untouched };
        self.publish(made, started).map(Some)
    }

    /// What is known of the current generation; read and checked once, then remembered. Nothing when it is damaged.
    fn know(&mut self, published: &Published) -> Result<Option<Known>, ImporterError> {
        let look = || FileId::of(&published.db);
        let number = published.manifest.generation.number;
        if let Some(known) = &self.known
            && known.number == number
            && check_alone(&published.db).is_ok()
            && look().is_ok_and(|file| file == known.file)
        {
            return Ok(Some(known.clone()));
        }
        self.known = None;
        self.standby = None;
        if let Err(why) = published.check() {
            tracing::error!(generation = number, %why, "the published database was damaged; building it anew");
            return Ok(None);
        }
        let Ok(file) = look() else { return Ok(None) };
        let session = self.session()?;
        session.attach(&published.db, "known", Access::Read)?;
        session.use_file("known")?;
        let connection = session.connection();
        let read = Meta::read(connection)
            .and_then(|meta| Ok((meta, stored::files(connection)?, stored::complaints(connection)?)));
        session.detach("known")?;
        let (Some(meta), (files, _), (complaints, _)) = read? else { return Ok(None) };
        let commit = meta.commit.as_deref().and_then(|commit| commit.parse().ok());
        let known = Known { number, file, base: Base { commit, files, complaints }, meta, tables: Tables::new() };
        self.known = Some(known.clone());
        Ok(Some(known))
    }

    /// Something was saved, and more may follow: reads in the background what an import will need, if all stays as it is.
    /// Nothing depends on it. When many files changed, an import has enough to do for all threads, and nothing is read.
    pub fn anticipate(&mut self) {
        self.expected = None;
        let Some(known) = &self.known else { return };
        let looked = self.scenery.look(None).and_then(|()| self.scenery.plan(&known.base));
        let Ok(plan) = looked else { return };
        let paths = plan.paths();
        if !(1..=AHEAD).contains(&paths.len()) || known.meta.rules != self.scenery.fingerprint() {
            return;
        }
        if self.scenery.fetch(plan.read.iter().cloned()).is_ok() {
            self.scenery.read_ahead(&plan.read);
            let number = known.number;
            let rows = self.standby.as_mut().and_then(|standby| standby.rows(number, &paths));
            self.expected = rows.map(|rows| Expected { number, paths, rows });
        }
    }

    /// A private copy of the current generation, attached as [`NAME`]: the one that waits, or a new one. Nothing when the
    /// current generation is not what was published.
    fn open_copy(&mut self, published: &Published, known: &Known) -> Result<Option<(Attempt, Handles)>, ImporterError> {
        if let Some(standby) = self.standby.take()
            && let Some(copy) = standby.take(&self.workspace, known.number)
        {
            return Ok(Some(copy));
        }
        let attempt = self.workspace.begin()?;
        let copying = ImporterError::io("copy", &published.db);
        if FileId::of(&published.db).is_ok_and(|file| file == known.file) {
            copy_trusted(&published.db, attempt.db()).map_err(copying)?;
        } else {
            let digest = copy_checked(&published.db, attempt.db()).map_err(copying)?;
            if check_digest(published, &digest).is_err() {
                return Ok(None);
            }
        }
        let session = self.session()?;
        session.attach(attempt.db(), NAME, Access::Write)?;
        let handles = Handles::on(session, attempt.db())?;
        Ok(Some((attempt, handles)))
    }

    pub(super) fn next_meta(&self, before: Option<&Meta>) -> Meta {
        Meta {
            generation: self.next_generation(before),
            commit: self.scenery.target.commit().map(|commit| commit.to_string()),
            rules: self.scenery.fingerprint(),
            next_docid: before.map_or(1, |meta| meta.next_docid),
            next_section: before.map_or(1, |meta| meta.next_section),
            next_change: before.map_or(1, |meta| meta.next_change),
            truncated: self.scenery.truncated(),
            carried: before.map_or(0, |meta| meta.carried + 1),
            imported_at: baft_kit::time::now_rfc3339(),
        }
    }

    /// Reads the files of the plan and writes what they change into the copy.
    fn apply(
        &mut self,
        plan: &Plan,
        known: &Known,
        mut meta: Meta,
        now: Micros,
        handles: Handles,
    ) -> Result<(Meta, Counts, Tables), ImporterError> {
        let threads = self.settings.publish.threads;
        let connection = handles.one.connection();
        let scenery = &mut self.scenery;

        let parsing = Instant::now();
        let mut paths: Vec<String> = plan.paths();
        self.progress.total.store(paths.len(), Ordering::Relaxed);
        let expected = self.expected.take().filter(|it| it.number == known.number && it.paths == paths);
        let mut old = match expected {
            Some(expected) => expected.rows,
            None => stored::rows(connection, &paths)?,
        };
        scenery.finish_reading();
        let mut outcomes = BTreeMap::new();
        let mut to_read: Vec<String> = plan.read.iter().cloned().collect();
        let mut owned;
        loop {
            let base = base_files(&known.base, &to_read, &old);
            let done = read_files(scenery, &to_read, plan.range.as_ref(), &base, threads)?;
            self.progress.done.fetch_add(done.len(), Ordering::Relaxed);
            outcomes.extend(done.into_iter().map(|outcome| (outcome.path.clone(), outcome)));
            let before = compare::shown(&old);
            let owners = stored::owners(connection, &compare::new_ids(&outcomes, &before))?;
            let more = resolve::drawn_in(&outcomes, &before, &owners, &known.base.complaints.losers, &paths);
            owned = owners;
            if more.is_empty() {
                break;
            }
            to_read = more.into_iter().collect();
            scenery.fetch(to_read.iter().cloned())?;
            paths.extend(to_read.iter().cloned());
            old = stored::rows(connection, &paths)?;
        }
        unsettled(scenery, &outcomes)?;
        resolve::settle(&mut outcomes, &owned);
        self.phases.push(("parse", parsing.elapsed()));
        let writing = Instant::now();

        let complaints = &known.base.complaints;
        let troubled = paths.iter().filter(|path| complaints.files.contains(*path)).cloned().collect();
        let mut delta = Delta { paths: paths.clone(), troubled, ..Delta::default() };
        compare::books(&outcomes, &mut delta);
        rule_books(scenery, plan, &mut delta);
        compare::entities(connection, scenery, &mut outcomes, old, &mut meta, &mut delta)?;
        // Most files hold none.
        let datasets = &scenery.rules.datasets;
        let prose = |path: &&String| datasets.for_path(path).is_none_or(Dataset::has_sections);
        let prose: Vec<_> = paths.iter().filter(prose).cloned().collect();
        if !prose.is_empty() {
            compare::sections(connection, &prose, &mut outcomes, &mut meta, &mut delta)?;
        }
        let counts = counts(&delta);
        let untouched = seal::untouched(known.tables.clone(), &delta.writes());
        let meta = apply::update(&handles.one, handles.other, &scenery.rules.datasets, &delta, meta, now)?;
        handles.one.checkpoint(NAME)?;
        self.phases.push(("write", writing.elapsed()));
        Ok((meta, counts, untouched))
    }
}

/// What the database knows of the files that will probably be imported next.
#[derive(Debug)]
pub(super) struct Expected {
    number: u64,
    paths: Vec<String>,
    rows: Vec<StoredRow>,
}

/// Every import leaves a small row group in each table it writes, and each of them costs the imports after it a millisecond or
/// two. Merging costs by what the file holds: the more rows, the more rarely.
fn row_groups(carried: u64, rows: u64) -> RowGroups {
    match carried % (8 + rows / 128) {
        0 => RowGroups::Merge,
        _ => RowGroups::Leave,
    }
}

fn counts(delta: &Delta) -> Counts {
    let count = |op| delta.changes.iter().filter(|change| change.op == op).count() as u64;
    Counts { inserted: count("insert"), updated: count("update"), deleted: count("delete"), ..Counts::default() }
}

/// What the database knows of each of these files.
fn base_files(base: &Base, paths: &[String], rows: &[StoredRow]) -> HashMap<String, BaseFile> {
    let contested: BTreeSet<&String> = base.complaints.losers.values().flatten().collect();
    let mut files: HashMap<String, BaseFile> = HashMap::with_capacity(paths.len());
    for path in paths {
        let mut file = BaseFile::default();
        if let Some(record) = base.files.get(path) {
            file.since = record.since.clone();
            file.clean = record.state == "ok" && record.since != WORKTREE && !contested.contains(path);
        }
        files.insert(path.clone(), file);
    }
    for row in rows {
        if let Some(file) = files.get_mut(&row.path) {
            file.rows.insert(row.id.clone(), row.base.clone());
        }
    }
    files
}

/// Reads files of datasets; the others among `paths` are skipped. Without a range nothing the database knows of the past
/// holds any more.
fn read_files(
    scenery: &mut Scenery,
    paths: &[String],
    range: Option<&Range>,
    base: &HashMap<String, BaseFile>,
    threads: usize,
) -> Result<Vec<Outcome>, ImporterError> {
    let mut outcomes = Vec::new();
    let mut again = Vec::new();
    match range {
        None => again.extend(paths.iter().filter(|path| scenery.is_data(path)).cloned()),
        Some(range) => {
            let chains: Vec<_> = paths.iter().map(|path| scenery.recent(path, range)).collect();
            let mut tasks = Vec::with_capacity(paths.len());
            for (path, (chain, complete)) in paths.iter().zip(&chains) {
                match base.get(path).filter(|_| !complete) {
                    // What differs from a version that is not committed, or not whole, only those before it tell.
                    Some(base) if !base.clean => again.extend(scenery.is_data(path).then(|| path.clone())),
                    base => tasks.extend(task(scenery, path, chain, base)),
                }
            }
            pool::each(
                &tasks,
                threads,
                scenery.contents(),
                |task, blobs| read(task, blobs),
                |index, reading| {
                    match reading {
                        Reading::Done(outcome) => outcomes.push(*outcome),
                        Reading::NeedsHistory => again.push(tasks[index].path.to_owned()),
                    }
                    Ok(())
                },
            )?;
        }
    }
    let chains = again.iter().map(|path| scenery.versions(path)).collect::<Result<Vec<_>, _>>()?;
    let tasks: Vec<_> =
        again.iter().zip(&chains).filter_map(|(path, chain)| task(scenery, path, chain, None)).collect();
    pool::each(
        &tasks,
        threads,
        scenery.contents(),
        |task, blobs| read(task, blobs),
        |_, reading| {
            if let Reading::Done(outcome) = reading {
                outcomes.push(*outcome);
            }
            Ok(())
        },
    )?;
    Ok(outcomes)
}

/// A file to be read, unless it was lately.
fn task<'a>(scenery: &'a Scenery, path: &'a str, chain: &'a [Version], base: Option<&'a BaseFile>) -> Option<Task<'a>> {
    Some(Task { memo: Some(&scenery.memo), ..scenery.task(path, chain, base)? })
}

/// A file that cannot be read and was saved a moment ago is probably being written: look again instead of telling
/// everybody that it is broken.
fn unsettled(scenery: &Scenery, outcomes: &BTreeMap<String, Outcome>) -> Result<(), ImporterError> {
    let settling = |path: &str| {
        let saved = scenery.files.get(path).and_then(|now| now.saved);
        saved.is_some_and(|(_, age)| age < SETTLING)
    };
    match outcomes.values().any(|outcome| outcome.state == FileState::Unparsable && settling(&outcome.path)) {
        true => Err(ImporterError::Unsettled),
        false => Ok(()),
    }
}

/// The books' entries of the declaration and the schemas that changed.
fn rule_books(scenery: &mut Scenery, plan: &Plan, delta: &mut Delta) {
    let (records, errors) = scenery.rule_records(&plan.read.iter().cloned().collect::<Vec<_>>());
    delta.files.extend(records);
    delta.errors.extend(errors);
}
