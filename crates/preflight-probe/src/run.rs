//! What the checks of one run share: whatever several of them need is asked once.

use std::io;
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use baft_bus::payload::{CommitCheck, Empty, GitStatus, ImportStatus};
use baft_bus::{Bus, BusError, Identity, NatsArgs, RequestError};
use serde::de::DeserializeOwned;
use tokio::process::Command;
use tokio::sync::OnceCell;

use crate::scene::{DEFAULT_NATS, Profile, Scene};

/// How long a daemon may take to answer.
const PATIENCE: Duration = Duration::from_secs(4);
/// How long closing the connection may take.
const DRAIN: Duration = Duration::from_secs(1);

/// One run of the checks.
#[derive(Debug)]
pub struct Run {
    /// What is looked at.
    pub scene: Arc<Scene>,
    /// Which checks are meant.
    pub profile: Profile,
    bus: OnceCell<Result<Bus, BusError>>,
    tags: OnceCell<Result<Vec<String>, String>>,
    agent: OnceCell<Result<CommitCheck, RequestError>>,
    git: OnceCell<Result<GitStatus, RequestError>>,
    import: OnceCell<Result<ImportStatus, RequestError>>,
    /// By how many milliseconds the server's clock is ahead of ours, and how well that is known.
    pub(crate) clock: OnceCell<(i64, i64)>,
}

impl Run {
    /// Begins a run.
    #[must_use]
    pub fn new(scene: Arc<Scene>, profile: Profile) -> Self {
        Self {
            scene,
            profile,
            bus: OnceCell::new(),
            tags: OnceCell::new(),
            agent: OnceCell::new(),
            git: OnceCell::new(),
            import: OnceCell::new(),
            clock: OnceCell::new(),
        }
    }

    /// The broker that is looked at: the one named, else where one would be.
    #[must_use]
    pub fn nats(&self) -> NatsArgs {
        if self.scene.nats.enabled() {
            return self.scene.nats.clone();
        }
        NatsArgs { nats_url: Some(DEFAULT_NATS.to_owned()), ..self.scene.nats.clone() }
    }

    /// A connection of this run's own: one that was made long ago proves nothing.
    ///
    /// # Errors
    /// Why there is none.
    pub async fn bus(&self) -> Result<&Bus, &BusError> {
        let connect = || async {
            let identity = Identity::of_this_host("preflight-probe", env!("CARGO_PKG_VERSION"));
            Bus::connect_now(&self.nats(), identity).await
        };
        self.bus.get_or_init(connect).await.as_ref()
    }

    /// The names of Ollama's models.
    ///
    /// # Errors
    /// Why they are not known.
    pub async fn tags(&self, ask: impl Future<Output = Result<Vec<String>, String>>) -> Result<&[String], &str> {
        self.tags.get_or_init(|| ask).await.as_ref().map(Vec::as_slice).map_err(String::as_str)
    }

    /// How clone and remote compare, as the clone's commit-agent says.
    ///
    /// # Errors
    /// It does not answer, or cannot find out.
    pub async fn agent(&self, name: &str) -> Result<&CommitCheck, &RequestError> {
        let ask = || async {
            let bus = self.connected().await?;
            // It talks to the remote.
            bus.request(&format!("commit.{name}.check"), &Empty {}, Duration::from_secs(15)).await
        };
        self.agent.get_or_init(ask).await.as_ref()
    }

    /// What git-sync says.
    ///
    /// # Errors
    /// It does not answer.
    pub async fn git(&self) -> Result<&GitStatus, &RequestError> {
        self.git.get_or_init(|| self.ask("git.status")).await.as_ref()
    }

    /// What the importer says.
    ///
    /// # Errors
    /// It does not answer.
    pub async fn import(&self) -> Result<&ImportStatus, &RequestError> {
        self.import.get_or_init(|| self.ask("import.status")).await.as_ref()
    }

    /// Asks a daemon something without content.
    ///
    /// # Errors
    /// It does not answer.
    pub async fn ask<T: DeserializeOwned>(&self, suffix: &str) -> Result<T, RequestError> {
        self.connected().await?.request(suffix, &Empty {}, PATIENCE).await
    }

    async fn connected(&self) -> Result<&Bus, RequestError> {
        self.bus().await.map_err(|error| RequestError::new(baft_bus::Code::Unavailable, error.to_string()))
    }

    /// Runs a program and gives what it printed.
    ///
    /// # Errors
    /// It is not there, cannot be run, or failed.
    pub async fn output(&self, program: &str, change: impl FnOnce(&mut Command)) -> Result<String, Ran> {
        let mut command = Command::new(program);
        command.stdin(Stdio::null()).kill_on_drop(true);
        if let Some(path) = &self.scene.path {
            command.env("PATH", path);
        }
        change(&mut command);
        match command.output().await {
            Ok(output) if output.status.success() => Ok(String::from_utf8_lossy(&output.stdout).trim_end().to_owned()),
            Ok(output) => {
                let text = if output.stderr.is_empty() { &output.stdout } else { &output.stderr };
                Err(Ran::Failed(crate::words::first_line(&String::from_utf8_lossy(text))))
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => Err(Ran::Missing),
            Err(error) => Err(Ran::Failed(error.to_string())),
        }
    }

    /// Closes what was opened.
    pub async fn finish(&self) {
        if let Some(Ok(bus)) = self.bus.get() {
            bus.drain(DRAIN).await;
        }
    }
}

/// Why a program gave no output.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ran {
    /// There is no such program.
    Missing,
    /// What it said.
    Failed(String),
}
