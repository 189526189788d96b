//! Handling events at least once, and parking the ones that cannot be handled.
//!
//! One event is asked for at a time: nothing waits in a buffer while its acknowledgement runs late behind a slow
//! handler. The limit of deliveries is kept here and not by the server, which merely stops delivering at its
//! `max_deliver` and moves nothing anywhere; so an event that kills its handler's process each time is parked too.

mod delivery;
mod live;

use std::sync::Arc;
use std::time::{Duration, Instant};

use async_nats::header::HeaderMap;
use async_nats::{Message, StatusCode};
use baft_kit::backoff::Backoff;
use bytes::Bytes;
use serde_json::{Value, json};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::connection::{Bus, DEADLINE, Link};
use crate::error::BusError;
use crate::event::{DecodeError, RawEvent};
use crate::headers;
use crate::jetstream::{CONSUMER_NOT_FOUND, is_code};
use delivery::Delivery;

pub use live::{LiveEvents, subscribe_live};

/// How long one request for the next event stays open at the server.
const PULL: Duration = Duration::from_secs(20);
/// Headroom for the headers that parking adds.
const PARK_HEADERS: usize = 8 * 1024;

/// Where a consumer starts that did not exist before.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum StartAt {
    /// With the oldest event the stream still has.
    #[default]
    Oldest,
    /// With what comes from now on.
    Now,
}

/// Which events a consumer handles.
#[derive(Clone, Debug)]
pub struct ConsumerSpec {
    /// The stream without prefix: `EVENTS`.
    pub stream: String,
    /// The consumer's durable name: one token, the same at every start, one for all replicas that share the work.
    pub durable: String,
    /// The types of events, wildcards allowed: `git.synced`, `git.>`.
    pub kinds: Vec<String>,
    /// Where it starts the first time.
    pub start: StartAt,
    /// Waits before the second, third, … delivery of an event whose handler asked for a retry; after the last one it
    /// is parked. Default 1 s, 5 s, 15 s, 60 s: five deliveries.
    pub retry_delays: Vec<Duration>,
    /// An event is delivered again when nothing was heard of its handler for this long. Not a limit for handlers:
    /// one at work is reported three times as often. Default 30 s; belongs to the consumer when it is created.
    pub ack_wait: Duration,
}

impl ConsumerSpec {
    /// A consumer with the usual retries that starts with the oldest event.
    #[must_use]
    pub fn new(stream: &str, durable: &str, kinds: &[&str]) -> Self {
        Self {
            stream: stream.to_owned(),
            durable: durable.to_owned(),
            kinds: kinds.iter().map(|&kind| kind.to_owned()).collect(),
            start: StartAt::default(),
            retry_delays: [1, 5, 15, 60].map(Duration::from_secs).to_vec(),
            ack_wait: Duration::from_secs(30),
        }
    }

    /// Skip what happened before the consumer existed.
    #[must_use]
    pub fn starting_now(mut self) -> Self {
        self.start = StartAt::Now;
        self
    }
}

/// Why a handler did not handle an event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reject {
    /// It may work later: deliver it again, five times in all, then park it.
    Retry(String),
    /// It never will: park it.
    Poison(String),
}

impl From<DecodeError> for Reject {
    fn from(error: DecodeError) -> Self {
        Self::Poison(error.to_string())
    }
}

/// A durable consumer at work.
#[derive(Debug)]
pub struct Consumer {
    task: JoinHandle<()>,
}

impl Consumer {
    /// Starts handling events, one at a time, until `shutdown` is cancelled; the one in work is finished first.
    ///
    /// A handler must be idempotent: an event comes at least once. It may take as long as it needs. A missing stream
    /// or consumer is waited for.
    #[must_use]
    pub fn spawn<F, Fut>(bus: &Bus, spec: ConsumerSpec, shutdown: CancellationToken, handler: F) -> Self
    where
        F: Fn(RawEvent) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<(), Reject>> + Send + 'static,
    {
        let worker = Worker {
            stream: bus.prefix().upper(&spec.stream),
            bus: bus.clone(),
            spec,
            shutdown,
            handler: Arc::new(handler),
        };
        Self { task: tokio::spawn(worker.run()) }
    }

    /// Waits until it has ended after a shutdown.
    pub async fn finished(self) {
        // Its task neither panics nor is it aborted.
        let _ = self.task.await;
    }
}

struct Worker<F> {
    bus: Bus,
    stream: String,
    spec: ConsumerSpec,
    shutdown: CancellationToken,
    handler: Arc<F>,
}

