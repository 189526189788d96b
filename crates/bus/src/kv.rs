//! Key-value buckets with compare-and-swap that tells won from lost even when an acknowledgement got lost.
//!
//! Written against the server's own rules instead of the client library's store for two reasons: re-creating a key over
//! an expiry marker there loses the time to live, and a "wrong last sequence" there does not tell whether the write that
//! came first was our own. Here every write carries a nonce, which is read back in that case.

mod changes;
mod follow;

use std::time::Duration;

use async_nats::Message;
use async_nats::StatusCode;
use async_nats::header::HeaderMap;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use futures_util::TryStreamExt;
use serde_json::json;

use crate::connection::{Bus, DEADLINE};
use crate::error::BusError;
use crate::headers;
use crate::jetstream::{NO_MESSAGE_FOUND, WRONG_LAST_SEQUENCE, is_code};

pub use changes::{Bell, Changed, Position, Ring};
pub use follow::Change;

const NONCE: &str = "Baft-Write-Nonce";
const OPERATION: &str = "KV-Operation";
const MARKER: &str = "Nats-Marker-Reason";
const EXPECTED: &str = "Nats-Expected-Last-Subject-Sequence";
const TTL: &str = "Nats-TTL";

/// Listing the keys of a bucket may take longer than one exchange.
const LIST_DEADLINE: Duration = Duration::from_secs(20);

/// A bucket.
#[derive(Clone, Debug)]
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
    /// The key or the time to live is not usable.
    #[error("{0}")]
    Invalid(String),
    /// The bus failed; for a timeout the write may have happened.
    #[error(transparent)]
    Bus(#[from] BusError),
}

/// What a write expects to find.
#[derive(Clone, Copy)]
enum Expect {
    Anything,
    Revision(u64),
}

struct Last {
    revision: u64,
    value: Bytes,
    created: String,
    tombstone: bool,
    nonce: Option<String>,
}

impl Bucket {
    /// The bucket `<PREFIX>_<suffix>`; nothing is asked of the server.
    #[must_use]
    pub fn open(bus: &Bus, suffix: &str) -> Self {
        Self { bus: bus.clone(), name: bus.prefix().upper(suffix) }
    }

    /// Its full name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The value of a key. May lag behind a write for a moment on a replicated bucket: decide by [`Self::update`].
    ///
    /// # Errors
    /// When the server does not answer or the bucket does not exist.
    pub async fn get(&self, key: &str) -> Result<Option<Entry>, WriteError> {
        let subject = self.subject(key)?;
        let Some(message) = self.bus.last_stored(&self.stream(), &subject).await? else {
            return Ok(None);
        };
        let headers = message.headers.unwrap_or_default();
        if headers::get(&headers, OPERATION).is_some() || headers::get(&headers, MARKER).is_some() {
            return Ok(None);
        }
        Ok(Some(Entry {
            value: message.payload,
            revision: headers::get(&headers, "Nats-Sequence")
                .and_then(|text| text.parse().ok())
                .ok_or_else(|| self.not_understood("the reply has no Nats-Sequence"))?,
            created: headers::get(&headers, "Nats-Time-Stamp").unwrap_or_default().to_owned(),
        }))
    }

    /// Writes a key that does not exist (or was deleted or expired); gives its revision.
    ///
    /// # Errors
    /// [`WriteError::Conflict`] when it exists.
    pub async fn create(&self, key: &str, value: Bytes) -> Result<u64, WriteError> {
        self.create_new(key, value, None).await
    }

    /// [`Self::create`], and the key vanishes after `ttl` (rounded up to whole seconds, at least one). An
    /// [`Self::update`] makes it stay for ever: the time belongs to the value, not to the key.
    ///
    /// # Errors
    /// [`WriteError::Conflict`] when it exists.
    pub async fn create_with_ttl(&self, key: &str, value: Bytes, ttl: Duration) -> Result<u64, WriteError> {
        if ttl.is_zero() {
            return Err(WriteError::Invalid("a time to live of zero would mean for ever".to_owned()));
        }
        let seconds = ttl.as_secs() + u64::from(ttl.subsec_nanos() > 0);
        self.create_new(key, value, Some(seconds)).await
    }

    /// Replaces the value if it still has this revision; gives the new one.
    ///
    /// # Errors
    /// [`WriteError::Conflict`] when it has another.
    pub async fn update(&self, key: &str, value: Bytes, revision: u64) -> Result<u64, WriteError> {
        self.write(key, value, HeaderMap::new(), Expect::Revision(revision)).await
    }

    /// Deletes a key, whatever its revision.
    ///
    /// # Errors
    /// When the server does not answer.
    pub async fn delete(&self, key: &str) -> Result<(), WriteError> {
        self.remove(key, Expect::Anything).await
    }

    /// Deletes a key if it still has this revision.
    ///
    /// # Errors
    /// [`WriteError::Conflict`] when it has another.
    pub async fn delete_at(&self, key: &str, revision: u64) -> Result<(), WriteError> {
        self.remove(key, Expect::Revision(revision)).await
    }

    async fn remove(&self, key: &str, expect: Expect) -> Result<(), WriteError> {
        let mut headers = HeaderMap::new();
        headers::set(&mut headers, OPERATION, "DEL");
        self.write(key, Bytes::new(), headers, expect).await.map(drop)
    }

