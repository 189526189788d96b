//! Reading the past of a stream and following it, for people: nothing is acknowledged, and no consumer is left behind.
//!
//! Events are read one by one by position, and a live subscription only rings the bell: a lost message, a reconnect or
//! a restarted server can delay an event but not hide it.

use std::collections::VecDeque;
use std::time::Duration;

use async_nats::StatusCode;
use async_nats::header::HeaderMap;
use bytes::Bytes;
use chrono::{DateTime, Utc};
use serde_json::{Value, json};

use crate::connection::{Bus, DEADLINE};
use crate::consume::{LiveEvents, subscribe_live};
use crate::error::BusError;
use crate::event::{DecodeError, RawEvent};
use crate::headers;

/// Looked at this often even when nobody rings.
const LOOK_ANYWAY: Duration = Duration::from_secs(2);

/// Where to start reading.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum From {
    /// With the newest so many.
    Newest(u64),
    /// With the first one stored at or after this moment.
    Time(DateTime<Utc>),
}

/// A position in a stream, and the way on.
#[derive(Debug)]
pub struct History {
    bus: Bus,
    stream: String,
    subject: String,
    /// Read already, not yet handed out.
    ready: VecDeque<Entry>,
    next: u64,
    bell: LiveEvents,
}

#[derive(Debug)]
struct Entry {
    sequence: u64,
    event: Result<RawEvent, DecodeError>,
}

/// The name (without prefix) of the stream that holds a kind of event; `*` and `>` may stand for one word and the rest.
fn stream_of(kinds: &str) -> &'static str {
    match kinds.split('.').next() {
        Some("entity") => "ENTITY_EVENTS",
        Some("session") => "SESSION_EVENTS",
        _ => "EVENTS",
    }
}

impl History {
    /// Opens the stream that holds `kinds` (`git.synced`, `import.*`, `>`).
    ///
    /// # Errors
    /// The stream is missing, or the server does not answer.
    pub async fn open(bus: &Bus, kinds: &str, from: From) -> Result<Self, BusError> {
        // Before reading: what is stored in between rings, and nothing falls between the two.
        let bell = subscribe_live(bus, kinds).await?;
        let mut history = Self {
            bus: bus.clone(),
            stream: bus.prefix().upper(stream_of(kinds)),
            subject: bus.prefix().event(kinds),
            ready: VecDeque::new(),
            next: 1,
            bell,
        };
        match from {
            From::Newest(count) => history.go_back(count).await?,
            From::Time(time) => history.go_to(time).await?,
        }
        Ok(history)
    }

    /// The next event; `None` when there is none so far. A message that is no event is an error of its own, and the
    /// next call goes on behind it.
    ///
    /// # Errors
    /// The server does not answer; the same call may succeed later.
    pub async fn next(&mut self) -> Result<Option<Result<RawEvent, DecodeError>>, BusError> {
        let entry = match self.ready.pop_front() {
            Some(entry) => Some(entry),
            None => self.get(json!({ "seq": self.next, "next_by_subj": self.subject })).await?,
        };
        let Some(entry) = entry else { return Ok(None) };
        self.next = self.next.max(entry.sequence + 1);
        Ok(Some(entry.event))
    }

    /// Waits until there may be another event.
    pub async fn rung(&mut self) {
        // When the subscription has ended with the connection, time alone decides.
        tokio::select! {
            Some(_) = self.bell.next() => {}
            () = tokio::time::sleep(LOOK_ANYWAY) => {}
        }
    }

    /// Reads the newest `count` events, looking further back each time it finds too few.
    async fn go_back(&mut self, count: u64) -> Result<(), BusError> {
        let info = self.bus.api(&format!("STREAM.INFO.{}", self.stream), &Value::Null).await?;
        let state = |name: &str| info["state"][name].as_u64().unwrap_or_default();
        let (first, last) = (state("first_seq").max(1), state("last_seq"));
        self.next = last + 1;
        if count == 0 {
            return Ok(());
        }
        let mut span = count;
        loop {
            let start = self.next.saturating_sub(span).max(first);
            let found = self.between(start, last, count).await?;
            if found.len() as u64 >= count || start == first {
                self.ready = found;
                return Ok(());
            }
            span = span.saturating_mul(8);
        }
    }

