//! What can go wrong, for the person who reads it.

use std::path::{Path, PathBuf};

use baft_kit::config::ConfigError;
use baft_kit::durable::LockError;
use baft_kit::exit::Exit;
use baft_repo::RepoError;

/// Why an importer could not do what was asked. What was published stays published.
#[derive(Debug, thiserror::Error)]
pub enum ImporterError {
    /// It was stopped while the request waited.
    #[error("the importer has stopped; start it again and repeat the request")]
    Stopped,
    /// A setting cannot work.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// Another importer publishes here.
    #[error(transparent)]
    Locked(#[from] LockError),
    /// The broker cannot be used.
    #[error(transparent)]
    Bus(#[from] baft_bus::BusError),
    /// A file operation failed.
    #[error("cannot {what} {}: {source}{}", path.display(), hint(source))]
    Io {
        /// The operation.
        what: &'static str,
        /// On what.
        path: PathBuf,
        /// What the operating system said.
        source: std::io::Error,
    },
    /// DuckDB refused.
    #[error("the database failed while {what}: {source}")]
    Database {
        /// The step.
        what: &'static str,
        /// What DuckDB said.
        source: duckdb::Error,
    },
    /// A finished database did not read back as it was written.
    #[error("the new database does not read back as written ({0}); it was thrown away")]
    Damaged(String),
    /// Git refused.
    #[error("the repository failed while {what}: {source}")]
    Repo {
        /// The step.
        what: &'static str,
        /// What git said.
        source: RepoError,
    },
    /// A file is being written; looking again in a moment helps.
    #[error("a file was being written while it was read; the importer looks again by itself")]
    Unsettled,
    /// There is nothing to import yet.
    #[error("{0}")]
    NoSource(String),
    /// What was asked for cannot be done.
    #[error("{0}")]
    Refused(String),
}

fn hint(error: &std::io::Error) -> &'static str {
    match error.kind() {
        std::io::ErrorKind::StorageFull | std::io::ErrorKind::QuotaExceeded => {
            "; free some space, the importer goes on by itself"
        }
        std::io::ErrorKind::PermissionDenied | std::io::ErrorKind::ReadOnlyFilesystem => {
            "; the folder must be writable by this user"
        }
        _ => "",
    }
}

impl ImporterError {
    /// A closure that says which file operation failed.
    pub(crate) fn io(what: &'static str, path: &Path) -> impl FnOnce(std::io::Error) -> Self + use<> {
        let path = path.to_owned();
        move |source| Self::Io { what, path, source }
    }

    /// A closure that says what the database was doing.
    pub(crate) fn db(what: &'static str) -> impl FnOnce(duckdb::Error) -> Self {
        move |source| Self::Database { what, source }
    }

    /// A closure that says what was wanted from git.
    pub(crate) fn repo(what: &'static str) -> impl FnOnce(RepoError) -> Self {
        move |source| Self::Repo { what, source }
    }

    /// What the process should exit with.
    #[must_use]
    pub fn exit(&self) -> Exit {
        match self {
            Self::Locked(LockError::Held { .. }) => Exit::TryAgain,
            Self::Config(_) => Exit::Config,
            _ => Exit::Failure,
        }
    }
}
