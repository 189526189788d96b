//! The envelope: CloudEvents 1.0 in binary mode, attributes as `ce-*` headers, the payload as the JSON body.
//!
//! The official Rust SDK binds a client library that is no longer kept, so these few lines are our own.

use async_nats::header::HeaderMap;
use bytes::Bytes;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::announce::Outgoing;
use crate::headers;

/// A type of event (or of anything else that is versioned like one).
pub trait Payload: Serialize + DeserializeOwned + Send + Sync + 'static {
    /// The last tokens of the subject: `git.synced`.
    const TYPE: &'static str;
    /// Major and minor version. A consumer refuses another major and ignores fields it does not know.
    const VERSION: (u16, u16);
}

/// A decoded event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event<P> {
    /// Unique for the event: a repeated delivery has the same id.
    pub id: String,
    /// `/baft/<daemon>/<instance>`.
    pub source: String,
    /// When it happened by the producer's clock, RFC 3339.
    pub time: String,
    /// The payload.
    pub data: P,
}

/// An event as it came, not yet decoded.
#[derive(Clone, Debug)]
pub struct RawEvent {
    /// Unique for the event: a repeated delivery has the same id.
    pub id: String,
    /// `/baft/<daemon>/<instance>`.
    pub source: String,
    /// `git.synced`.
    pub kind: String,
    /// Major and minor version of the payload.
    pub version: (u16, u16),
    /// When it happened by the producer's clock, RFC 3339.
    pub time: String,
    /// The subject it came on.
    pub subject: String,
    /// The body.
    pub data: Bytes,
    /// Position in the stream; absent for a live subscription.
    pub sequence: Option<u64>,
    /// How often it has been delivered, this time included; absent for a live subscription.
    pub delivered: Option<u64>,
}

/// Why a message is not the event that was expected. Trying again cannot help.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// Not a CloudEvent in binary mode.
    #[error("the message on {subject} is no event: {reason}")]
    NotAnEvent {
        /// Where it came from.
        subject: String,
        /// What is missing or wrong.
        reason: String,
    },
    /// Another type of event.
    #[error("expected an event of type {expected}, got {found}")]
    OtherType {
        /// What was asked for.
        expected: &'static str,
        /// What came.
        found: String,
    },
    /// A major version this program does not know.
    #[error(
        "event {kind} has version {found_major}.{found_minor}, this program understands {known_major}.x: upgrade it"
    )]
    UnknownMajor {
        /// The type.
        kind: String,
        /// What came.
        found_major: u16,
        /// What came.
        found_minor: u16,
        /// What is understood.
        known_major: u16,
    },
    /// The body does not fit the type.
    #[error("the body of event {kind} cannot be decoded: {reason}")]
    BadBody {
        /// The type.
        kind: String,
        /// What is wrong, and where.
        reason: String,
    },
}

impl RawEvent {
    /// Decodes the body after checking type and major version.
    ///
    /// # Errors
    /// [`DecodeError`]; it converts into [`crate::Reject::Poison`].
    pub fn decode<P: Payload>(&self) -> Result<Event<P>, DecodeError> {
        if self.kind != P::TYPE {
            return Err(DecodeError::OtherType { expected: P::TYPE, found: self.kind.clone() });
        }
        if self.version.0 != P::VERSION.0 {
            return Err(DecodeError::UnknownMajor {
                kind: self.kind.clone(),
                found_major: self.version.0,
                found_minor: self.version.1,
                known_major: P::VERSION.0,
            });
        }
        let data = serde_json::from_slice(&self.data)
            .map_err(|error| DecodeError::BadBody { kind: self.kind.clone(), reason: error.to_string() })?;
        Ok(Event { id: self.id.clone(), source: self.source.clone(), time: self.time.clone(), data })
    }

    pub(crate) fn from_message(subject: &str, headers: Option<&HeaderMap>, data: Bytes) -> Result<Self, DecodeError> {
        let not_an_event = |reason: String| DecodeError::NotAnEvent { subject: subject.to_owned(), reason };
        let headers = headers.ok_or_else(|| not_an_event("it has no headers".to_owned()))?;
        let attribute = |name: &str| {
            headers::get(headers, name)
                .map(str::to_owned)
                .ok_or_else(|| not_an_event(format!("the header {name} is missing")))
        };
        let spec = attribute("ce-specversion")?;
        if !spec.starts_with("1.") {
            return Err(not_an_event(format!("ce-specversion is {spec}")));
        }
        let schema = attribute("ce-dataschema")?;
        let version =
            parse_schema_version(&schema).ok_or_else(|| not_an_event(format!("ce-dataschema is `{schema}`")))?;
        Ok(Self {
            id: attribute("ce-id")?,
            source: attribute("ce-source")?,
            kind: attribute("ce-type")?,
            version,
            time: headers::get(headers, "ce-time").unwrap_or_default().to_owned(),
            subject: subject.to_owned(),
            data,
            sequence: None,
            delivered: None,
        })
    }
}

/// `baft:event/git.synced/1.0` → (1, 0).
fn parse_schema_version(schema: &str) -> Option<(u16, u16)> {
    let (_, version) = schema.rsplit_once('/')?;
    let (major, minor) = version.split_once('.')?;
    Some((major.parse().ok()?, minor.parse().ok()?))
}

/// The headers of an event that leaves this process.
pub(crate) fn envelope(event: &Outgoing, source: &str) -> HeaderMap {
    let mut headers = HeaderMap::new();
    let (major, minor) = event.version;
    headers::set(&mut headers, "ce-specversion", "1.0");
    headers::set(&mut headers, "ce-id", &event.id);
    headers::set(&mut headers, "ce-source", source);
    headers::set(&mut headers, "ce-type", event.kind);
    headers::set(&mut headers, "ce-time", &event.time);
    headers::set(&mut headers, "ce-dataschema", &format!("baft:event/{}/{major}.{minor}", event.kind));
    headers::set(&mut headers, "Content-Type", "application/json");
    headers::set(&mut headers, headers::MESSAGE_ID, &event.id);
    headers
}