    /// All keys that have a value, in no particular order.
    ///
    /// # Errors
    /// When the server does not answer.
    pub async fn keys(&self) -> Result<Vec<String>, BusError> {
        if !self.bus.is_up() {
            return Err(self.bus.disconnected());
        }
        let jetstream = async_nats::jetstream::new(self.bus.inner.client.clone());
        let failed = |reason: String| self.not_understood(&reason);
        let list = async {
            let store = jetstream.get_key_value(&self.name).await.map_err(|error| failed(error.to_string()))?;
            let keys = store.keys().await.map_err(|error| failed(error.to_string()))?;
            keys.try_collect().await.map_err(|error| failed(error.to_string()))
        };
        tokio::time::timeout(LIST_DEADLINE, list).await.unwrap_or_else(|_| {
            Err(BusError::Timeout { operation: format!("the keys of {}", self.name), after: LIST_DEADLINE })
        })
    }

    async fn create_new(&self, key: &str, value: Bytes, ttl: Option<u64>) -> Result<u64, WriteError> {
        let headers = || {
            let mut headers = HeaderMap::new();
            if let Some(seconds) = ttl {
                headers::set(&mut headers, TTL, &format!("{seconds}s"));
            }
            headers
        };
        let mut expected = 0;
        // Once over nothing; then over the marker that a delete or an expiry left. A third time would mean that
        // somebody else keeps creating and deleting the key.
        for _ in 0..3 {
            match self.write(key, value.clone(), headers(), Expect::Revision(expected)).await {
                Err(WriteError::Conflict { .. }) => match self.last(key).await? {
                    Some(last) if last.tombstone => expected = last.revision,
                    Some(_) => break,
                    None => expected = 0,
                },
                other => return other,
            }
        }
        Err(WriteError::Conflict { key: key.to_owned() })
    }

    async fn write(&self, key: &str, value: Bytes, mut headers: HeaderMap, expect: Expect) -> Result<u64, WriteError> {
        let subject = self.subject(key)?;
        let nonce = ulid::Ulid::new().to_string();
        headers::set(&mut headers, NONCE, &nonce);
        if let Expect::Revision(revision) = expect {
            headers::set(&mut headers, EXPECTED, &revision.to_string());
        }
        let mut result = self.bus.publish_stored(&subject, headers.clone(), value.clone()).await;
        if let (Err(BusError::Timeout { .. }), Expect::Revision(_)) = (&result, expect) {
            // Harmless: if the first attempt was stored, this one is refused and the nonce tells.
            result = self.bus.publish_stored(&subject, headers, value).await;
        }
        match result {
            Ok(stored) => Ok(stored.seq),
            // With one replica the server compares the sequence before it looks for a repeated message, so a retry
            // whose first acknowledgement got lost ends here too.
            Err(error) if is_code(&error, WRONG_LAST_SEQUENCE) => match self.last(key).await? {
                Some(last) if last.nonce.as_deref() == Some(nonce.as_str()) => Ok(last.revision),
                _ => Err(WriteError::Conflict { key: key.to_owned() }),
            },
            Err(error) => Err(error.into()),
        }
    }

    /// The last message of a key, markers included, from the leader (a direct read may come from a replica that lags).
    async fn last(&self, key: &str) -> Result<Option<Last>, WriteError> {
        let subject = self.subject(key)?;
        let answer =
            match self.bus.api(&format!("STREAM.MSG.GET.{}", self.stream()), &json!({"last_by_subj": subject})).await {
                Ok(answer) => answer,
                Err(error) if is_code(&error, NO_MESSAGE_FOUND) => return Ok(None),
                Err(error) => return Err(error.into()),
            };
        let message = &answer["message"];
        let revision = message["seq"].as_u64().ok_or_else(|| self.not_understood("the reply has no seq"))?;
        let headers = message["hdrs"].as_str().and_then(|text| STANDARD.decode(text).ok()).unwrap_or_default();
        let headers = String::from_utf8_lossy(&headers);
        let header = |name: &str| {
            headers.lines().find_map(|line| {
                let (key, value) = line.split_once(':')?;
                key.eq_ignore_ascii_case(name).then(|| value.trim().to_owned())
            })
        };
        let tombstone = header(OPERATION).is_some() || header(MARKER).is_some();
        let value = message["data"].as_str().and_then(|text| STANDARD.decode(text).ok()).unwrap_or_default().into();
        let created = message["time"].as_str().unwrap_or_default().to_owned();
        Ok(Some(Last { revision, value, created, tombstone, nonce: header(NONCE) }))
    }

    fn stream(&self) -> String {
        format!("KV_{}", self.name)
    }

    fn subject(&self, key: &str) -> Result<String, WriteError> {
        let usable = (1..=512).contains(&key.len())
            && key.split('.').all(|part| !part.is_empty())
            && key.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_/=.".contains(&b));
        if usable {
            Ok(format!("$KV.{}.{key}", self.name))
        } else {
            Err(WriteError::Invalid(format!(
                "`{}` is no key: use letters, digits and -_/=., without a dot at the ends or two in a row",
                key.escape_default()
            )))
        }
    }

    fn not_understood(&self, reason: &str) -> BusError {
        BusError::Protocol { operation: format!("a read of {}", self.name), reason: reason.to_owned() }
    }
}

impl Bus {
    /// The last message on a subject of a stream, from whichever replica answers first.
    pub(crate) async fn last_stored(&self, stream: &str, subject: &str) -> Result<Option<Message>, BusError> {
        // The subject is part of the API subject, so that permissions can name it.
        let call = format!("$JS.API.DIRECT.GET.{stream}.{subject}");
        let message = self.ask(&call, HeaderMap::new(), Bytes::new(), DEADLINE).await?;
        match message.status {
            None | Some(StatusCode::OK) => Ok(Some(message)),
            Some(StatusCode::NOT_FOUND) => Ok(None),
            Some(status) => Err(BusError::JetStream {
                operation: call,
                code: u64::from(status.as_u16()),
                description: message.description.unwrap_or_default(),
            }),
        }
    }
}
