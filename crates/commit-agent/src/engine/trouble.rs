//! What an agent did not get done: which step, what kind of failure, and why landing waits.

use std::time::Duration;

use baft_repo::RepoPath;

use crate::gates::Reason;

/// Why landing waits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Blocked {
    /// Somebody else holds `index.lock`, for this long.
    IndexLock {
        /// How old the lock is.
        age: Duration,
    },
    /// A rebase, merge, cherry-pick, revert, bisect or the like is under way.
    Operation(&'static str),
    /// HEAD is not on a branch.
    Detached,
    /// Another branch is checked out.
    OtherBranch(String),
    /// The index has unresolved conflicts.
    Conflicts,
    /// The index cannot be used (split, sparse, damaged).
    Index(String),
    /// Upstream's history was rewritten; a person has to confirm that we follow.
    Rewritten,
}

impl Blocked {
    /// The word used in status and metrics.
    #[must_use]
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::IndexLock { .. } => "index_lock",
            Self::Operation(name) => name,
            Self::Detached => "detached",
            Self::OtherBranch(_) => "other_branch",
            Self::Conflicts => "conflicts",
            Self::Index(_) => "index",
            Self::Rewritten => "rewritten",
        }
    }
}

/// Which part of a cycle something happened in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Step {
    /// Finding and capturing changes.
    Capture,
    /// Moving branch and index.
    Land,
    /// Asking the remote.
    Fetch,
    /// Bringing both histories together, in memory.
    Integrate,
    /// Securing what upstream will win over.
    Park,
    /// Changing live files.
    Materialise,
    /// Pushing.
    Push,
}

impl Step {
    /// The word used in logs and metrics.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Capture => "capture",
            Self::Land => "land",
            Self::Fetch => "fetch",
            Self::Integrate => "integrate",
            Self::Park => "park",
            Self::Materialise => "materialise",
            Self::Push => "push",
        }
    }
}

/// What kind of failure, for deciding and for metrics.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Class {
    /// The remote does not accept who we are, or we do not accept its key or certificate.
    Auth,
    /// The remote cannot be reached or did not finish in time.
    Network,
    /// There is no such repository or branch.
    NotFound,
    /// Somebody else was faster, every time.
    Race,
    /// The server's policy refuses some content.
    Policy,
    /// The server lets nobody like us push to the branch.
    Protected,
    /// A repository is damaged.
    Corrupt,
    /// The disk is full, or cannot be written.
    Disk,
    /// The clone is not where it was: unmounted, emptied, replaced.
    Gone,
    /// Anything else.
    Other,
}

impl Class {
    /// The word used in events and metrics.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Auth => "auth",
            Self::Network => "network",
            Self::NotFound => "not_found",
            Self::Race => "race",
            Self::Policy => "policy",
            Self::Protected => "protected",
            Self::Corrupt => "corrupt",
            Self::Disk => "disk",
            Self::Gone => "gone",
            Self::Other => "other",
        }
    }
}

/// A step that did not get through. Nothing is lost by it; the next cycle tries again.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}: {message}", step.as_str())]
pub struct StepError {
    /// Which step.
    pub step: Step,
    /// What kind of failure.
    pub class: Class,
    /// What failed, on what, and what to do.
    pub message: String,
}

/// One path that could not be captured; everything else went on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PathTrouble {
    /// Where, as far as it can be shown.
    pub path: String,
    /// What is wrong with it.
    pub message: String,
}

/// Why edits were not applied. None of them was.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ApplyError {
    /// The request makes no sense.
    #[error("{0}")]
    Invalid(String),
    /// There is no such file or entity.
    #[error("{0} does not exist")]
    NotFound(String),
    /// It changed since `base`, or somebody is editing it.
    #[error("{0}")]
    Conflict(String),
    /// A gate or the schema refuses the result.
    #[error("{path}: {message}")]
    Refused {
        /// Where.
        path: RepoPath,
        /// Which gate, when it was one.
        reason: Option<Reason>,
        /// Why.
        message: String,
    },
    /// Not now: somebody is at work in the clone, or the disk fails.
    #[error("{0}")]
    Unavailable(String),
}
