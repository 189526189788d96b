//! From what a look found to commits: one for each session that owns something of it, and one for what belongs to nobody.

use std::collections::{BTreeMap, BTreeSet};

use baft_repo::write::TreeEdits;
use baft_repo::{FileMode, Oid, RepoPath};

use super::fault::{Fault, fault};
use super::owners::{AskedFor, Ownership};
use super::{Agent, Commit, Order, SessionStamp, Signature, failpoint};

/// A finished file that passed.
#[derive(Debug)]
pub(super) struct Found {
    pub(super) blob: Oid,
    pub(super) mode: FileMode,
    pub(super) stat: baft_repo::live::Stat,
}

/// Everything one look found.
#[derive(Debug, Default)]
pub(super) struct Harvest {
    pub(super) edits: BTreeMap<RepoPath, Found>,
    pub(super) deletions: BTreeSet<RepoPath>,
    /// Files whose content derives from an older commit than the branch; nothing for one that is gone.
    pub(super) stale: BTreeMap<RepoPath, Option<Found>>,
}

impl Agent {
    pub(super) fn commit_harvest(&mut self, order: &Order, harvest: Harvest) -> Result<(), Fault> {
        self.capture_stale(order, &harvest)?;
        if harvest.edits.is_empty() && harvest.deletions.is_empty() {
            return Ok(());
        }
        let stale = self.stale_saves(&harvest);
        let owners = self.ownership(order);
        let mut shares: BTreeMap<Option<&str>, (Option<&SessionStamp>, TreeEdits)> = BTreeMap::new();
        let edits = harvest.edits.iter().map(|(path, found)| (path, Some((found.blob, found.mode))));
        for (path, now) in edits.chain(harvest.deletions.iter().map(|path| (path, None))) {
            let stamp = owners.of(path);
            let share = shares.entry(stamp.map(|stamp| stamp.id.as_str())).or_insert_with(|| (stamp, TreeEdits::new()));
            share.1.insert(path.clone(), now);
        }
        for (stamp, edits) in shares.into_values() {
            self.commit_share(order, stamp, edits, &stale)?;
        }
        self.tree.advance(&self.repo, self.tip()?).map_err(fault)?;
        for (path, found) in &harvest.edits {
            self.tree.settled(path, found.blob, &found.stat);
            self.unhold(path)?;
        }
        for path in &harvest.deletions {
            self.tree.forget(path);
        }
        let done: BTreeSet<RepoPath> = harvest.deletions;
        self.saved.change(|saved| saved.deletions.retain(|path| !done.contains(path))).map_err(fault)?;
        Ok(())
    }

    /// What belongs to one session, or to nobody, becomes one commit.
    fn commit_share(
        &mut self,
        order: &Order,
        stamp: Option<&SessionStamp>,
        edits: TreeEdits,
        stale: &BTreeSet<RepoPath>,
    ) -> Result<(), Fault> {
        let tip = self.tip()?;
        let base = self.repo.tree_id(tip).map_err(fault)?;
        let tree = self.repo.write_tree(Some(base), &edits).map_err(fault)?;
        if tree == base {
            return Ok(());
        }
        let paths: Vec<RepoPath> = edits.into_keys().collect();
        let author = self.author(stamp);
        let mut message = self.message(stamp, order.words_for(stamp), &paths);
        super::message::add_takes_back(&mut message, paths.iter().filter(|path| stale.contains(*path)));
        let commit = self.make_commit(tree, &[tip], &author, &message)?;
        failpoint::hit("capture.commit").map_err(fault)?;
        self.set_pending(tip, commit, "capture")?;
        failpoint::hit("capture.ref").map_err(fault)?;
        self.check_recent()?;
        self.report.captured.push(describe(commit, Some(tip), paths, stamp, &author));
        Ok(())
    }

