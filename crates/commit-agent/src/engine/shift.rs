//! Moving files, index and branch together, in this order, under git's own lock and with a journal.
//!
//! With the branch first, a crash would leave old files under a new branch, and the next capture would take upstream's change back. With the files
//! first, a crash leaves new files under the old branch: the same step, done again, finds them in place.

use std::time::Duration;

use baft_repo::index::IndexEdit;
use baft_repo::live::{Content, Look, Outcome, Stat, Sync, Wanted};
use baft_repo::lock::OwnLock;
use baft_repo::{FileMode, Oid, RepoPath};

use super::fault::{Fault, fault};
use super::saved::{Journal, Touch};
use super::{Agent, Class, PathTrouble, failpoint};

/// One path of a step.
#[derive(Debug)]
struct Move {
    path: RepoPath,
    old: Option<(Oid, FileMode)>,
    new: Option<(Oid, FileMode)>,
    /// What the finished file beside the path said about itself.
    prepared: Option<Stat>,
    state: Now,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Now {
    /// Not touched, or not to be touched.
    Left,
    /// As wanted.
    Done,
    /// Somebody is at it.
    Busy,
}

/// More files than this are put on disk together.
const MANY: usize = 64;

/// Git's lock is held for milliseconds by every `git status`.
const LOCK_TRIES: u32 = 12;

impl Agent {
    /// Moves the branch from `old` to `new`, with the index, and with the files when they are to be touched. Paths that somebody was changing
    /// meanwhile are left alone and remembered as deriving from `old`; which they are.
    pub(super) fn shift(&mut self, old: Oid, new: Oid, touch: Touch) -> Result<Vec<RepoPath>, Fault> {
        let lock = self.take_index()?;
        if let Some(blocked) = self.odd_state()? {
            return Err(Fault::blocked(blocked));
        }
        let branch = self.branch()?;
        if branch != old {
            return Err(Fault::new(Class::Race, format!("the branch is at {branch}, not at {old}: somebody moved it")));
        }
        let journal = Journal { old, new, touch };
        journal.write(&self.files.journal()).map_err(fault)?;
        failpoint::hit("land.journal").map_err(fault)?;
        self.shift_locked(&lock, &journal)
    }

    /// Finishes what a journal says was begun.
    pub(super) fn resume(&mut self) -> Result<(), Fault> {
        let Some(journal) = Journal::read(&self.files.journal()).map_err(fault)? else { return Ok(()) };
        let branch = self.branch()?;
        if branch == journal.new {
            self.finish(&journal)?;
            return Ok(());
        }
        let lock = self.take_index()?;
        if let Some(blocked) = self.odd_state()? {
            return Err(Fault::blocked(blocked));
        }
        self.recover_files(&journal)?;
        if branch != journal.old {
            // A person moved the branch since. What is on disk is theirs, and what is ours among it is captured as an edit of the same content.
            tracing::warn!(%branch, old = %journal.old, new = %journal.new, "the branch was moved during an interrupted step");
            return Journal::clear(&self.files.journal()).map_err(fault);
        }
        self.shift_locked(&lock, &journal).map(drop)
    }

    /// What an interrupted exchange left beside files: put back, or kept.
    fn recover_files(&mut self, journal: &Journal) -> Result<(), Fault> {
        if journal.touch == Touch::Nothing {
            return Ok(());
        }
        for step in self.moves(journal)? {
            let wanted = Wanted { path: &step.path, old: step.old.map(|(blob, _)| blob), new: step.new };
            for bytes in self.live.recover(&wanted).map_err(fault)? {
                self.keep_displaced(&step.path, &bytes)?;
            }
        }
        Ok(())
    }

    pub(super) fn take_index(&self) -> Result<OwnLock, Fault> {
        let path = self.repo.index_lock_path();
        let mut pause = Duration::from_millis(5);
        for _ in 1..LOCK_TRIES {
            match self.locks.take(&path, format!("baft commit-agent {}\n", self.settings.agent).as_bytes()) {
                Err(baft_repo::RepoError::Locked { .. }) => std::thread::sleep(pause),
                result => return result.map_err(fault),
            }
            pause = (pause * 3 / 2).min(Duration::from_millis(60));
        }
        self.locks.take(&path, b"").map_err(fault)
    }

    fn moves(&self, journal: &Journal) -> Result<Vec<Move>, Fault> {
        let mut moves = Vec::new();
        for change in self.repo.diff(Some(journal.old), journal.new).map_err(fault)? {
            let old = if change.old.is_some() { self.entry(journal.old, &change.path)? } else { None };
            let new = if change.new.is_some() { self.entry(journal.new, &change.path)? } else { None };
            moves.push(Move { path: change.path, old, new, prepared: None, state: Now::Left });
        }
        Ok(moves)
    }

