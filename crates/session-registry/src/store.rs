//! The bucket: reading it so that nothing acknowledged is missed, changing it by compare-and-swap alone.
//!
//! Requests are answered from the copy in memory. That is as good as asking the bucket, because every write rings here
//! before it is acknowledged to whoever makes it, over the same connection on which later requests come: what has rung
//! is asked again before it is relied upon, and after a reconnect everything is (docs/decisions/0040).

mod back;
mod refresh;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use baft_bus::kv::{Bell, Bucket, WriteError};
use baft_bus::payload::StoredSession;
use baft_bus::{Bus, BusError, Code, RequestError};
use bytes::Bytes;
use tokio::sync::Mutex as AsyncMutex;

use crate::book::{Beat, Book, Known};
use crate::metrics::Metrics;
use crate::outbox::Outbox;
use crate::settings::Patience;

pub use refresh::Incarnation;

/// How often a change is tried when others change the same session at the same time.
const ATTEMPTS: usize = 12;

/// What a change came to.
pub enum Change<T> {
    /// Nothing is to be written.
    Keep(T),
    /// This is to be written.
    Write(Box<StoredSession>, T),
}

/// The bucket and the copy of it. Clones share both.
#[derive(Clone, Debug)]
pub struct Store {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    bus: Bus,
    bucket: Bucket,
    patience: Patience,
    metrics: Metrics,
    outbox: Outbox,
    copy: Mutex<Copy>,
    /// One at a time reads the bucket as a whole.
    refreshing: AsyncMutex<()>,
}

#[derive(Debug, Default)]
struct Copy {
    book: Book,
    bell: Option<Bell>,
    /// The connection everything here was checked on.
    connection: Option<(String, u64)>,
    /// When the bucket was made.
    created: Option<String>,
    incarnation: Option<Incarnation>,
    /// The greatest incarnation ever seen, here or in an event.
    greatest: Option<ulid::Ulid>,
}

/// What a request fails with while the bucket cannot be reached.
pub(crate) fn unavailable(error: &dyn std::fmt::Display) -> RequestError {
    RequestError::new(Code::Unavailable, format!("the session bucket cannot be used right now: {error}"))
        .hint("sessions and edits are safe; ask again in a moment")
}

impl Store {
    pub(crate) fn new(bus: &Bus, patience: Patience, metrics: Metrics, outbox: Outbox) -> Self {
        let inner = Inner {
            bus: bus.clone(),
            bucket: Bucket::open(bus, "SESSIONS"),
            patience,
            metrics,
            outbox,
            copy: Mutex::default(),
            refreshing: AsyncMutex::new(()),
        };
        Self { inner: Arc::new(inner) }
    }

    fn copy(&self) -> MutexGuard<'_, Copy> {
        self.inner.copy.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Reads the copy.
    pub(crate) fn with_book<T>(&self, read: impl FnOnce(&Book) -> T) -> T {
        read(&self.copy().book)
    }

    /// Everybody gets the whole time to be heard again.
    pub(crate) fn grace(&self) {
        self.copy().book.grace(Instant::now());
    }

    /// The incarnation that new epochs are of.
    pub(crate) fn incarnation(&self) -> Option<String> {
        self.copy().incarnation.as_ref().map(|incarnation| incarnation.id.clone())
    }

    /// Does the server answer at once?
    pub(crate) async fn prompt(&self, limit: Duration) -> bool {
        matches!(tokio::time::timeout(limit, self.inner.bucket.position()).await, Ok(Ok(_)))
    }

    /// Nothing here can be relied upon before it was checked as after a reconnect.
    fn doubt(&self) {
        self.copy().connection = None;
    }

    /// One session, as it is in the bucket.
    ///
    /// # Errors
    /// The bucket cannot be asked.
    pub(crate) async fn session(&self, id: &str) -> Result<Option<Known>, RequestError> {
        self.current().await?;
        {
            let copy = self.copy();
            if let Some(known) = copy.book.get(id).filter(|known| !known.doubtful(Instant::now())) {
                return Ok(Some(known.clone()));
            }
        }
        self.ask(id).await
    }

    /// One session, asked of the leader whatever is known.
    async fn ask(&self, id: &str) -> Result<Option<Known>, RequestError> {
        let entry = self.inner.bucket.newest(&StoredSession::key(id)).await.map_err(|error| unavailable(&error))?;
        let mut copy = self.copy();
        match entry {
            Some(entry) => {
                let stored = StoredSession::read(&entry).map_err(|error| unavailable(&error))?;
                copy.book.learn(id, entry.revision, Some(Arc::new(stored)), Instant::now());
            }
            None => {
                let next = copy.book.get(id).map_or(0, |known| known.revision + 1);
                copy.book.learn(id, next, None, Instant::now());
            }
        }
        Ok(copy.book.get(id).cloned())
    }

