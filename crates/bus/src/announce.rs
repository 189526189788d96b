//! Announce from state, remember what was acknowledged.
//!
//! There is no queue of events beside the state they tell about: a producer derives the next unannounced event from its
//! own state each time it is asked, and remembers only what the server acknowledged. So a crash, a lost acknowledgement
//! or a broker that is away for a week cost nothing but time.
//!
//! Once by id, in three steps: the server drops a repeated id within the stream's duplicate window; before an event
//! whose fate is unknown is sent again, the last event on its subject is compared, whatever its age; and consumers are
//! idempotent by id anyway.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use baft_kit::backoff::Backoff;
use bytes::Bytes;
use tokio::sync::{Notify, mpsc, oneshot};
use tokio_util::sync::CancellationToken;

use crate::connection::{Bus, Link};
use crate::error::BusError;
use crate::event::Payload;
use crate::headers;
use crate::topology;

/// The most bytes an event's body may have: the server takes 1 MiB, headers included.
pub const MAX_EVENT_BYTES: usize = 900 * 1024;

/// Everything is looked at again this often, in case a nudge was forgotten.
const RECONCILE: Duration = Duration::from_secs(30);
const MIN_RETRY: Duration = Duration::from_millis(100);
const MAX_RETRY: Duration = Duration::from_secs(10);

/// An event that is to be published.
#[derive(Clone, Debug)]
pub struct Outgoing {
    pub(crate) id: String,
    pub(crate) kind: &'static str,
    pub(crate) version: (u16, u16),
    pub(crate) time: String,
    pub(crate) body: Bytes,
}

impl Outgoing {
    /// Makes an event. `id` must be the same whenever the same event is derived again, and different for every other
    /// event, also for a later equal change: derive it from a persisted sequence plus the content.
    ///
    /// # Errors
    /// [`BusError::TooLarge`] above [`MAX_EVENT_BYTES`]; [`BusError::Config`] when the id is empty, longer than 200
    /// bytes or has characters other than visible ASCII.
    pub fn new<P: Payload>(id: impl Into<String>, payload: &P) -> Result<Self, BusError> {
        let id = id.into();
        if !(1..=200).contains(&id.len()) || !id.bytes().all(|b| b.is_ascii_graphic()) {
            return Err(BusError::Config(format!(
                "`{}` cannot be the id of an event: use 1 to 200 visible ASCII characters",
                id.escape_default()
            )));
        }
        let body = serde_json::to_vec(payload).map_err(|error| BusError::Protocol {
            operation: format!("encode {}", P::TYPE),
            reason: error.to_string(),
        })?;
        if body.len() > MAX_EVENT_BYTES {
            return Err(BusError::TooLarge {
                what: format!("event {} {id}", P::TYPE),
                bytes: body.len(),
                limit: MAX_EVENT_BYTES,
            });
        }
        Ok(Self { id, kind: P::TYPE, version: P::VERSION, time: baft_kit::time::now_rfc3339(), body: body.into() })
    }

    /// Says when it happened, when that is not now (RFC 3339).
    #[must_use]
    pub fn happened_at(mut self, time: impl Into<String>) -> Self {
        self.time = time.into();
        self
    }

    /// The id.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.id
    }

    /// The type: `git.synced`.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        self.kind
    }

    /// The body, as it goes out.
    #[must_use]
    pub fn body(&self) -> &Bytes {
        &self.body
    }
}

/// A ledger could not be read or written. The announcer tries again later.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct LedgerError(pub String);

impl LedgerError {
    /// Wraps any error.
    pub fn new(error: impl std::fmt::Display) -> Self {
        Self(error.to_string())
    }
}

impl From<BusError> for LedgerError {
    fn from(error: BusError) -> Self {
        Self::new(error)
    }
}

/// What a producer knows about its own events. All calls block and run on a blocking thread, one at a time.
pub trait Ledger: Send + 'static {
    /// The oldest event that was not acknowledged yet, derived from state; `None` when all is told.
    ///
    /// # Errors
    /// When the state cannot be read.
    fn pending(&mut self) -> Result<Option<Outgoing>, LedgerError>;

    /// The server has stored the event with this id: remember it durably. May be called again with the same id after
    /// a crash or an error.
    ///
    /// # Errors
    /// When it cannot be remembered; the event is then offered and recognised as stored again.
    fn acknowledged(&mut self, id: &str) -> Result<(), LedgerError>;
}

/// Publishes what a [`Ledger`] has pending: when nudged, after a reconnect and every 30 seconds; in order, one at a
/// time, the next only after the one before is acknowledged and remembered.
#[derive(Clone, Debug)]
pub struct Announcer {
    nudged: Arc<Notify>,
    flushes: mpsc::UnboundedSender<oneshot::Sender<()>>,
}

impl Announcer {
    /// Starts announcing until `shutdown` is cancelled. Stopping at any moment is safe: what was under way is
    /// recognised by the next start.
    #[must_use]
    pub fn spawn<L: Ledger>(bus: &Bus, ledger: L, shutdown: CancellationToken) -> Self {
        let (flushes, requested) = mpsc::unbounded_channel();
        let nudged = Arc::new(Notify::new());
        let worker = Worker {
            bus: bus.clone(),
            ledger: Arc::new(Mutex::new(ledger)),
            nudged: nudged.clone(),
            requested,
            waiting: Vec::new(),
            backoff: Backoff::new(MIN_RETRY, MAX_RETRY),
            // A process before this one may have published without living to remember it.
            fate_unknown: true,
            under_way: None,
        };
        tokio::spawn(async move { shutdown.run_until_cancelled(worker.run()).await });
        Self { nudged, flushes }
    }

    /// There may be something new to announce. Cheap; many nudges are one.
    pub fn nudge(&self) {
        self.nudged.notify_one();
    }

