//! Keeping a copy of a bucket: everything it holds, and then every change.

use std::time::Duration;

use async_nats::jetstream::kv::{Operation, Watch};
use baft_kit::backoff::Backoff;
use chrono::{DateTime, SecondsFormat, Utc};
use futures_util::StreamExt;
use tokio_util::sync::CancellationToken;

use super::{Bucket, Entry};
use crate::connection::DEADLINE;
use crate::error::BusError;

/// A watch that broke silently is found by reading everything again this often.
const AGAIN: Duration = Duration::from_secs(300);

/// What is told of a bucket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// Everything is told anew; until [`Change::Current`], what was known before is the best there is.
    Begin,
    /// A key has this value.
    Is(String, Entry),
    /// A key has no value any more.
    Gone(String),
    /// Everything was told: what was not named since [`Change::Begin`] does not exist.
    Current,
}

impl Bucket {
    /// Tells everything the bucket holds and every change, until `shutdown`, whatever the connection does. A bucket that does not exist is waited
    /// for. What is told may lag; who decides something by it reads the key again.
    pub async fn follow(&self, shutdown: CancellationToken, mut tell: impl FnMut(Change)) {
        let following = async {
            let mut backoff = Backoff::new(Duration::from_secs(1), Duration::from_secs(30));
            loop {
                if self.bus.wait_connected(Duration::from_secs(3600)).await.is_err() {
                    continue;
                }
                let began = tokio::time::Instant::now();
                match tokio::time::timeout(AGAIN, self.follow_once(&mut tell)).await {
                    Err(_) => backoff.reset(),
                    Ok(result) => {
                        if let Err(error) = result {
                            tracing::debug!(%error, bucket = self.name, "the bucket cannot be followed now");
                        }
                        if began.elapsed() > Duration::from_secs(60) {
                            backoff.reset();
                        }
                        tokio::time::sleep(backoff.next_delay()).await;
                    }
                }
            }
        };
        tokio::select! {
            () = following => {}
            () = shutdown.cancelled() => {}
        }
    }

    /// Until the watch breaks.
    async fn follow_once(&self, tell: &mut impl FnMut(Change)) -> Result<(), BusError> {
        let (mut watch, empty) = tokio::time::timeout(DEADLINE, self.watch()).await.unwrap_or_else(|_| {
            Err(BusError::Timeout { operation: format!("a watch of {}", self.name), after: DEADLINE })
        })?;
        tell(Change::Begin);
        let mut current = empty;
        if current {
            tell(Change::Current);
        }
        while let Some(entry) = watch.next().await {
            let entry = entry.map_err(|error| self.not_understood(&error.to_string()))?;
            let complete = entry.seen_current;
            tell(match entry.operation {
                Operation::Put => {
                    let created =
                        DateTime::<Utc>::from_timestamp(entry.created.unix_timestamp(), 0).unwrap_or_default();
                    let created = created.to_rfc3339_opts(SecondsFormat::Secs, true);
                    Change::Is(entry.key, Entry { value: entry.value, revision: entry.revision, created })
                }
                Operation::Delete | Operation::Purge => Change::Gone(entry.key),
            });
            if complete && !current {
                current = true;
                tell(Change::Current);
            }
        }
        Ok(())
    }

    /// A watch of everything, and whether there is nothing yet.
    async fn watch(&self) -> Result<(Watch, bool), BusError> {
        let failed = |reason: String| self.not_understood(&reason);
        let jetstream = async_nats::jetstream::new(self.bus.inner.client.clone());
        let store = jetstream.get_key_value(&self.name).await.map_err(|error| failed(error.to_string()))?;
        let watch = store.watch_with_history(">").await.map_err(|error| failed(error.to_string()))?;
        let status = store.status().await.map_err(|error| failed(error.to_string()))?;
        Ok((watch, status.values() == 0))
    }
}
