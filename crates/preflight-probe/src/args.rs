//! What both the probe and `baft preflight` are told about the place they check.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::time::Duration;

use baft_kit::config::{ConfigError, duration};

use crate::custom;
use crate::scene::{Actors, DEFAULT_MODEL, Profile, Scene};

/// What is checked, to be flattened into a program's arguments.
#[derive(Debug, Clone, clap::Args)]
#[command(next_help_heading = "What to check")]
pub struct SceneArgs {
    /// Folder with the repositories: the data is in framework or baseline, or the folder itself holds data
    #[arg(long, env = "ITP_ROOT", value_name = "DIR")]
    pub itp_root: Option<PathBuf>,

    /// Whether Python actors run here, so that Python, uv, Ollama and the API key matter
    #[arg(long, env = "BAFT_ACTORS", value_name = "WHETHER", default_value = "auto")]
    pub actors: Actors,

    /// Where Ollama is; http://localhost:11434 where actors run
    #[arg(long, env = "OLLAMA_URL", value_name = "URL")]
    pub ollama_url: Option<String>,

    /// The model the actors ask for
    #[arg(long, env = "OLLAMA_MODEL", value_name = "NAME", default_value = DEFAULT_MODEL)]
    pub ollama_model: String,

    /// The database is stale when it was last right longer ago than this
    #[arg(long, env = "BAFT_STALE_AFTER", value_name = "DURATION", default_value = "24h", value_parser = duration)]
    pub stale_after: Duration,

    /// Checks of your own: a TOML file (docs/preflight.md)
    #[arg(long, env = "BAFT_CHECKS_FILE", value_name = "FILE")]
    pub checks_file: Option<PathBuf>,

    /// Where NATS serves HTTP for monitoring: http://nats:8222
    #[arg(long, env = "BAFT_NATS_MONITOR_URL", value_name = "URL")]
    pub nats_monitor_url: Option<String>,

    /// The daemons that must answer (profile cluster)
    #[arg(
        long,
        env = "BAFT_EXPECT",
        value_name = "NAMES",
        value_delimiter = ',',
        default_value = "git-sync,commit-agent,duckdb-importer,session-registry"
    )]
    pub expect: Vec<String>,

    /// Folders whose disk must have room (profile cluster)
    #[arg(long, env = "BAFT_DISKS", value_name = "DIRS", value_delimiter = ',')]
    pub disks: Vec<PathBuf>,

    /// Less free space than this is a warning, in percent
    #[arg(long, env = "BAFT_DISK_LOW", value_name = "PERCENT", default_value_t = 10, value_parser = clap::value_parser!(u8).range(0..=100))]
    pub disk_low: u8,

    /// Less free space than this is a failure, in percent
    #[arg(long, env = "BAFT_DISK_FULL", value_name = "PERCENT", default_value_t = 3, value_parser = clap::value_parser!(u8).range(0..=100))]
    pub disk_full: u8,
}

/// The daemons whose answers the probe knows how to ask for.
const DAEMONS: &[&str] = &["git-sync", "commit-agent", "duckdb-importer", "session-registry"];

/// The variables whose presence is checked.
const VARIABLES: &[&str] = &["ITP_ROOT", "BAFT_WORKSPACE", "ANTHROPIC_API_KEY"];

impl SceneArgs {
    /// What is said here; broker, clone and database are added by the caller.
    ///
    /// # Errors
    /// A name or the file of checks cannot be used.
    pub fn scene(&self, profile: Profile) -> Result<Scene, ConfigError> {
        let expected: Vec<String> = self.expect.iter().filter(|name| !name.is_empty()).cloned().collect();
        if let Some(other) = expected.iter().find(|name| !DAEMONS.contains(&name.as_str())) {
            return Err(ConfigError::new("--expect", other, format!("some of {}", DAEMONS.join(", "))));
        }
        let custom = match &self.checks_file {
            Some(path) => custom::read(path)
                .map_err(|error| ConfigError::new("--checks-file", path.display(), error.to_string()))?,
            None => Vec::new(),
        };
        let set = |name: &&str| std::env::var_os(name).is_some_and(|value| !value.is_empty());
        let variables: BTreeSet<String> = VARIABLES.iter().copied().filter(set).map(str::to_owned).collect();
        Ok(Scene {
            root: self.itp_root.clone(),
            variables,
            actors: self.actors,
            nats_monitor: self.nats_monitor_url.clone(),
            ollama: self.ollama_url.clone(),
            ollama_model: self.ollama_model.clone(),
            expected,
            stale_after: self.stale_after,
            disks: self.disks.clone(),
            disk_percent: (self.disk_low, self.disk_full),
            custom,
            ..Scene::new(profile)
        })
    }
}
