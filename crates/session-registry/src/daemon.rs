//! A registry put together: its requests, its timers, and what it hears.

use std::collections::BTreeSet;
use std::time::Duration;

pub use baft_bus::Context;
use baft_bus::payload::{GitCommitted, SessionState};
use baft_bus::{Announcer, Bus, Heard, ServiceHandle};
use baft_kit::live::Pulse;
use baft_kit::ready::Condition;
use baft_kit::time::unix_seconds;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::book::{Beat, Book};
use crate::error::RegistryError;
use crate::markers;
use crate::metrics::Metrics;
use crate::page::Page;
use crate::registry::Registry;
use crate::requests;
use crate::settings::Settings;
use crate::sweep::Sweeper;

/// How long the last announcements and answers may take at the end.
const FAREWELL: Duration = Duration::from_secs(3);
/// The bucket is read at least this often, whether or not it rang.
const LOOK_ANYWAY: Duration = Duration::from_secs(30);

/// How a registry is doing.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Status {
    /// Sessions that somebody holds.
    pub live: u64,
    /// Those of them that are suspect or lost.
    pub silent: u64,
    /// Sessions that are over and not pushed yet.
    pub unpushed: u64,
    /// Why sessions cannot be read, if they cannot.
    pub problem: Option<String>,
}

/// A running session-registry.
#[derive(Debug)]
pub struct Daemon {
    registry: Registry,
    pulse: Pulse,
    status: watch::Receiver<Status>,
    context: Context,
    announcing: (Announcer, CancellationToken),
    service: ServiceHandle,
    work: Vec<JoinHandle<()>>,
}

impl Daemon {
    /// Starts answering. Must be called on a tokio runtime.
    ///
    /// # Errors
    /// Without NATS there is nothing to keep sessions in.
    pub fn start(settings: Settings, context: Context) -> Result<Self, RegistryError> {
        let bus = context.bus.clone().ok_or(RegistryError::NoNats)?;
        let registry = Registry::new(&bus, settings, Metrics::new(&context.metrics));
        let readable = context.readiness.condition("bucket");
        readable.not_ready("the session bucket is not read yet");
        // Not the daemon's own token: the last steps are announced during the drain.
        let stop = CancellationToken::new();
        let announcer = Announcer::spawn(&bus, registry.outbox.ledger(), stop.clone());
        registry.outbox.announce_by(announcer.clone());
        let pulse = Pulse::named("sweep", Duration::from_secs(120));
        let status = watch::Sender::new(Status::default());
        let watched = status.subscribe();
        let shutdown = || context.shutdown.clone();
        let mut work = vec![
            tokio::spawn(until(shutdown(), sweep(registry.clone(), pulse.clone()))),
            tokio::spawn(until(shutdown(), follow(registry.clone(), readable, status))),
            tokio::spawn(hear_commits(registry.clone(), shutdown())),
            tokio::spawn(hear_pushes(registry.clone(), shutdown())),
        ];
        if !registry.settings.sync_check.is_zero() {
            work.push(tokio::spawn(until(shutdown(), check_clones(registry.clone()))));
        }
        if let Some(folder) = registry.settings.markers.clone() {
            work.push(tokio::spawn(until(shutdown(), markers::mirror(registry.clone(), folder))));
        }
        let service = requests::serve(&registry, shutdown());
        bus.say_hello();
        Ok(Self { registry, pulse, status: watched, context, announcing: (announcer, stop), service, work })
    }

    /// Serves the status page too, until the shutdown.
    pub fn show(&mut self, page: Page) {
        self.work.push(tokio::spawn(page.serve(self.registry.clone(), self.context.shutdown.clone())));
    }

    /// Its sign of life.
    #[must_use]
    pub fn pulse(&self) -> Pulse {
        self.pulse.clone()
    }

    /// How it is doing, and a way to wait for changes.
    #[must_use]
    pub fn status(&self) -> watch::Receiver<Status> {
        self.status.clone()
    }

    /// Resolves when requests are answered.
    pub async fn ready(&self) {
        self.service.ready().await;
    }

    /// Waits for the end, after the shutdown: the requests under way are answered, beats are written down, the last
    /// steps announced.
    ///
    /// # Errors
    /// None so far.
    pub async fn finished(self) -> Result<(), RegistryError> {
        self.context.shutdown.cancelled().await;
        for work in self.work {
            // It neither panics nor is it aborted.
            let _ = work.await;
        }
        self.service.finished(FAREWELL).await;
        let beats = self.registry.store.which(|known, _| known.beat.is_some());
        let written = async {
            for id in beats {
                self.registry.write_beat(&id).await;
            }
        };
        let _ = tokio::time::timeout(FAREWELL, written).await;
        let (announcer, stop) = self.announcing;
        announcer.flush(FAREWELL).await;
        stop.cancel();
        self.registry.bus.say_farewell().await;
        Ok(())
    }
}

