//! What the daemon does, without a daemon: one clone, one thread, one call at a time.

mod announce;
mod apply;
mod capture;
mod commits;
mod cycle;
mod failpoint;
mod fault;
mod harvest;
mod held;
mod integrate;
pub mod machine;
mod merge;
mod message;
mod names;
mod open;
mod order;
mod owners;
mod park;
mod policy;
mod push;
mod reconcile;
mod repair;
mod report;
mod saved;
mod scan;
mod settings;
mod shift;
mod stale;
mod status;
mod trouble;

use std::collections::{BTreeMap, HashMap, HashSet};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use baft_kit::backoff::Backoff;
use baft_kit::durable::DirLock;
use baft_repo::live::{Live, Stat};
use baft_repo::lock::Locks;
use baft_repo::transport::Transport;
use baft_repo::{FileMode, Oid, Repo, RepoError, RepoPath};

pub use failpoint::FAILPOINTS;

pub use order::*;
pub use owners::{Owner, Owners};
pub use report::*;
pub use settings::*;
pub use trouble::*;

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
    Clone(#[from] StepError),
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

/// With more hints than this, looking at everything is cheaper.
const MOST_HINTS: usize = 10_000;

/// A way to tell the agent what the file watch noticed, also while it works. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct Hints(Arc<std::sync::Mutex<Vec<Touched>>>);

impl Hints {
    /// Notes it down; the agent looks when it next captures.
    pub fn add(&self, touched: Touched) {
        let mut hints = self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if hints.len() < MOST_HINTS {
            hints.push(touched);
        } else {
            *hints = vec![Touched::Rescan];
        }
    }

    fn take(&self) -> Vec<Touched> {
        std::mem::take(&mut *self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner))
    }
}

/// One clone and everything the agent knows about it. Blocking; belongs to one thread.
pub struct Agent {
    settings: Settings,
    hints: Hints,
    owners: Owners,
    transport: Arc<dyn Transport>,
    names: names::Names,
    files: names::Files,
    repo: Repo,
    live: Live,
    locks: Locks,
    _lock: DirLock,
    saved: saved::SavedFile,
    tree: scan::Tree,
    /// What the cycle that is running did so far.
    report: Cycle,
    plan: Option<integrate::Plan>,
    bulk: Option<capture::Bulk>,
    /// Contents the gates have seen and let through.
    passed: HashSet<(RepoPath, Oid)>,
    /// What the file system said about files when they were held.
    held_stats: HashMap<RepoPath, Stat>,
    /// The same for files that cannot be captured as they are.
    left: HashMap<RepoPath, Stat>,
    /// Contents of the snapshot that is being kept while the branch cannot be moved.
    snapshots: BTreeMap<RepoPath, (Oid, FileMode)>,
    /// What was written last, to be looked for once more.
    recent: Vec<(Instant, baft_repo::write::Written)>,
    /// When packs that were kept from collectors were last looked through.
    released: Option<Instant>,
    remote_refs: BTreeMap<String, Oid>,
    /// Contents that upstream's newest changes replaced, and when.
    came_in: stale::CameIn,
    /// The declaration of the data that the gates go by.
    declared: Option<Option<Oid>>,
    /// Parked commits and the branch they were last tried on.
    tested: HashMap<Oid, Oid>,
    order_deadline: Option<Instant>,
    order_session: Option<SessionStamp>,
    meanwhile: push::Meanwhile,
    blocked: Option<Blocked>,
    backoff: Backoff,
    retry_at: Option<Instant>,
    errors: Vec<StepError>,
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
        Self::start(settings, transport)
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

    /// Gives back what only work needs: mapped packs, cached objects, and what looks for secrets.
    pub fn rest(&mut self) {
        if let Err(error) = self.repo.reopen() {
            tracing::debug!(%error, "the repository cannot be opened anew; the old handle stays");
        }
        crate::gates::rest();
    }

    /// The sessions that are live on this clone are those of this list, from now on.
    pub fn follow_sessions(&mut self, owners: Owners) {
        self.owners = owners;
    }

    /// Notes what the file watch noticed.
    pub fn touched(&mut self, touched: Touched) {
        self.hints.add(touched);
    }

    /// Asks the remote how it compares.
    ///
    /// # Errors
    /// The remote cannot be asked.
    pub fn fetch_check(&mut self) -> Result<Check, StepError> {
        self.begin(&Order::default());
        self.check_present().and_then(|()| self.fetch()).map_err(|fault| fault.at(Step::Fetch))?;
        let hints = self.hints.take();
        let eyes = scan::Eyes { repo: &self.repo, live: &self.live, scope: &self.settings.scope };
        let _ = self.tree.look(&eyes, hints);
        self.compare().map_err(|error| fault::fault(error).at(Step::Fetch))
    }

    /// Edits by request: all of them, as one commit, or none.
    ///
    /// # Errors
    /// See [`ApplyError`].
    pub fn apply(&mut self, apply: &Apply) -> Result<Applied, ApplyError> {
        self.begin(&Order { session: apply.session.clone(), ..Order::default() });
        self.apply_edits(apply)
    }

    /// A person agrees; the next cycle acts on it. How many deletions or commits that lets through.
    ///
    /// # Errors
    /// The state cannot be written.
    pub fn confirm(&mut self, what: &Confirm) -> Result<usize, StepError> {
        match what {
            Confirm::Deletions => self.confirm_deletions(),
            Confirm::Rewritten => self
                .saved
                .change(|saved| {
                    saved.follow = saved.rewritten;
                    usize::from(saved.rewritten.is_some())
                })
                .map_err(fault::fault),
        }
        .map_err(|fault| fault.at(Step::Capture))
    }

    /// A person says that the content of held files is all right as it is now; everything that is held when no path is given. Which were.
    ///
    /// # Errors
    /// The state cannot be written.
    pub fn release(&mut self, paths: &[RepoPath]) -> Result<Vec<RepoPath>, StepError> {
        self.release_held(paths).map_err(|fault| fault.at(Step::Capture))
    }

    /// What is to be announced next, if anything.
    ///
    /// # Errors
    /// The repository cannot be read.
    pub fn next_announcement(&mut self) -> Result<Option<Announcement>, RepoError> {
        self.announcement().map_err(|fault| RepoError::Corrupt { message: fault.message })
    }

    /// It was announced.
    ///
    /// # Errors
    /// The state cannot be written.
    pub fn acknowledged(&mut self, id: &str) -> Result<(), RepoError> {
        self.acknowledge(id).map_err(|fault| RepoError::Corrupt { message: fault.message })
    }
}

fn at(seconds: i64) -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(u64::try_from(seconds).unwrap_or(0))
}
