//! Finding what changed on disk, at the cost of what changed.
//!
//! Every file of the newest capture is remembered with what the file system said about it when it had that content. A file that still says the same
//! is not read. With hints from a file watch only what they name is looked at; without, every folder is listed and every file asked for its stat.

mod walk;

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use baft_repo::live::{Kind, Live, OWN_PREFIX, Stat};
use baft_repo::{FileMode, Oid, Repo, RepoError, RepoPath, Status};

use super::{PathTrouble, Scope, Touched};

/// A stat this young may belong to a content that changes again within the same tick of the file system's clock.
const RACY: i64 = 100_000_000;

/// What identifies a content without reading it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Print {
    size: u64,
    mtime: i64,
    ctime: i64,
    ino: u64,
}

impl From<&Stat> for Print {
    fn from(stat: &Stat) -> Self {
        Self { size: stat.size, mtime: stat.mtime, ctime: stat.ctime, ino: stat.ino }
    }
}

/// One file of the newest capture.
#[derive(Debug)]
struct Known {
    oid: Oid,
    mode: FileMode,
    print: Option<Print>,
    round: u32,
}

/// A path whose file is not what was captured.
#[derive(Debug, Clone, Copy)]
pub(super) struct Waiting {
    /// When that was first noticed.
    pub(super) first: Instant,
    /// When it last changed.
    pub(super) since: Instant,
    /// What is there; nothing when the file is gone.
    pub(super) stat: Option<Stat>,
}

/// Everything known about the working tree.
#[derive(Debug)]
pub(super) struct Tree {
    commit: Oid,
    files: BTreeMap<RepoPath, Known>,
    waiting: BTreeMap<RepoPath, Waiting>,
    round: u32,
    rescan: bool,
    nested: BTreeSet<String>,
    pub(super) last_scan: Option<SystemTime>,
}

/// What a look needs.
pub(super) struct Eyes<'a> {
    pub(super) repo: &'a Repo,
    pub(super) live: &'a Live,
    pub(super) scope: &'a Scope,
}

impl Tree {
    /// Everything of a commit; what the index knows to be unchanged is not read.
    pub(super) fn new(repo: &Repo, commit: Oid) -> Result<Self, RepoError> {
        let mut files = BTreeMap::new();
        for entry in repo.list(commit, None)? {
            files.insert(entry.path, Known { oid: entry.oid, mode: entry.mode, print: None, round: 0 });
        }
        Ok(Self {
            commit,
            files,
            waiting: BTreeMap::new(),
            round: 0,
            rescan: true,
            nested: BTreeSet::new(),
            last_scan: None,
        })
    }

    /// Takes what git's index remembers, where it is about the same content and older than the index itself.
    pub(super) fn trust_index(&mut self, repo: &Repo, live: &Live) {
        let Some(written) =
            std::fs::metadata(repo.git_dir().join("index")).ok().and_then(|index| index.modified().ok())
        else {
            return;
        };
        let written = nanos(written);
        for (path, oid, _, index) in repo.index_stats() {
            let Some(known) = self.files.get_mut(&path).filter(|known| known.oid == oid) else { continue };
            let Ok(Some(stat)) = live.stat(&path) else { continue };
            #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // The index keeps the low 32 bits.
            let same = index.size == stat.size as u32
                && index.ino == stat.ino as u32
                && index.mtime == truncated(stat.mtime)
                && index.ctime == truncated(stat.ctime)
                && index.mtime.0 != 0;
            if same && stat.mtime.max(stat.ctime) < written.saturating_sub(RACY) {
                known.print = Some((&stat).into());
            }
        }
    }

    /// How many files the commit has.
    pub(super) fn len(&self) -> usize {
        self.files.len()
    }

    /// What the commit has at a path.
    pub(super) fn entry(&self, path: &RepoPath) -> Option<(Oid, FileMode)> {
        self.files.get(path).map(|known| (known.oid, known.mode))
    }

    /// Compares with another commit from now on.
    pub(super) fn advance(&mut self, repo: &Repo, to: Oid) -> Result<(), RepoError> {
        if to == self.commit {
            return Ok(());
        }
        let tree = repo.tree_id(to)?;
        for change in repo.diff(Some(self.commit), to)? {
            let entry = if change.status == Status::Deleted { None } else { repo.tree_entry(tree, &change.path)? };
            match entry {
                Some((oid, mode)) => {
                    self.files.insert(change.path.clone(), Known { oid, mode, print: None, round: 0 });
                    // It may be the content on disk, or not: somebody has to look.
                    let now = Instant::now();
                    self.waiting.entry(change.path).or_insert(Waiting { first: now, since: now, stat: None });
                }
                None => drop(self.files.remove(&change.path)),
            }
        }
        self.commit = to;
        Ok(())
    }

    /// The file at a path was seen with the commit's content.
    pub(super) fn settled(&mut self, path: &RepoPath, oid: Oid, stat: &Stat) {
        if let Some(known) = self.files.get_mut(path).filter(|known| known.oid == oid) {
            let young = nanos(SystemTime::now()).saturating_sub(stat.mtime.max(stat.ctime)) < RACY;
            known.print = (!young).then(|| stat.into());
            self.waiting.remove(path);
        }
    }

    /// Whether a file that says this about itself is known to have this content.
    pub(super) fn is_verified(&self, path: &RepoPath, oid: Oid, stat: &Stat) -> bool {
        self.files.get(path).is_some_and(|known| known.oid == oid && known.print == Some(stat.into()))
    }

    /// Nothing has to be done about a path for now.
    pub(super) fn forget(&mut self, path: &RepoPath) {
        self.waiting.remove(path);
    }

    /// Everything is looked at again.
    pub(super) fn suspect_all(&mut self) {
        self.rescan = true;
    }