    fn shift_locked(&mut self, lock: &OwnLock, journal: &Journal) -> Result<Vec<RepoPath>, Fault> {
        let mut moves = self.moves(journal)?;
        if journal.touch == Touch::Files {
            self.prepare(&mut moves)?;
            failpoint::hit("move.prepared").map_err(fault)?;
            self.replace(&mut moves)?;
            failpoint::hit("move.replaced").map_err(fault)?;
        }
        let busy: Vec<RepoPath> =
            moves.iter().filter(|step| step.state == Now::Busy).map(|step| step.path.clone()).collect();
        if !busy.is_empty() {
            let old = journal.old;
            let note = busy.clone();
            self.saved
                .change(|saved| {
                    for path in note {
                        saved.stale.entry(path).or_insert(old);
                    }
                })
                .map_err(fault)?;
            failpoint::hit("move.stale").map_err(fault)?;
        }
        let edits = self.index_edits(&moves, journal)?;
        let staged =
            self.repo.stage_index(lock, &self.files.private_index(), Some(journal.old), &edits).map_err(fault)?;
        failpoint::hit("land.staged").map_err(fault)?;
        let report = staged.install(lock).map_err(fault)?;
        if !report.kept.is_empty() {
            tracing::info!(paths = report.kept.len(), "kept what a person has staged");
        }
        failpoint::hit("land.index").map_err(fault)?;
        let name = self.names.branch.clone();
        self.move_ref(&name, Some(journal.old), Some(journal.new), "land")?;
        failpoint::hit("land.branch").map_err(fault)?;
        self.finish(journal)?;
        self.note_moved(&moves)?;
        Ok(busy)
    }

    /// The branch is where it should be: the rest of the bookkeeping.
    fn finish(&mut self, journal: &Journal) -> Result<(), Fault> {
        let landed = self.names.landed.clone();
        self.set_ref(&landed, journal.new, "land")?;
        failpoint::hit("land.landed").map_err(fault)?;
        let tip = self.tip()?;
        let follows = self.repo.is_ancestor(tip, journal.new).map_err(fault)?;
        // A step that takes something out of the branch leaves the old tip behind; a capture that was made meanwhile goes on from it.
        if tip == journal.old || follows {
            self.set_pending(tip, journal.new, "land")?;
        }
        failpoint::hit("land.pending").map_err(fault)?;
        Journal::clear(&self.files.journal()).map_err(fault)
    }

    fn note_moved(&mut self, moves: &[Move]) -> Result<(), Fault> {
        self.tree.advance(&self.repo, self.tip()?).map_err(fault)?;
        for step in moves {
            match (step.state, step.new) {
                (Now::Done, Some((blob, _))) => {
                    if let Some(stat) = self.stat_if_prepared(step)? {
                        self.tree.settled(&step.path, blob, &stat);
                    }
                }
                (Now::Done, None) => self.tree.forget(&step.path),
                _ => {}
            }
        }
        Ok(())
    }

    /// The file's stat, if it is still the file that was put there.
    fn stat_if_prepared(&self, step: &Move) -> Result<Option<Stat>, Fault> {
        let Some(prepared) = &step.prepared else { return Ok(None) };
        let stat = self.live.stat(&step.path).map_err(fault)?;
        Ok(stat.filter(|stat| (stat.ino, stat.mtime, stat.size) == (prepared.ino, prepared.mtime, prepared.size)))
    }

    /// Writes every new content beside its path. When there is no room for all, nothing has changed.
    fn prepare(&mut self, moves: &mut [Move]) -> Result<(), Fault> {
        let sync = if moves.len() > MANY { Sync::Later } else { Sync::Now };
        let mut failed = None;
        for step in moves.iter_mut() {
            let gitlink = |side: Option<(Oid, FileMode)>| side.is_some_and(|(_, mode)| mode == FileMode::Submodule);
            if gitlink(step.old) || gitlink(step.new) {
                self.report.troubles.push(PathTrouble {
                    path: step.path.to_string(),
                    message: "it is a submodule: left as it is".to_owned(),
                });
                continue;
            }
            let Some((blob, mode)) = step.new else {
                step.state = Now::Done;
                continue;
            };
            let content = self.repo.read(blob).map_err(fault)?;
            if mode != FileMode::Symlink
                && let Some(why) = self.repo.conversion(&step.path, &content)
            {
                self.report
                    .troubles
                    .push(PathTrouble { path: step.path.to_string(), message: format!("{why}: left as it is") });
                continue;
            }
            let like = self.live.stat(&step.path).ok().flatten();
            match self.live.prepare(&step.path, mode, &content, like.as_ref(), sync) {
                Ok(stat) => {
                    step.prepared = Some(stat);
                    step.state = Now::Done;
                }
                Err(error) => {
                    let fault = fault(error);
                    if fault.class == Class::Disk {
                        failed = Some(fault);
                        break;
                    }
                    self.report.troubles.push(PathTrouble { path: step.path.to_string(), message: fault.message });
                    step.state = Now::Busy;
                }
            }
        }
        if failed.is_none() && sync == Sync::Later {
            failed = self.live.sync_all().err().map(fault);
        }
        let Some(failure) = failed else { return Ok(()) };
        for step in moves.iter().filter(|step| step.prepared.is_some()) {
            self.live.discard(&step.path).map_err(fault)?;
        }
        Journal::clear(&self.files.journal()).map_err(fault)?;
        Err(failure)
    }

