//! What a person's git did to the branch since we last looked.

use baft_repo::{Oid, RepoPath};

use super::fault::{Fault, fault};
use super::{Agent, Confirmed, ParkedKind, merge};

impl Agent {
    /// Makes the newest capture follow the branch again: a person may have committed, pulled, reset, amended or rebased.
    pub(super) fn reconcile(&mut self) -> Result<(), Fault> {
        if self.odd_state()?.is_some() {
            return Ok(());
        }
        let branch = self.branch()?;
        let landed = self.repo.find_ref(&self.names.landed).map_err(fault)?.unwrap_or(branch);
        if branch != landed {
            if !self.repo.is_ancestor(landed, branch).map_err(fault)? {
                return self.follow_rewritten_branch(branch, landed);
            }
            let name = self.names.landed.clone();
            self.set_ref(&name, branch, "a person moved the branch")?;
        }
        let tip = self.tip()?;
        if tip == branch || self.repo.is_ancestor(branch, tip).map_err(fault)? {
            return Ok(());
        }
        let next =
            if self.repo.is_ancestor(tip, branch).map_err(fault)? { branch } else { self.join_unlanded(branch, tip)? };
        self.set_pending(tip, next, "follow the branch")?;
        self.tree.advance(&self.repo, next).map_err(fault)
    }

    /// A person committed while captures could not land. Both histories stay; where they disagree the files on disk decide, with the next capture.
    fn join_unlanded(&self, branch: Oid, tip: Oid) -> Result<Oid, Fault> {
        let base = self.repo.merge_base(branch, tip).map_err(fault)?;
        let tree_of = |commit| self.repo.tree_id(commit).map_err(fault);
        let base = base.map(tree_of).transpose()?;
        let merged = merge::trees(&self.repo, base, tree_of(tip)?, tree_of(branch)?).map_err(fault)?;
        let message = super::message::trailers(
            "Merge what was captured while the branch could not be moved",
            &self.settings.agent,
            None,
        );
        self.make_commit(merged.tree, &[branch, tip], &self.settings.committer.clone(), &message)
    }

    /// A person took commits out of the branch. That is theirs to do; what only those commits had is kept apart, and does not come back by itself.
    fn follow_rewritten_branch(&mut self, branch: Oid, landed: Oid) -> Result<(), Fault> {
        let tip = self.tip()?;
        let upstream = self.upstream()?;
        for old in [landed, tip] {
            if self.repo.is_ancestor(old, branch).map_err(fault)? {
                continue;
            }
            let mut only_there: Vec<RepoPath> = Vec::new();
            for commit in self.commits(old, &[Some(branch), upstream])? {
                let parent = self.repo.commit_info(commit).map_err(fault)?.parents.first().copied();
                for change in self.repo.diff(parent, commit).map_err(fault)? {
                    let there = self.entry(branch, &change.path)?.map(|(blob, _)| blob);
                    if change.new.is_some() && there != change.new {
                        only_there.push(change.path);
                    }
                }
            }
            only_there.sort();
            only_there.dedup();
            let covered = old != tip && self.repo.is_ancestor(landed, tip).map_err(fault)?;
            if !only_there.is_empty() && !covered {
                tracing::warn!(commit = %old, "a person took commits out of the branch: they are kept on a rescue branch");
                self.record_parked(
                    old,
                    ParkedKind::Dropped,
                    only_there,
                    self.repo.merge_base(old, branch).map_err(fault)?,
                    Confirmed::No,
                )?;
            }
        }
        let name = self.names.landed.clone();
        self.set_ref(&name, branch, "a person rewrote the branch")?;
        self.set_pending(tip, branch, "a person rewrote the branch")?;
        self.tree.advance(&self.repo, branch).map_err(fault)
    }
}
