//! The admin server: `/livez`, `/readyz`, `/metrics`, `/buildz`, `PUT /loglevel`, and what the daemon adds.

use std::net::SocketAddr;

use axum::Router;
use axum::extract::{DefaultBodyLimit, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, put};
use tokio::net::TcpListener;
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::build::BuildInfo;
use crate::live::Pulse;
use crate::log::LogHandle;
use crate::metrics::Metrics;
use crate::ready::Readiness;

/// No log filter is longer.
const MAX_FILTER_BYTES: usize = 4096;

/// What the admin server shows.
#[derive(Debug, Clone)]
pub struct Admin {
    /// Served at `/metrics`.
    pub metrics: Metrics,
    /// Served at `/readyz`.
    pub readiness: Readiness,
    /// All must be alive for `/livez`.
    pub pulses: Vec<Pulse>,
    /// Served at `/buildz`.
    pub build: BuildInfo,
    /// Changed by `PUT /loglevel`.
    pub log: LogHandle,
}

/// Why the admin server could not start.
#[derive(Debug, thiserror::Error)]
pub enum AdminError {
    /// The address is taken or not ours.
    #[error(
        "cannot listen on {addr} for the admin server: {source}; choose another with --admin-addr or BAFT_ADMIN_ADDR"
    )]
    Listen {
        /// The address asked for.
        addr: SocketAddr,
        /// What the operating system said.
        source: std::io::Error,
    },
}

/// A running admin server; it ends when this is dropped.
#[derive(Debug)]
pub struct AdminHandle {
    /// Where it listens; tells the port when port 0 was asked for.
    pub local_addr: SocketAddr,
    _running: DropGuard,
}

impl Admin {
    /// Starts the server on the current runtime, with the daemon's own routes in `extra`.
    ///
    /// When `shutdown` is cancelled `/readyz` turns to 503 and the server goes on answering, so that the drain can be
    /// watched; it ends when the handle is dropped.
    ///
    /// # Errors
    /// The address cannot be listened on.
    pub async fn serve(
        self,
        addr: SocketAddr,
        extra: Option<Router>,
        shutdown: CancellationToken,
    ) -> Result<AdminHandle, AdminError> {
        let failed = |source| AdminError::Listen { addr, source };
        let listener = TcpListener::bind(addr).await.map_err(failed)?;
        let local_addr = listener.local_addr().map_err(failed)?;
        let stop = CancellationToken::new();

        let (readiness, stopped, begins) = (self.readiness.clone(), stop.clone(), shutdown.clone());
        tokio::spawn(async move {
            tokio::select! {
                () = begins.cancelled() => readiness.shutting_down(),
                () = stopped.cancelled() => {}
            }
        });

        let router = router(Shown { admin: self, shutdown }).merge(extra.unwrap_or_default());
        let stopped = stop.clone().cancelled_owned();
        tokio::spawn(async move {
            if let Err(error) = axum::serve(listener, router).with_graceful_shutdown(stopped).await {
                tracing::error!(%error, "the admin server stopped");
            }
        });
        tracing::info!(addr = %local_addr, "admin server listening");
        Ok(AdminHandle { local_addr, _running: stop.drop_guard() })
    }
}

#[derive(Debug, Clone)]
struct Shown {
    admin: Admin,
    shutdown: CancellationToken,
}

fn router(shown: Shown) -> Router {
    Router::new()
        .route("/livez", get(livez))
        .route("/readyz", get(readyz))
        .route("/metrics", get(metrics))
        .route("/buildz", get(async |State(shown): State<Shown>| axum::Json(shown.admin.build)))
        .route("/loglevel", put(set_level).layer(DefaultBodyLimit::max(MAX_FILTER_BYTES)))
        .with_state(shown)
}

async fn livez(State(Shown { admin, .. }): State<Shown>) -> Response {
    let late: Vec<_> = admin
        .pulses
        .iter()
        .filter_map(|pulse| pulse.overdue().map(|late| format!("{} is {} s late", pulse.name(), late.as_secs())))
        .collect();
    match late.as_slice() {
        [] => (StatusCode::OK, "ok\n").into_response(),
        late => (StatusCode::SERVICE_UNAVAILABLE, format!("{}\n", late.join("; "))).into_response(),
    }
}

async fn readyz(State(Shown { admin, shutdown }): State<Shown>) -> Response {
    // Asked in the very moment between the signal and the task that waits for it.
    if shutdown.is_cancelled() {
        admin.readiness.shutting_down();
    }
    let report = admin.readiness.report();
    let status = if report.ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (status, axum::Json(report)).into_response()
}

async fn metrics(State(Shown { admin, .. }): State<Shown>) -> Response {
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], admin.metrics.render()).into_response()
}

async fn set_level(State(Shown { admin, .. }): State<Shown>, filter: String) -> Response {
    let filter = filter.trim();
    match admin.log.set_level(filter) {
        Ok(()) => {
            tracing::warn!(filter, "log level changed");
            (StatusCode::OK, format!("{filter}\n")).into_response()
        }
        Err(error) => (StatusCode::BAD_REQUEST, format!("{error}\n")).into_response(),
    }
}
