//! How a git-sync is doing: [`Status`], and [`Handle`] to watch it and to ring.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::Sender;
use std::time::Duration;

use baft_bus::payload::{GitStatus, Trigger};
use baft_repo::Oid;
use tokio::sync::{oneshot, watch};

use crate::error::{Failure, SyncError};

/// How a git-sync is doing.
#[derive(Debug, Clone, Default)]
pub struct Status {
    /// The repository, without credentials.
    pub repo: String,
    /// What is followed.
    pub reference: String,
    /// The commit the link shows; nothing before the first sync.
    pub head: Option<Oid>,
    /// What the remote had when it was last seen.
    pub remote_head: Option<Oid>,
    /// How many commits `head` lacks, when that is known.
    pub behind: Option<u64>,
    /// When a look at the remote last succeeded, RFC 3339.
    pub last_success_at: Option<String>,
    /// How many looks have failed since.
    pub failures: u32,
    /// Why the last look failed; nothing when it did not.
    pub failure: Option<Failure>,
}

impl Status {
    /// As `git.status` answers it.
    #[must_use]
    pub fn payload(&self) -> GitStatus {
        GitStatus {
            repo: self.repo.clone(),
            reference: self.reference.clone(),
            head: self.head.map(|oid| oid.to_string()),
            remote_head: self.remote_head.map(|oid| oid.to_string()),
            behind: self.behind,
            last_success_at: self.last_success_at.clone(),
            failures: self.failures,
        }
    }
}

/// What a requested sync came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Synced {
    /// What was published when the request came.
    pub old: Option<Oid>,
    /// What is published now.
    pub new: Oid,
    /// How many paths differ.
    pub changed_files: u64,
    /// How long it took.
    pub duration: Duration,
}

/// What the git thread is told.
#[derive(Debug)]
pub(crate) enum Order {
    /// Look now.
    Ring(Trigger),
    /// Look now and answer.
    Sync { wait_for: Option<Oid>, reply: oneshot::Sender<Result<Synced, Failure>> },
    /// End.
    Stop,
}

/// The way to the git thread. It counts what is on its way, so that work nobody waits for can step aside.
#[derive(Debug, Clone)]
pub(crate) struct Bell {
    pub(crate) orders: Sender<Order>,
    pub(crate) waiting: Arc<AtomicUsize>,
}

impl Bell {
    pub(crate) fn send(&self, order: Order) -> Result<(), SyncError> {
        self.waiting.fetch_add(1, Ordering::SeqCst);
        self.orders.send(order).map_err(|_| SyncError::Stopped)
    }
}

/// Speaks to a running git-sync. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Handle {
    pub(crate) bell: Bell,
    pub(crate) status: watch::Receiver<Status>,
}

impl Handle {
    /// How it is doing, and a way to wait for changes.
    #[must_use]
    pub fn status(&self) -> watch::Receiver<Status> {
        self.status.clone()
    }

    /// There may be something new at the remote. Cheap; many rings are one look.
    pub fn ring(&self, trigger: Trigger) {
        // A git-sync that is stopping need not look.
        let _ = self.bell.send(Order::Ring(trigger));
    }

    /// Looks now and waits for the result; with `wait_for`, until that commit is part of what is published. Put a deadline around it.
    ///
    /// # Errors
    /// The look failed; what was published stays.
    pub async fn sync(&self, wait_for: Option<Oid>) -> Result<Result<Synced, Failure>, SyncError> {
        let (reply, answer) = oneshot::channel();
        self.bell.send(Order::Sync { wait_for, reply })?;
        answer.await.map_err(|_| SyncError::Stopped)
    }
}
