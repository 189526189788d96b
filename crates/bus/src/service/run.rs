//! The running service: subscriptions, limits, one task per request.

use std::sync::Arc;
use std::time::{Duration, Instant};

use async_nats::{Message, Subscriber};
use baft_kit::backoff::Backoff;
use futures_util::StreamExt;
use serde_json::Value;
use tokio::sync::{Semaphore, watch};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::discover::{self, Card, Counted, QUEUE_GROUP};
use super::remember::{Memory, Verdict};
use super::{Effect, Endpoint, Handler, RequestContext, Service, answer};
use crate::connection::{Bus, DEADLINE, Link};
use crate::error::BusError;
use crate::request::{Code, RequestError};
use crate::subject::is_token;

struct Shared {
    bus: Bus,
    service: String,
    principal_required: bool,
    slots: Semaphore,
    limit: usize,
    memory: Memory,
    tasks: TaskTracker,
}

/// One subject of an endpoint, with its handler.
struct Served {
    endpoint: Endpoint,
    handler: Handler,
    counted: Arc<Counted>,
}

pub(super) async fn run(service: Service, shutdown: CancellationToken, ready: watch::Sender<bool>) {
    let bus = service.bus.clone();
    let shared = Arc::new(Shared {
        bus: bus.clone(),
        service: service.name.clone(),
        principal_required: service.principal_required,
        slots: Semaphore::new(service.max_in_flight),
        limit: service.max_in_flight,
        memory: Memory::new(&bus),
        tasks: TaskTracker::new(),
    });
    let served = served(&service);
    let card = Card {
        name: service.name.clone(),
        version: service.version,
        description: service.description,
        instance: bus.identity().instance.clone(),
        id: ulid::Ulid::new().to_string(),
        started: baft_kit::time::now_rfc3339(),
        endpoints: served.iter().map(|served| served.counted.clone()).collect(),
    };
    let mut backoff = Backoff::new(Duration::from_millis(500), Duration::from_secs(30));
    let (questions, requests) = loop {
        let Some(result) = shutdown.run_until_cancelled(subscribe(&bus, &card, &served)).await else {
            return;
        };
        match result {
            Ok(subscriptions) => break subscriptions,
            Err(error) => {
                let delay = backoff.next_delay();
                tracing::warn!(service = %card.name, %error, ?delay, "cannot register the service, trying on");
                if shutdown.run_until_cancelled(tokio::time::sleep(delay)).await.is_none() {
                    return;
                }
            }
        }
    };
    ready.send_replace(true);
    tracing::info!(service = %card.name, "answering requests");
    let loops = TaskTracker::new();
    loops.spawn(discover::answer(bus, card, questions, shutdown.clone()));
    for (served, requests) in served.into_iter().zip(requests) {
        loops.spawn(serve(shared.clone(), served, requests, shutdown.clone()));
    }
    loops.close();
    loops.wait().await;
    shared.tasks.close();
    shared.tasks.wait().await;
}

/// Every endpoint by its subject; one that changes something also by the subject that names the principal.
fn served(service: &Service) -> Vec<Arc<Served>> {
    let prefix = service.bus.prefix();
    let mut all = Vec::new();
    for (endpoint, handler) in &service.endpoints {
        let mut subjects = vec![(endpoint.name.clone(), prefix.request(&endpoint.suffix))];
        if endpoint.effect == Effect::Changes {
            subjects.push((format!("{}-as", endpoint.name), prefix.request_as(&endpoint.suffix, "*")));
        }
        all.extend(subjects.into_iter().map(|(name, subject)| {
            let counted = Arc::new(Counted::new(name, subject));
            Arc::new(Served { endpoint: endpoint.clone(), handler: handler.clone(), counted })
        }));
    }
    all
}

type Subscriptions = (futures_util::stream::SelectAll<Subscriber>, Vec<Subscriber>);

async fn subscribe(bus: &Bus, card: &Card, served: &[Arc<Served>]) -> Result<Subscriptions, BusError> {
    bus.connected().wait_for(|link| *link == Link::Up).await.map_err(|_| BusError::Closed)?;
    let questions = discover::subscribe(bus, card).await?;
    let mut requests = Vec::new();
    for served in served {
        requests.push(bus.subscribe(&served.counted.subject, Some(QUEUE_GROUP)).await?);
    }
    for served in served {
        bus.confirm_subscription(&served.counted.subject).await?;
    }
    Ok((questions, requests))
}

/// Takes requests off one subscription. Never waits for a handler: a slow one must not hold up the next request.
async fn serve(shared: Arc<Shared>, served: Arc<Served>, mut requests: Subscriber, shutdown: CancellationToken) {
    while let Some(Some(request)) = shutdown.run_until_cancelled(requests.next()).await {
        take(&shared, &served, request);
    }
    // What the server sent before it knew is still answered.
    let _ = tokio::time::timeout(DEADLINE, requests.drain()).await;
    while let Ok(Some(request)) = tokio::time::timeout(DEADLINE, requests.next()).await {
        take(&shared, &served, request);
    }
}

fn take(shared: &Arc<Shared>, served: &Arc<Served>, request: Message) {
    // Nobody to answer, so nobody who could learn that it worked: not a request.
    if request.reply.is_some() {
        let (shared, served) = (shared.clone(), served.clone());
        shared.tasks.clone().spawn(async move { shared.deal_with(&served, request).await });
    }
}

impl Shared {
    async fn deal_with(&self, served: &Served, request: Message) {
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
        let took = started.elapsed();
        served.counted.note(&result, took);
        self.bus.inner.metrics.request_seconds.with_label_values(&[name]).observe(took.as_secs_f64());
        self.reply(name, &request, &result).await;
    }

    async fn work(&self, served: &Served, request: &Message) -> Result<Value, RequestError> {
        let said = answer::read_headers(request.headers.as_ref())?;
        let principal = self.principal(&served.endpoint, &request.subject)?;
        let body = answer::read_body(&request.payload)?;
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
                match self.memory.claim(&key, &request.payload, said.deadline).await {
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

    async fn reply(&self, endpoint: &str, request: &Message, result: &Result<Value, RequestError>) {
        let (headers, body, code) = answer::write(result, self.bus.inner.client.max_payload());
        self.bus.inner.metrics.requests.with_label_values(&[endpoint, code]).inc();
        if let Err(error) = result {
            tracing::debug!(service = %self.service, endpoint, code, message = %error.message, "request failed");
        }
        let reply = request.reply.as_deref().unwrap_or_default();
        if let Err(error) = self.bus.publish_answer(reply, headers, body).await {
            tracing::debug!(service = %self.service, endpoint, %error, "an answer was not sent");
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