    fn replace(&mut self, moves: &mut [Move]) -> Result<(), Fault> {
        // Deletions first: a file may take a folder's place.
        let order = |step: &Move| step.new.is_some();
        for pass in [false, true] {
            for step in moves.iter_mut().filter(|step| order(step) == pass && step.state == Now::Done) {
                let wanted = Wanted { path: &step.path, old: step.old.map(|(blob, _)| blob), new: step.new };
                failpoint::hit("move.replace").map_err(fault)?;
                match self.live.replace(&wanted) {
                    Ok(Outcome::Done) => {}
                    Ok(Outcome::Busy { displaced }) => {
                        step.state = Now::Busy;
                        if let Some(bytes) = displaced {
                            let path = step.path.clone();
                            self.keep_displaced(&path, &bytes)?;
                        }
                    }
                    Err(error) => {
                        self.report
                            .troubles
                            .push(PathTrouble { path: step.path.to_string(), message: error.to_string() });
                        step.state = Now::Busy;
                    }
                }
                failpoint::hit("move.replaced_one").map_err(fault)?;
            }
        }
        let mut synced = std::collections::BTreeSet::new();
        for step in moves.iter().filter(|step| step.state == Now::Done) {
            if synced.insert(step.path.parent()) {
                self.live.sync_folder_of(&step.path).map_err(fault)?;
            }
        }
        Ok(())
    }

    fn index_edits(&self, moves: &[Move], journal: &Journal) -> Result<Vec<IndexEdit>, Fault> {
        let mut edits = Vec::with_capacity(moves.len());
        for step in moves {
            let stat = match (journal.touch, step.state, step.new) {
                (Touch::Files, Now::Done, Some(_)) => self.stat_if_prepared(step)?,
                (Touch::Nothing, _, Some((blob, _))) => {
                    let stat = self.live.stat(&step.path).map_err(fault)?;
                    stat.filter(|stat| self.tree.is_verified(&step.path, blob, stat))
                }
                _ => None,
            };
            edits.push(IndexEdit { path: step.path.clone(), old: step.old, new: step.new, stat });
        }
        Ok(edits)
    }

    /// The tree a journal is moving files to, while it cannot be finished.
    pub(super) fn transit(&self) -> Result<Option<Oid>, Fault> {
        let journal = Journal::read(&self.files.journal()).map_err(fault)?;
        let moving = journal.filter(|journal| journal.touch == Touch::Files);
        moving.map(|journal| self.repo.tree_id(journal.new)).transpose().map_err(fault)
    }

    /// Files that derive from an older commit and were not edited since get the branch's content; what came out of conflicts gets upstream's, once
    /// the rest is safe on the remote.
    pub(super) fn settle(&mut self) -> Result<(), Fault> {
        for (path, from) in self.saved.get().stale.clone() {
            if let Err(fault) = self.settle_one(&path, from) {
                // One file must not hold up the others.
                self.report.troubles.push(PathTrouble { path: path.to_string(), message: fault.message });
            }
        }
        Ok(())
    }

    fn settle_one(&mut self, path: &RepoPath, from: Oid) -> Result<(), Fault> {
        let parked = self.saved.get().parked.iter().find(|record| record.commit == from);
        if parked.is_some_and(|record| record.confirmed == super::Confirmed::No) {
            return Ok(());
        }
        let tip = self.tip()?;
        let (old, new) = (self.entry(from, path)?, self.entry(tip, path)?);
        let old_blob = old.map(|(blob, _)| blob);
        let wanted = Wanted { path, old: old_blob, new };
        for bytes in self.live.recover(&wanted).map_err(fault)? {
            self.keep_displaced(path, &bytes)?;
        }
        if new.is_some_and(|(_, mode)| mode == FileMode::Submodule) {
            return Ok(());
        }
        let on_disk = match self.live.read(path, u64::MAX).map_err(fault)? {
            Look::Stable { content: Content::Bytes(bytes), .. } => Some(Oid::of_blob(&bytes)),
            Look::Absent => None,
            _ => return Ok(()),
        };
        if on_disk == new.map(|(blob, _)| blob) {
            self.saved.change(|saved| saved.stale.remove(path)).map_err(fault)?;
            return Ok(());
        }
        if on_disk != old_blob {
            return Ok(());
        }
        if let Some((blob, mode)) = new {
            let content = self.repo.read(blob).map_err(fault)?;
            let like = self.live.stat(path).ok().flatten();
            self.live.prepare(path, mode, &content, like.as_ref(), Sync::Now).map_err(fault)?;
        }
        match self.live.replace(&wanted).map_err(fault)? {
            Outcome::Done => {
                self.live.sync_folder_of(path).map_err(fault)?;
                failpoint::hit("settle.exchanged").map_err(fault)?;
                self.saved.change(|saved| saved.stale.remove(path)).map_err(fault)?;
                self.tree.suspect(path);
            }
            Outcome::Busy { displaced } => {
                if let Some(bytes) = displaced {
                    self.keep_displaced(path, &bytes)?;
                }
            }
        }
        Ok(())
    }
}
