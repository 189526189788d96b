//! The command line of the probe, and what `baft preflight` shares with it.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::time::Duration;

use baft_bus::NatsArgs;
use baft_kit::config::{CommonArgs, ConfigError, DaemonCommand, duration};

use crate::custom;
use crate::scene::{Actors, DEFAULT_MODEL, Profile, Scene};

/// Checks for ever whether everything a fleet needs is there, and says how to fix what is not
///
/// docs/preflight.md explains every check. `baft preflight` runs them once.
#[derive(Debug, Clone, clap::Parser)]
#[command(
    name = "preflight-probe",
    version,
    mut_arg("admin_addr", |arg| arg.default_value("127.0.0.1:9105"))
)]
pub struct Cli {
    /// How it runs.
    #[command(flatten)]
    pub probe: ProbeArgs,
    /// What it checks.
    #[command(flatten)]
    pub scene: SceneArgs,
    /// The broker.
    #[command(flatten)]
    pub nats: NatsArgs,
    /// Options every Baft daemon has.
    #[command(flatten)]
    pub common: CommonArgs,
    /// What to do instead of probing.
    #[command(subcommand)]
    pub command: Option<DaemonCommand>,
}

/// How the probe runs.
#[derive(Debug, Clone, clap::Args)]
#[command(next_help_heading = "How to check")]
pub struct ProbeArgs {
    /// Which checks: those of one person's machine, or those of a cluster
    #[arg(long, env = "BAFT_PREFLIGHT_PROFILE", value_name = "PROFILE", default_value = "cluster")]
    pub profile: Profile,

    /// Check at these times: an interval such as 60s, or a cron expression such as "*/5 * * * *" (UTC)
    #[arg(long, env = "BAFT_PREFLIGHT_SCHEDULE", value_name = "WHEN", default_value = "60s")]
    pub schedule: String,

    /// How long one round of checks may take
    #[arg(long, env = "BAFT_PREFLIGHT_TIMEOUT", value_name = "DURATION", default_value = "40s", value_parser = duration)]
    pub timeout: Duration,

    /// A check has to get worse this often in a row before it is said
    #[arg(long, env = "BAFT_FAILURE_THRESHOLD", value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=100))]
    pub failure_threshold: u32,

    /// A check has to get better this often in a row before it is said
    #[arg(long, env = "BAFT_SUCCESS_THRESHOLD", value_name = "N", default_value_t = 2, value_parser = clap::value_parser!(u32).range(1..=100))]
    pub success_threshold: u32,

    /// Folder that readers open the database in
    #[arg(long, env = "BAFT_WORKSPACE", value_name = "DIR")]
    pub workspace: Option<PathBuf>,

    /// The database's file name in that folder
    #[arg(long, env = "BAFT_DB_NAME", value_name = "NAME", default_value = "itp.duckdb")]
    pub db_name: String,

    /// The commit-agent that must answer
    #[arg(long, env = "BAFT_AGENT", value_name = "NAME", default_value = "main")]
    pub agent: String,
}

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

    /// More events than this before a durable consumer are a warning (profile cluster)
    #[arg(long, env = "BAFT_LAG_LIMIT", value_name = "EVENTS", default_value_t = 1000)]
    pub lag_limit: u64,

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
    /// What the variables say, for a program without these flags. Ends the process when one of them cannot be used.
    #[must_use]
    pub fn of_environment() -> Self {
        #[derive(clap::Parser)]
        struct Variables {
            #[command(flatten)]
            scene: SceneArgs,
        }
        baft_kit::config::parse_from::<Variables>(["baft"]).scene
    }

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
            lag_limit: self.lag_limit,
            disks: self.disks.clone(),
            disk_percent: (self.disk_low, self.disk_full),
            custom,
            ..Scene::new(profile)
        })
    }
}
