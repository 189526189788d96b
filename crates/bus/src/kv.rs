//! Key-value buckets with compare-and-swap that tells won from lost even when an acknowledgement got lost.

use std::time::Duration;

use bytes::Bytes;

use crate::connection::Bus;
use crate::error::BusError;

/// A bucket.
#[derive(Clone)]
pub struct Bucket {
    bus: Bus,
    name: String,
}

/// A value with the revision it was read at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The value.
    pub value: Bytes,
    /// For [`Bucket::update`].
    pub revision: u64,
    /// When it was written, by the server's clock, RFC 3339.
    pub created: String,
}

/// Why a write did not happen.
#[derive(Clone, Debug, thiserror::Error)]
pub enum WriteError {
    /// Somebody else was first: read again and decide again.
    #[error("`{key}` was changed by somebody else")]
    Conflict {
        /// The key.
        key: String,
    },
    /// The key is not usable.
    #[error("`{0}` is no key: use letters, digits and `-_/=.`, no dot at the ends or twice in a row")]
    BadKey(String),
    /// The bus failed; for a timeout the write may have happened.
    #[error(transparent)]
    Bus(#[from] BusError),
}

impl Bucket {
    /// The bucket `<PREFIX>_<suffix>`; nothing is asked of the server.
    #[must_use]
    pub fn open(bus: &Bus, suffix: &str) -> Self {
        todo!()
    }

    /// The value of a key. May lag behind a write for a moment on a replicated bucket: decide by [`Self::update`].
    ///
    /// # Errors
    /// When the server does not answer or the bucket does not exist.
    pub async fn get(&self, key: &str) -> Result<Option<Entry>, BusError> {
        todo!()
    }

    /// Writes a key that does not exist (or was deleted or expired).
    ///
    /// # Errors
    /// [`WriteError::Conflict`] when it exists.
    pub async fn create(&self, key: &str, value: Bytes) -> Result<u64, WriteError> {
        todo!()
    }

    /// [`Self::create`], and the key vanishes after `ttl` (whole seconds, at least one).
    ///
    /// # Errors
    /// [`WriteError::Conflict`] when it exists.
    pub async fn create_with_ttl(&self, key: &str, value: Bytes, ttl: Duration) -> Result<u64, WriteError> {
        todo!()
    }

    /// Replaces the value if it still has this revision. A key with a time to live loses it (the server's rule).
    ///
    /// # Errors
    /// [`WriteError::Conflict`] when it has another.
    pub async fn update(&self, key: &str, value: Bytes, revision: u64) -> Result<u64, WriteError> {
        todo!()
    }

    /// Deletes a key, whatever its revision.
    ///
    /// # Errors
    /// When the server does not answer.
    pub async fn delete(&self, key: &str) -> Result<(), WriteError> {
        todo!()
    }

    /// All keys that have a value.
    ///
    /// # Errors
    /// When the server does not answer.
    pub async fn keys(&self) -> Result<Vec<String>, BusError> {
        todo!()
    }
}
