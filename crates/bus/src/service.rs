//! Answering requests: NATS service API, JSON in and out, an answer for everything.
//!
//! Found with `nats micro ls`, asked with `nats req`. Whatever comes in, the caller gets a JSON body: the result, or
//! `{"error":{…}}` together with the service-error headers. (The library's own error answer has an empty body and panics
//! on a line break in the text.)

mod answer;
mod discover;
mod remember;
mod run;

use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use async_nats::header::HeaderMap;
use bytes::Bytes;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::connection::Bus;
use crate::request::{Code, RequestError};
use crate::subject::is_token;

/// Does asking change anything?
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Effect {
    None,
    Changes,
}

/// One thing a service can be asked.
#[derive(Clone, Debug)]
pub struct Endpoint {
    name: String,
    suffix: String,
    effect: Effect,
}

impl Endpoint {
    /// A question: `query("status", "git.status")`. Short name for `nats micro`, suffix of the subject.
    #[must_use]
    pub fn query(name: &str, suffix: &str) -> Self {
        Self { name: name.to_owned(), suffix: suffix.to_owned(), effect: Effect::None }
    }

    /// A request that changes something: idempotent by request id, and also reachable on `<subject>.as.<principal>`.
    #[must_use]
    pub fn command(name: &str, suffix: &str) -> Self {
        Self { name: name.to_owned(), suffix: suffix.to_owned(), effect: Effect::Changes }
    }
}

/// What a handler knows about a request besides its body.
#[derive(Clone, Debug)]
pub struct RequestContext {
    /// The caller's id of the request.
    pub request_id: Option<String>,
    /// Who asks, when the subject says so. Nothing in the payload or headers is believed about this.
    pub principal: Option<String>,
    /// When the caller stops waiting.
    pub deadline: Option<Instant>,
    /// W3C trace context.
    pub traceparent: Option<String>,
    bus: Bus,
}

impl RequestContext {
    /// How long the caller still waits; `default` when it did not say.
    #[must_use]
    pub fn time_left(&self, default: Duration) -> Duration {
        self.deadline.map_or(default, |deadline| deadline.saturating_duration_since(Instant::now()))
    }

    /// Reports progress on `<prefix>.progress.<request-id>`, best effort; nothing happens without a request id.
    pub async fn progress<T: Serialize + Sync>(&self, progress: &T) {
        if let (Some(id), Ok(body)) = (&self.request_id, serde_json::to_vec(progress)) {
            let subject = self.bus.prefix().progress(id);
            if let Err(error) = self.bus.publish_core(&subject, HeaderMap::new(), Bytes::from(body)).await {
                tracing::debug!(%error, "progress not reported");
            }
        }
    }
}

type Answer = Pin<Box<dyn Future<Output = Result<Value, RequestError>> + Send>>;
type Handler = Arc<dyn Fn(RequestContext, Value) -> Answer + Send + Sync>;

/// A service being put together.
pub struct Service {
    bus: Bus,
    name: String,
    version: String,
    description: String,
    principal_required: bool,
    max_in_flight: usize,
    endpoints: Vec<(Endpoint, Handler)>,
}

impl Service {
    /// A service under the name `nats micro ls` shows: letters, digits, dashes. The version must be a semantic one.
    #[must_use]
    pub fn new(bus: &Bus, name: &str, version: &str, description: &str) -> Self {
        debug_assert!(is_token(name), "`{name}` cannot be the name of a service");
        debug_assert!(semver::Version::parse(version).is_ok(), "`{version}` is no semantic version");
        Self {
            bus: bus.clone(),
            name: name.to_owned(),
            version: version.to_owned(),
            description: description.to_owned(),
            principal_required: false,
            max_in_flight: 32,
            endpoints: Vec::new(),
        }
    }

    /// Accept changing requests only in the name of a principal, so that NATS permissions say who acts; pass
    /// `args.require_principal`.
    #[must_use]
    pub fn require_principal(mut self, required: bool) -> Self {
        self.principal_required = required;
        self
    }

    /// How many requests are worked on at once; beyond that the answer is `overloaded`. Default 32.
    #[must_use]
    pub fn max_in_flight(mut self, limit: usize) -> Self {
        self.max_in_flight = limit.max(1);
        self
    }

    /// Adds an endpoint. An empty body is `{}`; `Req` and `Resp` may be `serde_json::Value`.
    ///
    /// The handler runs in a task of its own and to its end, whether or not the caller still waits: it bounds itself,
    /// see [`RequestContext::time_left`].
    #[must_use]
    pub fn endpoint<Req, Resp, F, Fut>(mut self, endpoint: Endpoint, handler: F) -> Self
    where
        Req: DeserializeOwned + Send + 'static,
        Resp: Serialize + Send + 'static,
        F: Fn(RequestContext, Req) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<Resp, RequestError>> + Send + 'static,
    {
        let handler = Arc::new(handler);
        let erased: Handler = Arc::new(move |context, body| {
            let handler = handler.clone();
            Box::pin(async move {
                let request: Req = serde_json::from_value(body).map_err(|error| {
                    RequestError::new(Code::InvalidArgument, format!("the request is not understood: {error}"))
                })?;
                let response = handler(context, request).await?;
                serde_json::to_value(response).map_err(|error| {
                    RequestError::new(Code::Internal, format!("the answer cannot be written as JSON: {error}"))
                })
            })
        });
        self.endpoints.push((endpoint, erased));
        self
    }

    /// Starts answering as soon as there is a connection, until `shutdown` is cancelled. After a reconnect the
    /// endpoints are back by themselves.
    #[must_use]
    pub fn start(self, shutdown: CancellationToken) -> ServiceHandle {
        let (ready, is_ready) = watch::channel(false);
        ServiceHandle { ready: is_ready, task: tokio::spawn(run::run(self, shutdown, ready)) }
    }
}

/// A running service.
#[derive(Debug)]
pub struct ServiceHandle {
    ready: watch::Receiver<bool>,
    task: JoinHandle<()>,
}

impl ServiceHandle {
    /// Resolves when the endpoints are registered with the server.
    pub async fn ready(&self) {
        // An error means that it was shut down before; then there is nothing to wait for either.
        let _ = self.ready.clone().wait_for(|ready| *ready).await;
    }

    /// After `shutdown`: waits until the requests under way are answered, or the deadline.
    pub async fn finished(self, deadline: Duration) {
        if tokio::time::timeout(deadline, self.task).await.is_err() {
            tracing::warn!(?deadline, "requests were still under way when the service had to end");
        }
    }
}
