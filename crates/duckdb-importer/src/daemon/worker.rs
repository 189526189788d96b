//! The importing thread.

use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

use baft_bus::Announcer;
use baft_bus::payload::{ImportStatus, QuarantinedFile};
use baft_kit::backoff::Backoff;
use baft_kit::live::Pulse;
use baft_kit::ready::{Condition, Readiness};
use tokio::sync::{oneshot, watch as channel};

use super::metrics::Metrics;
use super::orders::{Bell, Order};
use super::watch::Watch;
use super::{Outcome, Report, Request, Ring, Status, load};
use crate::ImporterError;
use crate::config::Settings;
use crate::engine::Engine;

/// A burst of saves is waited for no longer than this.
const LONGEST_BURST: Duration = Duration::from_millis(500);
/// The longest an import may take before the thread counts as stuck.
const LONGEST_IMPORT: Duration = Duration::from_secs(1800);
/// When a file was being written, look again this soon.
const UNSETTLED: Duration = Duration::from_millis(40);
/// Without file notifications, files are looked at this often.
const DEGRADED_POLL: Duration = Duration::from_secs(2);

type Answer = oneshot::Sender<Result<Report, ImporterError>>;

/// Owns the engine.
pub(super) struct Worker {
    settings: Settings,
    engine: Engine,
    status: channel::Sender<Status>,
    metrics: Metrics,
    database: Condition,
    imports: Condition,
    pulse: Pulse,
    announcer: Option<Announcer>,
    announced: Arc<AtomicU64>,
    watch: Watch,
    backoff: Backoff,
    retry: Option<Instant>,
}

impl Worker {
    #[allow(clippy::too_many_arguments, reason = "called once, where all of these are made")]
    pub(super) fn new(
        settings: Settings,
        engine: Engine,
        status: channel::Sender<Status>,
        metrics: Metrics,
        readiness: &Readiness,
        pulse: Pulse,
        announcer: Option<Announcer>,
        announced: Arc<AtomicU64>,
        bell: Bell,
    ) -> Self {
        let (database, imports) = (readiness.condition("database"), readiness.condition("import"));
        database.not_ready("nothing is published yet");
        imports.not_ready("the source has not been looked at yet");
        let watch = Watch::new(bell, metrics.watch_degraded.clone());
        let backoff = Backoff::new(Duration::from_millis(500), Duration::from_secs(30));
        Self {
            settings,
            engine,
            status,
            metrics,
            database,
            imports,
            pulse,
            announcer,
            announced,
            watch,
            backoff,
            retry: None,
        }
    }

    /// Works until told to stop.
    pub(super) fn run(mut self, orders: &Receiver<Order>) {
        self.show_published();
        let mut poll = Instant::now();
        loop {
            self.pulse.tick();
            self.watch.follow(&self.settings.source, &self.engine.roots());
            let due = self.retry.map_or(poll, |retry| retry.min(poll));
            let mut answers: Vec<(Request, Answer)> = Vec::new();
            match orders.recv_timeout(due.saturating_duration_since(Instant::now()).min(Duration::from_secs(30))) {
                Ok(Order::Stop) | Err(RecvTimeoutError::Disconnected) => return,
                Ok(Order::Look(ring, at)) => {
                    self.metrics.ring(ring);
                    if self.gather(ring, at, orders, &mut answers) {
                        return;
                    }
                }
                Ok(Order::Import(request, answer)) => answers.push((request, answer)),
                Err(RecvTimeoutError::Timeout) if Instant::now() < due => continue,
                Err(RecvTimeoutError::Timeout) => self.metrics.ring(Ring::Poll),
            }
            poll = Instant::now()
                + if self.watch.degraded() { self.settings.poll.min(DEGRADED_POLL) } else { self.settings.poll };
            self.serve(answers);
        }
    }

    /// After a ring: waits until the burst is over, reading ahead meanwhile, and takes the requests that came. Whether to stop.
    fn gather(
        &mut self,
        ring: Ring,
        at: Instant,
        orders: &Receiver<Order>,
        answers: &mut Vec<(Request, Answer)>,
    ) -> bool {
        let longest = Instant::now() + LONGEST_BURST;
        let quiet = match ring {
            Ring::Watch | Ring::Rescan => self.settings.debounce,
            _ => Duration::ZERO,
        };
        let mut over = at + quiet;
        if !quiet.is_zero() {
            self.engine.anticipate();
        }
        loop {
            let wait = over.min(longest).saturating_duration_since(Instant::now());
            match orders.recv_timeout(wait) {
                Ok(Order::Stop) => return true,
                Ok(Order::Look(ring, at)) => {
                    self.metrics.ring(ring);
                    over = at + quiet;
                }
                Ok(Order::Import(request, answer)) => {
                    // Somebody waits.
                    answers.push((request, answer));
                    return false;
                }
                Err(_) => return false,
            }
        }
    }

