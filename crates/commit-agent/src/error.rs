//! What can go wrong.

use std::path::PathBuf;

use baft_kit::Exit;
use baft_kit::config::ConfigError;
use baft_kit::durable::LockError;
use baft_repo::RepoError;

use crate::engine::OpenError;

/// Why commit-agent cannot start or go on.
#[derive(Debug, thiserror::Error)]
pub enum AgentError {
    /// A setting that cannot work.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The clone cannot be used.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// The broker cannot be used.
    #[error(transparent)]
    Bus(#[from] baft_bus::BusError),
    /// The repository library cannot be set up.
    #[error(transparent)]
    Repo(#[from] RepoError),
    /// A file or folder of ours cannot be read or written.
    #[error("{doing} {path}: {source}")]
    Io {
        /// What was being done.
        doing: &'static str,
        /// To what.
        path: PathBuf,
        /// The cause.
        #[source]
        source: std::io::Error,
    },
    /// With `--one-time`: not everything is on the remote.
    #[error("everything is captured, but not everything is on the remote: {0}")]
    Unfinished(String),
    /// Nobody answers any more.
    #[error("commit-agent is stopping")]
    Stopped,
}

impl AgentError {
    pub(crate) fn io(doing: &'static str, path: impl Into<PathBuf>, source: std::io::Error) -> Self {
        Self::Io { doing, path: path.into(), source }
    }

    /// The exit code that fits.
    #[must_use]
    pub fn exit(&self) -> Exit {
        match self {
            Self::Config(_) => Exit::Config,
            Self::Open(OpenError::Config(_) | OpenError::NotAdopted { .. } | OpenError::Unsupported(_)) => Exit::Config,
            Self::Open(OpenError::Locked(LockError::Held { .. })) => Exit::TryAgain,
            Self::Bus(error) if !error.is_retryable() => Exit::Config,
            Self::Unfinished(_) => Exit::TryAgain,
            _ => Exit::Failure,
        }
    }
}

/// Whether opening the clone again may work: somebody may mount the volume, the remote may come back. Nothing is made anew in the meantime.
pub(crate) fn may_pass(error: &OpenError) -> bool {
    match error {
        OpenError::Gone { .. } | OpenError::Clone(_) | OpenError::Io(_) | OpenError::Repo(_) => true,
        OpenError::Locked(error) => !matches!(error, LockError::Held { .. }),
        OpenError::Config(_) | OpenError::NotAdopted { .. } | OpenError::Unsupported(_) => false,
    }
}
