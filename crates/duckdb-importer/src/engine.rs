//! From the source to a published generation: what changed is found in four layers, each cheaper than the next (the
//! commit, the file, the row, the index entry), and only that is written.
//!
//! The engine is synchronous and owned by one thread. It keeps nothing that it could not read again from the source and
//! the published file; what it remembers between imports only saves time.

mod compare;
mod memo;
mod plan;
mod pool;
mod read;
mod rebuild;
mod resolve;
mod rules;
mod scene;
mod seal;
mod standby;
mod stored;
mod update;
mod verify;

pub use read::DatedRow;
pub(crate) use resolve::id_is_elsewhere;
pub use seal::TableDigest;
pub use verify::{Difference, Verification, verify};

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use baft_bus::payload::{Counts, Generation};

use crate::ImporterError;
use crate::apply::Meta;
use crate::config::Settings;
use crate::daemon::{Outcome, Report, Request};
use crate::db::Session;
use crate::generation::{Attempt, FileId, Manifest, Published, Workspace};
use plan::Base;
use scene::Scenery;
use seal::{Sealed, Tables};
use standby::Standby;
use update::Expected;

/// Each generation that is carried on leaves deleted rows and small row groups behind; after this many it is time to
/// build anew, when nothing else is to be done.
const WORN: u64 = 200;

/// How far a long import has come.
#[derive(Debug, Default)]
pub struct Progress {
    /// Files read.
    pub done: AtomicUsize,
    /// Files to read.
    pub total: AtomicUsize,
}

/// Keeps one publish folder in step with one source.
#[derive(Debug)]
pub struct Engine {
    settings: Settings,
    /// Before the workspace, which holds the lock: it must be gone when another importer may begin.
    standby: Option<Standby>,
    expected: Option<Expected>,
    workspace: Workspace,
    session: Option<Session>,
    opening: Option<JoinHandle<Result<Session, ImporterError>>>,
    scenery: Scenery,
    known: Option<Known>,
    keep_standby: bool,
    /// The file that was read back last is still open.
    reading: bool,
    progress: Arc<Progress>,
    announced: Option<u64>,
    phases: Vec<(&'static str, Duration)>,
}

/// The current generation, as this process published or read it.
#[derive(Debug, Clone)]
struct Known {
    number: u64,
    file: FileId,
    base: Base,
    meta: Meta,
    /// What its tables hold, when this process has read them.
    tables: Tables,
}

/// A database that is written and closed, not yet published.
struct Made {
    attempt: Attempt,
    meta: Meta,
    counts: Counts,
    rebuilt: bool,
    /// What the tables hold that are as they were in the generation before.
    untouched: Tables,
}

impl Engine {
    /// Takes the publish folder. The database engine starts in the background meanwhile.
    ///
    /// # Errors
    /// Another importer has the folder, or it cannot be written.
    pub fn open(settings: Settings) -> Result<Self, ImporterError> {
        let publish = &settings.publish;
        if publish.db_name.is_empty() || publish.db_name.contains('/') {
            let error =
                baft_kit::config::ConfigError::new("--db-name", &publish.db_name, "a file name without a folder");
            return Err(error.into());
        }
        let workspace = Workspace::open(&publish.dir, &publish.db_name)?;
        let scenery = Scenery::new(&settings);
        let mut engine = Self {
            settings,
            workspace,
            session: None,
            opening: None,
            scenery,
            known: None,
            standby: None,
            expected: None,
            keep_standby: false,
            reading: false,
            progress: Arc::default(),
            announced: None,
            phases: Vec::new(),
        };
        engine.start_session();
        Ok(engine)
    }

    /// Keep a copy of the current generation ready for the next import. For daemons: it takes the copying out of the way
    /// between a change and its publication.
    pub fn keep_standby(&mut self) {
        self.keep_standby = true;
    }

    /// Generations after this one still have to be announced; their manifests are kept.
    pub fn announced(&mut self, number: Option<u64>) {
        self.announced = number;
    }

