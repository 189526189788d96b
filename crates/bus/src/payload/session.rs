//! Sessions: the record everybody is shown, and the events that tell its history.

mod requests;
mod stored;

use serde::{Deserialize, Serialize};

use super::{Epoch, Person};
use crate::event::Payload;

pub use requests::*;
pub use stored::{Pending, StoredError, StoredSession, Task, TaskKind};

/// Where a session is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SessionState {
    /// Its start is under way: pulling, importing, checking.
    Starting,
    /// Somebody works in it.
    Active,
    /// Nothing was heard of it for a while.
    Suspect,
    /// Nothing was heard of it for long; a sign of life brings it back.
    Lost,
    /// Its end is under way: committing, pushing.
    Ending,
    /// Over, but what it committed is not on the remote yet. The push goes on by itself.
    EndedUnpushed,
    /// Over, and everything is on the remote.
    Ended,
    /// Over because it was lost for so long. What was edited is committed all the same.
    Reaped,
    /// A state this version does not know.
    #[serde(other)]
    Unknown,
}

impl SessionState {
    /// Every state there is, in the order of a session's life.
    pub const ALL: [Self; 8] = [
        Self::Starting,
        Self::Active,
        Self::Suspect,
        Self::Lost,
        Self::Ending,
        Self::EndedUnpushed,
        Self::Ended,
        Self::Reaped,
    ];

    /// The word in JSON, metrics and messages.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Starting => "starting",
            Self::Active => "active",
            Self::Suspect => "suspect",
            Self::Lost => "lost",
            Self::Ending => "ending",
            Self::EndedUnpushed => "ended_unpushed",
            Self::Ended => "ended",
            Self::Reaped => "reaped",
            Self::Unknown => "unknown",
        }
    }

    /// Does somebody hold it? Also while it is lost: it may come back.
    #[must_use]
    pub fn is_live(self) -> bool {
        matches!(self, Self::Starting | Self::Active | Self::Suspect | Self::Lost | Self::Ending)
    }
}

/// How a session shows that somebody is there.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Liveness {
    /// Every request of the session and every captured edit counts; idle for hours is normal.
    #[default]
    Activity,
    /// A program beats as long as it runs; silence for a minute and a half is suspect.
    Heartbeat,
    /// It lasts until somebody ends it.
    Manual,
    /// A kind this version does not know; taken as `activity`.
    #[serde(other)]
    Unknown,
}

/// The program a session is held by.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct SessionClient {
    /// What kind: `cli`, `mcp`, `daemon`, `python`.
    pub kind: String,
    /// Its name.
    pub name: String,
    /// Its version.
    pub version: String,
    /// Where it runs.
    pub host: String,
}

/// Where the transcript of a session lies. Never its content.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Transcript {
    /// Where.
    pub uri: String,
    /// Digest of the content, hexadecimal.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sha256: Option<String>,
}

/// A session.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SessionRecord {
    /// Its id.
    pub session_id: String,
    /// Goes up whenever the session changes hands; what comes with an older one is refused.
    pub epoch: Epoch,
    /// Where it is in its life.
    pub state: SessionState,
    /// Who works in it.
    pub analyst: String,
    /// Whom NATS says it belongs to; nobody else may touch it then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub principal: Option<String>,
    /// Whose name its commits carry.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub author: Option<Person>,
    /// The program it is held by.
    #[serde(default)]
    pub client: SessionClient,
    /// What it is about.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub objective: String,
    /// The analyst's tier.
    pub tier: u32,
    /// How it shows that somebody is there.
    #[serde(default)]
    pub liveness: Liveness,
    /// The commit-agent of the clone it works on; absent for one that only reads.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub agent: Option<String>,
    /// The paths of the clone that are its own; everything when empty.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub claims: Vec<String>,
    /// The repository, without credentials.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub repo: Option<String>,
    /// The branch it commits to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub branch: Option<String>,
    /// The commit it began with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub base_commit: Option<String>,
    /// The newest commit made for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub head_commit: Option<String>,
    /// How much was done in it, by its holder's count.
    #[serde(default)]
    pub operations: u64,
    /// When it began, RFC 3339.
    pub started_at: String,
    /// The last sign of life, RFC 3339. Beats are written down only now and then, so this may be behind.
    pub last_active_at: String,
    /// When it ended, RFC 3339.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended_at: Option<String>,
    /// Why it is in its state, in one line for people.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub reason: String,
    /// Where its transcript lies.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub transcript: Option<Transcript>,
    /// The session this one belongs to, for agents within agents.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parent: Option<String>,
}

/// One step in the life of a session: what the events carry and what the history is made of.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SessionTransition {
    /// Counts the steps of this session from 1.
    pub number: u64,
    /// The state before; absent for the first step.
    #[serde(default)]
    pub from: Option<SessionState>,
    /// The state now.
    pub to: SessionState,
    /// Why, in one line for people.
    #[serde(default)]
    pub reason: String,
    /// When, RFC 3339.
    pub at: String,
    /// The session after this step.
    pub record: SessionRecord,
}

macro_rules! session_event {
    ($(#[$doc:meta])* $name:ident, $type:literal) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(pub SessionTransition);

        impl Payload for $name {
            const TYPE: &'static str = $type;
            const VERSION: (u16, u16) = (1, 0);
        }
    };
}

session_event!(
    /// `session.started`: somebody works in it from now on.
    SessionStarted,
    "session.started"
);
session_event!(
    /// `session.changed`: any other step of its life.
    SessionChanged,
    "session.changed"
);
session_event!(
    /// `session.ended`: it is over, for whatever reason; also when what it committed got to the remote after that.
    SessionEnded,
    "session.ended"
);

/// `session.sync_checked`: how a clone with sessions compares with its remote is not what it was before.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SessionSyncChecked {
    /// How they compare.
    #[serde(flatten)]
    pub check: SessionSyncCheckResponse,
    /// The live sessions on that clone.
    #[serde(default)]
    pub sessions: Vec<String>,
}

impl Payload for SessionSyncChecked {
    const TYPE: &'static str = "session.sync_checked";
    const VERSION: (u16, u16) = (1, 0);
}