impl<F, Fut> Worker<F>
where
    F: Fn(RawEvent) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = Result<(), Reject>> + Send + 'static,
{
    async fn run(self) {
        let mut backoff = Backoff::new(Duration::from_millis(500), Duration::from_secs(30));
        loop {
            let shutdown = self.shutdown.clone();
            let Some(result) = shutdown.run_until_cancelled(self.prepare()).await else {
                return;
            };
            let result = match result {
                Ok(()) => {
                    backoff.reset();
                    self.consume().await
                }
                Err(error) => Err(error),
            };
            if self.shutdown.is_cancelled() {
                return;
            }
            if let Err(error) = result {
                let delay = backoff.next_delay();
                if backoff.failures() == 1 {
                    tracing::warn!(consumer = %self.spec.durable, %error, "cannot consume right now, trying on");
                } else {
                    tracing::debug!(consumer = %self.spec.durable, %error, ?delay, "still cannot consume");
                }
                if shutdown.run_until_cancelled(tokio::time::sleep(delay)).await.is_none() {
                    return;
                }
            }
        }
    }

    /// Waits for the connection and makes sure the consumer exists.
    async fn prepare(&self) -> Result<(), BusError> {
        let mut link = self.bus.connected();
        link.wait_for(|link| *link == Link::Up).await.map_err(|_| BusError::Closed)?;
        let filters: Vec<String> = self.spec.kinds.iter().map(|kind| self.bus.prefix().event(kind)).collect();
        let config = json!({
            "stream_name": self.stream,
            "config": {
                "name": self.spec.durable,
                "durable_name": self.spec.durable,
                "filter_subjects": filters,
                "ack_policy": "explicit",
                "ack_wait": self.spec.ack_wait.as_nanos() as u64,
                "deliver_policy": match self.spec.start { StartAt::Oldest => "all", StartAt::Now => "new" },
                "max_deliver": -1,
                "replay_policy": "instant",
            },
        });
        let call = format!("CONSUMER.CREATE.{}.{}", self.stream, self.spec.durable);
        let Err(refused) = self.bus.api(&call, &config).await else {
            return Ok(());
        };
        // Not allowed to create it, or it exists with a setting that cannot change: good enough when it exists.
        match self.bus.api(&format!("CONSUMER.INFO.{}.{}", self.stream, self.spec.durable), &Value::Null).await {
            Ok(_) => {
                tracing::debug!(consumer = %self.spec.durable, %refused, "using the consumer as it is");
                Ok(())
            }
            Err(error) if is_code(&error, CONSUMER_NOT_FOUND) => Err(refused),
            Err(_) => Err(refused),
        }
    }

    async fn consume(&self) -> Result<(), BusError> {
        loop {
            let next = self.shutdown.run_until_cancelled(self.next());
            match next.await {
                None => return Ok(()),
                Some(message) => {
                    if let Some(message) = message? {
                        self.deal_with(message).await;
                    }
                }
            }
        }
    }

    /// One event, or `None` when there was none for a while.
    async fn next(&self) -> Result<Option<Message>, BusError> {
        let mut link = self.bus.connected();
        if *link.borrow_and_update() != Link::Up {
            return Err(self.bus.disconnected());
        }
        let call = format!("$JS.API.CONSUMER.MSG.NEXT.{}.{}", self.stream, self.spec.durable);
        let body = json!({ "batch": 1, "expires": PULL.as_nanos() as u64 });
        let pull = self.bus.pull(&call, Bytes::from(body.to_string()), PULL + DEADLINE);
        let message = tokio::select! {
            result = pull => match result {
                Ok(message) => message,
                Err(error) => return Err(error),
            },
            // The server has forgotten the request after a reconnect.
            _ = link.changed() => return Err(self.bus.disconnected()),
        };
        match message.status {
            None | Some(StatusCode::OK) => Ok(Some(message)),
            Some(StatusCode::TIMEOUT | StatusCode::NOT_FOUND) => Ok(None),
            Some(status) => Err(BusError::JetStream {
                operation: call,
                code: u64::from(status.as_u16()),
                description: message.description.unwrap_or_default(),
            }),
        }
    }

    async fn deal_with(&self, message: Message) {
        let Some(delivery) = message.reply.as_deref().and_then(Delivery::parse) else {
            tracing::warn!(subject = %message.subject, "a message without a delivery was ignored");
            return;
        };
        let deliveries = self.spec.retry_delays.len() as u64 + 1;
        let outcome = if delivery.delivered > deliveries {
            // Only a handler that never came back gets here.
            Err(Reject::Poison(format!("delivered {} times and never finished", delivery.delivered - 1)))
        } else {
            self.handle(&message, &delivery).await
        };
        let verdict = match outcome {
            Ok(()) => Verdict::Done,
            Err(Reject::Poison(reason)) => Verdict::Park(reason),
            Err(Reject::Retry(reason)) => {
                let tried = usize::try_from(delivery.delivered).unwrap_or(usize::MAX);
                match self.spec.retry_delays.get(tried.saturating_sub(1)) {
                    Some(delay) => {
                        tracing::info!(consumer = %self.spec.durable, sequence = delivery.sequence, %reason, ?delay, "event will be retried");
                        Verdict::Again(*delay)
                    }
                    None => Verdict::Park(format!("{reason} (after {} deliveries)", delivery.delivered)),
                }
            }
        };
        self.conclude(&message, &delivery, verdict).await;
    }

    async fn handle(&self, message: &Message, delivery: &Delivery) -> Result<(), Reject> {
        let mut event = RawEvent::from_message(&message.subject, message.headers.as_ref(), message.payload.clone())?;
        event.sequence = Some(delivery.sequence);
        event.delivered = Some(delivery.delivered);
        // A task of its own, so that a panic in the handler is a failed event and nothing more.
        let mut handler = tokio::spawn((self.handler)(event));
        let period = self.spec.ack_wait / 3;
        let mut still_working = tokio::time::interval_at((Instant::now() + period).into(), period);
        loop {
            tokio::select! {
                result = &mut handler => {
                    return result.unwrap_or_else(|error| Err(Reject::Retry(format!("the handler failed: {error}"))));
                }
                _ = still_working.tick() => {
                    let reply = message.reply.as_deref().unwrap_or_default();
                    let _ = self.bus.publish_core(reply, HeaderMap::new(), Bytes::from_static(b"+WPI")).await;
                }
            }
        }
    }

    async fn conclude(&self, message: &Message, delivery: &Delivery, verdict: Verdict) {
        let (outcome, answer) = match verdict {
            Verdict::Done => ("ok", "+ACK".to_owned()),
            Verdict::Again(delay) => ("retry", nak(delay)),
            Verdict::Park(reason) => match self.park(message, delivery, &reason).await {
                Ok(()) => {
                    tracing::warn!(consumer = %self.spec.durable, sequence = delivery.sequence, %reason, "event parked");
                    ("parked", "+TERM".to_owned())
                }
                Err(error) => {
                    tracing::warn!(consumer = %self.spec.durable, %error, "cannot park an event right now, trying on");
                    ("retry", nak(Duration::from_secs(5)))
                }
            },
        };
        self.bus.inner.metrics.handled.with_label_values(&[self.spec.durable.as_str(), outcome]).inc();
        let reply = message.reply.as_deref().unwrap_or_default();
        // Answered by the server, so that a lost acknowledgement is noticed; then the event simply comes again.
        if let Err(error) = self.bus.ask(reply, HeaderMap::new(), Bytes::from(answer), DEADLINE).await {
            tracing::debug!(consumer = %self.spec.durable, %error, "the acknowledgement was not confirmed");
        }
    }

    /// Copies the event to the dead letters; once, however often this is repeated.
    async fn park(&self, message: &Message, delivery: &Delivery, reason: &str) -> Result<(), BusError> {
        let mut copy = message.headers.clone().unwrap_or_default();
        let id = format!("{}:{}:{}", self.stream, self.spec.durable, delivery.sequence);
        headers::set(&mut copy, headers::MESSAGE_ID, &id);
        headers::set(&mut copy, "Baft-Dead-Reason", reason);
        headers::set(&mut copy, "Baft-Dead-Subject", &message.subject);
        headers::set(&mut copy, "Baft-Dead-Stream", &self.stream);
        headers::set(&mut copy, "Baft-Dead-Sequence", &delivery.sequence.to_string());
        headers::set(&mut copy, "Baft-Dead-Deliveries", &delivery.delivered.to_string());
        headers::set(&mut copy, "Baft-Dead-At", &baft_kit::time::now_rfc3339());
        let mut body = message.payload.clone();
        if message.length + PARK_HEADERS > self.bus.inner.client.max_payload() {
            // It fitted only just. The whole event is still in its stream.
            headers::set(&mut copy, "Baft-Dead-Body", "left out, too large");
            body = Bytes::new();
        }
        self.bus.publish_stored(&self.bus.prefix().dead_letter(&self.spec.durable), copy, body).await.map(drop)
    }
}

enum Verdict {
    Done,
    Again(Duration),
    Park(String),
}

fn nak(delay: Duration) -> String {
    format!("-NAK {}", json!({ "delay": delay.as_nanos() as u64 }))
}
