//! Rescue branches: what upstream won over, what a person dropped, what cannot land now.

use baft_repo::transport::PushSpec;
use baft_repo::write::TreeEdits;
use baft_repo::{Oid, RepoPath};

use super::fault::{Fault, fault};
use super::saved::ParkedRecord;
use super::{Agent, Class, Confirmed, Notice, Parked, ParkedKind, failpoint};

impl Agent {
    /// Makes a commit reachable from a ref of its own, and notes why.
    pub(super) fn record_parked(
        &mut self,
        commit: Oid,
        kind: ParkedKind,
        paths: Vec<RepoPath>,
        base: Option<Oid>,
        confirmed: Confirmed,
    ) -> Result<(), Fault> {
        let name = self.names.parked(commit);
        self.set_ref(&name, commit, "parked")?;
        failpoint::hit("park.ref").map_err(fault)?;
        let record = ParkedRecord {
            commit,
            branch: self.names.rescue(commit),
            kind,
            confirmed,
            paths,
            base,
            theirs: self.upstream()?,
            since: baft_kit::time::unix_seconds(),
            announced: false,
        };
        self.saved
            .change(|saved| {
                if !saved.parked.iter().any(|known| known.commit == commit) {
                    saved.parked.push(record);
                }
            })
            .map_err(fault)?;
        failpoint::hit("park.record").map_err(fault)
    }

    /// Pushes what is parked and not confirmed yet. Only what is confirmed may be won over.
    pub(super) fn push_parked(&mut self) -> Result<(), Fault> {
        let waiting: Vec<ParkedRecord> =
            self.saved.get().parked.iter().filter(|record| record.confirmed == Confirmed::No).cloned().collect();
        for record in waiting {
            let there = self.remote_has(&record.branch);
            if there != Some(record.commit) {
                if !self.unclean(record.commit)?.is_empty() {
                    return Err(Fault::new(
                        Class::Policy,
                        format!(
                            "{} has content that is held back: it stays on this machine, in {}",
                            record.commit,
                            self.names.parked(record.commit)
                        ),
                    ));
                }
                self.push_one(&record.branch, Some(record.commit), there)?;
            }
            failpoint::hit("park.pushed").map_err(fault)?;
            self.saved
                .change(|saved| {
                    for known in saved.parked.iter_mut().filter(|known| known.commit == record.commit) {
                        known.confirmed = Confirmed::Yes;
                    }
                })
                .map_err(fault)?;
            failpoint::hit("park.confirmed").map_err(fault)?;
            self.report.parked.push(shown(&ParkedRecord { confirmed: Confirmed::Yes, ..record }));
        }
        Ok(())
    }

    /// Pushes one branch of ours; an error unless the server said that it took it.
    pub(super) fn push_one(&mut self, name: &str, new: Option<Oid>, expected: Option<Oid>) -> Result<(), Fault> {
        let spec = PushSpec { new, name: name.to_owned(), expected };
        let answers = self.network(move |transport, repo, remote| transport.push(repo, remote, &[spec]))?;
        match answers.first().and_then(|answer| answer.rejected.clone()) {
            Some(reason) => Err(Fault::new(Class::Policy, format!("the server refuses {name}: {reason}"))),
            None => {
                self.note_remote(name, new);
                Ok(())
            }
        }
    }

    /// Contents of unpushed history that the gates hold back: a person may have committed them.
    pub(super) fn unclean(&mut self, commit: Oid) -> Result<Vec<(RepoPath, Oid, crate::gates::Hold)>, Fault> {
        let mut found = Vec::new();
        let upstream = self.upstream()?;
        for commit in self.commits(commit, &[upstream])? {
            let parent = self.repo.commit_info(commit).map_err(fault)?.parents.first().copied();
            for change in self.repo.diff(parent, commit).map_err(fault)? {
                let Some(blob) = change.new else { continue };
                if self.passed.contains(&(change.path.clone(), blob)) || !self.repo.contains(blob) {
                    continue;
                }
                let known = upstream.map(|upstream| self.entry(upstream, &change.path)).transpose()?.flatten();
                if known.map(|(blob, _)| blob) == Some(blob) {
                    continue;
                }
                let bytes = self.repo.read(blob).map_err(fault)?;
                if let Some(hold) = self.judge(&change.path, blob, &bytes, change.old)? {
                    found.push((change.path, blob, hold));
                }
            }
        }
        Ok(found)
    }

