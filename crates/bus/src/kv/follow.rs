//! Keeping a copy of a bucket: everything it holds, and then every change.

use std::time::Duration;

use baft_kit::backoff::Backoff;
use tokio_util::sync::CancellationToken;

use super::changes::{Bell, Position};
use super::{Bucket, Entry};
use crate::error::BusError;

/// Looked at this often even when nobody rings.
const LOOK_ANYWAY: Duration = Duration::from_secs(5);
/// The bell rings before a write is stored: looked at again this soon, so often.
const RUNG: [Duration; 4] =
    [Duration::ZERO, Duration::from_millis(20), Duration::from_millis(100), Duration::from_millis(500)];

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
    /// for. What is told may lag; who decides something by it reads the key again ([`Bucket::newest`]).
    pub async fn follow(&self, shutdown: CancellationToken, mut tell: impl FnMut(Change)) {
        let following = async {
            let mut backoff = Backoff::new(Duration::from_secs(1), Duration::from_secs(30));
            loop {
                if self.bus.wait_connected(Duration::from_secs(3600)).await.is_err() {
                    continue;
                }
                let mut told = 0;
                if let Err(error) = self.follow_once(&mut tell, &mut told).await {
                    tracing::debug!(%error, bucket = self.name, "the bucket cannot be followed now");
                }
                if told > 0 {
                    backoff.reset();
                }
                tokio::time::sleep(backoff.next_delay()).await;
            }
        };
        tokio::select! {
            () = following => {}
            () = shutdown.cancelled() => {}
        }
    }

    /// Until something fails, or the bucket is another one. `told` counts what was read.
    async fn follow_once(&self, tell: &mut impl FnMut(Change), told: &mut u64) -> Result<(), BusError> {
        // From before the first look, so that nothing falls between.
        let mut bell = self.bell().await?;
        let start = self.position().await?;
        tell(Change::Begin);
        let mut next = 1;
        while next <= start.last {
            let before = next;
            self.read_from(&mut next, tell).await?;
            if next == before {
                break;
            }
        }
        tell(Change::Current);
        *told += 1;
        let mut known = Position { last: next - 1, ..start };
        loop {
            let rung = match tokio::time::timeout(LOOK_ANYWAY, bell.next()).await {
                Ok(Some(_)) => true,
                Ok(None) => return Ok(()),
                Err(_) => false,
            };
            if !rung {
                let now = self.position().await?;
                if now.created != known.created || now.last < known.last {
                    return Ok(());
                }
                if now.last == known.last {
                    continue;
                }
            }
            self.look(&mut bell, &mut next, tell).await?;
            known.last = next - 1;
        }
    }

    /// Reads what is new, again while a ring may still be on its way into the stream.
    async fn look(&self, bell: &mut Bell, next: &mut u64, tell: &mut impl FnMut(Change)) -> Result<(), BusError> {
        for pause in RUNG {
            tokio::time::sleep(pause).await;
            bell.drain();
            let before = *next;
            self.read_from(next, tell).await?;
            if *next > before {
                // There may be more than one batch, or more than one writer.
                while self.read_from(next, tell).await? {}
                return Ok(());
            }
        }
        Ok(())
    }

    /// One batch; whether there was anything.
    async fn read_from(&self, next: &mut u64, tell: &mut impl FnMut(Change)) -> Result<bool, BusError> {
        let changes = self.changes(*next).await?;
        let any = !changes.is_empty();
        for change in changes {
            *next = (*next).max(change.revision + 1);
            tell(match change.entry {
                Some(entry) => Change::Is(change.key, entry),
                None => Change::Gone(change.key),
            });
        }
        Ok(any)
    }
}
