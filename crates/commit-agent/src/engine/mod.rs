//! What the daemon does, without a daemon: one clone, one thread, one call at a time.

mod order;
mod settings;

use std::path::PathBuf;
use std::sync::Arc;

use baft_repo::transport::Transport;
use baft_repo::{RepoError, RepoPath};

pub use order::*;
pub use settings::*;

/// Why an agent cannot start.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The configuration cannot work.
    #[error("{0}")]
    Config(String),
    /// Where a clone was there is none now: a volume is not mounted, or was emptied.
    #[error("{path}: {message}")]
    Gone {
        /// The clone.
        path: PathBuf,
        /// What is missing and what to do.
        message: String,
    },
    /// There is a tree that nobody agreed to hand over.
    #[error(
        "{path} is a working tree that commit-agent was not given: have a look at what would be committed and pushed, then allow it",
        path = path.display()
    )]
    NotAdopted {
        /// The tree.
        path: PathBuf,
    },
    /// Something that is refused: a shallow clone, reftable, …
    #[error("{0}")]
    Unsupported(String),
    /// Another agent has it.
    #[error(transparent)]
    Locked(#[from] baft_kit::durable::LockError),
    /// The clone cannot be made now; trying again may help.
    #[error("cannot clone: {0}")]
    Clone(#[from] baft_repo::transport::TransportError),
    /// The repository or the disk.
    #[error(transparent)]
    Repo(#[from] RepoError),
    /// The disk.
    #[error(transparent)]
    Io(#[from] std::io::Error),
}

/// What starting up found and repaired.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct OpenReport {
    /// The clone was made now.
    pub cloned: Option<baft_repo::Oid>,
    /// What was repaired, in words.
    pub repairs: Vec<String>,
}

/// A way to tell the agent what the file watch noticed, also while it works. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct Hints(Arc<std::sync::Mutex<Vec<Touched>>>);

impl Hints {
    /// Notes it down; the agent looks when it next captures.
    pub fn add(&self, touched: Touched) {
        self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner).push(touched);
    }
}

/// One clone and everything the agent knows about it. Blocking; belongs to one thread.
pub struct Agent {
    settings: Settings,
    hints: Hints,
    _transport: Arc<dyn Transport>,
}

impl std::fmt::Debug for Agent {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Agent({} in {})", self.settings.agent, self.settings.clone.display())
    }
}

impl Agent {
    /// Opens the clone, makes it when told to and nothing says that there was one, takes its lock, and repairs what a crash left.
    ///
    /// # Errors
    /// See [`OpenError`].
    pub fn open(settings: Settings, transport: Arc<dyn Transport>) -> Result<(Self, OpenReport), OpenError> {
        let agent = Self { settings, hints: Hints::default(), _transport: transport };
        Ok((agent, OpenReport::default()))
    }

    /// What it was told.
    #[must_use]
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// Where the file watch leaves its hints.
    #[must_use]
    pub fn hints(&self) -> Hints {
        self.hints.clone()
    }

    /// Notes what the file watch noticed.
    pub fn touched(&mut self, touched: Touched) {
        self.hints.add(touched);
    }

    /// Capture, land, fetch, integrate, materialise, push: as far as it gets and is asked to. Never panics, never loses anything.
    pub fn cycle(&mut self, _order: &Order) -> Cycle {
        Cycle::default()
    }

    /// Asks the remote how it compares.
    ///
    /// # Errors
    /// The remote cannot be asked.
    pub fn fetch_check(&mut self) -> Result<Check, StepError> {
        Err(StepError { step: Step::Fetch, class: Class::Other, message: "not built yet".to_owned() })
    }

    /// How clone and remote compare, as far as that is known without asking the remote.
    ///
    /// # Errors
    /// The repository cannot be read.
    pub fn compare(&self) -> Result<Check, RepoError> {
        let (head, upstream) = (None, None);
        let as_of = std::time::SystemTime::UNIX_EPOCH;
        Ok(Check { as_of, relation: Relation::Current, ahead: 0, behind: 0, dirty_files: 0, head, upstream })
    }

    /// How many events wait to be announced.
    #[must_use]
    pub fn unannounced(&self) -> usize {
        0
    }

    /// How everything is. Cheap.
    #[must_use]
    pub fn status(&self) -> Status {
        Status {
            head: None,
            captured: None,
            upstream: None,
            unpushed: 0,
            parked: Vec::new(),
            held: Vec::new(),
            blocked: None,
            index_lock_age: None,
            oldest_uncaptured: None,
            last_fetch: None,
            last_push: None,
            last_scan: None,
            failures: 0,
            errors: Vec::new(),
        }
    }

    /// Edits by request: all of them, as one commit, or none.
    ///
    /// # Errors
    /// See [`ApplyError`].
    pub fn apply(&mut self, _apply: &Apply) -> Result<Applied, ApplyError> {
        Err(ApplyError::Unavailable("not built yet".to_owned()))
    }

    /// A person agrees; the next cycle acts on it. How many deletions or commits that lets through.
    ///
    /// # Errors
    /// The state cannot be written.
    pub fn confirm(&mut self, _what: &Confirm) -> Result<usize, StepError> {
        Ok(0)
    }

    /// A person says that the content of held files is all right as it is now; everything that is held when no path is given. Which were.
    ///
    /// # Errors
    /// The state cannot be written.
    pub fn release(&mut self, _paths: &[RepoPath]) -> Result<Vec<RepoPath>, StepError> {
        Ok(Vec::new())
    }

    /// What is to be announced next, if anything.
    ///
    /// # Errors
    /// The repository cannot be read.
    pub fn next_announcement(&mut self) -> Result<Option<Announcement>, RepoError> {
        Ok(None)
    }

    /// It was announced.
    ///
    /// # Errors
    /// The state cannot be written.
    pub fn acknowledged(&mut self, _id: &str) -> Result<(), RepoError> {
        Ok(())
    }
}
