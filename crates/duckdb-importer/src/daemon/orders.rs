//! What the importing thread is told.

use std::sync::mpsc::{Receiver, Sender, channel as queue};
use std::time::Instant;

use tokio::sync::oneshot;

use super::{Report, Request};
use crate::ImporterError;

/// Why somebody thinks that there may be something new.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Ring {
    /// It is time to look.
    Poll,
    /// A file, a link or a ref changed.
    Watch,
    /// File notifications were lost.
    Rescan,
    /// git-sync published a commit.
    Event,
    /// Somebody asked, or SIGHUP.
    Request,
    /// The schedule says so.
    Schedule,
}

impl Ring {
    /// All of them.
    pub(super) const ALL: [Self; 6] =
        [Self::Poll, Self::Watch, Self::Rescan, Self::Event, Self::Request, Self::Schedule];

    /// One word.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Poll => "poll",
            Self::Watch => "watch",
            Self::Rescan => "rescan",
            Self::Event => "event",
            Self::Request => "request",
            Self::Schedule => "schedule",
        }
    }
}

/// An order to the importing thread.
#[derive(Debug)]
pub(super) enum Order {
    /// Look whether there is something new: why, and since when that is known.
    Look(Ring, Instant),
    /// Import and answer.
    Import(Request, oneshot::Sender<Result<Report, ImporterError>>),
    /// Finish what is under way and end.
    Stop,
}

/// Reaches the importing thread. Clones reach the same one.
#[derive(Debug, Clone)]
pub(super) struct Bell {
    orders: Sender<Order>,
}

impl Bell {
    pub(super) fn ring(&self, ring: Ring) {
        // After the end nobody listens, and that is fine.
        let _ = self.orders.send(Order::Look(ring, Instant::now()));
    }

    pub(super) fn send(&self, order: Order) -> Result<(), ImporterError> {
        self.orders.send(order).map_err(|_| ImporterError::Stopped)
    }
}

pub(super) fn channel() -> (Bell, Receiver<Order>) {
    let (orders, receiver) = queue();
    (Bell { orders }, receiver)
}
