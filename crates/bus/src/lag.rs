//! How far durable consumers are behind: what they have not been given, and what they have not acknowledged.

use serde_json::{Value, json};

use crate::connection::Bus;
use crate::error::BusError;
use crate::jetstream::{STREAM_NOT_FOUND, is_code};

/// The streams of events, without prefix.
const STREAMS: [&str; 3] = ["EVENTS", "SESSION_EVENTS", "ENTITY_EVENTS"];

/// A durable consumer and what waits for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lag {
    /// The stream's full name.
    pub stream: String,
    /// The consumer's durable name.
    pub consumer: String,
    /// Events it has not been given yet.
    pub pending: u64,
    /// Events it was given and has not acknowledged.
    pub unacknowledged: u64,
}

impl Lag {
    /// All that waits.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.pending.saturating_add(self.unacknowledged)
    }
}

/// Every durable consumer of the streams of events; whoever merely looks on has none.
///
/// # Errors
/// The server does not answer, or does not permit it. A stream that is missing has no consumers.
pub async fn lags(bus: &Bus) -> Result<Vec<Lag>, BusError> {
    let mut found = Vec::new();
    for stream in STREAMS.map(|name| bus.prefix().upper(name)) {
        let mut offset = 0;
        loop {
            let call = format!("CONSUMER.LIST.{stream}");
            let page = match bus.api(&call, &json!({ "offset": offset })).await {
                Err(error) if is_code(&error, STREAM_NOT_FOUND) => break,
                page => page?,
            };
            let consumers = page["consumers"].as_array().map(Vec::as_slice).unwrap_or_default();
            found.extend(consumers.iter().filter_map(|consumer| lag(&stream, consumer)));
            offset += consumers.len() as u64;
            if consumers.is_empty() || offset >= page["total"].as_u64().unwrap_or_default() {
                break;
            }
        }
    }
    Ok(found)
}

fn lag(stream: &str, consumer: &Value) -> Option<Lag> {
    let number = |name: &str| consumer[name].as_u64().unwrap_or_default();
    Some(Lag {
        stream: stream.to_owned(),
        consumer: consumer.pointer("/config/durable_name")?.as_str()?.to_owned(),
        pending: number("num_pending"),
        unacknowledged: number("num_ack_pending"),
    })
}
