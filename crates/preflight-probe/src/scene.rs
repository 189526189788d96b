//! What is looked at: paths, addresses and names, gathered before any check runs.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use baft_bus::NatsArgs;

use crate::custom::Custom;

/// Which set of checks is meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, clap::ValueEnum)]
pub enum Profile {
    /// One person's machine: the twelve checks of the specification.
    Local,
    /// A fleet on Kubernetes or on servers: no Python, no repositories, but every layer of NATS, the daemons and the host.
    Cluster,
}

impl Profile {
    /// The word in reports and requests.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Local => "local",
            Self::Cluster => "cluster",
        }
    }

    /// The profile of that name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        [Self::Local, Self::Cluster].into_iter().find(|profile| profile.name() == name)
    }
}

/// Whether the Python actors run here; only then Python, uv, Ollama and the API key matter.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, clap::ValueEnum)]
pub enum Actors {
    /// They do when loom, heddle or baft lies beside the data.
    #[default]
    Auto,
    /// They do.
    Yes,
    /// They do not.
    No,
}

/// What is known of a fleet that runs on this machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fleet {
    /// The repository it follows, without credentials.
    pub follows: String,
    /// Whether it has a broker.
    pub broker: Broker,
}

/// Whether a fleet has a broker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Broker {
    /// It has.
    Running,
    /// It was started without.
    None,
}

/// Answers one SQL query on a database file with its first value, as text. Only programs that link DuckDB have one.
pub type Sql = Arc<dyn Fn(&Path, &str) -> Result<String, String> + Send + Sync>;

/// Everything the checks are told. Without anything set it is the machine of somebody who has just begun.
#[derive(Clone)]
pub struct Scene {
    /// Which set of checks is meant when the order does not say.
    pub profile: Profile,
    /// `ITP_ROOT`: the folder with the repositories.
    pub root: Option<PathBuf>,
    /// The clone with the data, when something else than `root` says where it is.
    pub clone: Option<PathBuf>,
    /// The path under which readers open the database.
    pub database: Option<PathBuf>,
    /// The running fleet that said where clone and database are, so that no variable has to.
    pub fleet: Option<Fleet>,
    /// Names of the variables that are set and not empty.
    pub variables: BTreeSet<String>,
    /// Whether Python actors are expected.
    pub actors: Actors,
    /// The broker; where it is looked for when nothing is said is up to the check.
    pub nats: NatsArgs,
    /// Where NATS serves HTTP for monitoring.
    pub nats_monitor: Option<String>,
    /// Where Ollama is, when somebody says so.
    pub ollama: Option<String>,
    /// The model the actors ask for.
    pub ollama_model: String,
    /// The commit-agent of the clone, when it has one.
    pub agent: Option<String>,
    /// The daemons that must be alive.
    pub expected: Vec<String>,
    /// Older than this the database is stale.
    pub stale_after: Duration,
    /// A durable consumer with more events than this before it lags behind.
    pub lag_limit: u64,
    /// Folders whose disk must have room.
    pub disks: Vec<PathBuf>,
    /// Less free than this percentage is a warning, and less than the second a failure.
    pub disk_percent: (u8, u8),
    /// Where programs are looked for, instead of `PATH`.
    pub path: Option<OsString>,
    /// Checks of a file.
    pub custom: Vec<Custom>,
    /// Answers SQL checks.
    pub sql: Option<Sql>,
}

/// The model the specification's chart names.
pub const DEFAULT_MODEL: &str = "llama3.2:3b";
/// Where Ollama listens when nobody says.
pub const DEFAULT_OLLAMA: &str = "http://localhost:11434";
/// Where NATS listens when nobody says.
pub const DEFAULT_NATS: &str = "nats://localhost:4222";

impl Scene {
    /// Nothing is set.
    #[must_use]
    pub fn new(profile: Profile) -> Self {
        Self {
            profile,
            root: None,
            clone: None,
            database: None,
            fleet: None,
            variables: BTreeSet::new(),
            actors: Actors::Auto,
            nats: NatsArgs::default(),
            nats_monitor: None,
            ollama: None,
            ollama_model: DEFAULT_MODEL.to_owned(),
            agent: None,
            expected: Vec::new(),
            stale_after: Duration::from_secs(24 * 3600),
            lag_limit: 1000,
            disks: Vec::new(),
            disk_percent: (10, 3),
            path: None,
            custom: Vec::new(),
            sql: None,
        }
    }

    /// Whether Python actors run here.
    #[must_use]
    pub fn has_actors(&self) -> bool {
        match self.actors {
            Actors::Yes => true,
            Actors::No => false,
            Actors::Auto => ["loom", "heddle", "baft"].iter().any(|name| self.beside(name).is_some()),
        }
    }

    /// A repository in `ITP_ROOT`.
    #[must_use]
    pub fn beside(&self, name: &str) -> Option<PathBuf> {
        // The workspace of a fleet is no repository, whatever it is called.
        self.root.as_ref().map(|root| root.join(name)).filter(|path| path.is_dir())
    }

    /// The repository with the data: `framework` or `baseline` in `ITP_ROOT`, or `ITP_ROOT` itself when it holds `data`.
    #[must_use]
    pub fn data(&self) -> Option<PathBuf> {
        let holds_data = |path: &PathBuf| path.join("data").is_dir();
        if let Some(clone) = &self.clone {
            return Some(clone.clone()).filter(|clone| clone.is_dir());
        }
        let root = self.root.as_ref()?;
        let places = [root.join("framework"), root.join("baseline"), root.clone()];
        places.into_iter().find(holds_data)
    }

    /// What the data is called in messages.
    #[must_use]
    pub fn data_name(&self) -> &'static str {
        let baseline = self.data().is_some_and(|path| path.file_name().is_some_and(|name| name == "baseline"));
        if baseline { "Baseline" } else { "Framework" }
    }
}

impl std::fmt::Debug for Scene {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Scene")
            .field("profile", &self.profile)
            .field("root", &self.root)
            .field("clone", &self.clone)
            .field("database", &self.database)
            .finish_non_exhaustive()
    }
}