    /// Whether the current generation was carried on so often that building it anew makes it smaller and quicker to read.
    #[must_use]
    pub fn is_worn(&self) -> bool {
        self.known.as_ref().is_some_and(|known| known.meta.carried >= WORN)
    }

    /// How far the import under way has come.
    #[must_use]
    pub fn progress(&self) -> Arc<Progress> {
        self.progress.clone()
    }

    /// Folders and files of a working tree that matter; see [`baft_dataset::dataset::Datasets::roots`].
    #[must_use]
    pub fn roots(&self) -> Vec<String> {
        self.scenery.datasets().roots()
    }

    /// What is published now.
    #[must_use]
    pub fn current(&self) -> Option<Published> {
        self.workspace.current()
    }

    /// Brings the published database in step with the source.
    ///
    /// # Errors
    /// Nothing was published; what was published before stays.
    pub fn import(&mut self, request: &Request) -> Result<Report, ImporterError> {
        if self.reading {
            self.tidy();
        }
        let started = Instant::now();
        self.progress.done.store(0, Ordering::Relaxed);
        self.progress.total.store(0, Ordering::Relaxed);
        self.phases.clear();
        self.scenery.look(request.commit.as_deref())?;
        self.lap("look", started);
        let result = self.import_scene(request, started);
        if matches!(result, Err(ImporterError::Repo { .. })) {
            self.scenery.forget_repository();
        }
        result
    }

    fn import_scene(&mut self, request: &Request, started: Instant) -> Result<Report, ImporterError> {
        if !request.full {
            match self.update(started) {
                Ok(Some(report)) => return Ok(report),
                Ok(None) => {}
                Err(error) if spoiled(&error) => {
                    tracing::warn!(%error, "applying the changes failed; building the database from the source");
                    self.restart_session();
                }
                Err(error) => return Err(error),
            }
        }
        let made = match self.rebuild() {
            Err(error) if spoiled(&error) => {
                self.restart_session();
                return Err(error);
            }
            made => made?,
        };
        self.publish(made, started)
    }

    /// Checks, seals and publishes what was made.
    fn publish(&mut self, made: Made, started: Instant) -> Result<Report, ImporterError> {
        let Made { attempt, meta, mut counts, rebuilt, untouched } = made;
        attempt.check_sealed()?;
        attempt.sync_early();
        let sealing = Instant::now();
        let (sealed, file_digest) = self.seal(&attempt, untouched)?;
        let bytes = std::fs::metadata(attempt.db()).map_err(ImporterError::io("look at", attempt.db()))?.len();
        counts.errors = sealed.complaints.severe;
        counts.unchanged = sealed.rows.values().sum::<u64>().saturating_sub(counts.inserted + counts.updated);
        let mut quarantined = sealed.quarantined;
        for file in &mut quarantined {
            file.new = !self.was_quarantined(&file.path, &sealed.files);
        }
        let manifest = Manifest {
            generation: meta.generation.clone(),
            commit: meta.commit.clone(),
            content_digest: sealed.digest,
            file_digest,
            bytes,
            published_at: baft_kit::time::now_rfc3339(),
            duration_ms: u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX),
            counts,
            rows: sealed.rows,
            quarantined,
            rebuilt,
        };
        self.lap("seal", sealing);
        let publishing = Instant::now();
        let published = attempt.publish(&self.workspace, manifest)?;
        self.lap("publish", publishing);
        let base = Base {
            commit: meta.commit.as_deref().and_then(|commit| commit.parse().ok()),
            files: sealed.files,
            complaints: sealed.complaints,
        };
        let file = FileId::of(&published.db).map_err(ImporterError::io("look at", &published.db))?;
        self.known = Some(Known { number: meta.generation.number, file, base, meta, tables: sealed.tables });
        let outcome = if rebuilt { Outcome::Rebuilt } else { Outcome::Incremental };
        let mut report = report(&published.manifest, published.manifest.counts, outcome, started.elapsed());
        report.phases = std::mem::take(&mut self.phases);
        Ok(report)
    }

