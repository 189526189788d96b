//! Telling how a look went: status, metrics, readiness, files, and whoever asked for it.

use std::time::{Duration, Instant};

use baft_repo::Oid;

use super::{Notice, Outcome, Worker};
use crate::agenda::Agenda;
use crate::config::Runs;
use crate::error::{Failure, SyncError};
use crate::files;
use crate::mirror::Mirror;
use crate::status::Synced;

impl Worker {
    /// Tells everybody how the look went; gives the end of the run, if this was it.
    pub(super) fn conclude(
        &mut self,
        agenda: &mut Agenda,
        result: Result<Outcome, Failure>,
    ) -> Option<Result<(), SyncError>> {
        let now = Instant::now();
        match result {
            Ok(outcome) => {
                agenda.succeeded(now, rand::random());
                self.note_success(outcome);
                (self.config.runs == Runs::Once).then_some(Ok(()))
            }
            Err(failure) => {
                let retry_in = agenda.failed(now, rand::random());
                let attempt = agenda.failures();
                self.note_failure(&failure, attempt, retry_in);
                agenda
                    .exhausted(self.config.max_failures, self.config.init_max_failures)
                    .then_some(Err(SyncError::TooManyFailures { failures: attempt, last: failure }))
            }
        }
    }

    fn note_success(&mut self, outcome: Outcome) {
        let first = !std::mem::replace(&mut self.state.succeeded, true);
        self.state.transfers_damaged = 0;
        let unix = baft_kit::time::unix_millis();
        #[allow(clippy::cast_precision_loss, reason = "milliseconds since 1970 fit a double exactly")]
        self.metrics.last_success.set(unix as f64 / 1000.0);
        self.metrics.failures_in_a_row.set(0);
        let result = if outcome == Outcome::Published { "published" } else { "unchanged" };
        self.metrics.checks.with_label_values(&[result]).inc();
        let at = baft_kit::time::now_rfc3339();
        let allowed = self.config.period.max(Duration::from_secs(1)) * 3;
        self.fresh.ready_until(Instant::now() + allowed, format!("no successful look at the remote since {at}"));
        let mut failing = false;
        self.status.send_modify(|status| {
            failing = status.failure.is_some();
            status.last_success_at = Some(at);
            (status.failures, status.failure, status.behind) = (0, None, Some(0));
            status.remote_head = status.head;
        });
        if (first || outcome == Outcome::Published)
            && let Some(path) = &self.config.touch_file
            && let Err(error) = files::touch(path)
        {
            tracing::error!(path = %path.display(), %error, "cannot touch --touch-file");
        }
        files::clear_error(self.config.error_file.as_deref());
        if failing {
            // Nobody is woken for every look that finds nothing.
            let _ = self.notices.send(Notice::Succeeded);
        }
        self.answer_waiters();
    }

    fn note_failure(&mut self, failure: &Failure, attempt: u32, retry_in: Duration) {
        tracing::warn!(
            class = failure.label(),
            attempt,
            retry_in_ms = retry_in.as_millis() as u64,
            "sync failed: {failure}"
        );
        self.metrics.failures.with_label_values(&[failure.label()]).inc();
        self.metrics.failures_in_a_row.set(i64::from(attempt));
        self.metrics.checks.with_label_values(&["failed"]).inc();
        files::write_error(self.config.error_file.as_deref(), failure);
        if !self.state.succeeded {
            self.fresh.not_ready(format!("no sync has succeeded yet: {}: {failure}", failure.label()));
        }
        let behind = self.behind();
        self.status.send_modify(|status| {
            status.failures = attempt;
            status.failure = Some(failure.clone());
            status.behind = behind;
        });
        for waiter in self.state.waiters.drain(..) {
            let _ = waiter.reply.send(Err(failure.clone()));
        }
        let _ = self.notices.send(Notice::Failed { failure: failure.clone(), attempt, retry_in });
    }

    /// How many commits of the remote's line readers do not have yet, as far as the mirror knows.
    fn behind(&self) -> Option<u64> {
        let (head, remote) = {
            let status = self.status.borrow();
            (status.head?, status.remote_head?)
        };
        if head == remote {
            return Some(0);
        }
        let repo = Mirror::at(self.config.mirror()).open().ok()??;
        if !repo.contains(remote) {
            return None;
        }
        let line = repo.first_parents(remote).take(10_000).map_while(Result::ok);
        line.zip(0..).find_map(|(commit, count)| (commit.oid == head).then_some(count))
    }

    fn answer_waiters(&mut self) {
        let Some(head) = self.head() else { return };
        if self.state.waiters.is_empty() {
            return;
        }
        let repo = Mirror::at(self.config.mirror()).open().ok().flatten();
        let contains = |oid: Oid| {
            oid == head
                || repo.as_ref().is_some_and(|repo| repo.contains(oid) && repo.is_ancestor(oid, head).unwrap_or(false))
        };
        for waiter in std::mem::take(&mut self.state.waiters) {
            if waiter.wait_for.is_some_and(|oid| !contains(oid)) {
                self.state.waiters.push(waiter);
                continue;
            }
            let changed_files = match &repo {
                Some(repo) if waiter.old != Some(head) => {
                    repo.diff(waiter.old, head).map_or(0, |diff| diff.len() as u64)
                }
                _ => 0,
            };
            let duration = waiter.since.elapsed();
            let _ = waiter.reply.send(Ok(Synced { old: waiter.old, new: head, changed_files, duration }));
        }
    }
}
