//! What an agent can be asked to do, and what it answers.

use std::collections::BTreeSet;
use std::time::{Duration, SystemTime};

use baft_repo::{Change, Oid, RepoPath};
use serde::{Deserialize, Serialize};

use super::Signature;
use crate::gates::{Hold, Reason};

/// What the file watch noticed. Only hints: a missed one costs time, a wrong one nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Touched {
    /// These paths, files or folders.
    Some(BTreeSet<RepoPath>),
    /// Anything: the watch lost track, or there is none.
    Rescan,
}

/// Why a cycle runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Trigger {
    /// The timer, or the cron expression.
    #[default]
    Timer,
    /// The file watch.
    Watch,
    /// A request.
    Request,
    /// `session.ended`.
    SessionEnded,
    /// `git.synced`, or a webhook: upstream may have moved.
    Upstream,
    /// The program ends.
    Shutdown,
}

/// The session a commit belongs to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SessionStamp {
    /// Its id.
    pub id: String,
    /// Its epoch; recorded, checked by who asks.
    pub epoch: Option<String>,
    /// Who works in it.
    pub author: Option<Author>,
}

/// Who wrote something.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Author {
    /// Name.
    pub name: String,
    /// Address.
    pub email: String,
}

impl From<Author> for Signature {
    fn from(author: Author) -> Self {
        Self { name: author.name, email: author.email }
    }
}

/// Which files count as finished.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Flush {
    /// Those that have rested for the quiet period.
    #[default]
    Quiet,
    /// All that nobody is writing to this moment.
    Now,
}

/// How far a cycle goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub enum Extent {
    /// Capture and land; the network is left alone.
    Local,
    /// And bring upstream in, but push nothing.
    Pull,
    /// Everything.
    #[default]
    Push,
}

/// Whether a pause after failures is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Pause {
    /// The remote is left alone until the pause is over.
    #[default]
    Keep,
    /// Somebody asked: try now.
    Ignore,
}

/// One order.
#[derive(Debug, Clone, Default)]
pub struct Order {
    /// Why.
    pub trigger: Trigger,
    /// Words for the commit.
    pub message: Option<String>,
    /// Whose edits they are.
    pub session: Option<SessionStamp>,
    /// Only these files or folders; everything when nothing is said.
    pub paths: Option<Vec<RepoPath>>,
    /// Which files are finished.
    pub flush: Flush,
    /// How far to go.
    pub extent: Extent,
    /// Whether the pause after failures is kept.
    pub pause: Pause,
    /// The network is given up at this time; capture and landing never are.
    pub deadline: Option<std::time::Instant>,
}

impl Order {
    /// The words for a commit of a session, or of nobody: those that came with the order are for whoever gave it.
    pub(super) fn words_for(&self, stamp: Option<&SessionStamp>) -> Option<&str> {
        let (asker, owner) = (self.session.as_ref(), stamp);
        let theirs = asker.map(|session| &session.id) == owner.map(|session| &session.id);
        self.message.as_deref().filter(|_| theirs || asker.is_none())
    }
}

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

/// One change of [`Apply`].
#[derive(Debug, Clone)]
pub enum Edit {
    /// A whole file; nothing deletes it.
    File {
        /// Where.
        path: RepoPath,
        /// The new content.
        content: Option<Vec<u8>>,
    },
    /// Fields of one entity.
    Entity {
        /// Its type.
        type_: String,
        /// Its id.
        id: String,
        /// Fields to set: dotted path and value.
        set: Vec<(String, serde_json::Value)>,
        /// Fields to remove.
        unset: Vec<String>,
    },
}

/// Edits by request.
#[derive(Debug, Clone)]
pub struct Apply {
    /// Whose.
    pub session: Option<SessionStamp>,
    /// The commit the asker looked at; an edit of something that changed since is refused.
    pub base: Option<Oid>,
    /// What to change.
    pub edits: Vec<Edit>,
    /// Words for the commit.
    pub message: Option<String>,
}

/// What [`Apply`] did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Applied {
    /// The commit; the tip when nothing had to be changed.
    pub commit: Oid,
    /// The paths that changed.
    pub paths: Vec<RepoPath>,
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

/// What a person confirms.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Confirm {
    /// The deletions that wait.
    Deletions,
    /// That upstream's rewritten history is followed.
    Rewritten,
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
