//! Ending well: one signal drains, a second ends at once.

use std::future::Future;
use std::io;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use signal_hook::consts::{SIGINT, SIGTERM};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::exit::Exit;

/// When and how this daemon ends. Clones are the same shutdown.
#[derive(Debug, Clone)]
pub struct Shutdown {
    token: CancellationToken,
    grace: Duration,
    began: watch::Sender<Option<Instant>>,
}

impl Shutdown {
    /// Listens for SIGTERM and SIGINT. The first cancels [`Shutdown::token`]; the second ends the process at once with
    /// code 1, even when every thread is stuck. `grace` is how long the drain may take.
    ///
    /// # Errors
    /// The signal handlers cannot be installed.
    pub fn install(grace: Duration) -> io::Result<Self> {
        let shutdown = Self::manual(grace);
        let armed = Arc::new(AtomicBool::new(false));
        for number in [SIGTERM, SIGINT] {
            // In this order: the first signal finds it unarmed and arms it, the second ends the process.
            signal_hook::flag::register_conditional_shutdown(number, Exit::Failure.code().into(), Arc::clone(&armed))?;
            signal_hook::flag::register(number, Arc::clone(&armed))?;
        }
        let (mut term, mut int) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
        let listener = shutdown.clone();
        tokio::spawn(async move {
            let name = tokio::select! {
                _ = term.recv() => "SIGTERM",
                _ = int.recv() => "SIGINT",
            };
            listener.trigger();
            tracing::info!(signal = name, grace_seconds = listener.grace.as_secs_f64(), "shutting down");
        });
        Ok(shutdown)
    }

    /// Without signals: for tests, and for daemons that share a process.
    #[must_use]
    pub fn manual(grace: Duration) -> Self {
        Self { token: CancellationToken::new(), grace, began: watch::Sender::new(None) }
    }

    /// Begins the shutdown, as a signal would.
    pub fn trigger(&self) {
        self.began.send_if_modified(|began| {
            let first = began.is_none();
            began.get_or_insert_with(Instant::now);
            first
        });
        self.token.cancel();
    }

    /// Cancelled when the shutdown begins.
    #[must_use]
    pub fn token(&self) -> CancellationToken {
        self.token.clone()
    }

    /// Waits until the shutdown begins.
    pub async fn begun(&self) {
        self.token.cancelled().await;
    }

    /// When the process must be gone: the grace period counts from the signal.
    #[must_use]
    pub fn deadline(&self) -> Instant {
        self.began.borrow().unwrap_or_else(Instant::now) + self.grace
    }

    /// Runs the final work: finish what is in flight, flush, hand over. What is not done at the deadline is dropped.
    pub async fn finish(&self, drain: impl Future<Output = ()>) -> Exit {
        self.trigger();
        match tokio::time::timeout_at(self.deadline(), drain).await {
            Ok(()) => {
                tracing::info!("stopped");
                Exit::Ok
            }
            Err(_) => {
                tracing::error!(
                    grace_seconds = self.grace.as_secs_f64(),
                    "work was still in flight at the end of the grace period; raise --shutdown-grace if this repeats"
                );
                Exit::Failure
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn finishing_in_time_is_a_success_and_cancels_whoever_still_works() {
        let shutdown = Shutdown::manual(Duration::from_secs(60));
        let token = shutdown.token();
        assert_eq!(shutdown.finish(async move { token.cancelled().await }).await, Exit::Ok);
    }

    #[tokio::test]
    async fn what_is_not_done_at_the_deadline_is_dropped() {
        let shutdown = Shutdown::manual(Duration::from_millis(10));
        assert_eq!(shutdown.finish(std::future::pending()).await, Exit::Failure);
    }

    #[tokio::test]
    async fn the_grace_period_counts_from_the_first_signal() {
        let shutdown = Shutdown::manual(Duration::from_secs(60));
        shutdown.trigger();
        shutdown.begun().await;
        let deadline = shutdown.deadline();
        shutdown.clone().trigger();
        assert_eq!(shutdown.deadline(), deadline);
    }
}
