//! HTTP for others: `/` and `/metrics` as kubernetes/git-sync serves them, and `POST /webhook`.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};

use axum::Router;
use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, State};
use axum::http::{HeaderMap, StatusCode};
use axum::routing::{get, post};
use baft_bus::payload::Trigger;
use baft_kit::SecretFile;
use baft_kit::config::ConfigError;
use baft_kit::metrics::Metrics as Registry;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::args::HttpArgs;
use crate::error::SyncError;
use crate::metrics::Metrics;
use crate::status::Handle;
use crate::webhook::{Doorkeeper, MAX_BODY, Verdict};

#[derive(Debug)]
struct Door {
    secret: SecretFile,
    keeper: Mutex<Doorkeeper>,
    handle: Handle,
    metrics: Metrics,
}

/// `POST /webhook`, for the admin server and for `--http-bind`. The secret is read for every call, so it can be rotated.
pub(crate) fn webhook_routes(secret: SecretFile, handle: Handle, metrics: Metrics) -> Router {
    let door = Arc::new(Door { secret, keeper: Mutex::default(), handle, metrics });
    Router::new().route("/webhook", post(webhook)).layer(DefaultBodyLimit::max(MAX_BODY)).with_state(door)
}

async fn webhook(State(door): State<Arc<Door>>, headers: HeaderMap, body: Bytes) -> (StatusCode, &'static str) {
    let secret = match door.secret.read() {
        Ok(secret) => secret,
        Err(error) => {
            tracing::error!(%error, "a webhook came and its secret cannot be read");
            door.metrics.webhooks.with_label_values(&["no_secret"]).inc();
            return (StatusCode::SERVICE_UNAVAILABLE, "the webhook secret cannot be read\n");
        }
    };
    let verdict = {
        let mut keeper = door.keeper.lock().unwrap_or_else(PoisonError::into_inner);
        keeper.judge(secret.expose().as_bytes(), &headers, &body)
    };
    door.metrics.webhooks.with_label_values(&[verdict.label()]).inc();
    match verdict {
        Verdict::Ring => {
            door.handle.ring(Trigger::Webhook);
            (StatusCode::ACCEPTED, "looking\n")
        }
        Verdict::Ping => (StatusCode::OK, "pong\n"),
        Verdict::Replay => (StatusCode::OK, "seen before\n"),
        Verdict::Unsigned => (StatusCode::UNAUTHORIZED, "no signature or token\n"),
        Verdict::Forged => {
            tracing::warn!("a webhook with a wrong signature or token was refused");
            (StatusCode::FORBIDDEN, "wrong signature or token\n")
        }
    }
}

/// Serves `--http-bind` until the shutdown; gives the address.
pub(crate) async fn serve(
    args: &HttpArgs,
    registry: Registry,
    handle: Handle,
    webhook: Option<Router>,
    shutdown: CancellationToken,
) -> Result<Option<SocketAddr>, SyncError> {
    let Some(bind) = &args.http_bind else { return Ok(None) };
    // Go's ":8080" means every address.
    let addr = bind.strip_prefix(':').map_or_else(|| bind.clone(), |port| format!("[::]:{port}"));
    if addr.rsplit_once(':').and_then(|(_, port)| port.parse::<u16>().ok()).is_none() {
        return Err(ConfigError::new("--http-bind", bind, "an address and a port, such as :8080").into());
    }
    let fail = |source| SyncError::Listen { addr: addr.clone(), source };
    let listener = match TcpListener::bind(&addr).await {
        // No IPv6 on this machine.
        Err(_) if bind.starts_with(':') => TcpListener::bind(format!("0.0.0.0{bind}")).await.map_err(fail)?,
        result => result.map_err(fail)?,
    };
    let local = listener.local_addr().map_err(fail)?;
    let status = handle.status();
    let root = get(move || async move {
        if status.borrow().last_success_at.is_some() { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE }
    });
    let mut router = Router::new().route("/", root);
    if args.http_metrics {
        router = router.route("/metrics", get(move || async move { registry.render() }));
    }
    if let Some(webhook) = webhook {
        router = router.merge(webhook);
    }
    tracing::info!(addr = %local, "serving --http-bind");
    let server = axum::serve(listener, router).with_graceful_shutdown(shutdown.cancelled_owned());
    tokio::spawn(async move {
        if let Err(error) = server.await {
            tracing::error!(%error, "--http-bind ended");
        }
    });
    Ok(Some(local))
}
