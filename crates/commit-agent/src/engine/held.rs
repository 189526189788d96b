//! What is held back: captured on this machine, in a ref that is never pushed.

use baft_repo::live::Stat;
use baft_repo::write::TreeEdits;
use baft_repo::{FileMode, Oid, RepoPath};

use super::fault::{Fault, fault};
use super::saved::HeldRecord;
use super::{Agent, Held, failpoint};
use crate::gates::{Hold, Reason};

impl Agent {
    /// Holds a path's content back; nothing when it is the file's deletion that is held.
    pub(super) fn hold(
        &mut self,
        path: &RepoPath,
        content: Option<Oid>,
        hold: Hold,
        stat: Option<Stat>,
    ) -> Result<(), Fault> {
        if let Some(stat) = stat {
            self.held_stats.insert(path.clone(), stat);
        }
        let known = self.saved.get().held.get(path);
        if known.is_some_and(|known| known.content == content && known.reason == hold.reason) {
            return Ok(());
        }
        if let Some(blob) = content {
            self.keep_held(&[(path.clone(), blob)], &[])?;
        }
        let record = HeldRecord {
            content,
            reason: hold.reason,
            detail: hold.detail,
            since: baft_kit::time::unix_seconds(),
            announced: false,
        };
        tracing::warn!(%path, reason = ?record.reason, detail = record.detail, "held back");
        self.saved.change(|saved| saved.held.insert(path.clone(), record)).map_err(fault)?;
        Ok(())
    }

    /// Makes contents (and histories that have them) reachable from the ref of held contents.
    pub(super) fn keep_held(&mut self, contents: &[(RepoPath, Oid)], histories: &[Oid]) -> Result<(), Fault> {
        let name = self.names.held.clone();
        self.keep_apart(&name, contents, histories, "held back; never pushed")?;
        failpoint::hit("held.ref").map_err(fault)
    }

    /// Saves that another save replaced in the same moment.
    pub(super) fn keep_displaced(&mut self, path: &RepoPath, bytes: &[u8]) -> Result<(), Fault> {
        let blob = self.repo.write_blob(bytes).map_err(fault)?;
        let name = self.names.saved.clone();
        tracing::warn!(%path, %blob, "two saves in one moment: the earlier one is kept in {name}");
        self.keep_apart(&name, &[(path.clone(), blob)], &[], "displaced by another save")
    }

    fn keep_apart(
        &mut self,
        name: &str,
        contents: &[(RepoPath, Oid)],
        histories: &[Oid],
        why: &str,
    ) -> Result<(), Fault> {
        let before = self.repo.find_ref(name).map_err(fault)?;
        let base = before.map(|commit| self.repo.tree_id(commit)).transpose().map_err(fault)?;
        let edits: TreeEdits =
            contents.iter().map(|(path, blob)| (path.clone(), Some((*blob, FileMode::File)))).collect();
        let tree = self.repo.write_tree(base, &edits).map_err(fault)?;
        if Some(tree) == base && histories.is_empty() {
            return Ok(());
        }
        let paths: Vec<RepoPath> = contents.iter().map(|(path, _)| path.clone()).collect();
        let parents: Vec<Oid> = before.into_iter().chain(histories.iter().copied()).collect();
        let message = self.message(None, Some(why), &paths);
        let commit = self.make_commit(tree, &parents, &self.settings.committer.clone(), &message)?;
        self.move_ref(name, before, Some(commit), why)
    }

    /// A path is not held any more.
    pub(super) fn unhold(&mut self, path: &RepoPath) -> Result<(), Fault> {
        self.held_stats.remove(path);
        if self.saved.get().held.contains_key(path) {
            self.saved.change(|saved| saved.held.remove(path)).map_err(fault)?;
        }
        Ok(())
    }

    /// Files that became what is committed, or vanished, are not held any more. Their content stays in the ref.
    pub(super) fn drop_held_that_left(&mut self) -> Result<(), Fault> {
        let waiting: std::collections::BTreeSet<RepoPath> =
            self.tree.waiting().into_iter().map(|(path, _)| path).collect();
        let left: Vec<RepoPath> =
            self.saved.get().held.keys().filter(|path| !waiting.contains(*path)).cloned().collect();
        for path in left {
            self.unhold(&path)?;
        }
        Ok(())
    }

    /// Everything that is held.
    pub(super) fn held(&self) -> Vec<Held> {
        let show = |(path, record): (&RepoPath, &HeldRecord)| Held {
            path: path.clone(),
            hold: Hold { reason: record.reason, detail: record.detail.clone() },
            content: record.content,
            since: super::at(record.since),
        };
        self.saved.get().held.iter().map(show).collect()
    }

    pub(super) fn release_held(&mut self, paths: &[RepoPath]) -> Result<Vec<RepoPath>, Fault> {
        let wanted = |path: &RepoPath| paths.is_empty() || paths.iter().any(|one| path.starts_with(one));
        let held = self.saved.get().held.clone();
        let found: Vec<(RepoPath, HeldRecord)> = held.into_iter().filter(|(path, _)| wanted(path)).collect();
        self.saved
            .change(|saved| {
                for (path, record) in &found {
                    match record.content {
                        Some(content) => drop(saved.released.insert(path.clone(), content)),
                        None => drop(saved.deletions.insert(path.clone())),
                    }
                    // What the server refused is offered to it again.
                    saved.refused.remove(path);
                    saved.held.remove(path);
                }
            })
            .map_err(fault)?;
        for (path, _) in &found {
            self.held_stats.remove(path);
            self.tree.suspect(path);
        }
        Ok(found.into_iter().map(|(path, _)| path).collect())
    }

    pub(super) fn confirm_deletions(&mut self) -> Result<usize, Fault> {
        let held = self.saved.get().held.iter();
        let gone: Vec<RepoPath> = held
            .filter(|(_, record)| record.reason == Reason::MassDelete && record.content.is_none())
            .map(|(path, _)| path.clone())
            .collect();
        self.saved
            .change(|saved| {
                for path in &gone {
                    saved.held.remove(path);
                    saved.deletions.insert(path.clone());
                }
            })
            .map_err(fault)?;
        Ok(gone.len())
    }
}
