//! `baft import` and `baft sync`: asking a daemon to work now.

use std::future::Future;
use std::io::{IsTerminal, Write};
use std::time::{Duration, Instant};

use baft_bus::payload::{GitSyncRequest, GitSyncResponse, ImportRunRequest, ImportRunResponse};
use baft_bus::{Code, RequestError};

use crate::cli::{ImportArgs, SyncArgs};
use crate::failure::Failure;
use crate::output::{Out, count, elapsed, short_commit};
use crate::reach;
use crate::workspace::Workspace;

/// Imports now.
///
/// # Errors
/// The importer is not running, or the import failed.
pub async fn import(args: &ImportArgs, workspace: &Workspace) -> Result<(), Failure> {
    let bus = reach::connect(&args.nats, workspace).await?;
    let request = ImportRunRequest { full: args.full, commit: None };
    let asked = bus.request::<_, ImportRunResponse>("import.run", &request, args.timeout);
    let answer = watched("importing", asked).await;
    reach::disconnect(bus).await;
    let answer = answer.map_err(|error| explain(error, "the importer"))?;
    let mut out = Out::new();
    if args.json {
        out.json(&answer)?;
        return out.flush();
    }
    let commit = answer.commit.as_deref().map(|commit| format!(" of {}", short_commit(commit))).unwrap_or_default();
    let counts = answer.counts;
    out.line(format!(
        "generation {}{commit}: {} inserted, {} updated, {} deleted, {} unchanged, in {}",
        answer.generation.number,
        counts.inserted,
        counts.updated,
        counts.deleted,
        counts.unchanged,
        elapsed(Duration::from_millis(answer.duration_ms)),
    ))?;
    if counts.errors > 0 {
        out.line(format!("{}: baft query 'FROM _errors' shows them", count(counts.errors, "error")))?;
    }
    out.flush()
}

/// Looks at the remote now.
///
/// # Errors
/// git-sync is not running, or the sync failed.
pub async fn sync(args: &SyncArgs, workspace: &Workspace) -> Result<(), Failure> {
    let bus = reach::connect(&args.nats, workspace).await?;
    let request = GitSyncRequest { wait_for: args.wait_for.clone() };
    let asked = bus.request::<_, GitSyncResponse>("git.sync", &request, args.timeout);
    let answer = watched("syncing", asked).await;
    reach::disconnect(bus).await;
    let answer = answer.map_err(|error| explain(error, "git-sync"))?;
    let mut out = Out::new();
    if args.json {
        out.json(&answer)?;
        return out.flush();
    }
    let took = elapsed(Duration::from_millis(answer.duration_ms));
    let new = short_commit(&answer.new);
    match answer.old.as_deref() {
        Some(old) if old == answer.new => out.line(format!("nothing new: {new} (looked for {took})"))?,
        Some(old) => {
            out.line(format!(
                "{} → {new}: {} in {took}",
                short_commit(old),
                count(answer.changed_files, "changed file")
            ))?;
        }
        None => out.line(format!("first sync: {new}, {} in {took}", count(answer.changed_files, "file")))?,
    }
    out.flush()
}

/// Says what is missing when nobody answers.
pub(crate) fn explain(error: RequestError, daemon: &str) -> Failure {
    let missing = error.code == Code::Unavailable && error.hint.is_none();
    let failure = Failure::from(error);
    if missing { failure.hint(format!("{daemon} is not running on this server; `baft up` runs it")) } else { failure }
}

/// Shows on a terminal that it is still waiting.
pub(crate) async fn watched<T>(doing: &str, work: impl Future<Output = T>) -> T {
    tokio::pin!(work);
    if !std::io::stderr().is_terminal() {
        return work.await;
    }
    let began = Instant::now();
    let mut shown = false;
    let result = loop {
        tokio::select! {
            result = &mut work => break result,
            () = tokio::time::sleep(Duration::from_secs(1)) => {
                shown = true;
                let _ = write!(std::io::stderr(), "\r{doing} … {} s ", began.elapsed().as_secs());
            }
        }
    };
    if shown {
        let _ = write!(std::io::stderr(), "\r\x1b[K");
    }
    result
}
