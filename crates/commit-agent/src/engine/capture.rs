//! Capture: the bytes of every finished file into objects and a private ref. Index, HEAD and files are not touched, and nobody's lock matters.

use std::collections::BTreeSet;
use std::io;
use std::time::{Duration, Instant};

use baft_repo::live::{Content, Look, Stat, Writers};
use baft_repo::state::Head;
use baft_repo::write::Written;
use baft_repo::{FileMode, Oid, RepoPath};

use super::fault::{Fault, fault};
use super::harvest::{Found, Harvest};
use super::scan::{Eyes, Waiting};
use super::{Agent, Blocked, Flush, Order, PathTrouble, failpoint};
use crate::gates::{self, Hold, Reason, Verdict};

/// Contents that are written together.
#[derive(Debug, Default)]
pub(super) struct Bulk {
    contents: Vec<Vec<u8>>,
    bytes: usize,
}

/// With more files than this, contents are written as packs, of this many bytes each.
const MANY: usize = 64;
const MOST_BULK: usize = 8 << 20;
/// And with more bytes than this: single objects are remembered until no collection that is under way can delete them.
const MOST_SINGLE: u64 = 1 << 20;

impl Agent {
    /// Finds finished changes and captures them.
    pub(super) fn capture(&mut self, order: &Order) -> Result<(), Fault> {
        self.declare()?;
        let hints = self.hints.take();
        let eyes = Eyes { repo: &self.repo, live: &self.live, scope: &self.settings.scope };
        let troubles = self.tree.look(&eyes, hints);
        self.report.troubles.extend(troubles);
        let harvest = self.harvest(order)?;
        let odd = self.odd_state()?;
        if odd.is_some() {
            return self.snapshot(order, &harvest);
        }
        self.snapshots.clear();
        self.commit_harvest(order, harvest)
    }

    /// The gates read data as the repository declares it.
    fn declare(&mut self) -> Result<(), Fault> {
        let path = RepoPath::new(super::merge::DECLARATION).map_err(|error| Fault::other(error.to_string()))?;
        let now = self.tree.entry(&path).map(|(blob, _)| blob);
        if self.declared != Some(now) {
            let bytes = now.map(|blob| self.repo.read(blob)).transpose().map_err(fault)?;
            self.settings.gates.declare(bytes.as_deref());
            self.declared = Some(now);
            self.passed.clear();
        }
        Ok(())
    }

    /// Why what is on disk may not belong to the branch: a rebase, another branch, …
    pub(super) fn odd_state(&self) -> Result<Option<Blocked>, Fault> {
        if let Some(operation) = self.repo.operation() {
            return Ok(Some(Blocked::Operation(operation)));
        }
        // What is on disk has conflict markers until a person says otherwise.
        if self.repo.has_index_conflicts() {
            return Ok(Some(Blocked::Conflicts));
        }
        Ok(match self.repo.head_place().map_err(fault)? {
            Head::Branch(name) if name == self.names.branch => None,
            Head::Branch(name) => Some(Blocked::OtherBranch(name.trim_start_matches("refs/heads/").to_owned())),
            Head::Detached(_) => Some(Blocked::Detached),
        })
    }

    fn harvest(&mut self, order: &Order) -> Result<Harvest, Fault> {
        let mut harvest = Harvest::default();
        let mut gone = BTreeSet::new();
        let transit = self.transit()?;
        let owners = self.ownership(order);
        let flush = |path: &RepoPath| match order.flush {
            Flush::Now if owners.is_anothers(path) => Flush::Quiet,
            flush => flush,
        };
        let in_order =
            |path: &RepoPath| order.paths.as_ref().is_none_or(|only| only.iter().any(|one| path.starts_with(one)));
        self.drop_held_that_left()?;
        let waiting = self.tree.waiting();
        let size: u64 = waiting.iter().filter_map(|(_, waiting)| waiting.stat.map(|stat| stat.size)).sum();
        self.bulk = (waiting.len() > MANY || size > MOST_SINGLE).then(Bulk::default);
        for (path, waiting) in waiting {
            if !in_order(&path) || !self.is_finished(&path, &waiting, flush(&path)) {
                continue;
            }
            let stale = self.saved.get().stale.contains_key(&path);
            let Some(stat) = waiting.stat else {
                if transit.as_ref().is_some_and(|new| matches!(self.repo.tree_entry(*new, &path), Ok(None))) {
                    continue;
                }
                if stale {
                    harvest.stale.insert(path, None);
                } else {
                    gone.insert(path);
                }
                continue;
            };
            if self.held_stats.get(&path) == Some(&stat) {
                continue;
            }
            match self.read_finished(&path, stat, transit)? {
                Some(found) if stale => drop(harvest.stale.insert(path, Some(found))),
                Some(found) => drop(harvest.edits.insert(path, found)),
                None => {}
            }
        }
        self.flush_bulk()?;
        self.bulk = None;
        self.judge_deletions(gone, &mut harvest)?;
        self.sync_live(&harvest);
        Ok(harvest)
    }

