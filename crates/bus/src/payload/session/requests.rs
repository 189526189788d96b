//! Requests to session-registry (`session.…`) and its answers.

use serde::{Deserialize, Serialize};

use super::{Liveness, SessionClient, SessionRecord, SessionState, SessionTransition, Transcript};
use crate::payload::{
    CommitPullResponse, CommitStatus, Epoch, GitStatus, HeldFile, ImportRunResponse, ImportStatus, Person, Standing,
};

/// What a start does when a session of that id is live already.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum IfLive {
    /// Refuse.
    #[default]
    Refuse,
    /// Take it over: it goes on under a new epoch, and whoever held it is refused from then on.
    TakeOver,
}

/// Request `session.start`. An empty one starts a session with a made-up id for whoever asks.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct SessionStartRequest {
    /// Its id: a letter or digit, then up to 63 letters, digits, `_` and `-`; made up without it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub session_id: Option<String>,
    /// Who works in it; the principal without it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub analyst: Option<String>,
    /// Whose name its commits carry; commit-agent's own author without it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub author: Option<Person>,
    /// What it is about.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub objective: Option<String>,
    /// The analyst's tier; 2 without it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tier: Option<u32>,
    /// The program that holds it.
    pub client: SessionClient,
    /// How it shows that somebody is there.
    pub liveness: Liveness,
    /// The commit-agent of the clone it works on; the registry's own choice without it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub agent: Option<String>,
    /// The paths of the clone that are its own.
    pub claims: Vec<String>,
    /// Where its transcript lies.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub transcript: Option<Transcript>,
    /// The session this one belongs to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub parent: Option<String>,
    /// What to do when it is live already.
    pub if_live: IfLive,
}

/// How one step of a sequence went.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StepState {
    /// It has begun.
    Running,
    /// It worked.
    Done,
    /// It does not apply here.
    Skipped,
    /// It did not work, and the sequence went on.
    Warning,
    /// It did not work, and the sequence ended with it.
    Failed,
    /// A word of tomorrow.
    #[serde(other)]
    Unknown,
}

/// One step of a sequence; also what is reported on `progress.<request-id>` as it runs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SessionStep {
    /// `register`, `pull`, `publish`, `import`, `preflight`, `commit`, `push`, `unregister`.
    pub step: String,
    /// How it went.
    pub state: StepState,
    /// One line for people.
    #[serde(default)]
    pub message: String,
    /// How long it took.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub duration_ms: Option<u64>,
}

/// What the preflight said, in short.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SessionChecks {
    /// Checks that passed.
    pub passed: u64,
    /// Checks that warned.
    pub warnings: u64,
    /// Checks that failed.
    pub failed: u64,
    /// All that applied.
    pub total: u64,
    /// What warned or failed, one line each.
    #[serde(default)]
    pub problems: Vec<String>,
}

/// Answer to `session.start`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SessionStartResponse {
    /// Its id.
    pub session_id: String,
    /// To be shown with everything that is done in it.
    pub epoch: Epoch,
    /// `active`.
    pub state: SessionState,
    /// The commit it begins with.
    pub commit: Option<String>,
    /// What was imported; absent when nothing could be.
    pub import: Option<ImportRunResponse>,
    /// What the preflight said; absent when nobody could be asked.
    pub preflight: Option<SessionChecks>,
    /// What does not work, one line each.
    #[serde(default)]
    pub warnings: Vec<String>,
    /// What was done, in order.
    #[serde(default)]
    pub steps: Vec<SessionStep>,
    /// A holder with liveness `heartbeat` beats this often.
    pub heartbeat_every_s: u64,
    /// One line for people.
    #[serde(default)]
    pub message: String,
}

/// Request `session.heartbeat`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SessionHeartbeatRequest {
    /// Which session.
    pub session_id: String,
    /// As the start gave it.
    pub epoch: Epoch,
    /// How much was done in it so far, in all: a beat that is repeated counts once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub operations: Option<u64>,
    /// Where its transcript lies now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub transcript: Option<Transcript>,
}

/// What the holder of a session should do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SessionOrder {
    /// The remote has new commits: offer a sync.
    Sync,
    /// The clone and its remote have diverged: a person must look.
    Diverged,
    /// The session is being ended: stop editing.
    Stop,
    /// An order of tomorrow.
    #[serde(other)]
    Unknown,
}

/// Answer to `session.heartbeat`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SessionHeartbeatResponse {
    /// Where the session is in its life.
    pub state: SessionState,
    /// What its holder should do.
    #[serde(default)]
    pub orders: Vec<SessionOrder>,
}

/// Request `session.end`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SessionEndRequest {
    /// Which session.
    pub session_id: String,
    /// As the start gave it; not compared without it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub epoch: Option<Epoch>,
    /// What was done in it, for the commit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// End although files are held back: they stay in the clone and in no commit.
    #[serde(default)]
    pub force: bool,
}

