//! Handling events at least once, and parking the ones that cannot be handled.

use tokio_util::sync::CancellationToken;

use crate::connection::Bus;
use crate::error::BusError;
use crate::event::{DecodeError, RawEvent};

/// Which events a consumer handles.
#[derive(Clone, Debug)]
pub struct ConsumerSpec {
    /// The stream without prefix: `EVENTS`.
    pub stream: String,
    /// The consumer's durable name: one token, the same at every start, one for all replicas that share the work.
    pub durable: String,
    /// The types of events, wildcards allowed: `git.synced`, `git.>`.
    pub kinds: Vec<String>,
}

/// Why a handler did not handle an event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reject {
    /// It may work later: deliver it again, five times in all, then park it.
    Retry(String),
    /// It never will: park it.
    Poison(String),
}

impl From<DecodeError> for Reject {
    fn from(error: DecodeError) -> Self {
        Self::Poison(error.to_string())
    }
}

/// A durable consumer at work.
#[derive(Debug)]
pub struct Consumer {}

impl Consumer {
    /// Starts handling events, one at a time, until `shutdown` is cancelled; the one in work is finished first.
    #[must_use]
    pub fn spawn<F, Fut>(bus: &Bus, spec: ConsumerSpec, shutdown: CancellationToken, handler: F) -> Self
    where
        F: Fn(RawEvent) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<(), Reject>> + Send + 'static,
    {
        todo!()
    }

    /// Waits until it has ended after a shutdown.
    pub async fn finished(self) {
        todo!()
    }
}

/// A live view of events, for people: nothing is stored or repeated.
pub struct LiveEvents {}

impl LiveEvents {
    /// The next event; `None` when the connection is closed.
    pub async fn next(&mut self) -> Option<Result<RawEvent, DecodeError>> {
        todo!()
    }
}

/// Subscribes to events as they happen; `kinds` like `>` or `git.*`.
///
/// # Errors
/// When there is no connection or no permission.
pub async fn subscribe_live(bus: &Bus, kinds: &str) -> Result<LiveEvents, BusError> {
    todo!()
}
