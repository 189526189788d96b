//! Everything the probe is told, checked.

use std::time::Duration;

use baft_kit::config::ConfigError;
use baft_kit::schedule::Schedule;

use crate::args::Cli;
use crate::scene::Scene;
use crate::steady::Thresholds;

/// Everything the probe is told.
#[derive(Debug, Clone)]
pub struct Config {
    /// What it looks at.
    pub scene: Scene,
    /// When it looks.
    pub schedule: Schedule,
    /// How long one round may take.
    pub timeout: Duration,
    /// How often a result must repeat before it is said.
    pub thresholds: Thresholds,
}

impl Config {
    /// The defaults of the command line.
    #[must_use]
    pub fn new(scene: Scene) -> Self {
        Self {
            scene,
            schedule: Schedule::Every(Duration::from_secs(60)),
            timeout: Duration::from_secs(40),
            thresholds: Thresholds::default(),
        }
    }

    /// What the command line says.
    ///
    /// # Errors
    /// The first setting that cannot work.
    pub fn from_cli(cli: &Cli) -> Result<Self, ConfigError> {
        let probe = &cli.probe;
        let mut scene = cli.scene.scene(probe.profile)?;
        scene.nats = cli.nats.clone();
        scene.agent = Some(probe.agent.clone());
        if !baft_bus::subject::is_token(&probe.agent) {
            return Err(ConfigError::new("--agent", &probe.agent, "1 to 128 of A-Z a-z 0-9 _ -"));
        }
        scene.database = probe.workspace.as_ref().map(|folder| folder.join(&probe.db_name));
        if scene.disks.is_empty() {
            scene.disks = [probe.workspace.clone(), scene.root.clone()].into_iter().flatten().collect();
        }
        let schedule = Schedule::parse("--schedule", &probe.schedule)?;
        if matches!(schedule, Schedule::Every(every) if every < Duration::from_secs(1)) {
            return Err(ConfigError::new("--schedule", &probe.schedule, "an interval of at least 1s"));
        }
        let thresholds = Thresholds { worse: probe.failure_threshold, better: probe.success_threshold };
        Ok(Self { scene, schedule, timeout: probe.timeout, thresholds })
    }
}