/// Answer to `session.end`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SessionEndResponse {
    /// Which session.
    pub session_id: String,
    /// `ended`, or `ended_unpushed` when the remote does not have everything yet.
    pub state: SessionState,
    /// The newest commit that was made at the end; absent when nothing had changed.
    pub commit: Option<String>,
    /// The paths it changed.
    #[serde(default)]
    pub files: Vec<String>,
    /// Whether everything committed so far is on the remote.
    pub pushed: bool,
    /// Files that are in no commit.
    #[serde(default)]
    pub held: Vec<HeldFile>,
    /// What does not work, one line each.
    #[serde(default)]
    pub warnings: Vec<String>,
    /// What was done, in order.
    #[serde(default)]
    pub steps: Vec<SessionStep>,
    /// One line for people.
    #[serde(default)]
    pub message: String,
}

/// Request `session.list`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct SessionListRequest {
    /// Only these states; everything but `ended` and `reaped` when empty.
    pub state: Vec<SessionState>,
    /// Only this analyst's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub analyst: Option<String>,
    /// Only those on this commit-agent's clone.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub agent: Option<String>,
    /// At most so many; 100 without it, 500 at most.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub limit: Option<u64>,
    /// Go on behind this, from the answer before.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cursor: Option<String>,
}

/// Answer to `session.list`: newest first.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SessionListResponse {
    /// The records.
    pub sessions: Vec<SessionRecord>,
    /// How many there are in all.
    pub total: u64,
    /// For the rest, when there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_cursor: Option<String>,
    /// The bucket's revision this was true at.
    pub as_of_revision: u64,
}

/// Request `session.get`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SessionGetRequest {
    /// Which session.
    pub session_id: String,
}

/// Answer to `session.get`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SessionGetResponse {
    /// The session.
    #[serde(flatten)]
    pub record: SessionRecord,
    /// How long nothing has been heard of it, by this registry's clock.
    pub idle_s: u64,
}

/// Request `session.status`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct SessionStatusRequest {
    /// Only this session, and the clone it works on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub session_id: Option<String>,
    /// This commit-agent's clone.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub agent: Option<String>,
}

/// How one daemon is doing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServiceState {
    /// The daemon: `git-sync`.
    pub name: String,
    /// Whether it answers.
    pub up: bool,
    /// One line for people.
    #[serde(default)]
    pub message: String,
}

/// Answer to `session.status`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SessionStatusResponse {
    /// Live sessions, newest first, 100 at most.
    pub sessions: Vec<SessionRecord>,
    /// How many there are in all.
    pub total: u64,
    /// The clone.
    pub clone: Option<CommitStatus>,
    /// What is published for readers.
    pub published: Option<GitStatus>,
    /// The database.
    pub database: Option<ImportStatus>,
    /// What the last preflight said.
    pub preflight: Option<SessionChecks>,
    /// Who answers.
    pub services: Vec<ServiceState>,
}

/// Request `session.sync_check`: fetches now and compares.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct SessionSyncCheckRequest {
    /// The clone of this session.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub session_id: Option<String>,
    /// This commit-agent's clone.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub agent: Option<String>,
}

/// Answer to `session.sync_check`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SessionSyncCheckResponse {
    /// Which commit-agent's clone.
    pub agent: String,
    /// How they compare.
    pub state: Standing,
    /// Commits the remote lacks.
    pub ahead: u64,
    /// Commits the clone lacks.
    pub behind: u64,
    /// Files that differ from the last commit.
    pub dirty_files: u64,
    /// When the remote was looked at, RFC 3339.
    pub as_of: Option<String>,
    /// One line for people.
    pub message: String,
}

/// Request `session.sync`: pull, publish, import.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct SessionSyncRequest {
    /// The clone of this session.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub session_id: Option<String>,
    /// The session's epoch.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub epoch: Option<Epoch>,
    /// This commit-agent's clone.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub agent: Option<String>,
}

/// Answer to `session.sync`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SessionSyncResponse {
    /// The commit everybody is at now.
    pub commit: Option<String>,
    /// What the pull brought.
    pub pull: Option<CommitPullResponse>,
    /// What was imported.
    pub import: Option<ImportRunResponse>,
    /// What does not work, one line each.
    #[serde(default)]
    pub warnings: Vec<String>,
    /// What was done, in order.
    #[serde(default)]
    pub steps: Vec<SessionStep>,
    /// One line for people.
    #[serde(default)]
    pub message: String,
}

/// Request `session.history`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct SessionHistoryRequest {
    /// Only this session.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub session_id: Option<String>,
    /// At most so many; 50 without it, 500 at most.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub limit: Option<u64>,
}

/// Answer to `session.history`: oldest first.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SessionHistoryResponse {
    /// The newest steps.
    pub transitions: Vec<SessionTransition>,
}
