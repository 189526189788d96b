//! The one connection of a process.

use std::sync::Arc;
use std::time::Duration;

use baft_kit::metrics::Metrics;
use tokio::sync::watch;

use crate::args::NatsArgs;
use crate::error::BusError;
use crate::event::Payload;
use crate::subject::Prefix;

/// Who is connected: used for the connection's name, the inbox prefix and the source of events.
#[derive(Clone, Debug)]
pub struct Identity {
    /// The daemon, for example `git-sync`.
    pub name: String,
    /// Which one, when several run; the host or pod name.
    pub instance: String,
    /// Its version.
    pub version: String,
}

/// The state of the connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Link {
    /// Connected to a server that was checked.
    Up,
    /// Not connected; it keeps trying.
    Down {
        /// Why, for people.
        reason: String,
    },
}

/// The connection to NATS. Cheap to clone; all clones share one connection.
#[derive(Clone)]
pub struct Bus {
    inner: Arc<Inner>,
}

struct Inner {}

impl Bus {
    /// Starts connecting in the background and returns at once, whether or not a server answers. For daemons.
    ///
    /// # Errors
    /// Only for a configuration that cannot be used.
    pub async fn connect(args: &NatsArgs, identity: Identity, metrics: Option<&Metrics>) -> Result<Self, BusError> {
        todo!()
    }

    /// Connects now or fails within a few seconds with a hint. For the command line.
    ///
    /// # Errors
    /// When there is no connection.
    pub async fn connect_now(args: &NatsArgs, identity: Identity) -> Result<Self, BusError> {
        todo!()
    }

    /// The state of the connection, and a way to wait for changes.
    #[must_use]
    pub fn connected(&self) -> watch::Receiver<Link> {
        todo!()
    }

    /// Waits until the connection is up.
    ///
    /// # Errors
    /// [`BusError::Disconnected`] when it is not by then.
    pub async fn wait_connected(&self, deadline: Duration) -> Result<(), BusError> {
        todo!()
    }

    /// Resolves when trying on makes no sense: the credentials were refused again and again, or the server is too old.
    /// A daemon selects on this and ends with the error, so that its supervisor shows it as failing.
    pub async fn failed(&self) -> BusError {
        todo!()
    }

    /// The prefix of all subjects.
    #[must_use]
    pub fn prefix(&self) -> &Prefix {
        todo!()
    }

    /// Who this is.
    #[must_use]
    pub fn identity(&self) -> &Identity {
        todo!()
    }

    /// Publishes an event without insisting: for `daemon.*` and `preflight.changed`. Failure is counted and logged.
    pub async fn emit_best_effort<P: Payload>(&self, payload: &P) {
        todo!()
    }

    /// Finishes what is under way, then closes the connection.
    pub async fn drain(&self, deadline: Duration) {
        todo!()
    }
}
