//! `baft up --once`: sync, import, say what came of it.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use baft_duckdb_importer::engine::Engine;
use baft_duckdb_importer::{ImporterError, Outcome, Report, Request};
use baft_git_sync::{Context, Daemon, Runs};
use baft_kit::Exit;
use baft_kit::metrics::Metrics;
use baft_kit::ready::Readiness;
use tokio_util::sync::CancellationToken;

use super::plan::Plan;
use crate::database::Database;
use crate::failure::Failure;
use crate::output::{Out, Style, count, elapsed, short_commit};
use crate::workspace::Workspace;

/// Runs it.
///
/// # Errors
/// The sync or the import failed.
pub async fn run(plan: Plan, workspace: &Workspace) -> Result<Exit, Failure> {
    let mut out = Out::new();
    for line in plan.announcement() {
        out.line(line)?;
    }
    let style = out.style();
    if plan.sync.is_some() {
        let (head, took) = sync(&plan).await?;
        out.line(row(style, "git", &format!("{} in {}", short_commit(&head), elapsed(took))))?;
    }
    out.flush()?;
    let settings = plan.import.clone();
    let import = tokio::task::spawn_blocking(move || {
        let mut engine = Engine::open(settings)?;
        let report = engine.import(&Request::default());
        engine.tidy();
        report
    });
    let report = match import.await {
        Ok(report) => report.map_err(|error| failed(&error))?,
        Err(error) => return Err(Failure::new(format!("the import broke off: {error}"))),
    };
    summary(&report, workspace, &mut out)?;
    out.flush()?;
    Ok(Exit::Ok)
}

async fn sync(plan: &Plan) -> Result<(String, Duration), Failure> {
    let Some(mut config) = plan.sync.clone() else { return Err(Failure::new("there is no remote")) };
    config.runs = Runs::Once;
    config.max_failures = Some(0);
    config.init_max_failures = Some(0);
    let started = Instant::now();
    let context = Context {
        metrics: Metrics::new("git_sync", baft_kit::build_info!("git-sync")),
        readiness: Readiness::new(),
        bus: None,
        shutdown: CancellationToken::new(),
    };
    let cannot =
        |error: baft_git_sync::SyncError| Failure { exit: error.exit(), message: error.to_string(), hint: None };
    let daemon = Daemon::start(config, context).map_err(cannot)?;
    let status = daemon.handle().status();
    daemon.finished().await.map_err(cannot)?;
    let head = status.borrow().head.map(|head| head.to_string());
    head.map(|head| (head, started.elapsed())).ok_or_else(|| Failure::new("the sync ended without a commit"))
}

fn failed(error: &ImporterError) -> Failure {
    Failure { exit: error.exit(), message: format!("the import failed: {error}"), hint: None }
}

fn summary(report: &Report, workspace: &Workspace, out: &mut Out) -> Result<(), Failure> {
    let style = out.style();
    let database = Database::open(workspace)?;
    let rows = rows_by_type(&database);
    let total: u64 = rows.values().sum();
    let counts = report.counts;
    let number = report.generation.number;
    let text = match report.outcome {
        Outcome::Unchanged => format!("generation {number}, {}, nothing new", count(total, "row")),
        Outcome::Rebuilt => format!("generation {number}, {} in {}", count(total, "row"), elapsed(report.duration)),
        Outcome::Incremental => format!(
            "generation {number}, {}: {} inserted, {} updated, {} deleted in {}",
            count(total, "row"),
            counts.inserted,
            counts.updated,
            counts.deleted,
            elapsed(report.duration)
        ),
    };
    out.line(row(style, "import", &text))?;
    let list: Vec<String> = rows.iter().map(|(kind, rows)| format!("{kind} {rows}")).collect();
    out.line(row(style, "", &style.dim(&list.join(" · "))))?;
    if counts.errors > 0 {
        let hint = "baft query 'SELECT path, line, message FROM _errors' shows them";
        out.line(row(style, "", &style.yellow(&format!("{}: {hint}", count(counts.errors, "error")))))?;
    }
    out.line(row(style, "db", &workspace.database().display().to_string()))
}

fn rows_by_type(database: &Database) -> BTreeMap<String, u64> {
    let read = || -> duckdb::Result<BTreeMap<String, u64>> {
        let mut statement = database.connection().prepare("SELECT type, count(*) FROM entities GROUP BY type")?;
        statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?.collect()
    };
    read().unwrap_or_default()
}

fn row(style: Style, name: &str, text: &str) -> String {
    format!("  {}{text}", style.bold(&format!("{name:<8}")))
}
