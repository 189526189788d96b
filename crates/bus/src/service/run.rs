//! The running service: subscriptions, limits, one task per request.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use async_nats::service::{Request, ServiceExt};
use baft_kit::backoff::Backoff;
use futures_util::StreamExt;
use serde_json::{Value, json};
use tokio::sync::{Semaphore, watch};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::remember::{Memory, Verdict};
use super::{Effect, Endpoint, Handler, RequestContext, Service, answer};
use crate::connection::{Bus, DEADLINE, Link};
use crate::error::BusError;
use crate::request::{Code, RequestError};
use crate::subject::is_token;

/// Errors per endpoint, for `nats micro stats`: the library counts only errors it answers itself.
type Failures = Arc<Mutex<HashMap<String, (u64, String)>>>;

struct Shared {
    bus: Bus,
    service: String,
    principal_required: bool,
    slots: Semaphore,
    limit: usize,
    memory: Memory,
    failures: Failures,
    tasks: TaskTracker,
}

/// An endpoint with its handler.
struct Served {
    endpoint: Endpoint,
    handler: Handler,
}

pub(super) async fn run(service: Service, shutdown: CancellationToken, ready: watch::Sender<bool>) {
    let shared = Arc::new(Shared {
        bus: service.bus.clone(),
        service: service.name.clone(),
        principal_required: service.principal_required,
        slots: Semaphore::new(service.max_in_flight),
        limit: service.max_in_flight,
        memory: Memory::new(&service.bus),
        failures: Failures::default(),
        tasks: TaskTracker::new(),
    });
    let mut backoff = Backoff::new(Duration::from_millis(500), Duration::from_secs(30));
    let registered = loop {
        let Some(result) = shutdown.run_until_cancelled(register(&service, &shared)).await else {
            return;
        };
        match result {
            Ok(registered) => break registered,
            Err(error) => {
                tracing::warn!(service = %service.name, %error, "cannot register the service, trying on");
                let delay = backoff.next_delay();
                if shutdown.run_until_cancelled(tokio::time::sleep(delay)).await.is_none() {
                    return;
                }
            }
        }
    };
    ready.send_replace(true);
    tracing::info!(service = %service.name, "answering requests");
    let (nats_service, endpoints) = registered;
    let loops = TaskTracker::new();
    for (served, requests) in endpoints {
        loops.spawn(serve(shared.clone(), served, requests, shutdown.clone()));
    }
    loops.close();
    loops.wait().await;
    // Stops being listed; the endpoints' subscriptions went with their loops.
    let _ = nats_service.stop().await;
    shared.tasks.close();
    shared.tasks.wait().await;
}

type Registered = (async_nats::service::Service, Vec<(Arc<Served>, async_nats::service::endpoint::Endpoint)>);

async fn register(service: &Service, shared: &Arc<Shared>) -> Result<Registered, BusError> {
    let mut link = shared.bus.connected();
    link.wait_for(|link| *link == Link::Up).await.map_err(|_| BusError::Closed)?;
    tokio::time::timeout(DEADLINE, subscribe(service, shared)).await.unwrap_or_else(|_| {
        Err(BusError::Timeout { operation: format!("the registration of service {}", service.name), after: DEADLINE })
    })
}

async fn subscribe(service: &Service, shared: &Arc<Shared>) -> Result<Registered, BusError> {
    let failed = |error: async_nats::Error| BusError::Protocol {
        operation: format!("the registration of service {}", service.name),
        reason: error.to_string(),
    };
    let failures = shared.failures.clone();
    let nats_service = shared
        .bus
        .inner
        .client
        .service_builder()
        .description(&service.description)
        .metadata(service.metadata.clone())
        .stats_handler(move |endpoint, _| {
            let failures = failures.lock().unwrap_or_else(PoisonError::into_inner);
            match failures.get(&endpoint) {
                Some((count, last)) => json!({ "errors": count, "last_error": last }),
                None => json!({ "errors": 0 }),
            }
        })
        .start(&service.name, &service.version)
        .await
        .map_err(failed)?;
    let mut endpoints = Vec::new();
    for (endpoint, handler) in &service.endpoints {
        let served = Arc::new(Served { endpoint: endpoint.clone(), handler: handler.clone() });
        let prefix = shared.bus.prefix();
        let mut subjects = vec![(endpoint.name.clone(), prefix.request(&endpoint.suffix))];
        if endpoint.effect == Effect::Changes {
            subjects.push((format!("{}-as", endpoint.name), prefix.request_as(&endpoint.suffix, "*")));
        }
        for (name, subject) in subjects {
            let requests = nats_service.endpoint_builder().name(name).add(&subject).await.map_err(failed)?;
            shared.bus.confirm_subscription(&subject).await?;
            endpoints.push((served.clone(), requests));
        }
    }
    Ok((nats_service, endpoints))
}

