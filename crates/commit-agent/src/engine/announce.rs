//! What is to be announced, derived from refs and state. One thing at a time; the same until it is acknowledged.

use baft_repo::{Oid, RepoPath};
use serde::{Deserialize, Serialize};

use super::fault::{Fault, fault};
use super::{Agent, Announced, Announcement, Commit, Confirmed, Signature, at, message};
use crate::gates::Reason;

/// Which thing is being announced, under which number.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Current {
    number: u64,
    key: Key,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
enum Key {
    Conflict(Oid),
    Held(Reason, Vec<RepoPath>),
    Committed(Oid),
    Pushed(u64),
}

impl Agent {
    pub(super) fn announcement(&mut self) -> Result<Option<Announcement>, Fault> {
        if let Some(current) = self.saved.get().current.clone() {
            if let Some((when, what)) = self.build(&current.key)? {
                return Ok(Some(self.numbered(&current, when, what)));
            }
            // What it was about is gone: a file was released before anybody heard that it was held.
            self.saved.change(|saved| saved.current = None).map_err(fault)?;
        }
        let Some(key) = self.next_key()? else { return Ok(None) };
        let Some((when, what)) = self.build(&key)? else { return Ok(None) };
        let current = self
            .saved
            .change(|saved| {
                saved.number += 1;
                let current = Current { number: saved.number, key };
                saved.current = Some(current.clone());
                current
            })
            .map_err(fault)?;
        Ok(Some(self.numbered(&current, when, what)))
    }

    fn numbered(&self, current: &Current, when: i64, what: Announced) -> Announcement {
        let about = match &current.key {
            Key::Conflict(oid) | Key::Committed(oid) => oid.short(),
            Key::Held(reason, _) => format!("{reason:?}").to_lowercase(),
            Key::Pushed(number) => format!("push-{number}"),
        };
        let id = format!("{}-{}-{about}", self.saved.get().lineage, current.number);
        Announcement { id, at: at(when), what }
    }

    fn next_key(&mut self) -> Result<Option<Key>, Fault> {
        let saved = self.saved.get();
        let conflict = saved.parked.iter().find(|record| !record.announced && record.confirmed == Confirmed::Yes);
        if let Some(record) = conflict {
            return Ok(Some(Key::Conflict(record.commit)));
        }
        if let Some(first) = saved.held.values().find(|record| !record.announced) {
            let reason = first.reason;
            let same = saved.held.iter().filter(|(_, record)| !record.announced && record.reason == reason);
            return Ok(Some(Key::Held(reason, same.map(|(path, _)| path.clone()).collect())));
        }
        if let Some(commit) = self.unannounced_commits()?.first() {
            return Ok(Some(Key::Committed(*commit)));
        }
        Ok(self.saved.get().pushes.first().map(|push| Key::Pushed(push.number)))
    }

    /// Commits of ours on the branch that nobody was told of, oldest first.
    pub(super) fn unannounced_commits(&mut self) -> Result<Vec<Oid>, Fault> {
        let branch = self.branch()?;
        let told = self.saved.get().announced.clone();
        if told.contains(&branch) {
            return Ok(Vec::new());
        }
        let known: Vec<Option<Oid>> = told.iter().copied().filter(|oid| self.repo.contains(*oid)).map(Some).collect();
        let mut ours = Vec::new();
        for commit in self.commits(branch, &known)? {
            if self.is_ours(commit)? {
                ours.push(commit);
            }
        }
        if ours.is_empty() {
            self.saved.change(|saved| saved.announced = vec![branch]).map_err(fault)?;
        }
        Ok(ours)
    }

    fn build(&self, key: &Key) -> Result<Option<(i64, Announced)>, Fault> {
        Ok(match key {
            Key::Conflict(commit) => {
                self.saved.get().parked.iter().find(|record| record.commit == *commit).map(|record| {
                    let what = Announced::Conflict {
                        rescue_branch: record.branch.clone(),
                        paths: record.paths.clone(),
                        base: record.base,
                        ours: record.commit,
                        theirs: record.theirs,
                    };
                    (record.since, what)
                })
            }
            Key::Held(reason, paths) => {
                let held = &self.saved.get().held;
                let still = |path: &&RepoPath| held.get(*path).is_some_and(|record| record.reason == *reason);
                let paths: Vec<RepoPath> = paths.iter().filter(still).cloned().collect();
                let since = paths.first().and_then(|path| held.get(path)).map(|record| record.since);
                since.map(|since| (since, Announced::Held { paths, reason: *reason }))
            }
            Key::Committed(commit) if !self.repo.contains(*commit) => None,
            Key::Committed(commit) => {
                let parent = self.repo.commit_info(*commit).map_err(fault)?.parents.first().copied();
                let when = self.repo.committed_at(*commit).map_err(fault)?;
                Some((when, Announced::Committed(self.shown_commit(*commit, parent)?)))
            }
            Key::Pushed(number) => match self.saved.get().pushes.iter().find(|push| push.number == *number) {
                Some(push) if self.repo.contains(push.new) => {
                    let old = push.old.filter(|old| self.repo.contains(*old));
                    Some((push.at, Announced::Pushed(self.shown_commit(push.new, old)?)))
                }
                _ => None,
            },
        })
    }

    /// A commit and what differs from `since`.
    pub(super) fn shown_commit(&self, oid: Oid, since: Option<Oid>) -> Result<Commit, Fault> {
        let info = self.repo.commit_info(oid).map_err(fault)?;
        let text = self.repo.message(oid).map_err(fault)?;
        let changes = self.repo.diff(since, oid).map_err(fault)?;
        Ok(Commit {
            oid,
            parent: since,
            paths: changes.into_iter().map(|change| change.path).collect(),
            session: message::trailer(&text, message::SESSION_TRAILER),
            author: Signature { name: info.author.name, email: info.author.email },
            takes_back: message::takes_back(&text),
        })
    }

    pub(super) fn acknowledge(&mut self, id: &str) -> Result<(), Fault> {
        let Some(current) = self.saved.get().current.clone() else { return Ok(()) };
        if !id.starts_with(&format!("{}-{}-", self.saved.get().lineage, current.number)) {
            return Ok(());
        }
        self.saved
            .change(|saved| {
                saved.current = None;
                match &current.key {
                    Key::Conflict(commit) => {
                        for record in saved.parked.iter_mut().filter(|record| record.commit == *commit) {
                            record.announced = true;
                        }
                    }
                    Key::Held(reason, paths) => {
                        for path in paths {
                            if let Some(record) = saved.held.get_mut(path).filter(|record| record.reason == *reason) {
                                record.announced = true;
                            }
                        }
                    }
                    Key::Committed(commit) => saved.announced.push(*commit),
                    Key::Pushed(number) => saved.pushes.retain(|push| push.number != *number),
                }
            })
            .map_err(fault)?;
        Ok(())
    }
}
