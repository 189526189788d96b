//! What is heard of a session and not written down each time.

use baft_bus::payload::{StoredSession, Transcript};

/// What beats have told since it was last written down.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Beat {
    /// When, RFC 3339.
    pub at: String,
    /// How much was done in all.
    pub operations: Option<u64>,
    /// Where the transcript lies.
    pub transcript: Option<Transcript>,
    /// The newest commit made for it.
    pub head_commit: Option<String>,
}

impl Beat {
    /// Puts it into a record that is about to be written.
    pub fn write(&self, stored: &mut StoredSession) {
        let record = &mut stored.record;
        if self.at > record.last_active_at {
            record.last_active_at.clone_from(&self.at);
        }
        record.operations = record.operations.max(self.operations.unwrap_or_default());
        if let Some(transcript) = &self.transcript {
            record.transcript = Some(transcript.clone());
        }
        if let Some(commit) = &self.head_commit {
            record.head_commit = Some(commit.clone());
        }
    }

    /// Something newer was told.
    pub(super) fn add(&mut self, newer: Self) {
        if newer.at > self.at {
            self.at = newer.at;
        }
        self.operations = self.operations.max(newer.operations);
        self.transcript = newer.transcript.or(self.transcript.take());
        self.head_commit = newer.head_commit.or(self.head_commit.take());
    }
}
