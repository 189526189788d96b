//! What is written under a session's key in the bucket `SESSIONS`. Others read it through [`StoredSession::read`].

use serde::{Deserialize, Serialize};

use super::{SessionRecord, SessionTransition};
use crate::kv::Entry;

/// A session as the bucket has it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoredSession {
    /// The session.
    pub record: SessionRecord,
    /// How many steps its life has had.
    pub steps: u64,
    /// Whether its start ever came through.
    #[serde(default)]
    pub opened: bool,
    /// The id of the request that started it, so that a repeated one finds it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request_id: Option<String>,
    /// The sequence that is under way for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub task: Option<Task>,
    /// Steps that may not be announced yet, oldest first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub pending: Vec<Pending>,
}

/// A step that may not be announced yet.
pub type Pending = SessionTransition;

/// What is being done with a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TaskKind {
    /// It is started.
    Start,
    /// It is ended.
    End,
}

/// A sequence under way. Its owner shows that it is alive by counting up `turn`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Task {
    /// What it is.
    pub kind: TaskKind,
    /// The registry that works on it.
    pub owner: String,
    /// Counts its owner's signs of life.
    pub turn: u64,
    /// The message of the commits at the end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// End also when files are held back.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub force: bool,
}

/// An entry of the bucket is not a session.
#[derive(Debug, thiserror::Error)]
#[error("revision {revision} of the session bucket is not understood: {source}")]
pub struct StoredError {
    /// Which.
    pub revision: u64,
    /// What is wrong with it.
    pub source: serde_json::Error,
}

impl StoredSession {
    /// The key of a session.
    #[must_use]
    pub fn key(session_id: &str) -> String {
        format!("s.{session_id}")
    }

    /// The session of a key; `None` for keys of other things.
    #[must_use]
    pub fn id_of(key: &str) -> Option<&str> {
        key.strip_prefix("s.")
    }

    /// Reads an entry.
    ///
    /// The write that gives a session its epoch cannot know the revision it will get, and says 0: then the epoch is
    /// that of the entry itself.
    ///
    /// # Errors
    /// It is no session.
    pub fn read(entry: &Entry) -> Result<Self, StoredError> {
        let revision = entry.revision;
        let mut stored: Self =
            serde_json::from_slice(&entry.value).map_err(|source| StoredError { revision, source })?;
        stored.settle(revision);
        Ok(stored)
    }

    /// Puts the revision in where an epoch was waiting for it.
    pub fn settle(&mut self, revision: u64) {
        let records = self.pending.iter_mut().map(|step| &mut step.record).chain([&mut self.record]);
        for record in records.filter(|record| record.epoch.revision == 0) {
            record.epoch.revision = revision;
        }
    }
}