    /// A path is looked at again.
    pub(super) fn suspect(&mut self, path: &RepoPath) {
        if let Some(known) = self.files.get_mut(path) {
            known.print = None;
        }
        let now = Instant::now();
        self.waiting.entry(path.clone()).or_insert(Waiting { first: now, since: now, stat: None });
    }

    /// Looks at what the hints name, or at everything.
    pub(super) fn look(&mut self, eyes: &Eyes<'_>, hints: Vec<Touched>) -> Vec<PathTrouble> {
        let mut troubles = Vec::new();
        self.round = self.round.wrapping_add(1).max(1);
        let mut named = BTreeSet::new();
        for hint in hints {
            match hint {
                Touched::Rescan => self.rescan = true,
                Touched::Some(paths) => named.extend(paths),
            }
        }
        if self.rescan {
            self.walk(eyes, None, &mut troubles);
            self.gone(|_| true);
            self.rescan = false;
            self.last_scan = Some(SystemTime::now());
        } else {
            for path in &named {
                self.look_at(eyes, path, &mut troubles);
            }
        }
        // What waits is looked at again in any case: it is how long it rests that counts.
        let again: Vec<RepoPath> = self.waiting.keys().cloned().collect();
        for path in again {
            match eyes.live.stat(&path) {
                Ok(Some(stat)) if matches!(stat.kind(), Kind::File(_)) => self.note(eyes, path, stat),
                Ok(_) => self.missing(path),
                Err(error) => troubles.push(trouble(path.as_str(), &error)),
            }
        }
        troubles
    }

    fn look_at(&mut self, eyes: &Eyes<'_>, path: &RepoPath, troubles: &mut Vec<PathTrouble>) {
        if path.file_name().starts_with(OWN_PREFIX) {
            return;
        }
        match eyes.live.stat(path) {
            Ok(Some(stat)) => match stat.kind() {
                Kind::File(_) => self.note(eyes, path.clone(), stat),
                Kind::Folder => {
                    self.walk(eyes, Some(path), troubles);
                    self.gone(|known| known.starts_with(path));
                }
                Kind::Special => self.gone(|known| known == path),
            },
            Ok(None) => {
                // The file, or everything that was below.
                let below: Vec<RepoPath> = self.below(path).collect();
                for path in below {
                    self.missing(path);
                }
                self.waiting.retain(|waiting, at| !waiting.starts_with(path) || at.stat.is_none());
            }
            Err(error) => troubles.push(trouble(path.as_str(), &error)),
        }
    }

    fn below(&self, path: &RepoPath) -> impl Iterator<Item = RepoPath> {
        let from = self.files.range::<RepoPath, _>(path..);
        let found: Vec<RepoPath> = from
            .map(|(known, _)| known)
            .take_while(|known| known.as_str().starts_with(path.as_str()))
            .filter(|known| known.starts_with(path))
            .cloned()
            .collect();
        found.into_iter()
    }

    fn note(&mut self, eyes: &Eyes<'_>, path: RepoPath, stat: Stat) {
        if let Some(known) = self.files.get_mut(&path) {
            known.round = self.round;
            if known.print == Some((&stat).into()) {
                self.waiting.remove(&path);
                return;
            }
        } else if !self.waiting.contains_key(&path) {
            let name = path.as_str();
            let wanted = eyes.scope.include.is_match(name) && !eyes.scope.exclude.is_match(name);
            if !wanted || eyes.repo.is_ignored(&path) {
                return;
            }
        }
        self.wait(path, Some(stat));
    }

    fn missing(&mut self, path: RepoPath) {
        match self.files.get(&path) {
            Some(known) if known.mode != FileMode::Submodule => self.wait(path, None),
            _ => drop(self.waiting.remove(&path)),
        }
    }

    fn gone(&mut self, within: impl Fn(&RepoPath) -> bool) {
        let round = self.round;
        let missing: Vec<RepoPath> = self
            .files
            .iter()
            .filter(|(path, known)| known.round != round && within(path))
            .map(|(path, _)| path.clone())
            .collect();
        for path in missing {
            self.missing(path);
        }
    }

    fn wait(&mut self, path: RepoPath, stat: Option<Stat>) {
        let now = Instant::now();
        let waiting = self.waiting.entry(path).or_insert(Waiting { first: now, since: now, stat });
        if waiting.stat != stat {
            *waiting = Waiting { since: now, stat, ..*waiting };
        }
    }

    /// What waits, oldest path first.
    pub(super) fn waiting(&self) -> Vec<(RepoPath, Waiting)> {
        self.waiting.iter().map(|(path, waiting)| (path.clone(), *waiting)).collect()
    }
}

impl Waiting {
    /// For how long it has rested: as far as we saw, or as the file system says, where that is to be believed.
    pub(super) fn rested(&self) -> Duration {
        let seen = self.since.elapsed();
        let Some(stat) = &self.stat else { return seen };
        let age = nanos(SystemTime::now()).saturating_sub(stat.mtime.max(stat.ctime));
        match u64::try_from(age) {
            Ok(age) => seen.max(Duration::from_nanos(age)),
            // From the future: the clock was set back.
            Err(_) => seen,
        }
    }
}

fn nanos(time: SystemTime) -> i64 {
    time.duration_since(UNIX_EPOCH).ok().and_then(|since| i64::try_from(since.as_nanos()).ok()).unwrap_or(0)
}

#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
fn truncated(nanos: i64) -> (i32, u32) {
    (nanos.div_euclid(1_000_000_000) as i32, nanos.rem_euclid(1_000_000_000) as u32)
}

fn trouble(path: &str, error: &std::io::Error) -> PathTrouble {
    PathTrouble { path: path.to_owned(), message: error.to_string() }
}