    /// Changes one session: `decide` gets what is there and says what shall be. It may be called several times.
    ///
    /// # Errors
    /// What `decide` says, or the bucket cannot be changed. After `timeout` and `unavailable` the change may have been
    /// made all the same.
    pub(crate) async fn change<T>(
        &self,
        id: &str,
        mut decide: impl FnMut(Option<&StoredSession>) -> Result<Change<T>, RequestError>,
    ) -> Result<T, RequestError> {
        let mut known = self.session(id).await?;
        for _ in 0..ATTEMPTS {
            let (mut next, value) = match decide(known.as_ref().map(|known| &*known.stored))? {
                Change::Keep(value) => return Ok(value),
                Change::Write(next, value) => (*next, value),
            };
            if let Some(beat) = known.as_ref().and_then(|known| known.beat.as_ref()) {
                beat.write(&mut next);
            }
            let fresh = self.inner.outbox.prune(&mut next, known.as_ref().map(|known| &*known.stored));
            match self.write(id, &next, known.as_ref().map(|known| known.revision)).await {
                Ok(revision) => {
                    next.settle(revision);
                    let told: Vec<_> =
                        next.pending.iter().filter(|step| fresh.contains(&step.number)).cloned().collect();
                    self.copy().book.learn(id, revision, Some(Arc::new(next)), Instant::now());
                    for step in told {
                        self.inner.metrics.transitions.with_label_values(&[step.to.name()]).inc();
                        self.inner.outbox.add(step);
                    }
                    return Ok(value);
                }
                Err(WriteError::Conflict { .. }) => {
                    self.inner.metrics.conflicts.inc();
                    known = self.ask(id).await?;
                }
                Err(error) => return Err(unavailable(&error)),
            }
        }
        Err(RequestError::new(Code::Conflict, format!("session {id} is being changed by many at once"))
            .hint("ask again in a moment")
            .retryable())
    }

    /// Writes one session, if it still has this revision.
    async fn write(&self, id: &str, next: &StoredSession, revision: Option<u64>) -> Result<u64, WriteError> {
        let value = Bytes::from(serde_json::to_vec(next).map_err(|error| WriteError::Invalid(error.to_string()))?);
        let key = StoredSession::key(id);
        let at_least = self.copy().book.highest + 1;
        let written = match revision {
            Some(revision) => self.inner.bucket.update(&key, value, revision).await,
            None => self.inner.bucket.create(&key, value).await,
        };
        match written {
            // Revisions only grow: this is another bucket than the one that was read.
            Ok(revision) if revision < at_least => {
                self.doubt();
                let reason = format!("it gave revision {revision} where {at_least} was next: it was made anew");
                Err(WriteError::Bus(BusError::Protocol {
                    operation: format!("a write to {}", self.inner.bucket.name()),
                    reason,
                }))
            }
            Err(WriteError::Bus(error))
                if !matches!(error, BusError::Timeout { .. } | BusError::Disconnected { .. }) =>
            {
                self.doubt();
                Err(error.into())
            }
            written => written,
        }
    }

    /// Takes a session that is over out of the bucket; its history stays in the events.
    pub(crate) async fn remove(&self, id: &str, revision: u64) -> Result<(), WriteError> {
        self.inner.bucket.delete_at(&StoredSession::key(id), revision).await?;
        self.copy().book.learn(id, revision + 1, None, Instant::now());
        Ok(())
    }

    /// A sign of life, in memory.
    pub(crate) fn hear(&self, id: &str, beat: Beat) {
        self.copy().book.hear(id, beat, Instant::now());
    }

    /// Have this session's beats to be written down now? Then whoever asked does it.
    pub(crate) fn take_due(&self, id: &str) -> bool {
        self.copy().book.take_due(id, &self.inner.patience, Instant::now())
    }

    /// They could not be written down.
    pub(crate) fn not_written(&self, id: &str) {
        self.copy().book.not_written(id, &self.inner.patience, Instant::now());
    }

    /// Sessions by a condition, as ids.
    pub(crate) fn which(&self, wanted: impl Fn(&Known, Instant) -> bool) -> Vec<String> {
        let now = Instant::now();
        self.with_book(|book| {
            let found = book.all().filter(|known| wanted(known, now));
            found.map(|known| known.stored.record.session_id.clone()).collect()
        })
    }

    /// Waits until somebody writes, or for a while.
    pub(crate) async fn follow(&self, bell: &mut Option<Bell>, at_most: Duration) {
        if bell.is_none() {
            *bell = self.inner.bucket.bell().await.ok();
        }
        let Some(one) = bell.as_mut() else {
            tokio::time::sleep(at_most).await;
            return;
        };
        if let Ok(None) = tokio::time::timeout(at_most, one.next()).await {
            *bell = None;
        }
    }
}