    /// Imports what is followed, or what is asked for.
    fn serve(&mut self, answers: Vec<(Request, Answer)>) {
        if answers.is_empty() {
            // The result is in the status, the metrics and the log.
            let result = self.import(&Request::default());
            if result.is_ok_and(|report| report.outcome == Outcome::Unchanged) && self.engine.is_worn() {
                self.renew();
            }
            self.engine.tidy();
            return;
        }
        for (request, answer) in answers {
            let mut result = self.import(&request);
            for _ in 0..25 {
                if !matches!(result, Err(ImporterError::Unsettled)) {
                    break;
                }
                std::thread::sleep(UNSETTLED);
                result = self.import(&request);
            }
            // Whoever asked may have stopped waiting.
            let _ = answer.send(result);
            self.engine.tidy();
        }
    }

    /// Nothing is to be done: builds a generation anew that was carried on often, and sees whether that makes a difference
    /// to its content, which it must not.
    fn renew(&mut self) {
        let digest = |engine: &Engine| engine.current().map(|published| published.manifest.content_digest);
        let before = digest(&self.engine);
        if self.import(&Request { full: true, commit: None }).is_ok() && digest(&self.engine) != before {
            self.metrics.self_check_failures.inc();
            tracing::error!(
                "the database that was carried on differed from one built anew, which is published now; please report this"
            );
        }
    }

    fn import(&mut self, request: &Request) -> Result<Report, ImporterError> {
        self.status.send_modify(|status| status.importing = true);
        self.pulse.busy_until(LONGEST_IMPORT);
        self.engine.announced(self.announcer.as_ref().map_or(Some(u64::MAX), |_| Some(load(&self.announced))));
        let result = self.engine.import(request);
        self.pulse.tick();
        self.retry = None;
        match &result {
            Ok(report) => self.succeeded(report),
            Err(ImporterError::Unsettled) => {
                tracing::debug!("a file is being written; looking again in a moment");
                self.retry = Some(Instant::now() + UNSETTLED);
                self.status.send_modify(|status| status.importing = false);
            }
            Err(error) => self.failed(error),
        }
        result
    }

    fn succeeded(&mut self, report: &Report) {
        self.backoff.reset();
        self.metrics.succeeded(report);
        self.imports.ready();
        if report.outcome != Outcome::Unchanged {
            tracing::info!(
                generation = report.generation.number,
                commit = report.commit.as_deref().unwrap_or_default(),
                outcome = report.outcome.as_str(),
                inserted = report.counts.inserted,
                updated = report.counts.updated,
                deleted = report.counts.deleted,
                errors = report.counts.errors,
                ms = u64::try_from(report.duration.as_millis()).unwrap_or(u64::MAX),
                "published"
            );
            if let Some(announcer) = &self.announcer {
                announcer.nudge();
            }
        }
        self.show_published();
        let commit = report.commit.clone();
        self.status.send_modify(|status| {
            status.importing = false;
            status.failure = None;
            status.import.commit = commit;
            status.import.reconciled_at = Some(baft_kit::time::now_rfc3339());
        });
    }

    fn failed(&mut self, error: &ImporterError) {
        let delay = self.backoff.next_delay();
        self.retry = Some(Instant::now() + delay);
        let failure = match error {
            ImporterError::NoSource(_) => {
                tracing::info!(%error, "waiting for something to import");
                None
            }
            _ => {
                self.metrics.failed();
                tracing::error!(%error, retry_in_ms = u64::try_from(delay.as_millis()).unwrap_or(u64::MAX), "the import failed; the last generation stays");
                Some(error.to_string())
            }
        };
        self.imports.not_ready(error.to_string());
        self.status.send_modify(|status| {
            status.importing = false;
            status.failure = failure;
        });
    }

    /// Shows in status, metrics and readiness what is published.
    fn show_published(&mut self) {
        let Some(published) = self.engine.current() else { return };
        self.database.ready();
        let manifest = published.manifest;
        self.metrics.published(&manifest);
        let quarantined = manifest.quarantined.into_iter();
        let quarantined =
            quarantined.map(|file| QuarantinedFile { path: file.path, line: file.line, message: file.message });
        let import = ImportStatus {
            generation: Some(manifest.generation),
            commit: manifest.commit,
            rows: manifest.rows,
            quarantined: quarantined.collect(),
            published_at: Some(manifest.published_at),
            bytes: manifest.bytes,
            reconciled_at: None,
        };
        self.status.send_modify(|status| {
            let reconciled_at = status.import.reconciled_at.take();
            status.import = ImportStatus { reconciled_at, ..import };
        });
    }
}
