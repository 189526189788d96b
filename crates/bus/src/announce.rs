//! Announce from state, remember what was acknowledged.
//!
//! There is no queue of events beside the state they tell about: a producer derives the next unannounced event from its
//! own state each time it is asked, and remembers only what the server acknowledged. So a crash, a lost acknowledgement
//! or a broker that is away for a week cost nothing but time.

use bytes::Bytes;
use std::time::Duration;
use tokio_util::sync::CancellationToken;

use crate::connection::Bus;
use crate::error::BusError;
use crate::event::Payload;

/// The most bytes an event's body may have: the server takes 1 MiB, headers included.
pub const MAX_EVENT_BYTES: usize = 900 * 1024;

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
    /// [`BusError::TooLarge`] above [`MAX_EVENT_BYTES`]; [`BusError::Config`] when the id is empty or has characters
    /// that a header cannot carry.
    pub fn new<P: Payload>(id: impl Into<String>, payload: &P) -> Result<Self, BusError> {
        todo!()
    }

    /// The id.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.id
    }
}

/// A ledger could not be read or written. The announcer tries again later.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct LedgerError(pub String);

/// What a producer knows about its own events. All calls block and run on a blocking thread, one at a time.
pub trait Ledger: Send + 'static {
    /// The next event nobody has heard of yet, derived from state; `None` when all is told.
    ///
    /// # Errors
    /// When the state cannot be read.
    fn pending(&mut self) -> Result<Option<Outgoing>, LedgerError>;

    /// The server has stored the event with this id: remember it durably. Never called twice in a row for one id.
    ///
    /// # Errors
    /// When it cannot be remembered; the event will be offered again and dropped by the server as a duplicate.
    fn acknowledged(&mut self, id: &str) -> Result<(), LedgerError>;
}

/// Publishes what a [`Ledger`] has pending: when nudged, after a reconnect and every 30 seconds.
#[derive(Debug)]
pub struct Announcer {}

impl Announcer {
    /// Starts announcing until `shutdown` is cancelled.
    #[must_use]
    pub fn spawn<L: Ledger>(bus: &Bus, ledger: L, shutdown: CancellationToken) -> Self {
        todo!()
    }

    /// There may be something new to announce. Cheap; many nudges are one.
    pub fn nudge(&self) {
        todo!()
    }

    /// Waits until nothing is pending, or the deadline: for an orderly shutdown. What is left is announced by the next
    /// start.
    pub async fn flush(&self, deadline: Duration) {
        todo!()
    }
}
