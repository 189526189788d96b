//! Asking the other daemons.
//!
//! Many sessions that start at once want the same pull and the same import: whoever comes while one is under way waits
//! for the next one, and shares it with everybody else who waits.

use std::collections::HashMap;
use std::future::Future;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use baft_bus::payload::{
    CommitCheck, CommitPullResponse, CommitRunRequest, CommitRunResponse, CommitStatus, Empty, GitStatus,
    GitSyncRequest, GitSyncResponse, ImportRunRequest, ImportRunResponse, ImportStatus, SessionChecks,
};
use baft_bus::{Bus, Code, RequestError, RequestOptions};
use serde_json::Value;
use tokio::sync::Mutex as AsyncMutex;

/// How long a daemon may take to say how it is doing.
const STATUS: Duration = Duration::from_secs(5);
/// How long the remote may be talked to.
const PULL: Duration = Duration::from_secs(60);
/// How long publishing a commit may take.
const PUBLISH: Duration = Duration::from_secs(30);
/// How long an import may take.
const IMPORT: Duration = Duration::from_secs(60);
/// How long the checks may take.
const PREFLIGHT: Duration = Duration::from_secs(30);

type Answer<T> = Result<T, RequestError>;

/// One answer for everybody who asked before the work began.
#[derive(Debug)]
struct Shared<T> {
    last: AsyncMutex<Option<(Instant, Answer<T>)>>,
}

impl<T> Default for Shared<T> {
    fn default() -> Self {
        Self { last: AsyncMutex::new(None) }
    }
}

impl<T: Clone> Shared<T> {
    async fn join<F: Future<Output = Answer<T>>>(&self, work: impl FnOnce() -> F) -> Answer<T> {
        let asked = Instant::now();
        let mut last = self.last.lock().await;
        if let Some((began, answer)) = &*last
            && *began >= asked
        {
            return answer.clone();
        }
        let began = Instant::now();
        let answer = work().await;
        *last = Some((began, answer.clone()));
        answer
    }
}

type PerKey<T> = Mutex<HashMap<String, Arc<Shared<T>>>>;

fn shared<T>(all: &PerKey<T>, key: &str) -> Arc<Shared<T>> {
    all.lock().unwrap_or_else(PoisonError::into_inner).entry(key.to_owned()).or_default().clone()
}

/// The other daemons. Clones share what is under way.
#[derive(Clone, Debug)]
pub struct Fleet {
    bus: Bus,
    under_way: Arc<UnderWay>,
}

#[derive(Debug, Default)]
struct UnderWay {
    pulls: PerKey<CommitPullResponse>,
    checks: PerKey<CommitCheck>,
    publications: PerKey<GitSyncResponse>,
    imports: PerKey<ImportRunResponse>,
    preflight: Shared<SessionChecks>,
}

impl Fleet {
    pub(crate) fn new(bus: &Bus) -> Self {
        Self { bus: bus.clone(), under_way: Arc::default() }
    }

    /// Brings upstream into a clone.
    pub(crate) async fn pull(&self, agent: &str, principal: Option<&str>) -> Answer<CommitPullResponse> {
        let suffix = format!("commit.{agent}.pull");
        shared(&self.under_way.pulls, agent).join(|| self.ask(&suffix, &Empty {}, principal, PULL)).await
    }

    /// Compares a clone with its remote, now.
    pub(crate) async fn check(&self, agent: &str) -> Answer<CommitCheck> {
        let suffix = format!("commit.{agent}.check");
        shared(&self.under_way.checks, agent).join(|| self.ask(&suffix, &Empty {}, None, PULL)).await
    }

    /// Publishes what the remote has, a certain commit if one is waited for.
    pub(crate) async fn publish(&self, wait_for: Option<String>, principal: Option<&str>) -> Answer<GitSyncResponse> {
        let publication = shared(&self.under_way.publications, wait_for.as_deref().unwrap_or_default());
        publication.join(|| self.ask("git.sync", GitSyncRequest { wait_for }, principal, PUBLISH)).await
    }

    /// Imports a commit.
    pub(crate) async fn import(&self, commit: Option<String>, principal: Option<&str>) -> Answer<ImportRunResponse> {
        let import = shared(&self.under_way.imports, commit.as_deref().unwrap_or_default());
        let request = ImportRunRequest { full: false, commit };
        import.join(|| self.ask("import.run", request, principal, IMPORT)).await
    }

    /// Checks the environment. That changes nothing, so it is asked in nobody's name.
    pub(crate) async fn preflight(&self) -> Answer<SessionChecks> {
        let run =
            || async { self.ask("preflight.run", &Empty {}, None, PREFLIGHT).await.map(|report| checks(&report)) };
        self.under_way.preflight.join(run).await
    }

