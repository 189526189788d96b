//! Requests and the event that rings.

use std::time::Duration;

use baft_bus::payload::{Empty, ImportRunRequest, ImportRunResponse, ImportStatus};
use baft_bus::{Bus, Code, Endpoint, RequestError, Service, ServiceHandle};
use tokio_util::sync::CancellationToken;

use super::{Handle, Report, Request, Ring};
use crate::ImporterError;
use crate::config::Settings;

/// How long an `import.run` request may take when the caller does not say.
const REQUEST: Duration = Duration::from_secs(120);

/// Answers `import.run` and `import.status`.
pub(super) fn serve(bus: &Bus, settings: &Settings, handle: &Handle, shutdown: CancellationToken) -> ServiceHandle {
    let (runs, states) = (handle.clone(), handle.status());
    Service::new(bus, "duckdb-importer", env!("CARGO_PKG_VERSION"), "Keeps a DuckDB file in step with a git repository")
        .require_principal(settings.require_principal)
        .endpoint(Endpoint::command("run", "import.run"), move |context, request: ImportRunRequest| {
            let handle = runs.clone();
            async move { run(&handle, context.time_left(REQUEST), request).await }
        })
        .endpoint(Endpoint::query("status", "import.status"), move |_, _: Empty| {
            let status: ImportStatus = states.borrow().import.clone();
            async move { Ok(status) }
        })
        .start(shutdown)
}

async fn run(
    handle: &Handle,
    time_left: Duration,
    request: ImportRunRequest,
) -> Result<ImportRunResponse, RequestError> {
    let request = Request { full: request.full, commit: request.commit };
    match tokio::time::timeout(time_left, handle.import(request)).await {
        Ok(Ok(report)) => Ok(response(report)),
        Ok(Err(error)) => Err(refusal(&error)),
        Err(_) => Err(RequestError::new(Code::Timeout, "the import was not finished in time; it goes on").retryable()),
    }
}

fn response(report: Report) -> ImportRunResponse {
    ImportRunResponse {
        generation: report.generation,
        commit: report.commit,
        counts: report.counts,
        duration_ms: u64::try_from(report.duration.as_millis()).unwrap_or(u64::MAX),
    }
}

fn refusal(error: &ImporterError) -> RequestError {
    match error {
        ImporterError::Repo { source: baft_repo::RepoError::NotFound { what }, .. } => {
            RequestError::new(Code::NotFound, format!("there is no commit {what}")).hint("sync first: baft.git.sync")
        }
        error => RequestError::new(Code::Unavailable, error.to_string()).retryable(),
    }
}

/// `git.synced` is a doorbell: a live subscription is enough, because what is missed while nobody listens is found by
/// the next poll.
pub(super) async fn listen(bus: Bus, handle: Handle, shutdown: CancellationToken) {
    bus.listen("git.synced", shutdown, |_| handle.ring(Ring::Event)).await;
}
