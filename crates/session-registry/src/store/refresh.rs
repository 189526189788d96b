//! Keeping the copy: what rang, what changed, and everything after a reconnect.

use std::sync::Arc;
use std::time::Instant;

use baft_bus::kv::{Bucket, Entry, Position, WriteError};
use baft_bus::payload::StoredSession;
use baft_bus::{BusError, RequestError};
use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::{Store, unavailable};

/// The key that says which incarnation of the bucket this is.
const KEY: &str = "incarnation";

/// Which incarnation of the bucket epochs are of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Incarnation {
    /// A ULID, greater than all before it.
    pub(super) id: String,
    revision: u64,
}

#[derive(Debug, Serialize, Deserialize)]
struct Written {
    incarnation: ulid::Ulid,
}

impl Store {
    /// Makes sure that what the copy says can be relied upon, but for what has rung.
    ///
    /// # Errors
    /// There is no connection, or the bucket cannot be read.
    pub(crate) async fn current(&self) -> Result<(), RequestError> {
        let connection = self.inner.bus.connection();
        {
            let mut copy = self.copy();
            if copy.connection.is_some() && copy.connection == connection && copy.incarnation.is_some() {
                drain(&mut copy);
                return Ok(());
            }
        }
        let _one = self.inner.refreshing.lock().await;
        if self.copy().connection != connection || self.incarnation().is_none() {
            self.begin_again(connection).await.map_err(|error| unavailable(&error))?;
        }
        Ok(())
    }

    /// Makes the copy say everything that was acknowledged before this call.
    ///
    /// # Errors
    /// There is no connection, or the bucket cannot be read.
    pub(crate) async fn complete(&self) -> Result<(), RequestError> {
        self.current().await?;
        if self.copy().book.anything_doubtful(Instant::now()) {
            let _one = self.inner.refreshing.lock().await;
            let position = self.inner.bucket.position().await.map_err(|error| unavailable(&error))?;
            self.read_up_to(position.last).await.map_err(|error| unavailable(&error))?;
            self.copy().book.caught_up();
        }
        Ok(())
    }

    /// Reads what changed, whoever changed it. For the background: nobody waits for it.
    ///
    /// # Errors
    /// There is no connection, or the bucket cannot be read.
    pub(crate) async fn catch_up(&self) -> Result<(), RequestError> {
        self.current().await?;
        {
            // The position and what is read belong together: nobody reads in between.
            let _one = self.inner.refreshing.lock().await;
            let position = self.inner.bucket.position().await.map_err(|error| unavailable(&error))?;
            if !self.is_another(&position) {
                return self.read_up_to(0).await.map_err(|error| unavailable(&error));
            }
            self.doubt();
        }
        self.current().await
    }

    /// Is this not the bucket that was read, or an earlier state of it?
    fn is_another(&self, position: &Position) -> bool {
        let copy = self.copy();
        let made_anew = copy.created.as_ref().is_some_and(|created| *created != position.created);
        made_anew || position.last < copy.book.highest
    }

    /// The first look over a connection: is it the bucket that was left, and what happened in between?
    async fn begin_again(&self, connection: Option<(String, u64)>) -> Result<(), WriteError> {
        let first = self.copy().created.is_none();
        if self.copy().bell.is_none() {
            let bell = self.inner.bucket.bell().await?;
            self.copy().bell = Some(bell);
        }
        let position = self.inner.bucket.position().await?;
        if self.is_another(&position) {
            self.went_back(&position).await?;
        } else {
            self.read_up_to(position.last).await?;
        }
        if first && self.forgotten_by_bucket().await {
            self.went_back(&position).await?;
        }
        self.settle_incarnation().await?;
        let mut copy = self.copy();
        copy.created = Some(position.created);
        copy.book.caught_up();
        copy.book.grace(Instant::now());
        copy.connection = connection;
        tracing::info!(sessions = copy.book.len(), revision = position.last, "the session bucket is read");
        Ok(())
    }

