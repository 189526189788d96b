//! Content that may not leave: committed by a person although the gates hold it back, or refused by the server. It is taken out of what is pushed,
//! stays on disk and in the local ref of held contents, and everything else flows.

use std::collections::{BTreeMap, BTreeSet};

use baft_repo::transport::PushedRef;
use baft_repo::write::{Stamp, TreeEdits};
use baft_repo::{Oid, RepoPath};

use super::fault::{Fault, fault};
use super::machine::Input;
use super::push::{Refusal, classify};
use super::saved::Touch;
use super::{Agent, Class, Step};
use crate::gates::{Hold, Reason};

/// Contents that may not leave.
type Bad = BTreeMap<RepoPath, BTreeSet<Oid>>;

/// Pushes of parts that are tried to find the part the server refuses.
const MOST_TRIES: u32 = 40;

impl Agent {
    /// Takes out what a person committed and the gates hold back.
    pub(super) fn take_out_unclean(&mut self) -> Result<(), Fault> {
        let branch = self.branch()?;
        let unclean = self.unclean(branch)?;
        if unclean.is_empty() {
            return Ok(());
        }
        let mut bad = Bad::new();
        for (path, blob, hold) in &unclean {
            bad.entry(path.clone()).or_default().insert(*blob);
            tracing::warn!(%path, detail = hold.detail, "committed, but held back: taken out of what is pushed");
        }
        self.take_out(branch, &bad)?;
        for (path, blob, hold) in unclean {
            self.hold(&path, Some(blob), hold, None)?;
        }
        Ok(())
    }

    /// Moves the branch to a history without these contents. Files stay as they are; the old history stays in the local ref.
    fn take_out(&mut self, branch: Oid, bad: &Bad) -> Result<(), Fault> {
        if self.tip()? != branch {
            return Err(Fault::new(
                Class::Policy,
                "the branch has content that may not leave, and cannot be moved now",
            ));
        }
        let contents: Vec<(RepoPath, Oid)> =
            bad.iter().flat_map(|(path, blobs)| blobs.iter().map(|blob| (path.clone(), *blob))).collect();
        self.keep_held(&contents, &[branch])?;
        super::failpoint::hit("quarantine.held").map_err(fault)?;
        let clean = self.without(branch, bad)?;
        self.shift(branch, clean, Touch::Nothing)?;
        for path in bad.keys() {
            self.tree.suspect(path);
        }
        Ok(())
    }

    /// The same history without these contents: commit by commit where it is a line, as one commit otherwise.
    fn without(&self, branch: Oid, bad: &Bad) -> Result<Oid, Fault> {
        let upstream = self.upstream()?;
        let commits = self.commits(branch, &[upstream])?;
        let infos = commits
            .iter()
            .map(|commit| self.repo.commit_info(*commit))
            .collect::<Result<Vec<_>, _>>()
            .map_err(fault)?;
        let is_bad = |path: &RepoPath, blob: Option<Oid>| {
            blob.is_some_and(|blob| bad.get(path).is_some_and(|blobs| blobs.contains(&blob)))
        };
        let tree_of = |commit| self.repo.tree_id(commit).map_err(fault);
        let line = infos.windows(2).all(|pair| pair[1].parents == [pair[0].oid])
            && infos.first().is_some_and(|first| first.parents.len() == 1);
        let Some(start) = infos.first().and_then(|first| first.parents.first().copied()) else {
            return Err(Fault::new(
                Class::Policy,
                "the first commit of the history has content that may not leave: take it out by hand",
            ));
        };
        if !line {
            let base = match upstream {
                Some(upstream) if self.repo.is_ancestor(upstream, branch).map_err(fault)? => upstream,
                _ => start,
            };
            let mut edits = TreeEdits::new();
            for path in bad.keys() {
                if is_bad(path, self.entry(branch, path)?.map(|(blob, _)| blob)) {
                    edits.insert(path.clone(), self.entry(base, path)?);
                }
            }
            let tree = self.repo.write_tree(Some(tree_of(branch)?), &edits).map_err(fault)?;
            let text = super::message::trailers("Changes without what is held back", &self.settings.agent, None);
            return self.make_commit(tree, &[base], &self.settings.committer.clone(), &text);
        }
        let mut tip = start;
        for info in infos {
            let mut edits = TreeEdits::new();
            let changes = self.repo.diff(info.parents.first().copied(), info.oid).map_err(fault)?;
            let was_empty = changes.is_empty();
            for change in changes {
                if !is_bad(&change.path, change.new) {
                    let now = if change.new.is_some() { self.entry(info.oid, &change.path)? } else { None };
                    edits.insert(change.path, now);
                }
            }
            let tree = self.repo.write_tree(Some(tree_of(tip)?), &edits).map_err(fault)?;
            if tree == tree_of(tip)? && !was_empty {
                continue;
            }
            let author = Stamp { name: info.author.name, email: info.author.email, seconds: info.time };
            let text = self.repo.message(info.oid).map_err(fault)?;
            let not_before = self.repo.committed_at(tip).map_err(fault)?;
            tip = self.make_commit_by(tree, &[tip], &author, not_before, &text)?;
        }
        Ok(tip)
    }

