//! The versions of every file that matters, along first parents.

use std::collections::{BTreeSet, HashMap, HashSet, VecDeque};
use std::sync::Arc;

use baft_repo::{Oid, Repo};

use crate::ImporterError;

/// Where a version of a file comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    /// This commit introduced it, at this time (seconds since 1970).
    Commit(Oid, i64),
    /// It is saved, not committed; the file was modified at this time (seconds since 1970).
    Saved(i64),
}

impl Origin {
    /// What the database's `commit_oid` columns say.
    #[must_use]
    pub fn label(self) -> String {
        match self {
            Self::Commit(commit, _) => commit.to_string(),
            Self::Saved(_) => WORKTREE.to_owned(),
        }
    }

    /// The day it happened, as days since 1970 (UTC).
    #[must_use]
    pub fn day(self) -> i32 {
        let (Self::Commit(_, time) | Self::Saved(time)) = self;
        i32::try_from(time.div_euclid(86_400)).unwrap_or(0)
    }
}

/// What stands for a commit in rows that are saved but not committed.
pub const WORKTREE: &str = "WORKTREE";

/// One version of one file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Version {
    /// Where it comes from.
    pub origin: Origin,
    /// Its content; nothing when the file was removed.
    pub blob: Option<Oid>,
    /// There was no such file before.
    pub first: bool,
}

/// Which paths matter.
pub type Filter = Arc<dyn Fn(&str) -> bool + Send + Sync>;

/// Versions of every file that matters, read from the newest commit backwards, only as far as somebody asks.
pub struct History {
    log: VecDeque<(Oid, Vec<String>)>,
    head: Oid,
    next: Option<Oid>,
    versions: HashMap<String, Vec<Version>>,
    limit: usize,
    truncated: bool,
    filter: Filter,
}

impl std::fmt::Debug for History {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "History({}, {} commits read)", self.head, self.log.len())
    }
}

/// What lies between an older commit and the newest.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Range {
    /// The commits, without the older one.
    pub commits: HashSet<Oid>,
    /// The files that any of them changed.
    pub changed: BTreeSet<String>,
}

impl History {
    /// Nothing is read yet. At most `limit` commits ever are; the oldest of them then counts as the first.
    #[must_use]
    pub fn new(head: Oid, limit: usize, filter: Filter) -> Self {
        Self {
            log: VecDeque::new(),
            head,
            next: Some(head),
            versions: HashMap::new(),
            limit: limit.max(1),
            truncated: false,
            filter,
        }
    }

    /// The newest commit.
    #[must_use]
    pub fn head(&self) -> Oid {
        self.head
    }

    /// Whether older commits exist that are never read.
    #[must_use]
    pub fn truncated(&self) -> bool {
        self.truncated
    }

    /// The versions of a file read so far, newest first.
    #[must_use]
    pub fn known(&self, path: &str) -> &[Version] {
        self.versions.get(path).map_or(&[], Vec::as_slice)
    }

    /// Reads all there is.
    ///
    /// # Errors
    /// When the repository is damaged.
    pub fn read_all(&mut self, repo: &Repo) -> Result<(), ImporterError> {
        while let Some(commit) = self.next {
            self.read_one(repo, commit)?;
        }
        Ok(())
    }

    /// Reads on until the first version of this file, as it is now, is known.
    ///
    /// # Errors
    /// When the repository is damaged.
    pub fn read_for(&mut self, repo: &Repo, path: &str) -> Result<(), ImporterError> {
        while !self.known(path).iter().any(|version| version.first || version.blob.is_none())
            && let Some(commit) = self.next
        {
            self.read_one(repo, commit)?;
        }
        Ok(())
    }

    /// What lies between `base` and the newest commit; nothing when `base` is not one of its first parents: history was
    /// rewritten, or the old commit is gone.
    ///
    /// # Errors
    /// When the repository is damaged.
    pub fn since(&mut self, repo: &Repo, base: Oid) -> Result<Option<Range>, ImporterError> {
        while self.next != Some(base) && !self.log.iter().any(|(commit, _)| *commit == base) {
            let Some(commit) = self.next else { return Ok(None) };
            self.read_one(repo, commit)?;
        }
        let mut range = Range::default();
        for (commit, changed) in self.log.iter().take_while(|(commit, _)| *commit != base) {
            range.commits.insert(*commit);
            range.changed.extend(changed.iter().cloned());
        }
        Ok(Some(range))
    }

    /// Goes on to another newest commit. What is known stays known when it follows the old one.
    ///
    /// # Errors
    /// When the repository is damaged.
    pub fn move_to(&mut self, repo: &Repo, head: Oid) -> Result<(), ImporterError> {
        if head == self.head {
            return Ok(());
        }
        let mut newer = Self::new(head, self.limit, self.filter.clone());
        if newer.since(repo, self.head)?.is_none() {
            *self = newer;
            return Ok(());
        }
        for (path, mut versions) in newer.versions {
            versions.extend(self.versions.remove(&path).unwrap_or_default());
            self.versions.insert(path, versions);
        }
        for entry in newer.log.into_iter().rev() {
            self.log.push_front(entry);
        }
        self.head = head;
        Ok(())
    }

    fn read_one(&mut self, repo: &Repo, commit: Oid) -> Result<(), ImporterError> {
        let info = repo.commit_info(commit).map_err(ImporterError::repo("reading the history"))?;
        let parent = info.parents.first().copied();
        // A shallow clone ends where the parent is missing; the limit ends it the same way.
        let usable = parent.filter(|parent| self.log.len() + 1 < self.limit && repo.contains(*parent));
        let changes = repo.diff(usable, commit).map_err(ImporterError::repo("comparing two commits"))?;
        self.truncated |= parent.is_some() && usable.is_none();
        let origin = Origin::Commit(commit, info.time);
        let mut changed = Vec::new();
        for change in changes.iter().filter(|change| (self.filter)(change.path.as_str())) {
            let path = change.path.as_str().to_owned();
            let version = Version { origin, blob: change.new, first: change.old.is_none() };
            self.versions.entry(path.clone()).or_default().push(version);
            changed.push(path);
        }
        self.log.push_back((commit, changed));
        self.next = usable;
        Ok(())
    }
}