    pub(super) fn ownership(&self, order: &Order) -> Ownership {
        let asked_for = if order.paths.is_some() { AskedFor::Paths } else { AskedFor::Everything };
        self.owners.seen_by(order.session.as_ref(), asked_for)
    }

    /// Files whose content derives from an older commit: captured beside the branch and brought together with it, as if somebody else had pushed
    /// them, so that the change of upstream they do not know survives.
    fn capture_stale(&mut self, order: &Order, harvest: &Harvest) -> Result<(), Fault> {
        for (path, found) in &harvest.stale {
            let Some(from) = self.saved.get().stale.get(path).copied() else { continue };
            let now = found.as_ref().map(|found| (found.blob, found.mode));
            let tip = self.tip()?;
            let (at_tip, at_base) = (self.entry(tip, path)?, self.entry(from, path)?);
            let blob = |side: Option<(Oid, FileMode)>| side.map(|(blob, _)| blob);
            if blob(now) == blob(at_tip) {
                self.saved.change(|saved| saved.stale.remove(path)).map_err(fault)?;
                if let Some(found) = found {
                    self.tree.settled(path, found.blob, &found.stat);
                }
                continue;
            }
            if blob(now) == blob(at_base) {
                // Not edited: it only waits for its turn.
                continue;
            }
            let edits = TreeEdits::from([(path.clone(), now)]);
            let base = self.repo.tree_id(from).map_err(fault)?;
            let tree = self.repo.write_tree(Some(base), &edits).map_err(fault)?;
            let owners = self.ownership(order);
            let stamp = owners.of(path);
            let author = self.author(stamp);
            let message = self.message(stamp, order.words_for(stamp), std::slice::from_ref(path));
            let side = self.make_commit(tree, &[from], &author, &message)?;
            self.join_side(side, path, stamp)?;
        }
        Ok(())
    }

    /// What was on disk while it did not belong to the branch. Never landed; kept by a ref of its own, and pushed to the rescue namespace.
    pub(super) fn snapshot(&mut self, order: &Order, harvest: &Harvest) -> Result<(), Fault> {
        let mut edits = TreeEdits::new();
        for (path, found) in &harvest.edits {
            self.snapshots.insert(path.clone(), (found.blob, found.mode));
        }
        for (path, found) in &harvest.stale {
            if let Some(found) = found {
                self.snapshots.insert(path.clone(), (found.blob, found.mode));
            }
        }
        for (path, side) in &self.snapshots {
            edits.insert(path.clone(), Some(*side));
        }
        if edits.is_empty() {
            return Ok(());
        }
        let tip = self.tip()?;
        let base = self.repo.tree_id(tip).map_err(fault)?;
        let tree = self.repo.write_tree(Some(base), &edits).map_err(fault)?;
        let before = self.repo.find_ref(&self.names.snapshot).map_err(fault)?;
        let same = |commit: Oid| self.repo.tree_id(commit).is_ok_and(|there| there == tree);
        if tree == base || before.is_some_and(same) {
            return Ok(());
        }
        let paths: Vec<RepoPath> = edits.into_keys().collect();
        let author = self.author(order.session.as_ref());
        let message =
            self.message(order.session.as_ref(), Some("what was on disk while the branch could not be moved"), &paths);
        let parents: Vec<Oid> = before.into_iter().chain([tip]).collect();
        let commit = self.make_commit(tree, &parents, &author, &message)?;
        self.move_ref(&self.names.snapshot.clone(), before, Some(commit), "snapshot")?;
        let parent = parents.first().copied();
        self.report.captured.push(describe(commit, parent, paths, order.session.as_ref(), &author));
        Ok(())
    }
}

pub(super) fn describe(
    oid: Oid,
    parent: Option<Oid>,
    paths: Vec<RepoPath>,
    session: Option<&SessionStamp>,
    author: &Signature,
) -> Commit {
    Commit {
        oid,
        parent,
        paths,
        session: session.map(|session| session.id.clone()),
        author: author.clone(),
        takes_back: Vec::new(),
    }
}
