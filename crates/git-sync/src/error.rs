//! What can go wrong.

use std::path::PathBuf;

use baft_bus::payload::FailureClass;
use baft_kit::Exit;
use baft_kit::config::ConfigError;
use baft_kit::durable::LockError;
use baft_repo::RepoError;
use baft_repo::transport::{Class, TransportError};

/// Why git-sync cannot start or go on.
#[derive(Debug, thiserror::Error)]
pub enum SyncError {
    /// A setting that cannot work.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// Another git-sync works in this folder.
    #[error(transparent)]
    Locked(#[from] LockError),
    /// The broker cannot be used.
    #[error(transparent)]
    Bus(#[from] baft_bus::BusError),
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
    /// The repository library cannot be set up.
    #[error(transparent)]
    Repo(#[from] RepoError),
    /// A socket cannot be listened on.
    #[error("cannot listen on {addr} for --http-bind: {source}; choose another address")]
    Listen {
        /// The address.
        addr: String,
        /// The cause.
        #[source]
        source: std::io::Error,
    },
    /// More failures in a row than allowed, or the only sync of `--one-time` failed.
    #[error("giving up after {failures} failed attempts; the last one: {last}")]
    TooManyFailures {
        /// How many.
        failures: u32,
        /// The last one.
        last: Failure,
    },
    /// With `--one-time`: a hook failed.
    #[error("the commit was published, but {0}")]
    Hook(String),
    /// Nobody answers any more.
    #[error("git-sync is stopping")]
    Stopped,
}

impl SyncError {
    pub(crate) fn io(doing: &'static str, path: impl Into<PathBuf>, source: std::io::Error) -> Self {
        Self::Io { doing, path: path.into(), source }
    }

    /// The exit code that fits.
    #[must_use]
    pub fn exit(&self) -> Exit {
        match self {
            Self::Config(_) => Exit::Config,
            Self::Bus(error) if !error.is_retryable() => Exit::Config,
            Self::Locked(LockError::Held { .. }) => Exit::TryAgain,
            _ => Exit::Failure,
        }
    }
}

/// One attempt to sync that failed; readers keep what they have.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Failure {
    /// What kind.
    pub class: FailureClass,
    /// One line for people: what failed, on what, what to do.
    pub message: String,
    /// Whose fault damage is: only the mirror's own is mended by a new clone.
    pub(crate) damage: Damage,
}

/// Where damage was noticed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Damage {
    /// Nothing is known to be damaged.
    None,
    /// What came over the network, or the mirror it was to be added to.
    Transfer,
    /// The mirror.
    Mirror,
}

impl Failure {
    pub(crate) fn new(class: FailureClass, message: impl Into<String>) -> Self {
        Self { class, message: message.into(), damage: Damage::None }
    }

    /// The label in metrics.
    #[must_use]
    pub fn label(&self) -> &'static str {
        class_label(self.class)
    }
}

pub(crate) fn class_label(class: FailureClass) -> &'static str {
    match class {
        FailureClass::Auth => "auth",
        FailureClass::Network => "network",
        FailureClass::NotFound => "not_found",
        FailureClass::Corrupt => "corrupt",
        FailureClass::Disk => "disk",
        FailureClass::Timeout => "timeout",
        FailureClass::Other => "other",
    }
}

impl From<TransportError> for Failure {
    fn from(error: TransportError) -> Self {
        let (class, damage) = match error.class {
            Class::Auth => (FailureClass::Auth, Damage::None),
            Class::Network => (FailureClass::Network, Damage::None),
            Class::NotFound => (FailureClass::NotFound, Damage::None),
            Class::Corrupt => (FailureClass::Corrupt, Damage::Transfer),
            Class::Disk => (FailureClass::Disk, Damage::None),
            Class::Timeout => (FailureClass::Timeout, Damage::None),
            Class::Moved | Class::Refused | Class::Unsupported => (FailureClass::Other, Damage::None),
        };
        Self { class, message: one_line(&error.to_string()), damage }
    }
}

impl From<RepoError> for Failure {
    fn from(error: RepoError) -> Self {
        // What the mirror was found to have and cannot give is damage, too.
        let missing = matches!(error, RepoError::NotFound { .. } | RepoError::NotARepository { .. });
        let (class, damage) = if error.is_disk() || matches!(error, RepoError::Io { .. }) {
            (FailureClass::Disk, Damage::None)
        } else if error.is_corrupt() || missing {
            (FailureClass::Corrupt, Damage::Mirror)
        } else {
            (FailureClass::Other, Damage::None)
        };
        Self { class, message: one_line(&error.to_string()), damage }
    }
}

impl From<std::io::Error> for Failure {
    fn from(error: std::io::Error) -> Self {
        Self::new(FailureClass::Disk, one_line(&error.to_string()))
    }
}

/// Remotes say what they like, line breaks included.
fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}
