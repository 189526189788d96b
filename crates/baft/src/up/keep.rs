//! Keeping a daemon of this process running: when it ends or panics it is reported and started again.

use std::future::Future;
use std::time::{Duration, Instant};

use baft_kit::backoff::Backoff;
use tokio_util::sync::CancellationToken;

/// A daemon that ran this long was well: the next restart is immediate again.
const WELL: Duration = Duration::from_secs(60);

/// What happens to a daemon.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Turn {
    /// It is started.
    Started,
    /// It ended, for this reason, and will be started again.
    Ended(String),
}

/// Runs `start` again and again until the shutdown; each run gets a token that is cancelled then.
pub async fn keep<F, Fut>(shutdown: CancellationToken, mut start: F, tell: impl Fn(Turn))
where
    F: FnMut(CancellationToken) -> Fut,
    Fut: Future<Output = Result<(), String>> + Send + 'static,
{
    let mut backoff = Backoff::new(Duration::from_millis(500), Duration::from_secs(30));
    while !shutdown.is_cancelled() {
        let began = Instant::now();
        tell(Turn::Started);
        // A task of its own, so that a panic ends it and nothing else.
        let life = shutdown.child_token();
        let ended = tokio::spawn(start(life.clone())).await;
        // Whatever it left running, such as its answers to requests, ends with it.
        life.cancel();
        if shutdown.is_cancelled() {
            return;
        }
        let reason = match ended {
            Ok(Ok(())) => "it ended by itself".to_owned(),
            Ok(Err(reason)) => reason,
            Err(error) => panic_text(error),
        };
        if began.elapsed() > WELL {
            backoff.reset();
        }
        tell(Turn::Ended(reason));
        let _ = shutdown.run_until_cancelled(tokio::time::sleep(backoff.next_delay())).await;
    }
}

fn panic_text(error: tokio::task::JoinError) -> String {
    match error.try_into_panic() {
        Ok(panic) => {
            let text =
                panic.downcast_ref::<String>().map(String::as_str).or_else(|| panic.downcast_ref::<&str>().copied());
            format!("a defect: {}", text.unwrap_or("it panicked"))
        }
        Err(error) => error.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::*;

    #[tokio::test(start_paused = true)]
    #[allow(clippy::panic)]
    async fn a_daemon_that_fails_or_panics_is_started_again_until_the_shutdown() {
        let shutdown = CancellationToken::new();
        let (runs, turns) = (AtomicU32::new(0), Mutex::new(Vec::new()));
        keep(
            shutdown.clone(),
            |token| {
                let (run, all) = (runs.fetch_add(1, Ordering::SeqCst), shutdown.clone());
                async move {
                    match run {
                        0 => Err("disk full".to_owned()),
                        1 => panic!("index out of range"),
                        _ => {
                            all.cancel();
                            token.cancelled().await;
                            Ok(())
                        }
                    }
                }
            },
            |turn| turns.lock().unwrap().push(turn),
        )
        .await;
        let ended = |reason: &str| Turn::Ended(reason.to_owned());
        assert_eq!(
            *turns.lock().unwrap(),
            [Turn::Started, ended("disk full"), Turn::Started, ended("a defect: index out of range"), Turn::Started,]
        );
    }
}