    /// The server refuses something in the push. Finds out what, takes it out, and lets the rest through.
    pub(super) fn push_what_is_welcome(
        &mut self,
        branch: Oid,
        upstream: Option<Oid>,
        answer: &PushedRef,
    ) -> Result<Input, Fault> {
        let reason = answer.rejected.clone().unwrap_or_default();
        let changed: Vec<RepoPath> = self
            .repo
            .diff(upstream, branch)
            .map_err(fault)?
            .into_iter()
            .filter(|change| change.new.is_some())
            .map(|change| change.path)
            .collect();
        let words = format!("{reason}\n{}", answer.said);
        let named: BTreeSet<RepoPath> = changed.iter().filter(|path| words.contains(path.as_str())).cloned().collect();
        let (refused, why) = if named.is_empty() || named.len() == changed.len() && changed.len() > 1 {
            match self.find_refused(branch, upstream, changed)? {
                Some(found) => found,
                None => {
                    self.protected(answer);
                    return Ok(Input::Protected);
                }
            }
        } else {
            (named, reason)
        };
        if refused.is_empty() {
            // Part by part, all of it went through; or what is refused is older than the newest content.
            return self.after_parts(branch, &why);
        }
        let bad = self.all_contents(branch, &refused)?;
        tracing::error!(paths = ?refused, reason = why, "the server refuses these files: they stay here, everything else goes on");
        let message = format!("the server refuses {} ({why}): kept here, everything else goes on", list(&refused));
        self.fail(Step::Push, &Fault::new(Class::Policy, message));
        let newest: BTreeMap<RepoPath, Oid> =
            refused.iter().filter_map(|path| Some((path.clone(), self.entry(branch, path).ok()??.0))).collect();
        let note = newest.clone();
        self.saved.change(|saved| saved.refused.extend(note)).map_err(fault)?;
        self.take_out(self.branch()?, &bad)?;
        for (path, blob) in newest {
            let detail = format!("the server refuses it: {}", why.lines().next().unwrap_or_default());
            self.hold(&path, Some(blob), Hold { reason: Reason::Refused, detail }, None)?;
        }
        Ok(if Some(self.branch()?) == self.upstream()? { Input::Done } else { Input::Refused })
    }

    /// Every content these paths have had in unpushed history.
    fn all_contents(&self, branch: Oid, paths: &BTreeSet<RepoPath>) -> Result<Bad, Fault> {
        let mut bad = Bad::new();
        for commit in self.commits(branch, &[self.upstream()?])? {
            let parent = self.repo.commit_info(commit).map_err(fault)?.parents.first().copied();
            for change in self.repo.diff(parent, commit).map_err(fault)? {
                if let Some(blob) = change.new.filter(|_| paths.contains(&change.path)) {
                    bad.entry(change.path).or_default().insert(blob);
                }
            }
        }
        Ok(bad)
    }

    /// Pushes parts to the branch until what is refused is known. Each part that goes through is there to stay. Nothing when the server refuses
    /// whatever it is shown.
    fn find_refused(
        &mut self,
        branch: Oid,
        upstream: Option<Oid>,
        changed: Vec<RepoPath>,
    ) -> Result<Option<(BTreeSet<RepoPath>, String)>, Fault> {
        let mut refused = BTreeSet::new();
        let mut why = "refused".to_owned();
        let (mut tries, mut through) = (0, 0);
        let total = changed.len();
        let mut parts = vec![changed];
        let mut at = upstream;
        while let Some(part) = parts.pop() {
            if part.is_empty() || total == 1 {
                refused.extend(part);
                continue;
            }
            tries += 1;
            if tries > MOST_TRIES {
                // Whatever has not been told apart by now waits as a whole.
                refused.extend(part);
                continue;
            }
            let commit = self.part(branch, at, &part)?;
            let answer = self.try_push(commit, at)?;
            match (&answer.rejected, classify(&answer)) {
                (None, _) => {
                    self.pushed(at, commit)?;
                    at = Some(commit);
                    through += 1;
                }
                (Some(_), Refusal::Race) => return Err(Fault::new(Class::Race, "somebody pushed meanwhile")),
                (Some(reason), _) => {
                    why.clone_from(reason);
                    if part.len() == 1 {
                        refused.extend(part);
                    } else {
                        let (left, right) = part.split_at(part.len() / 2);
                        parts.push(right.to_vec());
                        parts.push(left.to_vec());
                    }
                }
            }
            if through == 0 && refused.len() >= 3 {
                return Ok(None);
            }
        }
        if through == 0 && total > 1 && refused.len() == total {
            return Ok(None);
        }
        Ok(Some((refused, why)))
    }

    /// One commit on top of upstream with some of the branch's files.
    fn part(&self, branch: Oid, upstream: Option<Oid>, paths: &[RepoPath]) -> Result<Oid, Fault> {
        let mut edits = TreeEdits::new();
        for path in paths {
            edits.insert(path.clone(), self.entry(branch, path)?);
        }
        let base = upstream.map(|upstream| self.repo.tree_id(upstream)).transpose().map_err(fault)?;
        let tree = self.repo.write_tree(base, &edits).map_err(fault)?;
        let parents: Vec<Oid> = upstream.into_iter().collect();
        let text = self.message(None, Some("what the server takes"), paths);
        self.make_commit(tree, &parents, &self.settings.committer.clone(), &text)
    }

    /// Parts went through, so that upstream has moved under the branch: the next round brings them together.
    fn after_parts(&mut self, branch: Oid, why: &str) -> Result<Input, Fault> {
        let Some(upstream) = self.upstream()? else { return Ok(Input::Done) };
        if self.repo.is_ancestor(upstream, branch).map_err(fault)? {
            return Err(Fault::new(
                Class::Policy,
                format!("the server refuses something in the history of the push: {why}"),
            ));
        }
        Ok(Input::Raced)
    }
}

fn list(paths: &BTreeSet<RepoPath>) -> String {
    let names: Vec<&str> = paths.iter().take(5).map(RepoPath::as_str).collect();
    names.join(", ")
}
