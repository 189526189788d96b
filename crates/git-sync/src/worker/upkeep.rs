//! What nobody waits for: old checkouts are removed, the next is prepared, and the mirror stays quick to read.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use baft_repo::{Oid, RepoError};

use super::{LOCAL, LOCAL_WORK, Worker};
use crate::mirror::Mirror;

/// How long a mirror that was replaced by a compact one stays for whoever has it open.
const LAST_READERS: Duration = Duration::from_secs(600);

impl Worker {
    /// What nobody waits for: removing old checkouts, preparing the next. Steps aside when somebody rings, and goes on later.
    pub(super) fn upkeep(&mut self) {
        self.place.store(LOCAL, Ordering::SeqCst);
        self.pulse.busy_until(LOCAL_WORK);
        let waiting = Arc::clone(&self.waiting);
        let interrupted = move || waiting.load(Ordering::SeqCst) > 0;
        self.state.upkeep_due = false;
        let Some(head) = self.head() else { return };
        match self.tidy(head, &interrupted) {
            Ok(complete) => self.state.upkeep_due = !complete,
            // The next publication tries again.
            Err(error) => tracing::warn!(%error, "old checkouts could not be removed"),
        }
        if !self.state.upkeep_due {
            self.tend_mirror();
        }
        if let Ok(existing) = self.checkouts.existing() {
            self.metrics.checkouts.set(i64::try_from(existing.len()).unwrap_or(i64::MAX));
        }
    }

    /// Keeps the mirror quick to read. Unlike the rest of the upkeep this cannot be interrupted, but it is rare.
    fn tend_mirror(&mut self) {
        let mirror = Mirror::at(self.config.mirror());
        if self.state.old_mirror.is_some_and(|since| since.elapsed() > LAST_READERS) {
            self.state.old_mirror = None;
            if let Err(error) = mirror.forget_old() {
                tracing::warn!(%error, "the old mirror could not be removed");
            }
        }
        if !mirror.is_scattered() || self.state.old_mirror.is_some() {
            return;
        }
        let began = Instant::now();
        self.state.old_mirror = Some(began);
        match mirror.compact(self.transport.as_ref()) {
            Ok(()) => {
                self.metrics.mirrors_compacted.inc();
                tracing::info!(milliseconds = began.elapsed().as_millis() as u64, "the mirror was packed anew");
            }
            Err(error) => tracing::warn!(%error, "the mirror could not be packed anew"),
        }
    }

    fn tidy(&self, head: Oid, interrupted: &dyn Fn() -> bool) -> Result<bool, RepoError> {
        let swept = self.checkouts.sweep(self.config.keep, head, interrupted)?;
        if !swept.removed.is_empty() {
            tracing::debug!(removed = swept.removed.len(), "old checkouts removed");
        }
        if swept.interrupted {
            return Ok(false);
        }
        match Mirror::at(self.config.mirror()).open()? {
            Some(repo) => self.checkouts.prepare(&repo, head, interrupted),
            None => Ok(true),
        }
    }
}
