//! Whoever is told after a commit was published: a program, a URL.
//!
//! As in kubernetes/git-sync: each hook runs at least once for what is published, again after a restart, is tried again until it succeeds, and
//! hears of the newest commit only when several were published while it ran.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use baft_repo::Oid;
use tokio::sync::{oneshot, watch};
use tokio_util::sync::CancellationToken;

use crate::config::{CallHook, ExecHook};
use crate::metrics::Metrics;

/// What hooks are told about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Published {
    pub(crate) commit: Oid,
    pub(crate) path: PathBuf,
}

/// Something to do for a published commit.
#[derive(Debug, Clone)]
pub(crate) enum Hook {
    Exec(ExecHook),
    Call(CallHook),
}

impl Hook {
    fn name(&self) -> &'static str {
        match self {
            Self::Exec(_) => "exechook",
            Self::Call(_) => "webhook",
        }
    }

    fn backoff(&self) -> Duration {
        match self {
            Self::Exec(hook) => hook.backoff,
            Self::Call(hook) => hook.backoff,
        }
    }

    async fn run(&self, published: &Published) -> Result<(), String> {
        match self {
            Self::Exec(hook) => exec(hook, published).await,
            Self::Call(hook) => {
                let (hook, commit) = (hook.clone(), published.commit);
                tokio::task::spawn_blocking(move || call(&hook, commit)).await.map_err(|error| error.to_string())?
            }
        }
    }
}

/// Runs a hook for whatever `latest` shows, until the shutdown. `first` hears how the first run went.
pub(crate) async fn serve(
    hook: Hook,
    mut latest: watch::Receiver<Option<Published>>,
    metrics: Metrics,
    first: oneshot::Sender<Result<(), String>>,
    shutdown: CancellationToken,
) {
    let mut first = Some(first);
    let mut done: Option<Oid> = None;
    loop {
        let published = latest.borrow_and_update().clone().filter(|published| done != Some(published.commit));
        let Some(published) = published else {
            tokio::select! {
                changed = latest.changed() => if changed.is_err() { return },
                () = shutdown.cancelled() => return,
            }
            continue;
        };
        let result = hook.run(&published).await;
        let status = if result.is_ok() { "success" } else { "error" };
        metrics.their_hooks.with_label_values(&[hook.name(), status]).inc();
        if let Some(first) = first.take() {
            let _ = first.send(result.clone());
        }
        match result {
            Ok(()) => {
                tracing::info!(hook = hook.name(), commit = %published.commit, "hook ran");
                done = Some(published.commit);
            }
            Err(error) => {
                tracing::warn!(hook = hook.name(), commit = %published.commit, %error, "hook failed; it runs again");
                tokio::select! {
                    () = tokio::time::sleep(hook.backoff()) => {}
                    () = shutdown.cancelled() => return,
                }
            }
        }
    }
}

async fn exec(hook: &ExecHook, published: &Published) -> Result<(), String> {
    let mut command = tokio::process::Command::from(prepared(hook, published.commit, &published.path));
    command.kill_on_drop(true);
    let mut child =
        command.spawn().map_err(|error| format!("{} cannot be started: {error}", hook.command.display()))?;
    match tokio::time::timeout(hook.timeout, child.wait()).await {
        Ok(Ok(status)) if status.success() => Ok(()),
        Ok(Ok(status)) => Err(format!("{} ended with {status}", hook.command.display())),
        Ok(Err(error)) => Err(format!("{} cannot be waited for: {error}", hook.command.display())),
        Err(_) => Err(format!("{} took longer than {:?}", hook.command.display(), hook.timeout)),
    }
}

/// The same for a thread that may block: the program that runs before the link flips.
pub(crate) fn run_blocking(hook: &ExecHook, commit: Oid, path: &Path, metrics: &Metrics) -> Result<(), String> {
    let result = wait_blocking(hook, commit, path);
    let status = if result.is_ok() { "success" } else { "error" };
    metrics.their_hooks.with_label_values(&["pre-publish-exechook", status]).inc();
    result
}

fn wait_blocking(hook: &ExecHook, commit: Oid, path: &Path) -> Result<(), String> {
    let name = hook.command.display();
    let mut child =
        prepared(hook, commit, path).spawn().map_err(|error| format!("{name} cannot be started: {error}"))?;
    let until = Instant::now() + hook.timeout;
    loop {
        match child.try_wait() {
            Ok(Some(status)) if status.success() => return Ok(()),
            Ok(Some(status)) => return Err(format!("{name} ended with {status}")),
            Ok(None) if Instant::now() < until => std::thread::sleep(Duration::from_millis(10)),
            Ok(None) => {
                let _ = child.kill();
                let _ = child.wait();
                return Err(format!("{name} took longer than {:?}", hook.timeout));
            }
            Err(error) => return Err(format!("{name} cannot be waited for: {error}")),
        }
    }
}

/// In the checkout, with the commit in `GITSYNC_HASH`; what it prints goes where our logs go.
fn prepared(hook: &ExecHook, commit: Oid, path: &Path) -> Command {
    let mut command = Command::new(&hook.command);
    command.current_dir(path).env("GITSYNC_HASH", commit.to_string()).stdin(Stdio::null());
    command
}

fn call(hook: &CallHook, commit: Oid) -> Result<(), String> {
    let agent: ureq::Agent = ureq::Agent::config_builder()
        .timeout_global(Some(hook.timeout))
        .http_status_as_error(false)
        .user_agent("baft-git-sync")
        .build()
        .into();
    let request = ureq::http::Request::builder()
        .method(hook.method.as_str())
        .uri(&hook.url)
        .header("Gitsync-Hash", commit.to_string())
        .body(())
        .map_err(|error| format!("the request cannot be made: {error}"))?;
    let shown = baft_kit::log::redact_url(&hook.url);
    match (agent.run(request), hook.success) {
        (_, None) => Ok(()),
        (Ok(response), Some(wanted)) if response.status().as_u16() == wanted => Ok(()),
        (Ok(response), Some(wanted)) => Err(format!("{shown} answered {}, not {wanted}", response.status().as_u16())),
        (Err(error), Some(_)) => Err(format!("{shown}: {error}")),
    }
}
