//! What can go wrong with a repository on this machine.

use std::path::PathBuf;

use crate::Oid;

/// A local repository operation that failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RepoError {
    /// There is no repository here.
    #[error("{path} is not a git repository")]
    NotARepository {
        /// Where one was expected.
        path: PathBuf,
    },
    /// The repository can be written by everybody, so nothing in it can be trusted.
    #[error("{path} belongs to another user and can be written by everybody: remove the write permission for others")]
    Untrusted {
        /// The repository's folder.
        path: PathBuf,
    },
    /// The repository uses something we cannot read.
    #[error("{path} is in a format that is not supported ({what}): {hint}")]
    Unsupported {
        /// The repository's folder.
        path: PathBuf,
        /// What it is: `reftable`, `partialclone`, …
        what: String,
        /// What to do.
        hint: &'static str,
    },
    /// A name that resolves to nothing.
    #[error("{what} is not in the repository")]
    NotFound {
        /// The revision, ref or path.
        what: String,
    },
    /// A compare-and-swap that lost.
    #[error("{name} is at {}, not at {} as expected: somebody else moved it", show(.actual), show(.expected))]
    Moved {
        /// The ref.
        name: String,
        /// What it was expected to be; nothing means absent.
        expected: Option<Oid>,
        /// What it is.
        actual: Option<Oid>,
    },
    /// A lock file that somebody else has.
    #[error("{path} is there since {} s: another git is at work, or was killed; if none is, remove the file", age.as_secs())]
    Locked {
        /// The lock file.
        path: PathBuf,
        /// How old it is.
        age: std::time::Duration,
    },
    /// The index is in a state that nobody but a person can resolve.
    #[error("the index {message}")]
    Index {
        /// What is wrong with it.
        message: String,
    },
    /// A commit could not be signed.
    #[error("cannot sign the commit: {message}")]
    Signing {
        /// Why.
        message: String,
    },
    /// An object that is missing or does not match its id.
    #[error("the repository is damaged: {message}")]
    Corrupt {
        /// libgit2's words.
        message: String,
    },
    /// A tree that git itself would refuse to check out.
    #[error("commit {commit} has a path that cannot be checked out ({path:?}): {reason}")]
    HostilePath {
        /// The commit.
        commit: Oid,
        /// The path, as far as it can be shown.
        path: String,
        /// Why.
        reason: String,
    },
    /// The disk is full, or the quota is used up.
    #[error("no space left for {path}")]
    DiskFull {
        /// What was being written.
        path: PathBuf,
        /// The cause.
        #[source]
        source: std::io::Error,
    },
    /// Another file system error.
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
    /// Anything else libgit2 reports.
    #[error("{doing}: {source}")]
    Git {
        /// What was being done.
        doing: &'static str,
        /// The cause.
        #[source]
        source: git2::Error,
    },
}

fn show(oid: &Option<Oid>) -> String {
    oid.map_or_else(|| "nothing".to_owned(), |oid| oid.to_string())
}

impl RepoError {
    pub(crate) fn io(doing: &'static str, path: impl Into<PathBuf>, source: std::io::Error) -> Self {
        let path = path.into();
        match source.kind() {
            std::io::ErrorKind::StorageFull | std::io::ErrorKind::QuotaExceeded => Self::DiskFull { path, source },
            _ => Self::Io { doing, path, source },
        }
    }

    pub(crate) fn git(doing: &'static str, source: git2::Error) -> Self {
        match (source.class(), source.code()) {
            (_, git2::ErrorCode::NotFound) => Self::NotFound { what: format!("{doing}: {}", source.message()) },
            (
                git2::ErrorClass::Odb | git2::ErrorClass::Zlib | git2::ErrorClass::Indexer | git2::ErrorClass::Object,
                _,
            ) => Self::Corrupt { message: format!("{doing}: {}", source.message()) },
            _ => Self::Git { doing, source },
        }
    }

    /// Whether the repository itself is damaged, so that only a new clone helps.
    pub fn is_corrupt(&self) -> bool {
        matches!(self, Self::Corrupt { .. })
    }

    /// Whether room on the disk would help.
    pub fn is_disk(&self) -> bool {
        matches!(self, Self::DiskFull { .. })
    }
}
