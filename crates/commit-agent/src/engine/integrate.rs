//! Bringing upstream and the branch together, in memory; and the side lines of files that derive from an older commit.

use std::collections::BTreeSet;

use baft_repo::write::{Stamp, TreeEdits};
use baft_repo::{Oid, RepoPath};

use super::fault::{Fault, fault};
use super::harvest::describe;
use super::machine::Input;
use super::saved::Touch;
use super::{Agent, BroughtIn, Confirmed, ParkedKind, SessionStamp, failpoint, merge};

/// A result that is not in the files yet.
#[derive(Debug, Clone)]
pub(super) struct Plan {
    pub(super) old: Oid,
    pub(super) new: Oid,
    /// What upstream wins over, where it does.
    pub(super) parked: Option<(Oid, Vec<RepoPath>, Option<Oid>)>,
}

impl Agent {
    /// Works out where the branch goes.
    pub(super) fn integrate(&mut self) -> Result<Input, Fault> {
        self.plan = None;
        let rewritten = self.saved.get().rewritten;
        if rewritten.is_some() && self.saved.get().follow != rewritten {
            return Ok(Input::Rewritten);
        }
        self.take_out_unclean()?;
        let branch = self.branch()?;
        if let Some(new) = rewritten {
            return self.follow(branch, new);
        }
        let Some(upstream) = self.upstream()? else { return Ok(Input::Done) };
        if self.repo.is_ancestor(upstream, branch).map_err(fault)? {
            return self.try_return(branch);
        }
        if self.repo.is_ancestor(branch, upstream).map_err(fault)? {
            self.plan = Some(Plan { old: branch, new: upstream, parked: None });
            return Ok(Input::Merged);
        }
        let Some(base) = self.repo.merge_base(branch, upstream).map_err(fault)? else {
            return self.unrelated(branch, upstream);
        };
        let plan = self.diverged(branch, upstream, base)?;
        let conflict = plan.parked.is_some();
        failpoint::hit("integrate.commit").map_err(fault)?;
        self.plan = Some(plan);
        Ok(if conflict { Input::Conflict } else { Input::Merged })
    }

    /// Histories without a common commit. A branch without content gives way; anything else waits for a person.
    fn unrelated(&mut self, branch: Oid, upstream: Oid) -> Result<Input, Fault> {
        if self.repo.list(branch, None).map_err(fault)?.is_empty() {
            self.plan = Some(Plan { old: branch, new: upstream, parked: None });
            return Ok(Input::Merged);
        }
        self.saved.change(|saved| saved.rewritten = Some(upstream)).map_err(fault)?;
        Ok(Input::Rewritten)
    }

    /// A person agreed to follow a rewritten history. What only the branch has is parked as it is, and put on top of the new history where it does
    /// not conflict; what upstream threw away stays thrown away.
    fn follow(&mut self, branch: Oid, new: Oid) -> Result<Input, Fault> {
        let old = self.upstream()?;
        let ours = self.commits(branch, &[old, Some(new)])?;
        let tree_of = |commit| self.repo.tree_id(commit).map_err(fault);
        let base = match old {
            Some(old) => Some(old),
            None => self.repo.merge_base(branch, new).map_err(fault)?,
        };
        let merged =
            merge::trees(&self.repo, base.map(tree_of).transpose()?, tree_of(branch)?, tree_of(new)?).map_err(fault)?;
        let mut tip = new;
        if merged.tree != tree_of(new)? {
            let author = self.author_of(&ours)?;
            let text = super::message::trailers("Changes on top of a rewritten history", &self.settings.agent, None);
            tip = self.make_commit_by(merged.tree, &[new], &author, author.seconds, &text)?;
        }
        if ours.is_empty() {
            self.plan = Some(Plan { old: branch, new: tip, parked: None });
            return Ok(Input::Merged);
        }
        let paths = if merged.conflicts.is_empty() { self.changed_paths(base, branch)? } else { merged.conflicts };
        self.plan = Some(Plan { old: branch, new: tip, parked: Some((branch, paths, base)) });
        Ok(Input::Conflict)
    }

    fn changed_paths(&self, from: Option<Oid>, to: Oid) -> Result<Vec<RepoPath>, Fault> {
        Ok(self.repo.diff(from, to).map_err(fault)?.into_iter().map(|change| change.path).collect())
    }

