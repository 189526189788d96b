//! The network: asking upstream, pushing the branch, and telling one refusal from another.

use std::sync::mpsc::{RecvTimeoutError, sync_channel};
use std::time::{Duration, Instant};

use baft_repo::transport::{PushSpec, PushedRef, Remote, Transport, TransportError};
use baft_repo::{Oid, Repo};

use super::fault::{Fault, fault};
use super::machine::Input;
use super::saved::PushedRecord;
use super::{Agent, Class, Extent, Flush, Notice, Order, failpoint};

/// A remote that does not answer within this time must not keep edits from being captured.
const PATIENCE: Duration = Duration::from_secs(2);

/// What is done while a remote takes long.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum Meanwhile {
    /// Edits are captured; whoever talks to the remote counts on the branch staying where it is.
    #[default]
    Capture,
    /// They land, too.
    Land,
}

/// What a refusal means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Refusal {
    /// Somebody was faster.
    Race,
    /// The branch is closed to us.
    Protected,
    /// Some content is not welcome.
    Policy,
}

/// From the server's words to what to do.
pub(super) fn classify(answer: &PushedRef) -> Refusal {
    let reason = answer.rejected.as_deref().unwrap_or_default().to_lowercase();
    let said = answer.said.to_lowercase();
    let any = |text: &str, words: &[&str]| words.iter().any(|word| text.contains(word));
    let race = [
        "non-fast-forward",
        "fetch first",
        "stale info",
        "failed to update ref",
        "failed to lock",
        "cannot lock ref",
        "reference already exists",
        "incorrect old value",
        "it moved",
    ];
    let closed = [
        "protected branch",
        "gh006",
        "not allowed to push",
        "checked out",
        "you are not allowed",
        "branch is locked",
        "deny updating",
        "refusing to update",
    ];
    if any(&reason, &closed) || any(&said, &closed) {
        return Refusal::Protected;
    }
    if any(&reason, &race) {
        return Refusal::Race;
    }
    Refusal::Policy
}