    async fn between(&self, start: u64, last: u64, count: u64) -> Result<VecDeque<Entry>, BusError> {
        let mut found = VecDeque::new();
        let mut at = start;
        while let Some(entry) = self.get(json!({ "seq": at, "next_by_subj": self.subject })).await? {
            if entry.sequence > last {
                break;
            }
            at = entry.sequence + 1;
            found.push_back(entry);
            if found.len() as u64 > count {
                found.pop_front();
            }
        }
        Ok(found)
    }

    async fn go_to(&mut self, time: DateTime<Utc>) -> Result<(), BusError> {
        let info = self.bus.api(&format!("STREAM.INFO.{}", self.stream), &Value::Null).await?;
        let state = |name: &str| info["state"][name].as_u64().unwrap_or_default();
        // The first position whose message is not older: everything before it is, because positions are in order of time.
        let (mut low, mut high) = (state("first_seq").max(1), state("last_seq") + 1);
        while low < high {
            let middle = low + (high - low) / 2;
            match self.stored(middle).await? {
                Some((sequence, stored)) if stored < time => low = sequence + 1,
                _ => high = middle,
            }
        }
        self.next = low;
        Ok(())
    }

    /// Position and time of the first message at or behind a position.
    async fn stored(&self, sequence: u64) -> Result<Option<(u64, DateTime<Utc>)>, BusError> {
        let any = self.bus.prefix().event(">");
        let Some((headers, _)) = self.direct(json!({ "seq": sequence, "next_by_subj": any })).await? else {
            return Ok(None);
        };
        let read = |name: &str| headers::get(&headers, name);
        let found = read("Nats-Sequence").and_then(|text| text.parse().ok());
        let time = read("Nats-Time-Stamp").and_then(|text| DateTime::parse_from_rfc3339(text).ok());
        Ok(found.zip(time.map(|time| time.with_timezone(&Utc))))
    }

    async fn get(&self, body: Value) -> Result<Option<Entry>, BusError> {
        let Some((headers, data)) = self.direct(body).await? else { return Ok(None) };
        let subject = headers::get(&headers, "Nats-Subject").unwrap_or_default().to_owned();
        let sequence = headers::get(&headers, "Nats-Sequence").and_then(|text| text.parse().ok());
        let Some(sequence) = sequence else {
            let operation = format!("reading {}", self.stream);
            return Err(BusError::Protocol { operation, reason: "the message has no position".to_owned() });
        };
        let event = RawEvent::from_message(&subject, Some(&headers), data)
            .map(|event| RawEvent { sequence: Some(sequence), ..event });
        Ok(Some(Entry { sequence, event }))
    }

    async fn direct(&self, body: Value) -> Result<Option<(HeaderMap, Bytes)>, BusError> {
        let call = format!("$JS.API.DIRECT.GET.{}", self.stream);
        let message = self.bus.ask(&call, HeaderMap::new(), Bytes::from(body.to_string()), DEADLINE).await?;
        match message.status {
            None | Some(StatusCode::OK) => Ok(Some((message.headers.unwrap_or_default(), message.payload))),
            Some(StatusCode::NOT_FOUND) => Ok(None),
            Some(status) => Err(BusError::JetStream {
                operation: call,
                code: u64::from(status.as_u16()),
                description: message.description.unwrap_or_default(),
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_of_event_has_its_stream() {
        let streams = ["git.synced", "import.*", ">", "*", "entity.changed", "session.>"].map(stream_of);
        assert_eq!(streams, ["EVENTS", "EVENTS", "EVENTS", "EVENTS", "ENTITY_EVENTS", "SESSION_EVENTS"]);
    }
}