    fn diverged(&mut self, branch: Oid, upstream: Oid, base: Oid) -> Result<Plan, Fault> {
        let tree_of = |commit| self.repo.tree_id(commit).map_err(fault);
        let ours = self.commits(branch, &[Some(upstream)])?;
        if let Some(new) = self.replay(&ours, base, upstream)? {
            return Ok(Plan { old: branch, new, parked: None });
        }
        let merged =
            merge::trees(&self.repo, Some(tree_of(base)?), tree_of(branch)?, tree_of(upstream)?).map_err(fault)?;
        let committer = self.settings.committer.clone();
        if merged.conflicts.is_empty() {
            let text = format!("Merge {} with what others pushed", self.settings.branch);
            let text = super::message::trailers(&text, &self.settings.agent, None);
            let new = self.make_commit(merged.tree, &[upstream, branch], &committer, &text)?;
            return Ok(Plan { old: branch, new, parked: None });
        }
        let mut new = upstream;
        if merged.tree != tree_of(upstream)? {
            let text = format!(
                "Changes that do not conflict with what others pushed\n\nThe others are in {}.",
                self.names.rescue(branch).trim_start_matches("refs/heads/")
            );
            let text = super::message::trailers(&text, &self.settings.agent, None);
            let author = self.author_of(&ours)?;
            new = self.make_commit_by(merged.tree, &[upstream], &author, author.seconds, &text)?;
        }
        Ok(Plan { old: branch, new, parked: Some((branch, merged.conflicts, Some(base))) })
    }

    /// The one author of a range, or nobody.
    fn author_of(&self, commits: &[Oid]) -> Result<Stamp, Fault> {
        let mut found: Option<Stamp> = None;
        let nobody = &self.settings.auto_author;
        for commit in commits {
            let info = self.repo.commit_info(*commit).map_err(fault)?;
            let stamp = Stamp { name: info.author.name, email: info.author.email, seconds: info.time };
            match &found {
                Some(one) if (&one.name, &one.email) != (&stamp.name, &stamp.email) => {
                    return Ok(Stamp {
                        name: nobody.name.clone(),
                        email: nobody.email.clone(),
                        seconds: stamp.seconds,
                    });
                }
                _ => found = Some(stamp),
            }
        }
        Ok(found.unwrap_or(Stamp { name: nobody.name.clone(), email: nobody.email.clone(), seconds: 0 }))
    }

    /// Our commits, one by one, on top of upstream: only when all of them are ours, in a line, and nobody touched the same files, so that every
    /// content stays exactly what it was.
    fn replay(&self, ours: &[Oid], base: Oid, upstream: Oid) -> Result<Option<Oid>, Fault> {
        let mut steps = Vec::new();
        let mut touched = BTreeSet::new();
        for commit in ours {
            let info = self.repo.commit_info(*commit).map_err(fault)?;
            let [parent] = info.parents.as_slice() else { return Ok(None) };
            if !self.is_ours(*commit)? {
                return Ok(None);
            }
            let changes = self.repo.diff(Some(*parent), *commit).map_err(fault)?;
            touched.extend(changes.iter().map(|change| change.path.clone()));
            let author = Stamp { name: info.author.name, email: info.author.email, seconds: info.time };
            steps.push((*commit, author, changes));
        }
        let tree_of = |commit| self.repo.tree_id(commit).map_err(fault);
        if !merge::disjoint(&self.repo, tree_of(base)?, &touched, tree_of(upstream)?).map_err(fault)? {
            return Ok(None);
        }
        let mut tip = upstream;
        for (commit, author, changes) in steps {
            let mut edits = TreeEdits::new();
            for change in changes {
                let now = if change.new.is_some() { self.entry(commit, &change.path)? } else { None };
                edits.insert(change.path, now);
            }
            let tree = self.repo.write_tree(Some(tree_of(tip)?), &edits).map_err(fault)?;
            let text = self.repo.message(commit).map_err(fault)?;
            let not_before = self.repo.committed_at(tip).map_err(fault)?;
            tip = self.make_commit_by(tree, &[tip], &author, not_before, &text)?;
        }
        Ok(Some(tip))
    }

