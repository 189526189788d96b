//! How everything is, from what is known.

use std::time::Duration;

use baft_repo::live::{Content, Look};
use baft_repo::{Oid, RepoError, RepoPath};

use super::{Agent, Check, Relation, Status, at};

/// More waiting files are not compared one by one.
const MOST_COMPARED: usize = 1000;

impl Agent {
    /// How clone and remote compare, as far as that is known without asking the remote.
    ///
    /// # Errors
    /// The repository cannot be read.
    pub fn compare(&self) -> Result<Check, RepoError> {
        let head = self.repo.find_ref(&self.names.branch)?;
        let upstream = self.repo.find_ref(&self.names.upstream)?;
        let count = |from: Option<_>, without: Option<_>| -> Result<usize, RepoError> {
            let Some(from) = from else { return Ok(0) };
            let without: Vec<_> = without.into_iter().collect();
            Ok(self.repo.commits(from, &without)?.len())
        };
        let ahead = count(head, upstream)?;
        let behind = count(upstream, head)?;
        let relation = match (ahead, behind) {
            (0, 0) => Relation::Current,
            (0, _) => Relation::Behind,
            (_, 0) => Relation::Ahead,
            _ => Relation::Diverged,
        };
        let as_of = at(self.saved.get().last_fetch.unwrap_or(0));
        Ok(Check { as_of, relation, ahead, behind, dirty_files: self.dirty_files(), head, upstream })
    }

    /// How many files have another content than what was captured.
    fn dirty_files(&self) -> usize {
        let waiting = self.tree.waiting();
        if waiting.len() > MOST_COMPARED {
            return waiting.len();
        }
        waiting.iter().filter(|(path, _)| self.is_dirty(path)).count()
    }

    /// Whether a path that waits has another content than what was captured. What we wrote ourselves a moment ago waits too, until it has rested.
    pub(super) fn is_dirty(&self, path: &RepoPath) -> bool {
        let captured = self.tree.entry(path).map(|(blob, _)| blob);
        match self.live.read(path, self.settings.gates.max_file_bytes) {
            Ok(Look::Stable { content: Content::Bytes(bytes), .. }) => captured != Some(Oid::of_blob(&bytes)),
            Ok(Look::Absent) => captured.is_some(),
            _ => true,
        }
    }

    /// How many events wait to be announced.
    #[must_use]
    pub fn unannounced(&self) -> usize {
        let saved = self.saved.get();
        let conflicts = saved.parked.iter().filter(|record| !record.announced).count();
        let held = saved.held.values().filter(|record| !record.announced).count();
        let branch = self.repo.find_ref(&self.names.branch).ok().flatten();
        let told: Vec<_> = saved.announced.iter().copied().filter(|oid| self.repo.contains(*oid)).collect();
        let commits =
            branch.filter(|branch| !told.contains(branch)).and_then(|branch| self.repo.commits(branch, &told).ok());
        let ours =
            commits.unwrap_or_default().into_iter().filter(|commit| self.is_ours(*commit).unwrap_or(false)).count();
        conflicts + held + ours + saved.pushes.len()
    }

    /// Commits the remote lacks, landed or not.
    pub(super) fn unpushed(&self) -> usize {
        let Ok(tip) = self.tip() else { return 0 };
        let upstream = self.upstream().ok().flatten();
        let commits = self.commits(tip, &[upstream]).unwrap_or_default();
        let empty = upstream.is_none() && commits.len() == 1 && self.tree.len() == 0;
        if empty { 0 } else { commits.len() }
    }

    /// How everything is. Cheap.
    #[must_use]
    pub fn status(&self) -> Status {
        let read = |name: &str| self.repo.find_ref(name).ok().flatten();
        let lock_age = baft_repo::lock::age(&self.repo.index_lock_path());
        let held = &self.saved.get().held;
        let oldest = self
            .tree
            .waiting()
            .into_iter()
            .filter(|(path, _)| !held.contains_key(path))
            .map(|(_, waiting)| waiting.first.elapsed())
            .max();
        let odd = self.odd_state().ok().flatten();
        Status {
            head: read(&self.names.branch),
            captured: read(&self.names.pending),
            upstream: read(&self.names.upstream),
            unpushed: self.unpushed(),
            parked: self.parked(),
            held: self.held(),
            blocked: odd.or_else(|| self.blocked.clone()),
            index_lock_age: lock_age.filter(|age| *age > Duration::ZERO),
            oldest_uncaptured: oldest,
            last_fetch: self.saved.get().last_fetch.map(at),
            last_push: self.saved.get().last_push.map(at),
            last_scan: self.tree.last_scan,
            failures: self.backoff.failures(),
            errors: self.errors.clone(),
        }
    }
}