    /// Reads changes until there are none, and at least up to a revision.
    pub(super) async fn read_up_to(&self, last: u64) -> Result<(), BusError> {
        loop {
            let next = self.copy().book.next.max(1);
            let changes = self.inner.bucket.changes(next).await?;
            let mut copy = self.copy();
            let Some(newest) = changes.last().map(|change| change.revision) else {
                // The newest revisions may be markers that are gone already.
                copy.book.next = copy.book.next.max(last + 1).max(1);
                return Ok(());
            };
            let now = Instant::now();
            for change in changes {
                if change.key == KEY {
                    if let Some(entry) = &change.entry {
                        learn_incarnation(&mut copy, entry);
                    }
                } else if let Some(id) = StoredSession::id_of(&change.key) {
                    let stored = match change.entry.as_ref().map(StoredSession::read) {
                        None => None,
                        Some(Ok(stored)) => Some(Arc::new(stored)),
                        Some(Err(error)) => {
                            tracing::error!(key = change.key, %error, "a session cannot be read and is left alone");
                            continue;
                        }
                    };
                    copy.book.learn(id, change.revision, stored, now);
                }
            }
            copy.book.next = newest + 1;
            copy.book.highest = copy.book.highest.max(newest);
        }
    }

    /// Makes sure that the bucket says which incarnation it is.
    async fn settle_incarnation(&self) -> Result<(), WriteError> {
        if self.copy().incarnation.is_some() {
            return Ok(());
        }
        let id = self.next_incarnation();
        match self.inner.bucket.create(KEY, bytes(id)).await {
            Ok(revision) => {
                let mut copy = self.copy();
                copy.incarnation = Some(Incarnation { id: id.to_string(), revision });
                copy.greatest = copy.greatest.max(Some(id));
                Ok(())
            }
            Err(WriteError::Conflict { .. }) => self.read_incarnation().await,
            Err(error) => Err(error),
        }
    }

    /// Begins another incarnation: no epoch that was given before can be given again.
    pub(super) async fn renew_incarnation(&self) -> Result<(), WriteError> {
        self.read_incarnation().await?;
        let Some(before) = self.copy().incarnation.clone() else { return Ok(()) };
        let id = self.next_incarnation();
        match self.inner.bucket.update(KEY, bytes(id), before.revision).await {
            Ok(revision) => {
                let mut copy = self.copy();
                copy.incarnation = Some(Incarnation { id: id.to_string(), revision });
                copy.greatest = copy.greatest.max(Some(id));
                Ok(())
            }
            // Somebody else saw it too.
            Err(WriteError::Conflict { .. }) => self.read_incarnation().await,
            Err(error) => Err(error),
        }
    }

    async fn read_incarnation(&self) -> Result<(), WriteError> {
        let entry = self.inner.bucket.newest(KEY).await?;
        let mut copy = self.copy();
        copy.incarnation = None;
        if let Some(entry) = entry {
            learn_incarnation(&mut copy, &entry);
        }
        Ok(())
    }

    /// Now, but after every incarnation before, whatever the clock says.
    fn next_incarnation(&self) -> ulid::Ulid {
        let now = ulid::Ulid::new();
        match self.copy().greatest {
            Some(greatest) if greatest >= now => greatest.increment().unwrap_or(now),
            _ => now,
        }
    }
}

fn bytes(incarnation: ulid::Ulid) -> Bytes {
    // One field that always serialises.
    serde_json::to_vec(&Written { incarnation }).unwrap_or_default().into()
}

fn learn_incarnation(copy: &mut super::Copy, entry: &Entry) {
    match serde_json::from_slice::<Written>(&entry.value) {
        Ok(written) => {
            copy.incarnation = Some(Incarnation { id: written.incarnation.to_string(), revision: entry.revision });
            copy.greatest = copy.greatest.max(Some(written.incarnation));
        }
        Err(error) => tracing::error!(%error, "the bucket's incarnation is not understood"),
    }
}

/// What has rung is doubtful from now on.
fn drain(copy: &mut super::Copy) {
    let Some(bell) = copy.bell.as_mut() else { return };
    let now = Instant::now();
    for ring in bell.drain() {
        if let Some(id) = StoredSession::id_of(&ring.key) {
            copy.book.ring(id, ring.expected, now);
        }
    }
}

/// What [`Store`] needs of a bucket that is not the one it left.
pub(super) async fn everything(bucket: &Bucket, position: &Position) -> Result<Vec<(String, Entry)>, BusError> {
    let mut all = Vec::new();
    let mut next = 1;
    while next <= position.last {
        let changes = bucket.changes(next).await?;
        let Some(newest) = changes.last().map(|change| change.revision) else { break };
        next = newest + 1;
        all.extend(changes.into_iter().filter_map(|change| change.entry.map(|entry| (change.key, entry))));
    }
    Ok(all)
}
