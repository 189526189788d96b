//! The tokio runtime of a daemon: few threads, little memory.

use std::fmt::Display;
use std::future::Future;
use std::process::ExitCode;

use crate::exit::Exit;

/// Stack of each thread. Only touched pages cost memory, but stacks of two MiB and more may be backed by huge pages.
const STACK_BYTES: usize = 1024 * 1024;

/// Threads for blocking work. Enough for git, files and the database side by side; a queue forms beyond.
const MAX_BLOCKING_THREADS: usize = 16;

/// What this machine, or pod (`HOSTNAME`), is called.
#[must_use]
pub fn host_name() -> String {
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let name = std::env::var("HOSTNAME").ok().filter(|name| !name.is_empty()).unwrap_or(host);
    name.trim().to_owned()
}

/// [`run`] for work that may fail: the error is logged, and `code` gives the exit code that fits it.
pub fn run_or_say<E: Display>(
    name: &str,
    worker_threads: usize,
    work: impl Future<Output = Result<Exit, E>>,
    code: impl Fn(&E) -> Exit,
) -> ExitCode {
    run(name, worker_threads, async move {
        work.await.unwrap_or_else(|error| {
            tracing::error!("{error}");
            code(&error)
        })
    })
}

/// Runs a daemon to its end on `worker_threads` threads (two suit every Baft daemon) and gives its exit code.
///
/// Blocking work still running when `future` ends is abandoned: a daemon waits for what matters in its drain.
pub fn run(name: &str, worker_threads: usize, future: impl Future<Output = Exit>) -> ExitCode {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(worker_threads.max(1))
        .max_blocking_threads(MAX_BLOCKING_THREADS)
        .thread_stack_size(STACK_BYTES)
        .thread_name(name)
        .enable_all()
        .build();
    match runtime {
        Ok(runtime) => {
            let exit = runtime.block_on(future);
            runtime.shutdown_background();
            exit.into()
        }
        Err(error) => {
            tracing::error!(%error, "cannot start the runtime; is there a limit on threads?");
            Exit::Failure.into()
        }
    }
}
