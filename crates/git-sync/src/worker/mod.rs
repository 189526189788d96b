//! The git thread: the only one that touches the remote, the mirror, the checkouts and the link.
//!
//! It looks at the remote when its [`Agenda`] says so, publishes what is new in the order the [`journal`](crate::journal) describes, and does
//! what nobody waits for (sweeping old checkouts, preparing the next) only while nobody rings.

mod publish;
mod report;
mod upkeep;

use std::sync::atomic::{AtomicU8, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use baft_bus::payload::{FailureClass, Trigger};
use baft_kit::live::Pulse;
use baft_kit::ready::Condition;
use baft_kit::rest::Rest;
use baft_repo::transport::{Remote, Transport};
use baft_repo::{Checkouts, Oid};
use tokio::sync::{mpsc, oneshot, watch};

use crate::agenda::{Agenda, Pace};
use crate::config::{Config, Runs};
use crate::error::{Damage, Failure, SyncError};
use crate::journal::{Found, JournalFile};
use crate::link::Link;
use crate::metrics::Metrics;
use crate::mirror::{Mirror, goal};
use crate::status::{Order, Status, Synced};

/// What the git thread tells the rest.
#[derive(Debug)]
pub(crate) enum Notice {
    /// The link shows this commit: after a flip, and once at start.
    Shown(Oid),
    /// A look failed.
    Failed { failure: Failure, attempt: u32, retry_in: Duration },
    /// A look succeeded, after one that failed.
    Succeeded,
}

/// Where the thread is, so that a shutdown knows whether waiting makes sense: what waits for the network can be abandoned at any point.
pub(crate) const IDLE: u8 = 0;
pub(crate) const NETWORK: u8 = 1;
pub(crate) const LOCAL: u8 = 2;

/// Longest sleep without a sign of life.
const STIR: Duration = Duration::from_secs(5);
/// How long local work (a first checkout of a large repository on a slow disk) may take before it counts as stuck.
const LOCAL_WORK: Duration = Duration::from_secs(1800);

pub(crate) struct Worker {
    pub(crate) config: Config,
    pub(crate) transport: Box<dyn Transport>,
    pub(crate) checkouts: Checkouts,
    pub(crate) link: Link,
    pub(crate) journal: Arc<Mutex<JournalFile>>,
    pub(crate) metrics: Metrics,
    pub(crate) pulse: Pulse,
    pub(crate) published: Condition,
    pub(crate) fresh: Condition,
    pub(crate) status: watch::Sender<Status>,
    pub(crate) notices: mpsc::UnboundedSender<Notice>,
    pub(crate) place: Arc<AtomicU8>,
    pub(crate) waiting: Arc<AtomicUsize>,
    pub(crate) state: State,
}

/// What the thread remembers between looks.
#[derive(Debug, Default)]
pub(crate) struct State {
    waiters: Vec<Waiter>,
    /// The checkout has not been compared with its manifest since the start.
    unverified: bool,
    transfers_damaged: u32,
    succeeded: bool,
    upkeep_due: bool,
    /// Since when the mirror that was replaced by a compact one waits for its last readers.
    old_mirror: Option<Instant>,
}

#[derive(Debug)]
struct Waiter {
    wait_for: Option<Oid>,
    reply: oneshot::Sender<Result<Synced, Failure>>,
    since: Instant,
    old: Option<Oid>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Outcome {
    Unchanged,
    Published,
}

impl Worker {
    /// Works until told to stop, or until going on makes no sense.
    pub(crate) fn run(mut self, orders: &Receiver<Order>) -> Result<(), SyncError> {
        self.settle()?;
        let pace = Pace {
            period: self.config.period,
            init_period: self.config.init_period,
            max_backoff: self.config.max_backoff,
        };
        let mut agenda = Agenda::new(pace, Instant::now());
        let mut rest = Rest::new(Instant::now());
        loop {
            self.pulse.tick();
            self.place.store(IDLE, Ordering::SeqCst);
            self.state.waiters.retain(|waiter| !waiter.reply.is_closed());
            let due = agenda.due(!self.state.waiters.is_empty());
            let pause = due.saturating_duration_since(Instant::now());
            if !pause.is_zero() && self.state.upkeep_due && self.waiting.load(Ordering::SeqCst) == 0 {
                self.upkeep();
                rest.worked(Instant::now());
                continue;
            }
            if !pause.is_zero() && rest.begins(Instant::now()) {
                baft_repo::rest();
            }
            match orders.recv_timeout(pause.min(STIR)) {
                Ok(order) => {
                    self.waiting.fetch_sub(1, Ordering::SeqCst);
                    match order {
                        Order::Stop => return Ok(()),
                        Order::Ring(trigger) => agenda.ring(trigger),
                        Order::Sync { wait_for, reply } => {
                            agenda.ring(Trigger::Request);
                            let old = self.head();
                            self.state.waiters.push(Waiter { wait_for, reply, since: Instant::now(), old });
                        }
                    }
                }
                Err(RecvTimeoutError::Timeout) if Instant::now() >= due => {
                    let trigger = agenda.begin(Instant::now());
                    let result = self.look(trigger);
                    if matches!(result, Ok(Outcome::Published)) {
                        rest.worked(Instant::now());
                    }
                    if let Some(end) = self.conclude(&mut agenda, result) {
                        return end;
                    }
                }
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return Ok(()),
            }
        }
    }

    /// Brings journal and link together after whatever ended the last run. Readers see nothing but a link that becomes right.
    fn settle(&mut self) -> Result<(), SyncError> {
        let journal_error = |error| SyncError::io("writing", self.config.root.join(crate::config::JOURNAL), error);
        let mirror = Mirror::at(self.config.mirror());
        mirror.sweep();
        if let Err(error) = mirror.forget_old() {
            tracing::warn!(%error, "the old mirror could not be removed");
        }
        let shown = self.link.shows();
        let mut file = self.journal.lock().unwrap_or_else(PoisonError::into_inner);
        match file.get().compare(shown) {
            Found::Agreement => {}
            Found::Unfinished(oid) if self.checkouts.path(oid).is_dir() => {
                self.link.flip(oid)?;
                file.change(crate::journal::Journal::finish).map_err(journal_error)?;
                tracing::info!(commit = %oid, "finished a publication that was cut short");
            }
            Found::Unfinished(_) => file.change(crate::journal::Journal::abandon).map_err(journal_error)?,
            Found::Astray(oid) if self.checkouts.path(oid).is_dir() => {
                self.link.flip(oid)?;
                tracing::warn!(commit = %oid, "the link was gone or showed something else; it shows the published commit again");
            }
            Found::Astray(_) => {}
        }
        drop(file);
        self.state.unverified = true;
        if let Some(head) = self.link.shows() {
            self.note_shown(head);
            // With --one-time the hooks run once, for what the sync comes to.
            if self.config.runs == Runs::Forever {
                let _ = self.notices.send(Notice::Shown(head));
            }
        }
        Ok(())
    }

    fn head(&self) -> Option<Oid> {
        self.journal.lock().unwrap_or_else(PoisonError::into_inner).get().head
    }

    fn show(&self, head: Oid) {
        self.note_shown(head);
        let _ = self.notices.send(Notice::Shown(head));
    }

    fn note_shown(&self, head: Oid) {
        self.published.ready();
        self.status.send_modify(|status| {
            status.head = Some(head);
            status.behind = (status.remote_head == status.head).then_some(0);
        });
    }

    /// One look at the remote, with a damaged mirror cured on the way.
    fn look(&mut self, trigger: Trigger) -> Result<Outcome, Failure> {
        let began = Instant::now();
        self.pulse.busy_until(self.config.sync_timeout + LOCAL_WORK);
        self.metrics.triggers.with_label_values(&[trigger_label(trigger)]).inc();
        let remote = Remote { deadline: Some(self.config.sync_timeout), ..self.config.remote.clone() };
        let result = self.try_look(&remote, trigger);
        let (status, seconds) = (status_label(&result), began.elapsed().as_secs_f64());
        self.metrics.their_duration.with_label_values(&[status]).observe(seconds);
        self.metrics.their_count.with_label_values(&[status]).inc();
        match result {
            Ok(Outcome::Unchanged) => self.metrics.check_seconds.observe(seconds),
            Ok(Outcome::Published) => self.metrics.publish_seconds.observe(seconds),
            Err(_) => {}
        }
        if self.place.load(Ordering::SeqCst) == LOCAL {
            baft_repo::release_memory();
        }
        result
    }

    fn try_look(&mut self, remote: &Remote, trigger: Trigger) -> Result<Outcome, Failure> {
        let head = self.head();
        let in_place = head.is_some() && self.link.shows() == head;
        if in_place && !self.state.unverified && head.is_some() && self.is_constant(head) {
            return Ok(Outcome::Unchanged);
        }
        self.place.store(NETWORK, Ordering::SeqCst);
        let asked = self.timed("ask", || goal(self.transport.as_ref(), remote, &self.config.target))?;
        let Some(goal) = asked else {
            let message = format!("{} has no ref {}", self.config.shown_repo(), self.config.target);
            return Err(Failure::new(FailureClass::NotFound, message));
        };
        self.status.send_if_modified(|status| {
            let new = Some(goal.commit());
            let changed = status.remote_head != new;
            (status.remote_head, status.behind) = (new, None);
            changed
        });
        if in_place && !self.state.unverified && head == Some(goal.commit()) {
            return Ok(Outcome::Unchanged);
        }
        let mirror = Mirror::at(self.config.mirror());
        let attempt = mirror.open().map_err(Failure::from).and_then(|repo| match repo {
            Some(repo) => self.publish(&repo, remote, &goal, trigger),
            None => self.rebuild_and_publish(&mirror, remote, &goal, trigger),
        });
        match attempt {
            Err(failure) if self.needs_new_mirror(&failure) => {
                tracing::error!(%failure, "the mirror is damaged: cloning it again beside the old one");
                self.metrics.failures.with_label_values(&[failure.label()]).inc();
                self.rebuild_and_publish(&mirror, remote, &goal, trigger)
            }
            result => result,
        }
    }

    /// Following a commit needs no look at the remote once it is published.
    fn is_constant(&self, head: Option<Oid>) -> bool {
        matches!(self.config.target, crate::config::Target::Commit(oid) if head == Some(oid))
    }

    /// Damage in the mirror calls for a new one at once. Damage during a transfer may be the network's or the server's: only when it happens
    /// twice in a row is the mirror suspected.
    fn needs_new_mirror(&mut self, failure: &Failure) -> bool {
        match failure.damage {
            Damage::None => {
                self.state.transfers_damaged = 0;
                false
            }
            Damage::Mirror => true,
            Damage::Transfer => {
                self.state.transfers_damaged += 1;
                self.state.transfers_damaged.is_multiple_of(2)
            }
        }
    }

    fn timed<T>(&self, phase: &str, work: impl FnOnce() -> T) -> T {
        let began = Instant::now();
        let result = work();
        self.metrics.phase_seconds.with_label_values(&[phase]).observe(began.elapsed().as_secs_f64());
        result
    }
}

fn status_label(result: &Result<Outcome, Failure>) -> &'static str {
    match result {
        Ok(Outcome::Published) => "success",
        Ok(Outcome::Unchanged) => "noop",
        Err(_) => "error",
    }
}

pub(crate) fn trigger_label(trigger: Trigger) -> &'static str {
    match trigger {
        Trigger::Poll | Trigger::Unknown => "poll",
        Trigger::Webhook => "webhook",
        Trigger::Request => "request",
        Trigger::Push => "push",
    }
}
