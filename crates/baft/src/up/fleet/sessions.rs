//! The session-registry of the fleet.

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
        let daemon = registry::Daemon::start(settings, surroundings.context(token.clone()))
            .map_err(|error| error.to_string())?;
        let fleet = self.clone();
        let watcher = tokio::spawn(follow(daemon.status(), move |status: &registry::Status| {
            fleet.board.send_modify(|board| board.sessions.get_or_insert_default().status = status.clone());
        }));
        let _admin = self.serve(build, &surroundings, daemon.pulse(), token).await?;
        let result = surroundings.until_end(daemon.finished()).await;
        watcher.abort();
        result
    }
}
