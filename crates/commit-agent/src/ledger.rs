//! `git.committed`, `git.pushed`, `git.conflict` and `git.held` events, derived by the engine from refs and its own state.

use std::time::{Duration, Instant};

use baft_bus::payload::{GitCommitted, GitConflict, GitHeld, GitPushed, cap_paths};
use baft_bus::{Ledger, LedgerError, Outgoing};
use baft_repo::RepoPath;

use crate::engine::{Announced, Announcement, Commit};
use crate::status::{Handle, reason, rfc3339};

/// The thread with the engine may be talking to a remote that hangs.
const PATIENCE: Duration = Duration::from_secs(600);

/// The ledger of one commit-agent.
pub(crate) struct AgentLedger {
    pub(crate) handle: Handle,
    pub(crate) repo: String,
    pub(crate) reference: String,
    pub(crate) agent: String,
}

impl AgentLedger {
    fn event(&self, announcement: &Announcement) -> Result<Outgoing, LedgerError> {
        let id = announcement.id.as_str();
        let event = match &announcement.what {
            Announced::Committed(commit) => {
                let ((files, truncated), parent, author) = parts(commit);
                let (repo, reference, session_id) = (self.repo.clone(), self.reference.clone(), commit.session.clone());
                let (takes_back, commit) = (commit.takes_back.clone(), commit.oid.to_string());
                let made =
                    GitCommitted { repo, reference, commit, parent, files, truncated, session_id, author, takes_back };
                Outgoing::new(id, &made)
            }
            Announced::Pushed(commit) => {
                let ((files, truncated), parent, author) = parts(commit);
                let (repo, reference, session_id) = (self.repo.clone(), self.reference.clone(), commit.session.clone());
                let commit = commit.oid.to_string();
                Outgoing::new(id, &GitPushed { repo, reference, commit, parent, files, truncated, session_id, author })
            }
            Announced::Conflict { rescue_branch, paths, base, ours, theirs } => {
                let (paths, truncated) = cap_paths(names(paths));
                let conflict = GitConflict {
                    repo: self.repo.clone(),
                    reference: self.reference.clone(),
                    agent: self.agent.clone(),
                    rescue_branch: rescue_branch.clone(),
                    paths,
                    truncated,
                    base: base.map(|oid| oid.to_string()),
                    ours: ours.to_string(),
                    theirs: theirs.map(|oid| oid.to_string()),
                };
                Outgoing::new(id, &conflict)
            }
            Announced::Held { paths, reason: why } => {
                let message = match paths.as_slice() {
                    [path] => format!("{path} is held back"),
                    paths => format!("{} files are held back", paths.len()),
                };
                let (paths, truncated) = cap_paths(names(paths));
                let held = GitHeld {
                    repo: self.repo.clone(),
                    reference: self.reference.clone(),
                    agent: self.agent.clone(),
                    paths,
                    truncated,
                    reason: reason(*why),
                    message,
                };
                Outgoing::new(id, &held)
            }
        };
        event.map(|event| event.happened_at(rfc3339(announcement.at))).map_err(LedgerError::new)
    }
}

fn parts(commit: &Commit) -> ((Vec<String>, bool), Option<String>, String) {
    (cap_paths(names(&commit.paths)), commit.parent.map(|oid| oid.to_string()), commit.author.to_string())
}

fn names(paths: &[RepoPath]) -> Vec<String> {
    paths.iter().map(ToString::to_string).collect()
}

impl Ledger for AgentLedger {
    fn pending(&mut self) -> Result<Option<Outgoing>, LedgerError> {
        let next = self.handle.ask_blocking(Instant::now() + PATIENCE, |worker| match worker.agent() {
            Ok(agent) => agent.next_announcement().map_err(LedgerError::new),
            // Nothing can have happened in a clone that was never open.
            Err(_) => Ok(None),
        });
        match next.map_err(LedgerError::new)?? {
            Some(announcement) => self.event(&announcement).map(Some),
            None => Ok(None),
        }
    }

    fn acknowledged(&mut self, id: &str) -> Result<(), LedgerError> {
        let id = id.to_owned();
        let done = self.handle.ask_blocking(Instant::now() + PATIENCE, move |worker| {
            let agent = worker.agent().map_err(LedgerError::new)?;
            agent.acknowledged(&id).map_err(LedgerError::new)?;
            let left = agent.unannounced();
            worker.metrics.unannounced.set(i64::try_from(left).unwrap_or(i64::MAX));
            Ok(())
        });
        done.map_err(LedgerError::new)?
    }
}
