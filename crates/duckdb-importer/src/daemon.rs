//! The daemon: doorbells in, generations out.
//!
//! One thread owns the [`Engine`](crate::engine::Engine) and does all git and database work. Everything else rings:
//! timers, SIGHUP, file notifications, `git.synced`, requests. A burst of rings is one import, and an import always asks
//! the source itself, so a lost, repeated or lying ring costs time, never correctness.

mod ledger;
mod metrics;
mod orders;
mod schedule;
mod serve;
mod watch;
mod worker;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

pub use baft_bus::Context;
use baft_bus::payload::{Counts, Generation, ImportStatus};
use baft_bus::{Announcer, ServiceHandle};
use baft_kit::live::Pulse;
use baft_kit::schedule::Schedule;
use tokio::sync::{oneshot, watch as channel};
use tokio_util::sync::CancellationToken;

use crate::ImporterError;
use crate::config::Settings;
use crate::engine::Engine;
use ledger::PublishedLedger;
pub use metrics::metric_inventory;
pub use orders::Ring;
use orders::{Bell, Order};
use worker::Worker;

/// How long the last announcements may take at the end.
const FAREWELL: Duration = Duration::from_secs(3);

/// What an import came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// The generation that is published now.
    pub generation: Generation,
    /// The commit that is imported; the generation may have been built from an older one with the same data.
    pub commit: Option<String>,
    /// What changed.
    pub counts: Counts,
    /// Whether there was anything to publish.
    pub outcome: Outcome,
    /// From noticing to published.
    pub duration: Duration,
    /// What took how long.
    pub phases: Vec<(&'static str, Duration)>,
}

/// Whether an import had anything to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// Everything was published already.
    Unchanged,
    /// A generation was published with what changed.
    Incremental,
    /// A generation was published that was built from nothing.
    Rebuilt,
}

impl Outcome {
    /// `unchanged`, `incremental` or `rebuilt`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Unchanged => "unchanged",
            Self::Incremental => "incremental",
            Self::Rebuilt => "rebuilt",
        }
    }
}

/// What is asked of an importer.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Request {
    /// Rebuild everything.
    pub full: bool,
    /// Import this commit instead of the one that is followed.
    pub commit: Option<String>,
}

/// How an importer is doing.
#[derive(Debug, Clone, Default)]
pub struct Status {
    /// What is published.
    pub import: ImportStatus,
    /// An import is under way.
    pub importing: bool,
    /// Why the last import failed; nothing when it did not.
    pub failure: Option<String>,
}

/// Speaks to a running importer.
#[derive(Debug, Clone)]
pub struct Handle {
    bell: Bell,
    status: channel::Receiver<Status>,
}

impl Handle {
    /// How it is doing, and a way to wait for changes.
    #[must_use]
    pub fn status(&self) -> channel::Receiver<Status> {
        self.status.clone()
    }

    /// There may be something new in the source. Cheap; many nudges are one.
    pub fn nudge(&self) {
        self.bell.ring(Ring::Request);
    }

    /// The same, saying who rings.
    pub fn ring(&self, ring: Ring) {
        self.bell.ring(ring);
    }

    /// Imports now and waits for the result.
    ///
    /// # Errors
    /// The import failed; what was published stays.
    pub async fn import(&self, request: Request) -> Result<Report, ImporterError> {
        let (answer, heard) = oneshot::channel();
        self.bell.send(Order::Import(request, answer))?;
        heard.await.map_err(|_| ImporterError::Stopped)?
    }
}

/// A running importer.
#[derive(Debug)]
pub struct Daemon {
    handle: Handle,
    pulse: Pulse,
    context: Context,
    ended: oneshot::Receiver<()>,
    announcing: Option<(Announcer, CancellationToken)>,
    service: Option<ServiceHandle>,
}

impl Daemon {
    /// Locks the publish folder and starts following the source. Must be called on a tokio runtime.
    ///
    /// # Errors
    /// Another importer has the folder, or it or the settings cannot be used.
    pub fn start(settings: Settings, context: Context) -> Result<Self, ImporterError> {
        baft_repo::init(&baft_repo::Settings::default()).map_err(ImporterError::repo("starting"))?;
        let schedule = settings.reconcile.as_deref().map(|text| Schedule::parse("--reconcile", text)).transpose()?;
        let mut engine = Engine::open(settings.clone())?;
        engine.keep_standby();
        let (bell, orders) = orders::channel();
        let status = channel::Sender::new(Status::default());
        let handle = Handle { bell: bell.clone(), status: status.subscribe() };
        let pulse = Pulse::named("import", Duration::from_secs(90));
        let announced = Arc::new(AtomicU64::new(u64::MAX));
        let metrics = metrics::Metrics::new(&context.metrics);

        let announcing = context.bus.as_ref().map(|bus| {
            let publish = &settings.publish;
            let ledger = PublishedLedger::open(&publish.dir, &publish.db_name, settings.entity_events, metrics.clone());
            ledger.share(&announced);
            // Not the daemon's own token: the last generation is announced during the drain.
            let stop = CancellationToken::new();
            (Announcer::spawn(bus, ledger.into_ledger(announced.clone()), stop.clone()), stop)
        });
        let service = context.bus.as_ref().map(|bus| serve::serve(bus, &settings, &handle, context.shutdown.clone()));
        if let Some(bus) = &context.bus {
            tokio::spawn(serve::listen(bus.clone(), handle.clone(), context.shutdown.clone()));
            bus.say_hello();
        }
        let (stop, farewell) = (context.shutdown.clone(), bell.clone());
        tokio::spawn(async move {
            stop.cancelled().await;
            // Fails only when the worker is gone already.
            let _ = farewell.send(Order::Stop);
        });
        if let Some(schedule) = schedule {
            tokio::spawn(schedule::ring(schedule, bell.clone(), context.shutdown.clone()));
        }
        let (done, ended) = oneshot::channel();
        let worker = Worker::new(
            settings,
            engine,
            status,
            metrics,
            &context.readiness,
            pulse.clone(),
            announcing.as_ref().map(|(announcer, _)| announcer.clone()),
            announced,
            bell,
        );
        std::thread::Builder::new()
            .name("import".to_owned())
            .spawn(move || {
                worker.run(&orders);
                let _ = done.send(());
            })
            .map_err(ImporterError::io("start a thread for", std::path::Path::new("importing")))?;
        Ok(Self { handle, pulse, context, ended, announcing, service })
    }

    /// Speaks to it from anywhere.
    #[must_use]
    pub fn handle(&self) -> Handle {
        self.handle.clone()
    }

    /// Its sign of life.
    #[must_use]
    pub fn pulse(&self) -> Pulse {
        self.pulse.clone()
    }

    /// Waits for the end, after the shutdown: the import under way is finished, the last generation announced.
    ///
    /// # Errors
    /// The importing thread died.
    pub async fn finished(self) -> Result<(), ImporterError> {
        let result = self.ended.await.map_err(|_| ImporterError::Stopped);
        if let Some(service) = self.service {
            service.finished(FAREWELL).await;
        }
        if let Some((announcer, stop)) = self.announcing {
            announcer.flush(FAREWELL).await;
            stop.cancel();
        }
        if let Some(bus) = &self.context.bus {
            bus.say_farewell().await;
        }
        result
    }
}

/// Starts an importer and waits for its end.
///
/// # Errors
/// It cannot start.
pub async fn run(settings: Settings, context: Context) -> Result<(), ImporterError> {
    Daemon::start(settings, context)?.finished().await
}

fn load(number: &AtomicU64) -> u64 {
    number.load(Ordering::SeqCst)
}
