//! Nothing waits for a remote longer than it was told to.
//!
//! libgit2's own time-outs are per read: a server that sends one byte every ten seconds defeats them, and there is no callback while refs are
//! being listed. So every remote operation runs on a thread of its own, and the caller leaves at the deadline. The thread cannot be killed; it
//! ends by itself when a read times out or the next progress callback tells it to, and until then it counts against a small limit.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::{RecvTimeoutError, sync_channel};
use std::time::{Duration, Instant};

use super::{Class, TransportError};

const DEFAULT: Duration = Duration::from_secs(120);
const MOST_ABANDONED: usize = 4;

static ABANDONED: AtomicUsize = AtomicUsize::new(0);

/// A moment to be finished by.
#[derive(Debug, Clone, Copy)]
pub(super) struct Deadline {
    at: Instant,
    limit: Duration,
}

impl Deadline {
    pub(super) fn after(limit: Option<Duration>) -> Self {
        let limit = limit.unwrap_or(DEFAULT);
        Self { at: Instant::now() + limit, limit }
    }

    pub(super) fn passed(self) -> bool {
        Instant::now() >= self.at
    }

    pub(super) fn left(self) -> Duration {
        self.at.saturating_duration_since(Instant::now())
    }

    pub(super) fn error(self, remote: &str) -> TransportError {
        TransportError::new(Class::Timeout, format!("{remote} did not answer within {:?}", self.limit))
    }
}

/// The end of a thread, however it ends. Of the thread and its caller the one who comes second takes the thread off the
/// count.
struct End(Arc<AtomicBool>);

impl Drop for End {
    fn drop(&mut self) {
        if self.0.swap(true, Ordering::AcqRel) {
            ABANDONED.fetch_sub(1, Ordering::AcqRel);
        }
    }
}

/// Runs `work` on its own thread until the deadline.
pub(super) fn run<T: Send + 'static>(
    deadline: Deadline,
    remote: &str,
    work: impl FnOnce() -> Result<T, TransportError> + Send + 'static,
) -> Result<T, TransportError> {
    if ABANDONED.load(Ordering::Acquire) >= MOST_ABANDONED {
        return Err(TransportError::new(
            Class::Timeout,
            format!("{remote}: {MOST_ABANDONED} earlier attempts still hang; not starting another"),
        ));
    }
    let (sender, receiver) = sync_channel(1);
    let over = Arc::new(AtomicBool::new(false));
    let end = End(over.clone());
    let thread = std::thread::Builder::new().name("git-transport".into()).spawn(move || {
        let _end = end;
        // When the caller has left there is nobody to send to.
        let _ = sender.send(work());
    });
    if let Err(error) = thread {
        return Err(TransportError::new(Class::Network, format!("cannot start a thread for {remote}: {error}")));
    }
    match receiver.recv_timeout(deadline.left()) {
        Ok(result) => result,
        Err(RecvTimeoutError::Timeout) => {
            ABANDONED.fetch_add(1, Ordering::AcqRel);
            if over.swap(true, Ordering::AcqRel) {
                // The thread ended between the time-out and the count.
                ABANDONED.fetch_sub(1, Ordering::AcqRel);
            }
            receiver.try_recv().unwrap_or_else(|_| Err(deadline.error(remote)))
        }
        Err(RecvTimeoutError::Disconnected) => {
            Err(TransportError::new(Class::Network, format!("{remote}: the operation ended without a result")))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_caller_leaves_at_the_deadline_and_the_work_ends_later_or_dies() {
        for dies in [false, true] {
            let (release, wait) = sync_channel::<()>(0);
            let started = Instant::now();
            let result = run(Deadline::after(Some(Duration::from_millis(50))), "remote", move || {
                let _ = wait.recv();
                assert!(!dies, "as told");
                Ok(())
            });
            assert_eq!(result.unwrap_err().class, Class::Timeout);
            assert!(started.elapsed() < Duration::from_secs(5));
            assert_eq!(ABANDONED.load(Ordering::Acquire), 1);
            drop(release);
            while ABANDONED.load(Ordering::Acquire) > 0 {
                std::thread::yield_now();
            }
        }
    }
}
