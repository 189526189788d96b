//! What an agent can be asked to do.

use std::collections::BTreeSet;

use baft_repo::{Oid, RepoPath};
use serde::{Deserialize, Serialize};

use super::Signature;

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

/// What a person confirms.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Confirm {
    /// The deletions that wait.
    Deletions,
    /// That upstream's rewritten history is followed.
    Rewritten,
}