    /// Editors do not put on disk what they save. A file that a power cut leaves older or emptier than what was captured of it would look like an
    /// edit that takes it back, so the file is on disk before the ref that says so.
    fn sync_live(&mut self, harvest: &Harvest) {
        let stale = harvest.stale.keys();
        let paths: Vec<&RepoPath> = harvest.edits.keys().chain(&harvest.deletions).chain(stale).collect();
        if paths.len() > MANY {
            if let Err(error) = self.live.sync_all() {
                tracing::warn!(%error, "the clone's files cannot be put on disk; what is captured of them is");
            }
            return;
        }
        for path in paths {
            // That the content is captured matters more.
            if let Err(error) = self.live.sync_path(path) {
                tracing::warn!(%path, %error, "the file cannot be put on disk; what is captured of it is");
            }
        }
    }

    /// Many contents become one pack.
    fn flush_bulk(&mut self) -> Result<(), Fault> {
        let Some(bulk) = self.bulk.as_mut().map(std::mem::take).filter(|bulk| !bulk.contents.is_empty()) else {
            return Ok(());
        };
        self.repo.write_blobs(&bulk.contents).map(drop).map_err(fault)
    }

    fn is_finished(&self, path: &RepoPath, waiting: &Waiting, flush: Flush) -> bool {
        let overdue = waiting.first.elapsed() >= self.settings.max_wait;
        let rested = waiting.rested() >= self.settings.quiet;
        let writers = || waiting.stat.is_some() && self.live.writers(path) == Writers::Some;
        match flush {
            Flush::Now => !writers(),
            Flush::Quiet => overdue || rested && !writers(),
        }
    }

    /// Reads a file and shows it to the gates; nothing when it is not to be captured now.
    fn read_finished(&mut self, path: &RepoPath, seen: Stat, transit: Option<Oid>) -> Result<Option<Found>, Fault> {
        let limit = self.settings.gates.max_file_bytes;
        let (content, mode, stat) = match self.live.read(path, limit) {
            Ok(Look::Stable { content, mode, stat }) => (content, mode, stat),
            // It goes on waiting.
            Ok(Look::Absent | Look::Unstable | Look::Special) => return Ok(None),
            Err(error) => {
                self.leave(path, seen, error.to_string());
                return Ok(None);
            }
        };
        let committed = self.tree.entry(path);
        let bytes = match content {
            Content::Bytes(bytes) => bytes,
            Content::Large(file) => {
                let blob = self.repo.write_blob_from(stat.size, file).map_err(fault)?;
                if self.saved.get().released.get(path) == Some(&blob) {
                    return Ok(Some(Found { blob, mode: kept_mode(mode, committed), stat }));
                }
                if let Verdict::Hold(hold) = gates::check_size(&self.settings.gates, stat.size) {
                    self.hold(path, Some(blob), hold, Some(stat))?;
                }
                return Ok(None);
            }
        };
        let blob = Oid::of_blob(&bytes);
        let mode = kept_mode(mode, committed);
        if committed == Some((blob, mode)) && !self.saved.get().stale.contains_key(path) {
            self.tree.settled(path, blob, &stat);
            self.unhold(path)?;
            return Ok(None);
        }
        if transit.is_some_and(|new| matches!(self.repo.tree_entry(new, path), Ok(Some((there, _))) if there == blob)) {
            return Ok(None);
        }
        if committed.is_some_and(|(_, mode)| mode == FileMode::Submodule) {
            return Ok(None);
        }
        if mode != FileMode::Symlink
            && let Some(why) = self.repo.conversion(path, &bytes)
        {
            self.leave(path, seen, format!("{why}: left out"));
            return Ok(None);
        }
        if let Some(hold) = self.judge(path, blob, &bytes, committed.map(|(blob, _)| blob))? {
            self.repo.write_blob(&bytes).map_err(fault)?;
            self.hold(path, Some(blob), hold, Some(stat))?;
            return Ok(None);
        }
        failpoint::hit("capture.blobs").map_err(fault)?;
        if let Some(bulk) = &mut self.bulk {
            bulk.bytes += bytes.len();
            bulk.contents.push(bytes);
            if bulk.bytes > MOST_BULK {
                self.flush_bulk()?;
            }
        } else {
            self.repo.write_blob(&bytes).map_err(fault)?;
        }
        Ok(Some(Found { blob, mode, stat }))
    }

    /// Nothing can be done about a file as it is: told in every report, but no reason to look again soon.
    fn leave(&mut self, path: &RepoPath, stat: Stat, message: String) {
        self.left.insert(path.clone(), stat);
        self.report.troubles.push(PathTrouble { path: path.to_string(), message });
    }