    /// Pushes what cannot get to its branch now to the rescue namespace: captures that cannot land, and what is on disk in the middle of a rebase.
    pub(super) fn rescue(&mut self) -> Result<(), Fault> {
        self.push_parked()?;
        let upstream = self.upstream()?;
        let tip = self.tip()?;
        let settled = match upstream {
            Some(upstream) => self.repo.is_ancestor(tip, upstream).map_err(fault)?,
            None => false,
        };
        if !settled {
            let clean = self.cleaned(tip)?;
            let name = self.names.rescue_pending();
            self.push_moving(&name, clean)?;
        }
        let odd = self.odd_state()?.is_some();
        if let Some(snapshot) = self.repo.find_ref(&self.names.snapshot).map_err(fault)?.filter(|_| odd) {
            let clean = self.cleaned(snapshot)?;
            let name = self.names.rescue_pending().replace("/pending", "/snapshot");
            self.push_moving(&name, clean)?;
        }
        Ok(())
    }

    fn push_moving(&mut self, name: &str, commit: Oid) -> Result<(), Fault> {
        let there = self.remote_has(name);
        if there == Some(commit) { Ok(()) } else { self.push_one(name, Some(commit), there) }
    }

    /// The commit itself, or one with the same files except for what is held back, without its history.
    fn cleaned(&mut self, commit: Oid) -> Result<Oid, Fault> {
        let unclean = self.unclean(commit)?;
        if unclean.is_empty() {
            return Ok(commit);
        }
        let upstream = self.upstream()?;
        let mut edits = TreeEdits::new();
        for (path, _, _) in unclean {
            let before = upstream.map(|upstream| self.entry(upstream, &path)).transpose()?.flatten();
            edits.insert(path, before);
        }
        let tree = self.repo.tree_id(commit).map_err(fault)?;
        let tree = self.repo.write_tree(Some(tree), &edits).map_err(fault)?;
        let parents: Vec<Oid> = upstream.into_iter().collect();
        // The same content at the same time of its own gives the same commit, so that pushing it again does nothing.
        let time = self.repo.committed_at(commit).map_err(fault)?;
        let who = baft_repo::write::Stamp {
            name: self.settings.committer.name.clone(),
            email: self.settings.committer.email.clone(),
            seconds: time,
        };
        let text = super::message::trailers(
            "What is in the clone and cannot land, without what is held back",
            &self.settings.agent,
            None,
        );
        let new =
            baft_repo::write::NewCommit { tree, parents: &parents, author: &who, committer: &who, message: &text };
        self.repo.write_commit(&new, None).map_err(fault)
    }

    /// Closes rescue branches that upstream contains by now, and pushes those that are not on the remote yet.
    pub(super) fn close(&mut self) -> Result<(), Fault> {
        let Some(upstream) = self.upstream()? else { return Ok(()) };
        for record in self.saved.get().parked.clone() {
            if !self.repo.is_ancestor(record.commit, upstream).map_err(fault)? {
                if record.confirmed == Confirmed::Yes && self.remote_has(&record.branch).is_none() {
                    // It was there and somebody removed it: they have decided. The local ref stays, it costs nothing.
                    tracing::info!(
                        branch = record.branch,
                        "a rescue branch was removed from the remote: not offered any more"
                    );
                    self.saved
                        .change(|saved| saved.parked.retain(|known| known.commit != record.commit))
                        .map_err(fault)?;
                }
                continue;
            }
            if let Some(there) = self.remote_has(&record.branch) {
                self.push_one(&record.branch, None, Some(there))?;
            }
            failpoint::hit("close.branch").map_err(fault)?;
            self.saved.change(|saved| saved.parked.retain(|known| known.commit != record.commit)).map_err(fault)?;
            let name = self.names.parked(record.commit);
            self.move_ref(&name, self.repo.find_ref(&name).map_err(fault)?, None, "closed")?;
            self.report.notices.push(Notice::Returned { branch: record.branch });
        }
        let pending = self.names.rescue_pending();
        if let Some(there) = self.remote_has(&pending)
            && self.tip()? == self.branch()?
            && self.branch()? == upstream
        {
            self.push_one(&pending, None, Some(there))?;
        }
        self.push_parked()
    }

    pub(super) fn parked(&self) -> Vec<Parked> {
        self.saved.get().parked.iter().map(shown).collect()
    }
}

pub(super) fn shown(record: &ParkedRecord) -> Parked {
    Parked {
        branch: record.branch.clone(),
        commit: record.commit,
        kind: record.kind,
        confirmed: record.confirmed,
        paths: record.paths.clone(),
        base: record.base,
        theirs: record.theirs,
        since: super::at(record.since),
    }
}
