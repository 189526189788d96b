//! Requests to commit-agent (`commit.<agent>.…`), its answers, and the events only it sends.

mod apply;

use serde::{Deserialize, Serialize};

use crate::event::Payload;

pub use apply::{CommitApplyRequest, CommitApplyResponse, Edit};

/// Why commit-agent holds a file back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum HeldReason {
    /// It seems to contain a secret.
    Secret,
    /// It is larger than allowed.
    Size,
    /// More files vanished at once than anybody deletes on purpose.
    MassDelete,
    /// It is YAML that does not parse.
    Unparsable,
    /// A temporary file, a cache, or more files at once than are plausible.
    Junk,
    /// The remote refuses a commit with it.
    Refused,
    /// A reason this version does not know.
    #[serde(other)]
    Unknown,
}

impl HeldReason {
    /// The word in JSON, metrics and messages.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Secret => "secret",
            Self::Size => "size",
            Self::MassDelete => "mass_delete",
            Self::Unparsable => "unparsable",
            Self::Junk => "junk",
            Self::Refused => "refused",
            Self::Unknown => "unknown",
        }
    }
}

/// `git.conflict`: a local change and an upstream change could not be merged. The local one is in the rescue branch, upstream's is in the tree.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GitConflict {
    /// The repository, without credentials.
    pub repo: String,
    /// The branch both wanted to change.
    #[serde(rename = "ref")]
    pub reference: String,
    /// Which agent.
    pub agent: String,
    /// The branch on the remote that has the local version.
    pub rescue_branch: String,
    /// The paths that conflict.
    #[serde(default)]
    pub paths: Vec<String>,
    /// `paths` is not complete.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub truncated: bool,
    /// The last commit both share.
    pub base: Option<String>,
    /// The local commit.
    pub ours: String,
    /// Upstream's commit.
    pub theirs: Option<String>,
}

impl Payload for GitConflict {
    const TYPE: &'static str = "git.conflict";
    const VERSION: (u16, u16) = (1, 0);
}

/// `git.held`: files are held back; they are in no commit until somebody acts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GitHeld {
    /// The repository, without credentials.
    pub repo: String,
    /// The branch they would have gone to.
    #[serde(rename = "ref")]
    pub reference: String,
    /// Which agent.
    pub agent: String,
    /// The paths.
    #[serde(default)]
    pub paths: Vec<String>,
    /// `paths` is not complete.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub truncated: bool,
    /// Why.
    pub reason: HeldReason,
    /// One line for people. Never the secret itself.
    #[serde(default)]
    pub message: String,
}

impl Payload for GitHeld {
    const TYPE: &'static str = "git.held";
    const VERSION: (u16, u16) = (1, 0);
}

/// A session's epoch: which registry bucket counted it, and how far. It goes up whenever the session changes hands.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Epoch {
    /// The bucket's incarnation, a ULID: a bucket that was made anew never looks older than the one before.
    pub incarnation: String,
    /// Counts up within it.
    pub revision: u64,
}

/// Somebody's name, as git writes it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Person {
    /// The name.
    pub name: String,
    /// The mail address.
    pub email: String,
}

/// Request `commit.<agent>.run`: commit what is finished now, without waiting for the timer, and push it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CommitRunRequest {
    /// What it is about, in one line; goes into the message template.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// The session it is for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub session_id: Option<String>,
    /// The session's epoch; one that was overtaken is refused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub epoch: Option<Epoch>,
    /// Only these paths (files or folders); everything the agent watches without it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub paths: Option<Vec<String>>,
    /// Who wrote it; the agent's own author without it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub author: Option<Person>,
}

/// A file that is held back.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HeldFile {
    /// The file; for a mass deletion one line for each path that would vanish, as far as listed.
    pub path: String,
    /// Why.
    pub reason: HeldReason,
    /// One line for people.
    #[serde(default)]
    pub message: String,
}

/// A branch with work that could not be merged or pushed where it belongs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ParkedBranch {
    /// Its full name.
    pub branch: String,
    /// The commit.
    pub commit: String,
    /// Why it is there: `conflict`, `refused` by the server, `dropped` from the branch by a person, `rewritten` upstream.
    #[serde(default)]
    pub kind: String,
    /// Whether the remote has it.
    pub pushed: bool,
    /// The paths it is about.
    #[serde(default)]
    pub paths: Vec<String>,
}

