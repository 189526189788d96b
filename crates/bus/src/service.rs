//! Answering requests: NATS service API, JSON in and out, an answer for everything.

use std::time::{Duration, Instant};

use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio_util::sync::CancellationToken;

use crate::connection::Bus;
use crate::request::RequestError;

/// One thing a service can be asked.
#[derive(Clone, Debug)]
pub struct Endpoint {
    name: String,
    suffix: String,
    mutating: bool,
}

impl Endpoint {
    /// A question: `query("status", "git.status")`. Short name for `nats micro`, suffix of the subject.
    #[must_use]
    pub fn query(name: &str, suffix: &str) -> Self {
        todo!()
    }

    /// A request that changes something: idempotent by request id, and also reachable on `<subject>.as.<principal>`.
    #[must_use]
    pub fn command(name: &str, suffix: &str) -> Self {
        todo!()
    }
}

/// What a handler knows about a request besides its body.
#[derive(Clone, Debug)]
pub struct RequestContext {
    /// The caller's id of the request.
    pub request_id: Option<String>,
    /// Who asks, when the subject says so.
    pub principal: Option<String>,
    /// When the caller stops waiting.
    pub deadline: Option<Instant>,
    /// W3C trace context.
    pub traceparent: Option<String>,
}

impl RequestContext {
    /// How long the caller still waits; `default` when it did not say.
    #[must_use]
    pub fn time_left(&self, default: Duration) -> Duration {
        self.deadline.map_or(default, |deadline| deadline.saturating_duration_since(Instant::now()))
    }

    /// Reports progress on `<prefix>.progress.<request-id>`, best effort; nothing happens without a request id.
    pub async fn progress<T: Serialize + Sync>(&self, progress: &T) {
        todo!()
    }
}

/// A service being put together.
pub struct Service {}

impl Service {
    /// A service under the name `nats micro ls` shows.
    #[must_use]
    pub fn new(bus: &Bus, name: &str, version: &str, description: &str) -> Self {
        todo!()
    }

    /// Accept changing requests only in the name of a principal.
    #[must_use]
    pub fn require_principal(self, required: bool) -> Self {
        todo!()
    }

    /// How many requests are worked on at once; beyond that the answer is `overloaded`. Default 32.
    #[must_use]
    pub fn max_in_flight(self, limit: usize) -> Self {
        todo!()
    }

    /// Adds an endpoint. An empty body is `{}`; `Req` and `Resp` may be `serde_json::Value`.
    #[must_use]
    pub fn endpoint<Req, Resp, F, Fut>(self, endpoint: Endpoint, handler: F) -> Self
    where
        Req: DeserializeOwned + Send + 'static,
        Resp: Serialize + Send + 'static,
        F: Fn(RequestContext, Req) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<Resp, RequestError>> + Send + 'static,
    {
        todo!()
    }

    /// Starts answering as soon as there is a connection, until `shutdown` is cancelled.
    #[must_use]
    pub fn start(self, shutdown: CancellationToken) -> ServiceHandle {
        todo!()
    }
}

/// A running service.
#[derive(Debug)]
pub struct ServiceHandle {}

impl ServiceHandle {
    /// Resolves when the endpoints are registered with the server.
    pub async fn ready(&self) {
        todo!()
    }

    /// After `shutdown`: waits until the requests under way are answered, or the deadline.
    pub async fn finished(self, deadline: Duration) {
        todo!()
    }
}