    /// Secures what upstream will win over: on the remote, confirmed.
    pub(super) fn park(&mut self) -> Result<(), Fault> {
        let Some(Plan { parked: Some((commit, paths, base)), .. }) = self.plan.clone() else { return Ok(()) };
        let kind = if self.saved.get().rewritten.is_some() { ParkedKind::Rewritten } else { ParkedKind::Conflict };
        self.record_parked(commit, kind, paths, base, Confirmed::No)?;
        self.push_parked()
    }

    /// Brings the plan into files, index and branch.
    pub(super) fn materialise(&mut self) -> Result<Input, Fault> {
        let Some(plan) = self.plan.take() else { return Ok(Input::Done) };
        let busy = self.shift(plan.old, plan.new, Touch::Files)?;
        if let Some(new) = self.saved.get().follow {
            self.set_upstream(new)?;
            self.saved.change(|saved| (saved.rewritten, saved.follow) = (None, None)).map_err(fault)?;
        }
        let changes = self.repo.diff(Some(plan.old), plan.new).map_err(fault)?;
        self.came_in.note(changes.iter());
        match &mut self.report.brought_in {
            Some(brought) => {
                brought.new = plan.new;
                brought.changes.extend(changes);
            }
            None => self.report.brought_in = Some(BroughtIn { old: Some(plan.old), new: plan.new, changes }),
        }
        self.settle()?;
        Ok(if busy.is_empty() { Input::Done } else { Input::Busy })
    }

    /// A parked conflict that merges cleanly by now comes back.
    fn try_return(&mut self, branch: Oid) -> Result<Input, Fault> {
        for record in self.saved.get().parked.clone() {
            let candidate = record.kind == ParkedKind::Conflict && record.confirmed == Confirmed::Yes;
            if !candidate || self.tested.get(&record.commit) == Some(&branch) {
                continue;
            }
            self.tested.insert(record.commit, branch);
            if self.repo.is_ancestor(record.commit, branch).map_err(fault)? {
                continue;
            }
            let Some(base) = self.repo.merge_base(record.commit, branch).map_err(fault)? else { continue };
            let tree_of = |commit| self.repo.tree_id(commit).map_err(fault);
            let merged = merge::trees(&self.repo, Some(tree_of(base)?), tree_of(record.commit)?, tree_of(branch)?)
                .map_err(fault)?;
            if !merged.conflicts.is_empty() {
                continue;
            }
            let text =
                format!("Merge {}, which does not conflict any more", record.branch.trim_start_matches("refs/heads/"));
            let text = super::message::trailers(&text, &self.settings.agent, None);
            let new =
                self.make_commit(merged.tree, &[branch, record.commit], &self.settings.committer.clone(), &text)?;
            self.plan = Some(Plan { old: branch, new, parked: None });
            return Ok(Input::Merged);
        }
        Ok(Input::Done)
    }

    /// Joins a side line (one file, edited on top of an older commit) with the newest capture.
    pub(super) fn join_side(&mut self, side: Oid, path: &RepoPath, stamp: Option<&SessionStamp>) -> Result<(), Fault> {
        let tip = self.tip()?;
        let base = self.repo.merge_base(side, tip).map_err(fault)?;
        let tree_of = |commit| self.repo.tree_id(commit).map_err(fault);
        let base_tree = base.map(tree_of).transpose()?;
        let merged = merge::trees(&self.repo, base_tree, tree_of(side)?, tree_of(tip)?).map_err(fault)?;
        if merged.conflicts.is_empty() {
            let text = format!("Merge an edit of {path} that was made while it changed upstream");
            let text = super::message::trailers(&text, &self.settings.agent, stamp);
            let author = self.author(stamp);
            let joined = self.make_commit(merged.tree, &[tip, side], &author, &text)?;
            self.set_pending(tip, joined, "join")?;
            self.report.captured.push(describe(joined, Some(tip), vec![path.clone()], stamp, &author));
            self.tree.advance(&self.repo, joined).map_err(fault)?;
        } else {
            self.record_parked(side, ParkedKind::Conflict, merged.conflicts, base, Confirmed::No)?;
        }
        self.saved.change(|saved| saved.stale.insert(path.clone(), side)).map_err(fault)?;
        self.tree.suspect(path);
        Ok(())
    }
}