impl Agent {
    /// Runs something that talks to the remote. While it takes long, edits are captured.
    pub(super) fn network<T: Send>(
        &mut self,
        work: impl FnOnce(&dyn Transport, &Repo, &Remote) -> Result<T, TransportError> + Send,
    ) -> Result<T, Fault> {
        let mut remote = self.settings.remote.clone();
        if let Some(deadline) = self.order_deadline {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(Fault::new(Class::Network, "no time is left for the remote"));
            }
            remote.deadline = Some(remote.deadline.map_or(left, |limit| limit.min(left)));
        }
        let (transport, path) = (std::sync::Arc::clone(&self.transport), self.settings.clone.clone());
        let (sender, receiver) = sync_channel(1);
        std::thread::scope(|scope| {
            let thread = std::thread::Builder::new().name("commit-network".into()).spawn_scoped(scope, move || {
                let result =
                    Repo::open(&path).map_err(fault).and_then(|repo| work(&*transport, &repo, &remote).map_err(fault));
                // The receiver lives as long as this scope.
                let _ = sender.send(result);
            });
            if let Err(error) = thread {
                return Err(fault(error));
            }
            loop {
                match receiver.recv_timeout(PATIENCE) {
                    Ok(result) => return result,
                    Err(RecvTimeoutError::Timeout) => self.capture_meanwhile(),
                    Err(RecvTimeoutError::Disconnected) => {
                        return Err(Fault::other("talking to the remote ended without a result"));
                    }
                }
            }
        })
    }

    fn capture_meanwhile(&mut self) {
        let order = Order {
            session: self.order_session.clone(),
            flush: Flush::Quiet,
            extent: Extent::Local,
            ..Order::default()
        };
        if let Err(fault) = self.capture(&order) {
            tracing::debug!(error = fault.message, "nothing captured while waiting for the remote");
        }
        if self.meanwhile == Meanwhile::Land
            && let Err(fault) = self.land()
        {
            tracing::debug!(error = fault.message, "nothing landed while waiting for the remote");
        }
    }

    /// What the remote had under a name when last asked.
    pub(super) fn remote_has(&self, name: &str) -> Option<Oid> {
        self.remote_refs.get(name).copied()
    }

    pub(super) fn note_remote(&mut self, name: &str, oid: Option<Oid>) {
        match oid {
            Some(oid) => drop(self.remote_refs.insert(name.to_owned(), oid)),
            None => drop(self.remote_refs.remove(name)),
        }
    }

    /// Asks the remote, and brings in what it has.
    pub(super) fn fetch(&mut self) -> Result<(), Fault> {
        failpoint::hit("fetch.before").map_err(fault)?;
        let refs = self.network(|transport, _, remote| transport.list(remote))?;
        self.remote_refs = refs.into_iter().map(|found| (found.name, found.oid)).collect();
        let name = self.names.branch.clone();
        let Some(there) = self.remote_has(&name) else {
            let empty = !self.remote_refs.keys().any(|found| found.starts_with("refs/heads/"));
            if empty && self.upstream()?.is_none() {
                return Ok(());
            }
            return Err(Fault::new(
                Class::NotFound,
                format!("the remote has no branch {}: create it there, or give the right name", self.settings.branch),
            ));
        };
        let fetched = self.names.fetched.clone();
        if self.repo.find_ref(&fetched).map_err(fault)? != Some(there) || !self.repo.contains(there) {
            let spec = format!("+{name}:{fetched}");
            self.network(move |transport, repo, remote| transport.fetch(repo, remote, &[spec]))?;
        }
        failpoint::hit("fetch.after").map_err(fault)?;
        let Some(new) = self.repo.find_ref(&fetched).map_err(fault)? else {
            return Err(Fault::new(Class::NotFound, format!("the remote did not give {name}")));
        };
        self.accept(new)?;
        self.saved.change(|saved| saved.last_fetch = Some(baft_kit::time::unix_seconds())).map_err(fault)?;
        Ok(())
    }

    /// Upstream is followed when it goes on from where it was.
    fn accept(&mut self, new: Oid) -> Result<(), Fault> {
        let old = self.upstream()?;
        if let Some(old) = old.filter(|old| *old != new) {
            if !self.repo.is_ancestor(old, new).map_err(fault)? {
                if self.saved.get().rewritten != Some(new) {
                    tracing::error!(%old, %new, "upstream's history was rewritten: not followed before a person confirms it");
                    self.report.notices.push(Notice::UpstreamRewritten { old, new });
                    self.saved
                        .change(|saved| {
                            saved.rewritten = Some(new);
                            saved.follow = None;
                        })
                        .map_err(fault)?;
                }
                return Ok(());
            }
            // A push whose answer was lost.
            let branch = self.branch()?;
            let arrived = self.repo.is_ancestor(branch, new).map_err(fault)?
                && !self.repo.is_ancestor(branch, old).map_err(fault)?;
            if arrived && self.is_ours(branch)? {
                self.record_push(Some(old), branch)?;
            }
        }
        self.saved.change(|saved| (saved.rewritten, saved.follow) = (None, None)).map_err(fault)?;
        self.set_upstream(new)
    }

    pub(super) fn set_upstream(&self, new: Oid) -> Result<(), Fault> {
        self.set_ref(&self.names.upstream, new, "fetch")?;
        // For people; a lock of theirs on it is no reason to stop.
        if let Err(fault) = self.set_ref(&self.names.tracking, new, "fetch") {
            tracing::debug!(error = fault.message, "the tracking branch was not moved");
        }
        Ok(())
    }

    fn record_push(&mut self, old: Option<Oid>, new: Oid) -> Result<(), Fault> {
        let at = baft_kit::time::unix_seconds();
        self.saved
            .change(|saved| {
                if saved.pushes.last().is_none_or(|last| last.new != new) {
                    saved.number += 1;
                    saved.pushes.push(PushedRecord { number: saved.number, old, new, at });
                }
                // Where the remote is has been heard just now.
                (saved.last_push, saved.last_fetch) = (Some(at), Some(at));
            })
            .map_err(fault)?;
        Ok(())
    }

    /// Pushes the branch.
    pub(super) fn push(&mut self) -> Result<Input, Fault> {
        self.take_out_unclean()?;
        let (branch, upstream) = (self.branch()?, self.upstream()?);
        if Some(branch) == upstream {
            self.saved.change(|saved| saved.last_push = Some(baft_kit::time::unix_seconds())).map_err(fault)?;
            return Ok(Input::Done);
        }
        if upstream.is_none() && self.repo.list(branch, None).map_err(fault)?.is_empty() {
            return Ok(Input::Done);
        }
        if let Some(upstream) = upstream
            && !self.repo.is_ancestor(upstream, branch).map_err(fault)?
        {
            return Ok(Input::Raced);
        }
        failpoint::hit("push.before").map_err(fault)?;
        // What is pushed is named by its commit, so the branch may go on from it.
        self.meanwhile = Meanwhile::Land;
        let answer = self.try_push(branch, upstream);
        self.meanwhile = Meanwhile::Capture;
        let answer = match answer {
            Ok(answer) => answer,
            Err(fault) if fault.class == Class::Race => return Ok(self.lost_race()),
            Err(fault) => return Err(fault),
        };
        failpoint::hit("push.after").map_err(fault)?;
        if answer.rejected.is_none() {
            self.pushed(upstream, branch)?;
            // What landed while the remote took its time goes after it.
            return if self.branch()? == branch { Ok(Input::Done) } else { self.push() };
        }
        match classify(&answer) {
            Refusal::Race => Ok(self.lost_race()),
            Refusal::Protected => {
                self.protected(&answer);
                Ok(Input::Protected)
            }
            Refusal::Policy => self.push_what_is_welcome(branch, upstream, &answer),
        }
    }

    pub(super) fn try_push(&mut self, new: Oid, expected: Option<Oid>) -> Result<PushedRef, Fault> {
        let spec = PushSpec { new: Some(new), name: self.names.branch.clone(), expected };
        let answers = self.network(move |transport, repo, remote| transport.push(repo, remote, &[spec]))?;
        answers.into_iter().next().ok_or_else(|| Fault::new(Class::Network, "the server said nothing about the push"))
    }

    pub(super) fn pushed(&mut self, old: Option<Oid>, new: Oid) -> Result<(), Fault> {
        let name = self.names.branch.clone();
        self.note_remote(&name, Some(new));
        self.record_push(old, new)?;
        failpoint::hit("push.recorded").map_err(fault)?;
        // The server has it and so do we: as good as fetched.
        let fetched = self.names.fetched.clone();
        self.set_ref(&fetched, new, "push")?;
        self.set_upstream(new)?;
        self.report.pushed = Some(new);
        Ok(())
    }

    pub(super) fn protected(&mut self, answer: &PushedRef) {
        let reason = answer.rejected.clone().unwrap_or_default();
        self.fail(
            super::Step::Push,
            &Fault::new(
                Class::Protected,
                format!("the server does not let us push to {}: {reason}", self.settings.branch),
            ),
        );
    }

    fn lost_race(&mut self) -> Input {
        // Those who lost together must not come back together.
        let mut pause = baft_kit::backoff::Backoff::new(Duration::from_millis(20), Duration::from_millis(200));
        std::thread::sleep(pause.next_delay());
        Input::Raced
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refusals_are_told_apart() {
        for (reason, said, expected) in [
            ("non-fast-forward", "", Refusal::Race),
            ("failed to update ref", "", Refusal::Race),
            ("protected branch hook declined", "error: GH006: Protected branch update failed", Refusal::Protected),
            (
                "pre-receive hook declined",
                "error: GH001: Large files detected. data/x.bin is 120.00 MB",
                Refusal::Policy,
            ),
            (
                "push declined due to repository rule violations",
                "error: GH013: secret in data/a.yaml:3",
                Refusal::Policy,
            ),
            (
                "pre-receive hook declined",
                "GitLab: You are not allowed to push code to protected branches",
                Refusal::Protected,
            ),
            ("hook declined", "", Refusal::Policy),
            ("branch is currently checked out in that working tree", "", Refusal::Protected),
        ] {
            let answer = PushedRef {
                name: "refs/heads/main".to_owned(),
                rejected: Some(reason.to_owned()),
                said: said.to_owned(),
            };
            assert_eq!(classify(&answer), expected, "{reason}");
        }
    }
}