/// Starts a registry and waits for its end.
///
/// # Errors
/// It cannot start.
pub async fn run(settings: Settings, context: Context) -> Result<(), RegistryError> {
    Daemon::start(settings, context)?.finished().await
}

async fn until(shutdown: CancellationToken, work: impl Future<Output = ()> + Send) {
    shutdown.run_until_cancelled(work).await;
}

async fn sweep(registry: Registry, pulse: Pulse) {
    let mut sweeper = Sweeper::new(registry.clone());
    let mut ticks = tokio::time::interval(registry.settings.patience.sweep_every());
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        pulse.tick();
        sweeper.sweep().await;
    }
}

/// Keeps the copy of the bucket close to it, also while nobody asks.
async fn follow(registry: Registry, readable: Condition, status: watch::Sender<Status>) {
    let mut bell = None;
    loop {
        match registry.store.catch_up().await {
            Ok(()) => {
                readable.ready();
                tell(&status, registry.store.with_book(standing));
                #[allow(clippy::cast_precision_loss, reason = "seconds since 1970 fit")]
                registry.metrics.last_catch_up.set(unix_seconds() as f64);
                registry.store.follow(&mut bell, LOOK_ANYWAY).await;
                // What rang is being stored right now; and what rings together is read together.
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            Err(error) => {
                readable.not_ready(&error.message);
                let before = status.borrow().clone();
                tell(&status, Status { problem: Some(error.message.clone()), ..before });
                tracing::debug!(%error, "the session bucket cannot be read");
                let mut link = registry.bus.connected();
                let _ = tokio::time::timeout(Duration::from_secs(1), link.changed()).await;
            }
        }
    }
}

fn standing(book: &Book) -> Status {
    let count = |states: &[SessionState]| states.iter().map(|state| book.count(*state)).sum();
    let live: Vec<SessionState> = SessionState::ALL.into_iter().filter(|state| state.is_live()).collect();
    Status {
        live: count(&live),
        silent: count(&[SessionState::Suspect, SessionState::Lost]),
        unpushed: count(&[SessionState::EndedUnpushed]),
        problem: None,
    }
}

fn tell(status: &watch::Sender<Status>, now: Status) {
    status.send_if_modified(|before| {
        let differs = *before != now;
        *before = now;
        differs
    });
}

/// A commit in a session's name is a sign of its life, and its newest commit.
async fn hear_commits(registry: Registry, shutdown: CancellationToken) {
    let (sender, mut heard) = mpsc::channel::<GitCommitted>(256);
    let bus: Bus = registry.bus.clone();
    let listening = bus.listen("git.committed", shutdown, move |heard| {
        if let Heard::Event(Ok(event)) = heard
            && let Ok(event) = event.decode::<GitCommitted>()
        {
            // Too many at once: one of them counts as much as all.
            let _ = sender.try_send(event.data);
        }
    });
    let noting = async {
        while let Some(committed) = heard.recv().await {
            let Some(id) = committed.session_id else { continue };
            let Ok(Some(known)) = registry.store.session(&id).await else { continue };
            let (epoch, principal) = (known.stored.record.epoch.clone(), known.stored.record.principal.clone());
            let at = baft_kit::time::now_rfc3339();
            let beat = Beat { at, head_commit: Some(committed.commit), ..Beat::default() };
            if let Err(error) = registry.beat(&id, Some(&epoch), principal.as_deref(), beat).await {
                tracing::debug!(session = id, %error, "a commit is no sign of life of its session");
            }
        }
    };
    tokio::join!(listening, noting);
}

/// A push may be what a session that is over was waiting for.
async fn hear_pushes(registry: Registry, shutdown: CancellationToken) {
    let (sender, mut heard) = mpsc::channel::<()>(1);
    let bus = registry.bus.clone();
    let listening = bus.listen("git.pushed", shutdown, move |_| {
        let _ = sender.try_send(());
    });
    let looking = async {
        while heard.recv().await.is_some() {
            registry.look_for_pushes().await;
        }
    };
    tokio::join!(listening, looking);
}

/// Compares clones with live sessions with their remote now and then, and tells when that has changed.
async fn check_clones(registry: Registry) {
    loop {
        // Several registries do this: not in step.
        let jitter = rand::random_range(0.8..1.2);
        tokio::time::sleep(registry.settings.sync_check.mul_f64(jitter)).await;
        let agents: BTreeSet<String> =
            registry.store.with_book(|book| book.working().filter_map(|record| record.agent.clone()).collect());
        for agent in agents {
            if let Err(error) = registry.check_now(&agent).await {
                tracing::debug!(agent, %error, "a clone could not be compared with its remote");
            }
        }
    }
}
