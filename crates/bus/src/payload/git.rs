//! Payloads of git-sync and commit-agent.

use serde::{Deserialize, Serialize};

use crate::event::Payload;

/// How one path changed between two commits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ChangeStatus {
    /// The path is new.
    Added,
    /// The content changed.
    Modified,
    /// The path is gone.
    Deleted,
    /// The path became another kind of entry (file, link, executable).
    TypeChanged,
    /// A status this version does not know; treat the path as changed.
    #[serde(other)]
    Unknown,
}

/// One changed path.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChangedFile {
    /// Path relative to the repository's root.
    pub path: String,
    /// What happened to it.
    pub status: ChangeStatus,
}

/// The most paths and the most bytes of paths that one event lists.
const MAX_CHANGES: usize = 2_000;
const MAX_CHANGE_BYTES: usize = 256 * 1024;

/// Shortens a list of changes to what fits an event. The second value says whether something was left out: then a
/// consumer must diff for itself (it should anyway: events are doorbells).
#[must_use]
pub fn cap_changes(mut changes: Vec<ChangedFile>) -> (Vec<ChangedFile>, bool) {
    let mut bytes = 0;
    let keep = changes
        .iter()
        .take(MAX_CHANGES)
        .take_while(|change| {
            // Worst case of JSON escaping: six characters for one byte.
            bytes += change.path.len() * 6 + 40;
            bytes <= MAX_CHANGE_BYTES
        })
        .count();
    let truncated = keep < changes.len();
    changes.truncate(keep);
    (changes, truncated)
}

/// The same for plain paths.
#[must_use]
pub fn cap_paths(paths: Vec<String>) -> (Vec<String>, bool) {
    let changes = paths.into_iter().map(|path| ChangedFile { path, status: ChangeStatus::Modified }).collect();
    let (kept, truncated) = cap_changes(changes);
    (kept.into_iter().map(|change| change.path).collect(), truncated)
}

/// Why git-sync looked at the remote.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Trigger {
    /// The timer.
    Poll,
    /// A webhook of the forge.
    Webhook,
    /// A `git.sync` request.
    Request,
    /// A `git.pushed` event.
    Push,
    /// A trigger this version does not know.
    #[serde(other)]
    Unknown,
}

/// `git.synced`: the published checkout moved from `old` to `new`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GitSynced {
    /// The repository, without credentials.
    pub repo: String,
    /// The ref that is followed.
    #[serde(rename = "ref")]
    pub reference: String,
    /// What was published before; absent the first time.
    pub old: Option<String>,
    /// What is published now.
    pub new: String,
    /// `new` does not contain `old`: history was rewritten.
    #[serde(default)]
    pub forced: bool,
    /// What differs, shortened by [`cap_changes`].
    #[serde(default)]
    pub changed: Vec<ChangedFile>,
    /// `changed` is not complete.
    #[serde(default)]
    pub truncated: bool,
    /// Why the remote was looked at.
    pub trigger: Trigger,
}

impl Payload for GitSynced {
    const TYPE: &'static str = "git.synced";
    const VERSION: (u16, u16) = (1, 0);
}

/// What kind of failure kept git-sync from syncing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FailureClass {
    /// The remote refused the credentials or the host key.
    Auth,
    /// The remote could not be reached.
    Network,
    /// The repository or ref does not exist.
    NotFound,
    /// The local mirror or what the remote sent is damaged.
    Corrupt,
    /// The local disk is full or broken.
    Disk,
    /// The remote did not finish in time.
    Timeout,
    /// Anything else.
    #[serde(other)]
    Other,
}

/// `git.sync_failed`: an attempt to sync failed; sent when the failure begins or its class changes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GitSyncFailed {
    /// The repository, without credentials.
    pub repo: String,
    /// The ref that is followed.
    #[serde(rename = "ref")]
    pub reference: String,
    /// What kind of failure.
    pub class: FailureClass,
    /// One line for people.
    pub message: String,
    /// How many attempts have failed in a row.
    pub attempt: u32,
    /// When the next one is made, RFC 3339.
    pub next_retry_at: Option<String>,
}

impl Payload for GitSyncFailed {
    const TYPE: &'static str = "git.sync_failed";
    const VERSION: (u16, u16) = (1, 0);
}

/// `git.committed`: commit-agent made a commit in its clone.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GitCommitted {
    /// The repository, without credentials.
    pub repo: String,
    /// The branch.
    #[serde(rename = "ref")]
    pub reference: String,
    /// The new commit.
    pub commit: String,
    /// Its first parent.
    pub parent: Option<String>,
    /// The paths it changed, shortened by [`cap_paths`].
    #[serde(default)]
    pub files: Vec<String>,
    /// `files` is not complete.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub truncated: bool,
    /// The session it was made for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub session_id: Option<String>,
    /// `Name <address>`.
    pub author: String,
    /// Files of it that were saved with the text from before upstream's last change of them, twenty at most: that change is taken back.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub takes_back: Vec<String>,
}

impl Payload for GitCommitted {
    const TYPE: &'static str = "git.committed";
    const VERSION: (u16, u16) = (1, 2);
}

/// `git.pushed`: commit-agent pushed a commit to the remote.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GitPushed {
    /// The repository, without credentials.
    pub repo: String,
    /// The branch that moved.
    #[serde(rename = "ref")]
    pub reference: String,
    /// What it points to now.
    pub commit: String,
    /// Its first parent.
    pub parent: Option<String>,
    /// The paths it changed, shortened by [`cap_paths`].
    #[serde(default)]
    pub files: Vec<String>,
    /// `files` is not complete.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub truncated: bool,
    /// The session it was made for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub session_id: Option<String>,
    /// `Name <address>`.
    pub author: String,
}

impl Payload for GitPushed {
    const TYPE: &'static str = "git.pushed";
    const VERSION: (u16, u16) = (1, 1);
}

/// Request `git.sync`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct GitSyncRequest {
    /// Do not answer before this commit is published (or the deadline passes).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub wait_for: Option<String>,
}

/// Answer to `git.sync`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GitSyncResponse {
    /// What was published before.
    pub old: Option<String>,
    /// What is published now.
    pub new: String,
    /// How many paths differ.
    pub changed_files: u64,
    /// How long it took.
    pub duration_ms: u64,
}

/// Answer to `git.status`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GitStatus {
    /// The repository, without credentials.
    pub repo: String,
    /// The ref that is followed.
    #[serde(rename = "ref")]
    pub reference: String,
    /// The published commit; absent before the first sync.
    pub head: Option<String>,
    /// What the remote had when it was last seen.
    pub remote_head: Option<String>,
    /// How many commits `head` lacks; absent when not known.
    pub behind: Option<u64>,
    /// When a sync last succeeded, RFC 3339.
    pub last_success_at: Option<String>,
    /// How many attempts have failed since.
    pub failures: u32,
}
