//! `session.…`: what a registry can be asked over NATS.

use baft_bus::payload::{
    SessionEndRequest, SessionGetRequest, SessionHeartbeatRequest, SessionHistoryRequest, SessionListRequest,
    SessionStartRequest, SessionStatusRequest, SessionSyncCheckRequest, SessionSyncRequest,
};
use baft_bus::subject::{is_session_id, is_token};
use baft_bus::{Code, Endpoint, RequestContext, RequestError, Service, ServiceHandle};
use std::time::Duration;
use tokio_util::sync::CancellationToken;

use crate::registry::Registry;
use crate::sequence::invalid;

/// As many requests are worked on at once. Beats take no time, and sequences are counted on their own.
const IN_FLIGHT: usize = 2048;
/// How long a question may take when the caller does not say.
const QUESTION: Duration = Duration::from_secs(20);

type Answer<T> = Result<T, RequestError>;

/// Starts answering.
pub(crate) fn serve(registry: &Registry, shutdown: CancellationToken) -> ServiceHandle {
    let of = || registry.clone();
    let (start, beat, end, sync) = (of(), of(), of(), of());
    let (list, get, status, check, history) = (of(), of(), of(), of(), of());
    let command = |name: &str| Endpoint::command(name, &format!("session.{name}"));
    let query = |name: &str| Endpoint::query(name, &format!("session.{name}"));
    Service::new(
        &registry.bus,
        "session-registry",
        env!("CARGO_PKG_VERSION"),
        "Registers, tracks and ends the sessions of analysts",
    )
    .require_principal(registry.settings.require_principal)
    .max_in_flight(IN_FLIGHT)
    .endpoint(command("start"), move |context: RequestContext, request: SessionStartRequest| {
        let registry = start.clone();
        async move { registry.start(&context, request).await }
    })
    .endpoint(command("heartbeat"), move |context: RequestContext, request: SessionHeartbeatRequest| {
        let registry = beat.clone();
        async move {
            named(&request.session_id)?;
            within(&context, registry.heartbeat(request, context.principal.as_deref())).await
        }
    })
    .endpoint(command("end"), move |context: RequestContext, request: SessionEndRequest| {
        let registry = end.clone();
        async move {
            named(&request.session_id)?;
            registry.end(&context, request).await
        }
    })
    .endpoint(command("sync"), move |context: RequestContext, request: SessionSyncRequest| {
        let registry = sync.clone();
        async move {
            about(request.session_id.as_deref(), request.agent.as_deref())?;
            registry.sync(&context, request).await
        }
    })
    .endpoint(query("list"), move |context: RequestContext, request: SessionListRequest| {
        let registry = list.clone();
        async move { within(&context, registry.list(request)).await }
    })
    .endpoint(query("get"), move |context: RequestContext, request: SessionGetRequest| {
        let registry = get.clone();
        async move {
            named(&request.session_id)?;
            within(&context, registry.get(&request.session_id)).await
        }
    })
    .endpoint(query("status"), move |context: RequestContext, request: SessionStatusRequest| {
        let registry = status.clone();
        async move {
            about(request.session_id.as_deref(), request.agent.as_deref())?;
            within(&context, registry.status(request)).await
        }
    })
    .endpoint(query("sync_check"), move |context: RequestContext, request: SessionSyncCheckRequest| {
        let registry = check.clone();
        async move {
            about(request.session_id.as_deref(), request.agent.as_deref())?;
            within(&context, registry.sync_check(request)).await
        }
    })
    .endpoint(query("history"), move |context: RequestContext, request: SessionHistoryRequest| {
        let registry = history.clone();
        async move { within(&context, registry.history(request)).await }
    })
    .start(shutdown)
}

/// Answers within the caller's time, whatever happens.
async fn within<T>(context: &RequestContext, work: impl Future<Output = Answer<T>>) -> Answer<T> {
    let time = context.time_left(QUESTION);
    tokio::time::timeout(time, work).await.unwrap_or_else(|_| {
        Err(RequestError::new(Code::Timeout, format!("not answered within {:.1} s", time.as_secs_f64()))
            .hint("NATS or another daemon is slow or away; ask again"))
    })
}

fn named(session_id: &str) -> Answer<()> {
    match is_session_id(session_id) {
        true => Ok(()),
        false => Err(invalid(format!("session_id: `{}` is none", session_id.escape_default()))
            .hint("`baft session list` shows those there are")),
    }
}

fn about(session_id: Option<&str>, agent: Option<&str>) -> Answer<()> {
    session_id.map_or(Ok(()), named)?;
    match agent.filter(|agent| !is_token(agent)) {
        Some(agent) => Err(invalid(format!("agent: `{}` is no commit-agent", agent.escape_default()))),
        None => Ok(()),
    }
}