    /// What comes after an import and nobody waits for: closes what was read back, makes ready for the next, and removes
    /// generations that are not kept any more. Left out, the next import does it first.
    pub fn tidy(&mut self) {
        if std::mem::take(&mut self.reading)
            && let Some(session) = &self.session
            && let Err(error) = seal::close(session)
        {
            tracing::warn!(%error, "the file that was read back cannot be closed; opening the database engine anew");
            self.restart_session();
        }
        // After closing, because the thread opens a file: DuckDB lets one of two at once fail. Before removing, which takes time.
        self.prepare_standby();
        let keep = &self.settings.publish;
        self.workspace.sweep(keep.keep, keep.keep_for, self.announced);
    }

    /// Notes how long a part of the import took, for the metrics.
    fn lap(&mut self, phase: &'static str, since: Instant) {
        self.phases.push((phase, since.elapsed()));
    }

    /// Reads the file back and digests it, both at once.
    fn seal(&mut self, attempt: &Attempt, untouched: Tables) -> Result<(Sealed, String), ImporterError> {
        let datasets = self.scenery.datasets();
        let complaints = self.known.as_ref().map(|known| known.base.complaints.clone()).unwrap_or_default();
        let session = self.session()?;
        let sealed = std::thread::scope(|scope| {
            let digest = scope.spawn(|| crate::generation::digest_file(attempt.db()));
            let sealed = seal::check(session, attempt.db(), &datasets, untouched, complaints)?;
            let digest = digest.join().unwrap_or_else(|_| Err(std::io::Error::other("the digesting thread died")));
            Ok((sealed, digest.map_err(ImporterError::io("read", attempt.db()))?))
        });
        self.reading = sealed.is_ok();
        sealed
    }

    fn was_quarantined(
        &self,
        path: &str,
        files: &std::collections::BTreeMap<String, crate::apply::FileRecord>,
    ) -> bool {
        let before = self.known.as_ref().and_then(|known| known.base.files.get(path));
        before.is_some_and(|before| before.state != "ok" && files.get(path).is_some_and(|now| now.blob == before.blob))
    }

    fn spill_dir(&self) -> PathBuf {
        self.settings.publish.dir.join(".spill")
    }

    fn start_session(&mut self) {
        let (memory, threads, spill) = (self.settings.publish.memory, self.settings.publish.threads, self.spill_dir());
        let opening =
            std::thread::Builder::new().name("duckdb".to_owned()).spawn(move || Session::open(memory, threads, &spill));
        self.opening = opening.ok();
    }

    fn restart_session(&mut self) {
        self.standby = None;
        self.reading = false;
        self.session = None;
        self.known = None;
        self.start_session();
    }

    fn session(&mut self) -> Result<&Session, ImporterError> {
        if self.session.is_none() {
            let session = match self.opening.take().map(JoinHandle::join) {
                Some(Ok(session)) => session?,
                _ => Session::open(self.settings.publish.memory, self.settings.publish.threads, &self.spill_dir())?,
            };
            self.session = Some(session);
        }
        self.session.as_ref().ok_or(ImporterError::Stopped)
    }

    /// The identity of the generation that follows `before`.
    fn next_generation(&self, before: Option<&Meta>) -> Generation {
        let lineage = before.map_or_else(|| ulid::Ulid::new().to_string(), |meta| meta.generation.lineage.clone());
        Generation { lineage, number: self.workspace.next_number() }
    }
}

/// Errors after which the copy that was worked on, or the instance that did it, cannot be trusted.
fn spoiled(error: &ImporterError) -> bool {
    matches!(error, ImporterError::Database { .. } | ImporterError::Damaged(_))
}

fn report(manifest: &Manifest, counts: Counts, outcome: Outcome, duration: Duration) -> Report {
    Report {
        generation: manifest.generation.clone(),
        commit: manifest.commit.clone(),
        counts,
        outcome,
        duration,
        phases: Vec::new(),
    }
}
