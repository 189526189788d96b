//! Publishing a commit: into the mirror, out as a checkout, and behind the link.

use std::sync::PoisonError;
use std::sync::atomic::Ordering;

use baft_bus::payload::{FailureClass, Trigger};
use baft_repo::transport::Remote;
use baft_repo::{Oid, Repo};

use super::{LOCAL, NETWORK, Outcome, Worker, trigger_label};
use crate::error::Failure;
use crate::hooks;
use crate::mirror::{Goal, Mirror};

impl Worker {
    /// Clones the mirror anew beside the old one, and publishes from it.
    pub(super) fn rebuild_and_publish(
        &mut self,
        mirror: &Mirror,
        remote: &Remote,
        goal: &Goal,
        trigger: Trigger,
    ) -> Result<Outcome, Failure> {
        self.place.store(NETWORK, Ordering::SeqCst);
        let existed = self.config.mirror().exists();
        let (repo, commit, report) = mirror.rebuild(self.transport.as_ref(), remote, goal)?;
        self.count_fetch(&report);
        if existed {
            self.metrics.mirrors_rebuilt.inc();
        }
        self.publish_commit(&repo, commit, trigger)
    }

    /// Fetches what is missing and publishes it.
    pub(super) fn publish(
        &mut self,
        repo: &Repo,
        remote: &Remote,
        goal: &Goal,
        trigger: Trigger,
    ) -> Result<Outcome, Failure> {
        let known = self.head() == Some(goal.commit()) && repo.contains(goal.commit());
        let commit = if known {
            goal.commit()
        } else {
            let (commit, report) =
                self.timed("fetch", || Mirror::fetch(self.transport.as_ref(), repo, remote, goal))?;
            self.count_fetch(&report);
            commit
        };
        self.publish_commit(repo, commit, trigger)
    }

    fn count_fetch(&self, report: &baft_repo::transport::FetchReport) {
        self.metrics.their_fetches.inc();
        self.metrics.fetched_objects.inc_by(report.objects as u64);
        self.metrics.fetched_bytes.inc_by(report.bytes);
    }

    /// Makes the checkout and flips the link, in the journal's order.
    fn publish_commit(&mut self, repo: &Repo, commit: Oid, trigger: Trigger) -> Result<Outcome, Failure> {
        self.place.store(LOCAL, Ordering::SeqCst);
        let head = self.head();
        let report = self.timed("checkout", || self.checkouts.publish(repo, commit, head))?;
        self.state.unverified = false;
        self.metrics.files_written.inc_by(report.written as u64);
        self.metrics.files_linked.inc_by(report.linked as u64);
        self.metrics.files_altered.inc_by(report.altered as u64);
        if report.altered > 0 {
            tracing::warn!(
                files = report.altered,
                "somebody had changed files of a checkout; they were written afresh"
            );
        }
        self.state.upkeep_due = true;
        if head == Some(commit) {
            self.restore_link(commit)?;
            return Ok(Outcome::Unchanged);
        }
        let forced = match head {
            Some(old) => is_forced(repo, old, commit)?,
            None => false,
        };
        if let Some(hook) = &self.config.pre_publish {
            hooks::run_blocking(hook, commit, &report.path, &self.metrics)
                .map_err(|error| Failure::new(FailureClass::Other, format!("not published: {error}")))?;
        }
        let mut file = self.journal.lock().unwrap_or_else(PoisonError::into_inner);
        file.change(|journal| journal.begin(commit, forced, trigger))?;
        self.timed("flip", || self.link.flip(commit))?;
        file.change(crate::journal::Journal::finish)?;
        let waiting = file.get().unannounced.len();
        drop(file);
        self.metrics.unannounced.set(i64::try_from(waiting).unwrap_or(i64::MAX));
        self.metrics.published.inc();
        if forced {
            self.metrics.forced.inc();
        }
        let old = head.map(|old| old.to_string());
        tracing::info!(old, new = %commit, forced, trigger = trigger_label(trigger), written = report.written, "published");
        self.show(commit);
        keep_reachable(repo, commit);
        Ok(Outcome::Published)
    }

    /// The commit is published already; the link may have gone.
    fn restore_link(&self, commit: Oid) -> Result<(), Failure> {
        if self.link.shows() != Some(commit) {
            self.link.flip(commit)?;
            tracing::warn!(%commit, "the link or the checkout had gone; both are there again");
        }
        self.show(commit);
        Ok(())
    }
}

/// Whether history was rewritten. An old commit that is gone from the mirror was.
fn is_forced(repo: &Repo, old: Oid, new: Oid) -> Result<bool, Failure> {
    match repo.is_ancestor(old, new) {
        Ok(contained) => Ok(!contained),
        Err(error) if error.is_corrupt() && repo.contains(old) => Err(error.into()),
        Err(_) => Ok(true),
    }
}

/// Keeps a person's `git gc` from taking what readers are shown, whatever the remote's branches do.
fn keep_reachable(repo: &Repo, commit: Oid) {
    const PUBLISHED: &str = "refs/baft/published";
    let moved = repo.find_ref(PUBLISHED).and_then(|old| repo.set_ref(PUBLISHED, commit, old, "published"));
    if let Err(error) = moved {
        tracing::debug!(%error, "cannot move {PUBLISHED}");
    }
}
