//! A bucket that is not the one that was left: restored from a backup, or made anew.
//!
//! What this registry remembers was acknowledged, so it is written back where the bucket has less; and another
//! incarnation begins, so that no epoch is given twice.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Instant;

use baft_bus::history::{From, History};
use baft_bus::kv::{Position, WriteError};
use baft_bus::payload::{Epoch, SessionTransition, StoredSession};

use super::Store;
use super::refresh::everything;
use crate::book::Book;

impl Store {
    /// Reads the bucket from its beginning, writes back what it has lost, and begins another incarnation.
    pub(super) async fn went_back(&self, position: &Position) -> Result<(), WriteError> {
        let remembered: Vec<Arc<StoredSession>> =
            self.with_book(|book| book.all().map(|known| known.stored.clone()).collect());
        tracing::error!(
            bucket = self.inner.bucket.name(),
            revision = position.last,
            remembered = remembered.len(),
            "the session bucket has gone back in time or was made anew: what it has lost is written back"
        );
        self.inner.metrics.went_back.inc();
        let there: HashMap<String, StoredSession> = everything(&self.inner.bucket, position)
            .await?
            .into_iter()
            .filter_map(|(key, entry)| {
                let id = StoredSession::id_of(&key)?.to_owned();
                Some((id, StoredSession::read(&entry).ok()?))
            })
            .collect();
        {
            let mut copy = self.copy();
            copy.book = Book::default();
            copy.incarnation = None;
        }
        self.read_up_to(position.last).await?;
        self.renew_incarnation().await?;
        for stored in remembered {
            let id = &stored.record.session_id;
            if there.get(id).is_none_or(|found| older(found, &stored)) {
                self.write_back(&stored).await?;
            }
        }
        Ok(())
    }

    /// Writes one session back, unless somebody did with newer knowledge.
    async fn write_back(&self, stored: &Arc<StoredSession>) -> Result<(), WriteError> {
        let id = stored.record.session_id.as_str();
        for _ in 0..3 {
            let found = self.inner.bucket.newest(&StoredSession::key(id)).await?;
            let revision = match &found {
                None => None,
                Some(entry) => match StoredSession::read(entry) {
                    Ok(there) if !older(&there, stored) => return Ok(()),
                    _ => Some(entry.revision),
                },
            };
            match self.write(id, stored, revision).await {
                Ok(revision) => {
                    self.copy().book.learn(id, revision, Some(stored.clone()), Instant::now());
                    self.inner.metrics.written_back.inc();
                    return Ok(());
                }
                Err(WriteError::Conflict { .. }) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Do the events know of epochs that the bucket has not given yet? Then it went back while nobody was looking.
    pub(super) async fn forgotten_by_bucket(&self) -> bool {
        let looked = async {
            let epochs = self.newest_epochs().await?;
            // After the events: what they tell of was in the bucket before.
            Ok::<_, baft_bus::BusError>((epochs, self.inner.bucket.position().await?))
        };
        let (epochs, position) = match looked.await {
            Ok(looked) => looked,
            Err(error) => {
                tracing::debug!(%error, "the newest session events cannot be read");
                return false;
            }
        };
        let mut copy = self.copy();
        for epoch in &epochs {
            copy.greatest = copy.greatest.max(epoch.incarnation.parse().ok());
        }
        let now = copy.incarnation.as_ref().map(|incarnation| incarnation.id.clone());
        epochs.iter().any(|epoch| match &now {
            Some(now) => epoch.incarnation > *now || (epoch.incarnation == *now && epoch.revision > position.last),
            // Made anew: it will get an incarnation of its own.
            None => false,
        })
    }

    async fn newest_epochs(&self) -> Result<Vec<Epoch>, baft_bus::BusError> {
        let mut history = History::open(&self.inner.bus, "session.*", From::Newest(50)).await?;
        let mut epochs = Vec::new();
        while let Some(event) = history.next().await? {
            if let Ok(step) = event.as_ref().map(|event| serde_json::from_slice::<SessionTransition>(&event.data))
                && let Ok(step) = step
            {
                epochs.push(step.record.epoch);
            }
        }
        Ok(epochs)
    }
}

/// Is the first the older state of the session?
fn older(one: &StoredSession, other: &StoredSession) -> bool {
    (&one.record.epoch, one.steps) < (&other.record.epoch, other.steps)
}
