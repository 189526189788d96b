//! Small things every step needs: the tip, the refs, a new commit.

use baft_repo::refs::RefMove;
use baft_repo::write::{NewCommit, Stamp};
use baft_repo::{FileMode, Oid, RepoPath};

use super::fault::{Fault, fault};
use super::{Agent, Class, SessionStamp, Signature, message};

impl Agent {
    /// The newest capture: what the files on disk are compared with.
    pub(super) fn tip(&self) -> Result<Oid, Fault> {
        let tip = self.repo.find_ref(&self.names.pending).map_err(fault)?;
        tip.ok_or_else(|| {
            Fault::new(Class::Corrupt, format!("{} is missing; start the agent again", self.names.pending))
        })
    }

    /// Where the branch is.
    pub(super) fn branch(&self) -> Result<Oid, Fault> {
        let branch = self.repo.find_ref(&self.names.branch).map_err(fault)?;
        branch.ok_or_else(|| {
            Fault::new(Class::Corrupt, format!("{} is missing; start the agent again", self.names.branch))
        })
    }

    /// Upstream, as far as it was accepted.
    pub(super) fn upstream(&self) -> Result<Option<Oid>, Fault> {
        self.repo.find_ref(&self.names.upstream).map_err(fault)
    }

    pub(super) fn set_pending(&mut self, from: Oid, to: Oid, why: &str) -> Result<(), Fault> {
        let name = self.names.pending.clone();
        self.move_ref(&name, Some(from), Some(to), why)
    }

    /// Moves a ref by compare-and-swap.
    pub(super) fn move_ref(&self, name: &str, from: Option<Oid>, to: Option<Oid>, why: &str) -> Result<(), Fault> {
        let who = self.stamp(&self.settings.committer, 0);
        let why = format!("baft: {why}");
        self.repo.move_ref(&self.locks, RefMove { name, from, to, who: &who, why: &why }).map_err(fault)
    }

    /// Moves a ref from wherever it is.
    pub(super) fn set_ref(&self, name: &str, to: Oid, why: &str) -> Result<(), Fault> {
        let from = self.repo.find_ref(name).map_err(fault)?;
        if from == Some(to) { Ok(()) } else { self.move_ref(name, from, Some(to), why) }
    }

    /// Now, but never before `not_before`: a clock that was set back must not make a child older than its parent.
    fn stamp(&self, who: &Signature, not_before: i64) -> Stamp {
        let now = baft_kit::time::unix_seconds();
        Stamp { name: who.name.clone(), email: who.email.clone(), seconds: now.max(not_before) }
    }

    pub(super) fn make_commit(
        &self,
        tree: Oid,
        parents: &[Oid],
        author: &Signature,
        message: &str,
    ) -> Result<Oid, Fault> {
        let times = parents
            .iter()
            .map(|parent| self.repo.committed_at(*parent))
            .collect::<Result<Vec<_>, _>>()
            .map_err(fault)?;
        let not_before = times.into_iter().max().unwrap_or(0);
        let author = self.stamp(author, not_before);
        self.make_commit_by(tree, parents, &author, not_before, message)
    }

    pub(super) fn make_commit_by(
        &self,
        tree: Oid,
        parents: &[Oid],
        author: &Stamp,
        not_before: i64,
        message: &str,
    ) -> Result<Oid, Fault> {
        let committer = self.stamp(&self.settings.committer, not_before);
        let new = NewCommit { tree, parents, author, committer: &committer, message };
        let signer = self.settings.signer.clone();
        let sign = signer.as_ref().map(|signer| move |text: &[u8]| signer.sign(text));
        match &sign {
            Some(sign) => self.repo.write_commit(&new, Some(sign)),
            None => self.repo.write_commit(&new, None),
        }
        .map_err(fault)
    }

    /// What a commit has at a path.
    pub(super) fn entry(&self, commit: Oid, path: &RepoPath) -> Result<Option<(Oid, FileMode)>, Fault> {
        let tree = self.repo.tree_id(commit).map_err(fault)?;
        self.repo.tree_entry(tree, path).map_err(fault)
    }

    pub(super) fn author(&self, session: Option<&SessionStamp>) -> Signature {
        let author = session.and_then(|session| session.author.clone());
        let usable = author.filter(|author| !author.name.trim().is_empty());
        usable.map_or_else(|| self.settings.auto_author.clone(), Signature::from)
    }

    pub(super) fn message(&self, session: Option<&SessionStamp>, words: Option<&str>, paths: &[RepoPath]) -> String {
        message::message(&self.settings.templates, &self.settings.agent, session, words, paths)
    }

    /// Whether a commit was made by an agent of this name.
    pub(super) fn is_ours(&self, commit: Oid) -> Result<bool, Fault> {
        let text = self.repo.message(commit).map_err(fault)?;
        Ok(message::trailer(&text, message::AGENT_TRAILER).as_deref() == Some(self.settings.agent.as_str()))
    }

    /// Commits of `from` that none of `without` has, parents first.
    pub(super) fn commits(&self, from: Oid, without: &[Option<Oid>]) -> Result<Vec<Oid>, Fault> {
        let without: Vec<Oid> = without.iter().flatten().copied().collect();
        self.repo.commits(from, &without).map_err(fault)
    }
}
