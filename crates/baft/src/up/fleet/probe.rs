//! The preflight-probe of a fleet on one machine: the checks of a workstation, told by the fleet where everything is.

use std::sync::Arc;

use baft_preflight_probe::args::SceneArgs;
use baft_preflight_probe::{self as preflight, Broker, Profile, Scene};
use tokio_util::sync::CancellationToken;

use super::{Fleet, follow};

impl Fleet {
    /// One life of the probe.
    pub(super) async fn run_probe(self: Arc<Self>, token: CancellationToken) -> Result<(), String> {
        let build = baft_kit::build_info!("preflight-probe");
        let surroundings = self.daemon(build, "preflight_probe").await?;
        let config = preflight::Config::new(self.scene()?);
        let daemon = preflight::Daemon::start(
            config,
            preflight::Context {
                metrics: surroundings.metrics.clone(),
                readiness: surroundings.readiness.clone(),
                bus: surroundings.bus.clone(),
                shutdown: token.clone(),
            },
        );
        let fleet = self.clone();
        let watcher = tokio::spawn(follow(daemon.handle().status(), move |status: &preflight::Status| {
            fleet.board.send_modify(|board| board.probe.status = status.clone());
        }));
        let _admin = self.serve(build, &surroundings, daemon.pulse(), token).await?;
        let result = surroundings.until_end(daemon.finished()).await;
        watcher.abort();
        result
    }

    fn scene(&self) -> Result<Scene, String> {
        let mut scene = SceneArgs::of_environment().scene(Profile::Local).map_err(|error| error.to_string())?;
        scene.database = Some(self.workspace.database());
        scene.sql = Some(Arc::new(crate::preflight::first_value));
        if let Some(nats) = &self.nats {
            scene.nats = nats.args();
        }
        scene.agent = self.plan.agent.as_ref().map(|agent| agent.name().to_owned());
        let clone = self.plan.agent.as_ref().map(|agent| agent.clone_folder().to_owned());
        let broker = if self.nats.is_some() { Broker::Running } else { Broker::None };
        crate::preflight::look_at(&mut scene, &self.plan.source, clone, broker);
        Ok(scene)
    }
}