    /// What the gates say about a content; nothing when it passes, or a person let it pass.
    pub(super) fn judge(
        &mut self,
        path: &RepoPath,
        blob: Oid,
        bytes: &[u8],
        previous: Option<Oid>,
    ) -> Result<Option<Hold>, Fault> {
        if self.saved.get().refused.get(path) == Some(&blob) {
            return Ok(Some(Hold { reason: Reason::Refused, detail: "the server refuses this content".to_owned() }));
        }
        if self.saved.get().released.get(path) == Some(&blob) {
            return Ok(None);
        }
        let key = (path.clone(), blob);
        if self.passed.contains(&key) {
            return Ok(None);
        }
        let previous = previous.and_then(|blob| self.repo.read(blob).ok());
        match gates::check_file(&self.settings.gates, path, bytes, previous.as_deref()) {
            Verdict::Pass => {
                if self.passed.len() > MOST_PASSED {
                    self.passed.clear();
                }
                self.passed.insert(key);
                Ok(None)
            }
            Verdict::Hold(hold) => Ok(Some(hold)),
        }
    }

    fn judge_deletions(&mut self, gone: BTreeSet<RepoPath>, harvest: &mut Harvest) -> Result<(), Fault> {
        // What only moved is not lost.
        let arrived: BTreeSet<Oid> = harvest.edits.values().map(|found| found.blob).collect();
        let lost = |path: &&RepoPath| self.tree.entry(path).is_none_or(|(blob, _)| !arrived.contains(&blob));
        let confirmed = &self.saved.get().deletions;
        let unconfirmed: Vec<RepoPath> =
            gone.iter().filter(lost).filter(|path| !confirmed.contains(*path)).cloned().collect();
        let verdict = gates::check_deletions(&self.settings.gates, unconfirmed.len(), self.tree.len());
        if let Verdict::Hold(hold) = verdict {
            for path in &unconfirmed {
                self.hold(path, None, hold.clone(), None)?;
            }
            let unconfirmed: BTreeSet<RepoPath> = unconfirmed.into_iter().collect();
            harvest.deletions = gone.difference(&unconfirmed).cloned().collect();
        } else {
            harvest.deletions = gone;
        }
        for path in harvest.deletions.clone() {
            self.unhold(&path)?;
        }
        Ok(())
    }

    /// A person's `git gc --prune=now` may decide what to delete before a ref leads to our objects, and delete it after. What was written in the last
    /// minutes is looked for, and written again when it is gone.
    pub(super) fn check_recent(&mut self) -> Result<(), Fault> {
        let now = Instant::now();
        if self.released.is_none_or(|when| now.duration_since(when) > RECENT / 10) {
            self.released = Some(now);
            self.repo.release_packs(RECENT).map_err(fault)?;
        }
        self.recent.extend(self.repo.take_written().into_iter().map(|object| (now, object)));
        let mut kept = 0;
        let mut fits = |(when, object): &(Instant, Written)| {
            kept += object.size();
            kept <= MOST_RECENT && when.elapsed() < RECENT
        };
        let keep = self.recent.iter().rev().take_while(|one| fits(one)).count();
        self.recent.drain(..self.recent.len() - keep);
        if self.recent.is_empty() {
            return Ok(());
        }
        let fresh = baft_repo::Repo::open(&self.settings.clone).map_err(fault)?;
        let mut restored = 0;
        for (_, object) in &self.recent {
            restored += usize::from(fresh.restore(object).map_err(fault)?);
        }
        if restored > 0 {
            tracing::warn!(restored, "somebody's git gc --prune deleted objects that were just written: written again");
        }
        Ok(())
    }

    /// When the next file will have rested.
    pub(super) fn next_rest(&self) -> Option<Duration> {
        let now = Instant::now();
        let due = |(path, waiting): (RepoPath, Waiting)| {
            let known = |of: &std::collections::HashMap<RepoPath, Stat>| {
                waiting.stat.is_some_and(|stat| of.get(&path) == Some(&stat))
            };
            let gone = waiting.stat.is_none() && self.saved.get().held.contains_key(&path);
            if known(&self.held_stats) || known(&self.left) || gone {
                return None;
            }
            let rest = self.settings.quiet.saturating_sub(waiting.rested());
            let most = self.settings.max_wait.saturating_sub(now.duration_since(waiting.first));
            // What should be finished and is not is being written this moment.
            Some(if rest.is_zero() || most.is_zero() { AGAIN } else { rest.min(most).max(SOON) })
        };
        self.tree.waiting().into_iter().filter_map(due).min()
    }
}

/// How long, and in how many bytes, objects are kept in memory after they were written.
const RECENT: Duration = Duration::from_secs(600);
const MOST_RECENT: usize = 2 << 20;
/// When to look again: at a file that is still being written, and at the earliest.
const AGAIN: Duration = Duration::from_secs(1);
const SOON: Duration = Duration::from_millis(50);
/// Verdicts that are remembered.
const MOST_PASSED: usize = 100_000;

/// A change of the executable bit alone is none: shared volumes and editors flip it at will.
fn kept_mode(mode: FileMode, committed: Option<(Oid, FileMode)>) -> FileMode {
    match (mode, committed) {
        (FileMode::File | FileMode::Executable, Some((_, kept @ (FileMode::File | FileMode::Executable)))) => kept,
        (mode, _) => mode,
    }
}

impl From<io::Error> for Fault {
    fn from(error: io::Error) -> Self {
        fault(error)
    }
}
