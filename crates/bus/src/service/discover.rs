//! What `nats micro ls`, `info` and `stats` show: the service protocol's PING, INFO and STATS (ADR-32).
//!
//! Written here because the library's own service counts only errors it answers itself, with an empty body, and can
//! only cut an endpoint off, not drain it.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_nats::Subscriber;
use async_nats::header::HeaderMap;
use bytes::Bytes;
use futures_util::StreamExt;
use futures_util::stream::SelectAll;
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use crate::connection::Bus;
use crate::error::BusError;
use crate::request::RequestError;

/// All instances of a service share its endpoints' requests through this group, as the protocol suggests.
pub(super) const QUEUE_GROUP: &str = "q";

/// One subject of an endpoint and what happened on it.
#[derive(Debug)]
pub(super) struct Counted {
    pub(super) name: String,
    pub(super) subject: String,
    counts: Mutex<Counts>,
}

#[derive(Debug, Default)]
struct Counts {
    requests: u64,
    errors: u64,
    last_error: String,
    time: Duration,
}

impl Counted {
    pub(super) fn new(name: String, subject: String) -> Self {
        Self { name, subject, counts: Mutex::default() }
    }

    pub(super) fn note(&self, result: &Result<Value, RequestError>, took: Duration) {
        let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        counts.requests += 1;
        counts.time += took;
        if let Err(error) = result {
            counts.errors += 1;
            counts.last_error = format!("{}:{}", error.code.number(), error.message);
        }
    }

    fn info(&self) -> Value {
        json!({ "name": self.name, "subject": self.subject, "queue_group": QUEUE_GROUP, "metadata": {} })
    }

    fn stats(&self) -> Value {
        let counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        let average = counts.time.as_nanos().checked_div(u128::from(counts.requests)).unwrap_or_default();
        json!({
            "name": self.name,
            "subject": self.subject,
            "queue_group": QUEUE_GROUP,
            "num_requests": counts.requests,
            "num_errors": counts.errors,
            "last_error": counts.last_error,
            "processing_time": counts.time.as_nanos() as u64,
            "average_processing_time": average as u64,
        })
    }
}

/// The face of a service.
pub(super) struct Card {
    pub(super) name: String,
    pub(super) version: String,
    pub(super) description: String,
    pub(super) instance: String,
    /// Of this process.
    pub(super) id: String,
    pub(super) started: String,
    pub(super) endpoints: Vec<Arc<Counted>>,
}

impl Card {
    fn answer(&self, verb: Verb) -> Value {
        let mut answer = json!({
            "type": verb.kind(),
            "name": self.name,
            "id": self.id,
            "version": self.version,
            "metadata": { "instance": self.instance },
        });
        let endpoints = self.endpoints.iter();
        match verb {
            Verb::Ping => {}
            Verb::Info => {
                answer["description"] = json!(self.description);
                answer["endpoints"] = endpoints.map(|endpoint| endpoint.info()).collect();
            }
            Verb::Stats => {
                answer["started"] = json!(self.started);
                answer["endpoints"] = endpoints.map(|endpoint| endpoint.stats()).collect();
            }
        }
        answer
    }
}

#[derive(Clone, Copy)]
enum Verb {
    Ping,
    Info,
    Stats,
}

impl Verb {
    fn token(self) -> &'static str {
        match self {
            Self::Ping => "PING",
            Self::Info => "INFO",
            Self::Stats => "STATS",
        }
    }

    fn kind(self) -> &'static str {
        match self {
            Self::Ping => "io.nats.micro.v1.ping_response",
            Self::Info => "io.nats.micro.v1.info_response",
            Self::Stats => "io.nats.micro.v1.stats_response",
        }
    }

    fn of(subject: &str) -> Option<Self> {
        let token = subject.split('.').nth(1)?;
        [Self::Ping, Self::Info, Self::Stats].into_iter().find(|verb| verb.token() == token)
    }
}

/// Subscribes to the questions about a service.
pub(super) async fn subscribe(bus: &Bus, card: &Card) -> Result<SelectAll<Subscriber>, BusError> {
    let mut questions = SelectAll::new();
    for verb in [Verb::Ping, Verb::Info, Verb::Stats].map(Verb::token) {
        for subject in [
            format!("$SRV.{verb}"),
            format!("$SRV.{verb}.{}", card.name),
            format!("$SRV.{verb}.{}.{}", card.name, card.id),
        ] {
            questions.push(bus.subscribe(&subject, None).await?);
        }
    }
    Ok(questions)
}

/// Answers them until the shutdown.
pub(super) async fn answer(bus: Bus, card: Card, mut questions: SelectAll<Subscriber>, shutdown: CancellationToken) {
    while let Some(Some(question)) = shutdown.run_until_cancelled(questions.next()).await {
        if let (Some(reply), Some(verb)) = (&question.reply, Verb::of(&question.subject)) {
            let body = Bytes::from(card.answer(verb).to_string());
            if let Err(error) = bus.publish_answer(reply, HeaderMap::new(), body).await {
                tracing::debug!(%error, "a question about the service was not answered");
            }
        }
    }
}