    /// Waits until all that is pending now is announced, or the deadline: for an orderly shutdown, before the
    /// announcer is cancelled. What is left is announced by the next start.
    pub async fn flush(&self, deadline: Duration) {
        let (done, finished) = oneshot::channel();
        if self.flushes.send(done).is_ok() {
            self.nudge();
            let _ = tokio::time::timeout(deadline, finished).await;
        }
    }
}

struct Worker<L> {
    bus: Bus,
    ledger: Arc<Mutex<L>>,
    nudged: Arc<Notify>,
    requested: mpsc::UnboundedReceiver<oneshot::Sender<()>>,
    waiting: Vec<oneshot::Sender<()>>,
    backoff: Backoff,
    /// The next event may be stored already.
    fate_unknown: bool,
    /// Sent, but neither acknowledged nor refused: nothing else goes out before this one's fate is known.
    under_way: Option<Outgoing>,
}

impl<L: Ledger> Worker<L> {
    async fn run(mut self) {
        let mut link = self.bus.connected();
        loop {
            if link.wait_for(|link| *link == Link::Up).await.is_err() {
                return;
            }
            while let Ok(waiting) = self.requested.try_recv() {
                self.waiting.push(waiting);
            }
            match self.announce_all().await {
                Ok(()) => {
                    self.backoff.reset();
                    self.bus.inner.metrics.announced_at.set(baft_kit::time::unix_seconds());
                    for waiting in self.waiting.drain(..) {
                        let _ = waiting.send(());
                    }
                    tokio::select! {
                        () = self.nudged.notified() => {}
                        _ = link.changed() => {}
                        () = tokio::time::sleep(RECONCILE) => {}
                    }
                }
                Err(reason) => {
                    let delay = self.backoff.next_delay();
                    // Once loudly when it begins; then a debug line each time.
                    if self.backoff.failures() == 1 {
                        tracing::warn!(%reason, "cannot announce right now, trying on");
                    } else {
                        tracing::debug!(%reason, ?delay, "still cannot announce");
                    }
                    tokio::time::sleep(delay).await;
                }
            }
        }
    }

    async fn announce_all(&mut self) -> Result<(), String> {
        loop {
            let event = match self.under_way.take() {
                Some(event) => event,
                None => match self.with_ledger(Ledger::pending).await? {
                    Some(event) => event,
                    None => return Ok(()),
                },
            };
            let result = self.announce(&event).await;
            self.fate_unknown = true;
            if let Err(error) = result {
                let reason = format!("{} {}: {error}", event.kind, event.id);
                if matches!(error, BusError::Timeout { .. } | BusError::Disconnected { .. }) {
                    self.under_way = Some(event);
                }
                return Err(reason);
            }
            let (kind, id) = (event.kind, event.id.clone());
            // Should remembering fail, the event is offered again and then recognised as stored.
            self.with_ledger(move |ledger| ledger.acknowledged(&event.id)).await?;
            self.fate_unknown = false;
            self.backoff.reset();
            tracing::debug!(kind, %id, "announced");
        }
    }

    async fn announce(&self, event: &Outgoing) -> Result<(), BusError> {
        if self.fate_unknown && self.is_stored(event).await {
            return Ok(());
        }
        self.bus.publish_event(event).await
    }

    /// Is it the last event on its subject? When that cannot be found out, the server's duplicate window has to do.
    async fn is_stored(&self, event: &Outgoing) -> bool {
        let subject = self.bus.prefix().event(event.kind);
        let Some(stream) = topology::stream_of(self.bus.prefix(), event.kind) else {
            return false;
        };
        match self.bus.last_stored(&stream, &subject).await {
            Ok(Some(last)) => {
                last.headers.as_ref().and_then(|headers| headers::get(headers, headers::MESSAGE_ID))
                    == Some(event.id.as_str())
            }
            Ok(None) => false,
            Err(error) => {
                tracing::debug!(%error, %subject, "cannot look at the last event");
                false
            }
        }
    }

    /// Runs a call of the ledger on a blocking thread. A panic in it is a defect of the daemon, not the end of
    /// announcing.
    async fn with_ledger<T: Send + 'static>(
        &self,
        call: impl FnOnce(&mut L) -> Result<T, LedgerError> + Send + 'static,
    ) -> Result<T, String> {
        let ledger = self.ledger.clone();
        let call = move || call(&mut ledger.lock().unwrap_or_else(PoisonError::into_inner));
        match tokio::task::spawn_blocking(call).await {
            Ok(Ok(value)) => Ok(value),
            Ok(Err(error)) => Err(format!("the record of what was announced: {error}")),
            Err(error) => Err(format!("the record of what was announced failed: {error}")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::payload::{DaemonStarted, GitPushed};

    fn started() -> DaemonStarted {
        DaemonStarted { name: "a".into(), instance: "b".into(), version: "1".into() }
    }

    #[test]
    fn an_id_that_no_header_can_carry_is_refused() {
        for bad in [String::new(), "a b".into(), "a\r\nb".into(), "é".into(), "x".repeat(201)] {
            assert!(Outgoing::new(bad, &started()).is_err());
        }
        assert_eq!(Outgoing::new("12:abc", &started()).unwrap().id(), "12:abc");
    }

    #[test]
    fn an_event_the_server_would_not_take_is_refused_before_it_blocks_the_others() {
        let pushed = GitPushed {
            repo: String::new(),
            reference: String::new(),
            commit: String::new(),
            parent: None,
            files: vec!["x".repeat(1000); 1000],
            truncated: false,
            session_id: None,
            author: String::new(),
        };
        assert!(matches!(Outgoing::new("1", &pushed), Err(BusError::TooLarge { .. })));
    }
}