/// Answer to `commit.<agent>.run`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CommitRunResponse {
    /// The newest commit that was made; absent when nothing had changed.
    pub commit: Option<String>,
    /// The paths it and those before it in this run changed.
    #[serde(default)]
    pub files: Vec<String>,
    /// What is held back.
    #[serde(default)]
    pub held: Vec<HeldFile>,
    /// Whether everything committed so far is on the remote.
    pub pushed: bool,
    /// Where local work went that upstream's overtook.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parked: Option<String>,
    /// What did not work, one line each. What was captured is safe all the same.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub problems: Vec<String>,
}

/// Answer to `commit.<agent>.pull`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CommitPullResponse {
    /// What the branch was at.
    pub old: Option<String>,
    /// What it is at.
    pub new: Option<String>,
    /// How many files were brought in.
    pub changed_files: u64,
    /// Where local work went that upstream's overtook.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parked: Option<String>,
    /// What did not work, one line each.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub problems: Vec<String>,
}

/// How a clone and its remote compare.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Standing {
    /// Both have the same.
    Current,
    /// The remote has more.
    Behind,
    /// The clone has more.
    Ahead,
    /// Each has something the other lacks.
    Diverged,
    /// Not known: the remote was never seen, or a word of tomorrow.
    #[serde(other)]
    Unknown,
}

/// Answer to `commit.<agent>.check`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CommitCheck {
    /// When the remote was looked at, RFC 3339.
    pub as_of: Option<String>,
    /// How they compare.
    pub state: Standing,
    /// Commits the remote lacks.
    pub ahead: u64,
    /// Commits the clone lacks.
    pub behind: u64,
    /// Files that differ from the last commit.
    pub dirty_files: u64,
    /// One line for people.
    pub message: String,
}

/// Answer to `commit.<agent>.status`: what `check` says, as of the last look, and more.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CommitStatus {
    /// The comparison.
    #[serde(flatten)]
    pub check: CommitCheck,
    /// Which agent.
    pub agent: String,
    /// The remote, without credentials.
    pub repo: String,
    /// The branch.
    #[serde(rename = "ref")]
    pub reference: String,
    /// The folder people edit in.
    pub clone: String,
    /// What the branch is at.
    pub head: Option<String>,
    /// Commits made here that the remote does not have.
    pub unpushed: u64,
    /// Work that lies on rescue branches.
    #[serde(default)]
    pub parked: Vec<ParkedBranch>,
    /// What is held back.
    #[serde(default)]
    pub held: Vec<HeldFile>,
    /// `normal`, or what a person is doing that landing waits for.
    pub repo_state: String,
    /// How long somebody else has held the index, in seconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub index_lock_age_s: Option<u64>,
    /// When a cycle last succeeded, RFC 3339.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_success_at: Option<String>,
    /// When something was last pushed, RFC 3339.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_push_at: Option<String>,
    /// What does not work, one line each.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub problems: Vec<String>,
}

/// What a person confirms.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ConfirmWhat {
    /// These files were deleted on purpose.
    #[default]
    Deletions,
    /// The remote's history was rewritten on purpose: it is followed.
    Rewritten,
    /// Something this version does not know.
    #[serde(other)]
    Unknown,
}

/// Request `commit.<agent>.confirm`: yes, that was on purpose.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CommitConfirmRequest {
    /// What was.
    #[serde(default)]
    pub what: ConfirmWhat,
    /// How many deletions the person saw; another number of them is refused. Not compared without it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deletions: Option<u64>,
}

/// Answer to `commit.<agent>.confirm`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CommitConfirmResponse {
    /// How many deletions or commits that lets through.
    pub confirmed: u64,
    /// What the run after it came to.
    #[serde(flatten)]
    pub run: CommitRunResponse,
}

/// Request `commit.<agent>.release`: let these held files go to the remote as they are.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CommitReleaseRequest {
    /// The files.
    #[serde(default)]
    pub paths: Vec<String>,
}

/// Answer to `commit.<agent>.release`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CommitReleaseResponse {
    /// The files that are no longer held.
    pub released: Vec<String>,
    /// What the run after it came to.
    #[serde(flatten)]
    pub run: CommitRunResponse,
}
