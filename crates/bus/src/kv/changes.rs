//! Reading a bucket as a whole: what changed since a position, the newest value from the leader, and a bell.
//!
//! No consumer is left behind on the server, however often the connection breaks: changes are read by position, and
//! the bell only says when to look.

use async_nats::{Message, StatusCode, Subscriber};
use bytes::Bytes;
use futures_util::{FutureExt, StreamExt};
use serde_json::{Value, json};

use super::{Bucket, EXPECTED, Entry, MARKER, OPERATION, WriteError};
use crate::connection::{Bus, DEADLINE};
use crate::error::BusError;
use crate::headers;

/// How many changes are read at once.
const BATCH: u64 = 256;

/// Where a bucket is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Position {
    /// The revision of the newest write.
    pub last: u64,
    /// When the bucket was made, by the server's clock: another bucket of the same name has another.
    pub created: String,
}

/// One change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Changed {
    /// Which key.
    pub key: String,
    /// When, in the bucket's own count.
    pub revision: u64,
    /// The value; `None` when it was deleted or expired.
    pub entry: Option<Entry>,
}

/// Somebody is writing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ring {
    /// Which key.
    pub key: String,
    /// The revision the writer wants to replace, if it said so. Whatever is newer than that was decided after this.
    pub expected: Option<u64>,
}

/// Rings before a write is acknowledged to whoever makes it, also for writes that are refused then.
#[derive(Debug)]
pub struct Bell {
    subscriber: Subscriber,
    prefix: String,
}

impl Bell {
    /// Waits for the next ring; `None` when the connection is closed for good.
    pub async fn next(&mut self) -> Option<Ring> {
        loop {
            let message = self.subscriber.next().await?;
            if let Some(ring) = self.read(&message) {
                return Some(ring);
            }
        }
    }

    /// Everything that has rung so far, without waiting.
    ///
    /// A ring that reached this process before some request did is always among them when that request is handled:
    /// both come over the one connection, in order.
    pub fn drain(&mut self) -> Vec<Ring> {
        let mut rings = Vec::new();
        // Outside the runtime's budget, which would make a full channel look empty.
        while let Some(Some(message)) = tokio::task::unconstrained(self.subscriber.next()).now_or_never() {
            rings.extend(self.read(&message));
        }
        rings
    }

    fn read(&self, message: &Message) -> Option<Ring> {
        let key = message.subject.strip_prefix(&self.prefix)?.to_owned();
        let header = |name| message.headers.as_ref().and_then(|headers| headers::get(headers, name));
        Some(Ring { key, expected: header(EXPECTED).and_then(|text| text.parse().ok()) })
    }
}

impl Bucket {
    /// The newest value of a key, from the leader: nothing that was acknowledged before the call is missed.
    ///
    /// # Errors
    /// When the server does not answer or the bucket does not exist.
    pub async fn newest(&self, key: &str) -> Result<Option<Entry>, WriteError> {
        Ok(self.last(key).await?.and_then(|last| {
            (!last.tombstone).then_some(Entry { value: last.value, revision: last.revision, created: last.created })
        }))
    }

    /// Where the bucket is, from the leader.
    ///
    /// # Errors
    /// When the server does not answer or the bucket does not exist.
    pub async fn position(&self) -> Result<Position, BusError> {
        let info = self.bus.api(&format!("STREAM.INFO.{}", self.stream()), &Value::Null).await?;
        let last = info["state"]["last_seq"].as_u64().ok_or_else(|| self.not_understood("it has no last_seq"))?;
        Ok(Position { last, created: info["created"].as_str().unwrap_or_default().to_owned() })
    }

    /// The changes from a revision on, oldest first; some of them when there are many, none when there are none. Of
    /// each key only the newest is left.
    ///
    /// # Errors
    /// When the server does not answer or the bucket does not exist.
    pub async fn changes(&self, from: u64) -> Result<Vec<Changed>, BusError> {
        let prefix = self.subject_prefix();
        let body = json!({ "seq": from.max(1), "next_by_subj": format!("{prefix}>"), "batch": BATCH });
        let messages = self.bus.direct_batch(&self.stream(), &body).await?;
        messages.into_iter().map(|message| self.change(&prefix, message)).collect()
    }

    /// Rings for every write from now on, whatever the connection does in between. While there is none, nothing rings.
    ///
    /// # Errors
    /// When there is no connection or no permission.
    pub async fn bell(&self) -> Result<Bell, BusError> {
        let prefix = self.subject_prefix();
        let subject = format!("{prefix}>");
        let subscriber = self.bus.subscribe(&subject, None).await?;
        self.bus.confirm_subscription(&subject).await?;
        Ok(Bell { subscriber, prefix })
    }

    fn subject_prefix(&self) -> String {
        format!("$KV.{}.", self.name)
    }

    fn change(&self, prefix: &str, message: Message) -> Result<Changed, BusError> {
        let headers = message.headers.unwrap_or_default();
        let header = |name| headers::get(&headers, name);
        let key = header("Nats-Subject").and_then(|subject| subject.strip_prefix(prefix));
        let revision = header("Nats-Sequence").and_then(|text| text.parse().ok());
        let (Some(key), Some(revision)) = (key, revision) else {
            return Err(self.not_understood("a change has no subject or no sequence"));
        };
        let gone = header(OPERATION).is_some() || header(MARKER).is_some();
        let entry = (!gone).then(|| Entry {
            value: message.payload.clone(),
            revision,
            created: header("Nats-Time-Stamp").unwrap_or_default().to_owned(),
        });
        Ok(Changed { key: key.to_owned(), revision, entry })
    }
}

impl Bus {
    /// Several messages of a stream with one request: answers come until an empty one ends them.
    async fn direct_batch(&self, stream: &str, body: &Value) -> Result<Vec<Message>, BusError> {
        if !self.is_up() {
            return Err(self.disconnected());
        }
        let call = format!("$JS.API.DIRECT.GET.{stream}");
        let inbox = self.inner.client.new_inbox();
        let mut answers = self.subscribe(&inbox, None).await?;
        let request = self.inner.client.publish_with_reply(call.clone(), inbox, Bytes::from(body.to_string()));
        let collect = async {
            request.await.map_err(|_| self.disconnected())?;
            let mut messages = Vec::new();
            while let Some(message) = answers.next().await {
                match message.status {
                    None | Some(StatusCode::OK) => messages.push(message),
                    // The end of the batch, or nothing there at all.
                    Some(status) if status.as_u16() == 204 || status == StatusCode::NOT_FOUND => return Ok(messages),
                    Some(StatusCode::NO_RESPONDERS) => return Err(BusError::NoStream { subject: stream.to_owned() }),
                    Some(status) => {
                        return Err(BusError::JetStream {
                            operation: call.clone(),
                            code: u64::from(status.as_u16()),
                            description: message.description.unwrap_or_default(),
                        });
                    }
                }
            }
            Err(self.disconnected())
        };
        let timed_out = || BusError::Timeout { operation: format!("`{call}`"), after: DEADLINE };
        tokio::time::timeout(DEADLINE, collect).await.unwrap_or_else(|_| Err(timed_out()))
    }

    /// Which connection this is: another one after every reconnect, known before anything that comes over it.
    #[must_use]
    pub fn connection(&self) -> Option<(String, u64)> {
        let info = self.inner.client.try_server_info()?;
        Some((info.server_id, info.client_id))
    }
}
