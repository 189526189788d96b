//! The session-registry of the fleet.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use baft_session_registry as registry;
use tokio_util::sync::CancellationToken;

use super::{Fleet, follow};

impl Fleet {
    /// One life of session-registry. Its markers lie in the workspace, for Python programs that read them there.
    pub(super) async fn run_registry(self: Arc<Self>, token: CancellationToken) -> Result<(), String> {
        let build = baft_kit::build_info!("session-registry");
        let surroundings = self.daemon(build, "session_registry").await?;
        let settings = registry::Settings {
            agent: self.plan.agent.as_ref().map(|agent| agent.name().to_owned()),
            markers: Some(self.workspace.markers()),
            ..registry::Settings::default()
        };
        let mut daemon = registry::Daemon::start(settings, surroundings.context(token.clone()))
            .map_err(|error| error.to_string())?;
        match self.status_page().await {
            Ok(page) => {
                let addr = page.local_addr;
                self.board.send_modify(|board| board.page = Some(addr));
                daemon.show(page);
            }
            Err(error) => tracing::warn!(%error, "no status page"),
        }
        let fleet = self.clone();
        let watcher = tokio::spawn(follow(daemon.status(), move |status: &registry::Status| {
            fleet.board.send_modify(|board| board.sessions.get_or_insert_default().status = status.clone());
        }));
        let _admin = self.serve(build, &surroundings, daemon.pulse(), token).await?;
        let result = surroundings.until_end(daemon.finished()).await;
        watcher.abort();
        result
    }

    /// A place for the status page, on the port it had before if it had one.
    async fn status_page(&self) -> Result<registry::Page, String> {
        let bind = async |addr| {
            let settings = registry::PageSettings::new(addr, None).map_err(|error| error.to_string())?;
            registry::Page::bind(settings).await.map_err(|error| error.to_string())
        };
        let (free, known) = (SocketAddr::from((Ipv4Addr::LOCALHOST, 0)), self.board.borrow().page);
        match bind(known.unwrap_or(free)).await {
            Err(_) if known.is_some() => bind(free).await,
            bound => bound,
        }
    }
}