    /// Commits and pushes. Never shared: it is in somebody's name.
    pub(crate) async fn commit(
        &self,
        agent: &str,
        request: &CommitRunRequest,
        principal: Option<&str>,
        limit: Duration,
    ) -> Answer<CommitRunResponse> {
        self.ask(&format!("commit.{agent}.run"), request, principal, limit).await
    }

    /// How a clone is doing.
    pub(crate) async fn clone_status(&self, agent: &str) -> Answer<CommitStatus> {
        self.ask(&format!("commit.{agent}.status"), &Empty {}, None, STATUS).await
    }

    /// What is published.
    pub(crate) async fn git_status(&self) -> Answer<GitStatus> {
        self.ask("git.status", &Empty {}, None, STATUS).await
    }

    /// What is imported.
    pub(crate) async fn import_status(&self) -> Answer<ImportStatus> {
        self.ask("import.status", &Empty {}, None, STATUS).await
    }

    /// What the last preflight said.
    pub(crate) async fn preflight_status(&self) -> Answer<SessionChecks> {
        self.ask("preflight.status", &Empty {}, None, STATUS).await.map(|report: Value| checks(&report))
    }

    async fn ask<Req: serde::Serialize + Sync, Resp: serde::de::DeserializeOwned>(
        &self,
        suffix: &str,
        request: Req,
        principal: Option<&str>,
        timeout: Duration,
    ) -> Answer<Resp> {
        let options = RequestOptions { principal: principal.map(str::to_owned), ..RequestOptions::timeout(timeout) };
        self.bus.request_with(suffix, &request, options).await
    }
}

/// Is the failure that nobody answered?
pub(crate) fn nobody_there(error: &RequestError) -> bool {
    matches!(error.code, Code::Unavailable | Code::Timeout)
}

/// The short form of a preflight's report: counts, and what is not as it should be.
fn checks(report: &Value) -> SessionChecks {
    let summary = report.get("summary").unwrap_or(report);
    let mut found = SessionChecks::default();
    for check in report["checks"].as_array().into_iter().flatten() {
        let text = |name: &str| check[name].as_str().filter(|text| !text.is_empty());
        match text("status").unwrap_or_default() {
            "pass" => found.passed += 1,
            "skip" => continue,
            status => {
                *(if status == "warn" { &mut found.warnings } else { &mut found.failed }) += 1;
                let what = text("message").or(text("title")).or(text("id")).unwrap_or("a check");
                let hint = text("hint").map(|hint| format!(" ({hint})")).unwrap_or_default();
                found.problems.push(format!("{what}{hint}"));
            }
        }
        found.total += 1;
    }
    if found.total == 0 {
        let number = |names: [&str; 2]| names.iter().find_map(|name| summary[*name].as_u64()).unwrap_or_default();
        found.passed = number(["passed", "pass"]);
        found.warnings = number(["warnings", "warn"]);
        found.failed = number(["failed", "fail"]);
        found.total = summary["total"].as_u64().unwrap_or(found.passed + found.warnings + found.failed);
    }
    found
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU64, Ordering};

    use serde_json::json;

    use super::*;

    #[tokio::test]
    async fn who_waits_while_one_is_under_way_shares_the_next_one() {
        let shared = Arc::new(Shared::<u64>::default());
        let (runs, gate) = (Arc::new(AtomicU64::new(0)), Arc::new(tokio::sync::Notify::new()));
        let join = |wait: bool| {
            let (shared, runs, gate) = (shared.clone(), runs.clone(), gate.clone());
            tokio::spawn(async move {
                let work = || async {
                    if wait {
                        gate.notified().await;
                    }
                    Ok(runs.fetch_add(1, Ordering::SeqCst))
                };
                shared.join(work).await
            })
        };
        let first = join(true);
        tokio::task::yield_now().await;
        let others: Vec<_> = (0..20).map(|_| join(false)).collect();
        tokio::task::yield_now().await;
        gate.notify_one();
        assert_eq!(first.await.unwrap().unwrap(), 0);
        for other in others {
            assert_eq!(other.await.unwrap().unwrap(), 1);
        }
        assert_eq!(join(false).await.unwrap().unwrap(), 2, "what is over is not shared");
    }

    #[test]
    fn a_report_is_counted_and_what_was_skipped_is_not() {
        let report = json!({ "checks": [
            { "id": "BAFT-P001", "status": "pass", "title": "Python" },
            { "id": "BAFT-G002", "status": "warn", "message": "3 files changed", "hint": "commit them" },
            { "id": "BAFT-N012", "status": "unknown", "title": "NATS" },
            { "id": "BAFT-X001", "status": "skip" },
        ]});
        let found = checks(&report);
        assert_eq!((found.passed, found.warnings, found.failed, found.total), (1, 1, 1, 3));
        assert_eq!(found.problems, ["3 files changed (commit them)", "NATS"]);
        assert_eq!(checks(&json!({ "summary": { "passed": 11, "warnings": 1 } })).total, 12);
    }
}