/// Takes requests off one subscription. Never waits for a handler: a slow one must not hold up the next request.
async fn serve(
    shared: Arc<Shared>,
    served: Arc<Served>,
    mut requests: async_nats::service::endpoint::Endpoint,
    shutdown: CancellationToken,
) {
    while let Some(Some(request)) = shutdown.run_until_cancelled(requests.next()).await {
        if request.message.reply.is_none() {
            // Nobody to answer, so nobody who could learn that it worked: not a request.
            continue;
        }
        let (shared, served) = (shared.clone(), served.clone());
        let tasks = shared.tasks.clone();
        tasks.spawn(async move { shared.deal_with(&served, request).await });
    }
    // Requests that were delivered already are answered, not dropped.
    let _ = tokio::time::timeout(DEADLINE, requests.stop()).await;
    while let Ok(Some(request)) = tokio::time::timeout(Duration::from_millis(50), requests.next()).await {
        let error = RequestError::new(Code::Unavailable, format!("{} is shutting down", shared.service));
        shared.reply(&served.endpoint.name, &request, &Err(error)).await;
    }
}

impl Shared {
    async fn deal_with(&self, served: &Arc<Served>, request: Request) {
        let started = Instant::now();
        let name = &served.endpoint.name;
        let result = match self.slots.try_acquire() {
            Err(_) => Err(RequestError::new(
                Code::Overloaded,
                format!("{} is working on {} requests already", self.service, self.limit),
            )
            .hint("ask again in a moment")),
            Ok(_slot) => {
                self.bus.inner.metrics.in_flight.inc();
                let result = self.work(served, &request).await;
                self.bus.inner.metrics.in_flight.dec();
                result
            }
        };
        self.bus.inner.metrics.request_seconds.with_label_values(&[name]).observe(started.elapsed().as_secs_f64());
        self.reply(name, &request, &result).await;
    }

    async fn work(&self, served: &Arc<Served>, request: &Request) -> Result<Value, RequestError> {
        let message = &request.message;
        let said = answer::read_headers(message.headers.as_ref())?;
        let principal = self.principal(&served.endpoint, &message.subject)?;
        let body = answer::read_body(&message.payload)?;
        let context = RequestContext {
            request_id: said.request_id.clone(),
            principal: principal.clone(),
            deadline: said.deadline,
            traceparent: said.traceparent,
            bus: self.bus.clone(),
        };
        let endpoint = &served.endpoint;
        let run = || run_handler(served.handler.clone(), context, body);
        match said.request_id {
            Some(id) if endpoint.effect == Effect::Changes => {
                let key = Memory::key(&self.service, &endpoint.name, principal.as_deref(), &id);
                match self.memory.claim(&key, &message.payload).await {
                    Verdict::Answer(outcome) => outcome,
                    Verdict::Do(claim) => self.memory.carry_out(claim, run()).await,
                }
            }
            _ => run().await,
        }
    }

    /// Who asks, from the subject alone.
    fn principal(&self, endpoint: &Endpoint, subject: &str) -> Result<Option<String>, RequestError> {
        let plain = self.bus.prefix().request(&endpoint.suffix);
        match subject.strip_prefix(&plain).and_then(|rest| rest.strip_prefix(".as.")) {
            Some(principal) if is_token(principal) => Ok(Some(principal.to_owned())),
            Some(_) => Err(RequestError::new(Code::InvalidArgument, "a principal is 1 to 128 of A-Z a-z 0-9 _ -")),
            None if self.principal_required && endpoint.effect == Effect::Changes => {
                Err(RequestError::new(Code::Forbidden, format!("`{plain}` takes no requests without a principal here"))
                    .hint(format!("ask on `{plain}.as.<principal>`")))
            }
            None => Ok(None),
        }
    }

    async fn reply(&self, endpoint: &str, request: &Request, result: &Result<Value, RequestError>) {
        let (headers, body, code) = answer::write(result, self.bus.inner.client.max_payload());
        self.bus.inner.metrics.requests.with_label_values(&[endpoint, code]).inc();
        if let Err(error) = result {
            tracing::debug!(service = %self.service, endpoint, code, message = %error.message, "request failed");
            let mut failures = self.failures.lock().unwrap_or_else(PoisonError::into_inner);
            let entry = failures.entry(endpoint.to_owned()).or_default();
            entry.0 += 1;
            entry.1 = format!("{}: {}", error.code.number(), error.message);
        }
        // Queueing can block for ever while the connection is away; the caller has given up long before.
        match tokio::time::timeout(DEADLINE, request.respond_with_headers(Ok(body), headers)).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::debug!(service = %self.service, endpoint, %error, "an answer was not sent"),
            Err(_) => tracing::debug!(service = %self.service, endpoint, "an answer was not sent in time"),
        }
    }
}

/// In a task of its own, so that a panic is an answer and not a lost slot.
async fn run_handler(handler: Handler, context: RequestContext, body: Value) -> Result<Value, RequestError> {
    match tokio::spawn(async move { handler(context, body).await }).await {
        Ok(result) => result,
        Err(error) => {
            tracing::error!(%error, "a request handler failed");
            Err(RequestError::new(Code::Internal, "the daemon failed while working on this request")
                .hint("its log says more"))
        }
    }
}
