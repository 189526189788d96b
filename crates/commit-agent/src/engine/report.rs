//! What an agent answers: what a cycle did, how things stand, and what is to be announced.

use std::time::{Duration, SystemTime};

use baft_repo::{Change, Oid, RepoPath};
use serde::{Deserialize, Serialize};

use super::{Blocked, PathTrouble, Signature, StepError};
use crate::gates::{Hold, Reason};

/// One commit an agent made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Commit {
    /// Its id.
    pub oid: Oid,
    /// Its first parent.
    pub parent: Option<Oid>,
    /// The paths it changed.
    pub paths: Vec<RepoPath>,
    /// The session it belongs to.
    pub session: Option<String>,
    /// Who wrote it.
    pub author: Signature,
    /// Files that were saved with the text from before upstream's last change of them, where that is known.
    pub takes_back: Vec<String>,
}

/// One file that is held back, captured on this machine only.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Held {
    /// Where.
    pub path: RepoPath,
    /// Why.
    pub hold: Hold,
    /// The content that is held; nothing for a deletion.
    pub content: Option<Oid>,
    /// Since when.
    pub since: SystemTime,
}

/// Content that upstream's version won over, kept on a branch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Parked {
    /// The branch on the remote, in full.
    pub branch: String,
    /// What it points to.
    pub commit: Oid,
    /// Why it is there.
    pub kind: ParkedKind,
    /// Whether the remote confirmed it.
    pub confirmed: Confirmed,
    /// The paths in question.
    pub paths: Vec<RepoPath>,
    /// What both sides started from.
    pub base: Option<Oid>,
    /// What upstream had.
    pub theirs: Option<Oid>,
    /// Since when.
    pub since: SystemTime,
}

/// Why something was parked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ParkedKind {
    /// The same thing was changed on both sides. Comes back by itself when it merges cleanly.
    Conflict,
    /// The server refused it.
    Refused,
    /// A person took it out of the branch (reset, amend, rebase). Stays until a person removes it.
    Dropped,
    /// Upstream's history was rewritten under it.
    Rewritten,
}

/// Whether the remote said that it has something.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Confirmed {
    /// Not yet.
    No,
    /// Yes.
    Yes,
}

/// Something a person should hear about once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Notice {
    /// A file was saved with the text it had before upstream's change came in, maybe with edits of its own.
    StaleSave {
        /// Where.
        path: RepoPath,
    },
    /// A rescue branch came back into the branch and was closed.
    Returned {
        /// The branch that was closed.
        branch: String,
    },
    /// Upstream's history was rewritten.
    UpstreamRewritten {
        /// What it was.
        old: Oid,
        /// What it is.
        new: Oid,
    },
}

/// What one cycle did.
#[derive(Debug, Clone, Default)]
pub struct Cycle {
    /// What was captured, newest last.
    pub captured: Vec<Commit>,
    /// What landed on the branch, newest last.
    pub landed: Vec<Commit>,
    /// Everything that is held back now.
    pub held: Vec<Held>,
    /// Where the branch is on the remote, when something was pushed.
    pub pushed: Option<Oid>,
    /// Whether the remote has everything that landed.
    pub unpushed: usize,
    /// What was parked in this cycle.
    pub parked: Vec<Parked>,
    /// What came in from upstream: where the branch was and is, and what changed in between.
    pub brought_in: Option<BroughtIn>,
    /// Why landing waits.
    pub blocked: Option<Blocked>,
    /// Steps that failed.
    pub errors: Vec<StepError>,
    /// Paths that could not be captured.
    pub troubles: Vec<PathTrouble>,
    /// What a person should hear about.
    pub notices: Vec<Notice>,
    /// When the next cycle makes sense at the latest: a file will have rested, a pause will be over.
    pub next_due: Option<Duration>,
}

/// What came in from upstream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BroughtIn {
    /// Where the branch was.
    pub old: Option<Oid>,
    /// Where it is.
    pub new: Oid,
    /// What changed in the files.
    pub changes: Vec<Change>,
}

/// How the branch and upstream compare.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Relation {
    /// Equal.
    Current,
    /// Upstream has more.
    Behind,
    /// We have more.
    Ahead,
    /// Both have.
    Diverged,
}

/// The answer to `check`.
#[derive(Debug, Clone)]
pub struct Check {
    /// When upstream was asked.
    pub as_of: SystemTime,
    /// How they compare.
    pub relation: Relation,
    /// Commits upstream lacks.
    pub ahead: usize,
    /// Commits the branch lacks.
    pub behind: usize,
    /// Files that differ from what is captured.
    pub dirty_files: usize,
    /// The branch.
    pub head: Option<Oid>,
    /// Upstream.
    pub upstream: Option<Oid>,
}

/// How everything is, without asking anybody.
#[derive(Debug, Clone)]
pub struct Status {
    /// The branch.
    pub head: Option<Oid>,
    /// What was captured last.
    pub captured: Option<Oid>,
    /// Upstream as it was when last asked.
    pub upstream: Option<Oid>,
    /// Commits upstream lacks.
    pub unpushed: usize,
    /// What is parked.
    pub parked: Vec<Parked>,
    /// What is held back.
    pub held: Vec<Held>,
    /// Why landing waits.
    pub blocked: Option<Blocked>,
    /// How old a lock of somebody else's is.
    pub index_lock_age: Option<Duration>,
    /// How long the oldest change waits to be captured.
    pub oldest_uncaptured: Option<Duration>,
    /// When the remote last answered.
    pub last_fetch: Option<SystemTime>,
    /// When the remote last had everything.
    pub last_push: Option<SystemTime>,
    /// When the working tree was last looked through completely.
    pub last_scan: Option<SystemTime>,
    /// Failures of the network in a row.
    pub failures: u32,
    /// The newest errors.
    pub errors: Vec<StepError>,
}

/// What [`Apply`](super::Apply) did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Applied {
    /// The commit; the tip when nothing had to be changed.
    pub commit: Oid,
    /// The paths that changed.
    pub paths: Vec<RepoPath>,
}

/// What is to be announced next. Derived from refs and state; the same until it is acknowledged.
#[derive(Debug, Clone, PartialEq)]
pub struct Announcement {
    /// The event's id: lineage, number and content, so that a repetition is dropped and a later, equal event is not.
    pub id: String,
    /// When it happened.
    pub at: SystemTime,
    /// What.
    pub what: Announced,
}

/// What happened.
#[derive(Debug, Clone, PartialEq)]
pub enum Announced {
    /// `git.committed`.
    Committed(Commit),
    /// `git.pushed`.
    Pushed(Commit),
    /// `git.conflict`.
    Conflict {
        /// The branch that keeps our version.
        rescue_branch: String,
        /// The paths in question.
        paths: Vec<RepoPath>,
        /// What both sides started from.
        base: Option<Oid>,
        /// Our version.
        ours: Oid,
        /// Upstream's version.
        theirs: Option<Oid>,
    },
    /// `git.held`.
    Held {
        /// Which files.
        paths: Vec<RepoPath>,
        /// Why.
        reason: Reason,
    },
}
