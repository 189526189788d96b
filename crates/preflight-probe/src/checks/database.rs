//! The published database: is it there, and is it of today?

use std::io::Read;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use baft_bus::payload::{GitStatus, ImportStatus};

use crate::finding::Finding;
use crate::run::Run;
use crate::words::{age, size};

/// The eight bytes before it are a checksum.
const MAGIC: (usize, &[u8]) = (8, b"DUCK");

struct Found {
    path: PathBuf,
    bytes: u64,
    modified: SystemTime,
}

fn look(run: &Run) -> Result<Found, Box<Finding>> {
    let hint = "build it: baft up (or, while a fleet is running: baft import --full)";
    let Some(path) = run.scene.database.clone() else {
        let hint = format!("export BAFT_WORKSPACE=…, or {hint}");
        return Err(Box::new(Finding::fail("DuckDB: nothing says where it is", hint)));
    };
    let shown = path.display();
    let failed = |why: String| Box::new(Finding::fail(why, hint));
    let mut file = std::fs::File::open(&path).map_err(|error| match error.kind() {
        std::io::ErrorKind::NotFound => failed(format!("DuckDB file not found: {shown}")),
        _ => failed(format!("DuckDB file cannot be read: {shown}: {error}")),
    })?;
    let meta = file.metadata().map_err(|error| failed(format!("{shown}: {error}")))?;
    let mut head = [0; MAGIC.0 + MAGIC.1.len()];
    if !meta.is_file() || file.read_exact(&mut head).is_err() || !head.ends_with(MAGIC.1) {
        return Err(failed(format!("{shown} is no DuckDB database")));
    }
    let modified = meta.modified().unwrap_or_else(|_| SystemTime::now());
    Ok(Found { path, bytes: meta.len(), modified })
}

/// How long ago the database was last known to be right: when the importer last compared it with its source, else when
/// the file was written. A quiet day makes no database stale.
async fn last_right(run: &Run, found: &Found) -> (Duration, &'static str) {
    let since = |time: SystemTime| SystemTime::now().duration_since(time).unwrap_or_default();
    // Nobody who works without NATS waits for an importer.
    if run.scene.nats.enabled()
        && let Ok(status) = run.import().await
        && let Some(time) = status.reconciled_at.as_deref().or(status.published_at.as_deref())
        && let Ok(time) = chrono::DateTime::parse_from_rfc3339(time)
    {
        return (since(time.into()), "importer");
    }
    (since(found.modified), "file")
}

/// The importer has a moment to take what was published just now.
const MOMENT: Duration = Duration::from_secs(6);
const AGAIN: Duration = Duration::from_millis(400);

/// Does the database hold the commit that readers of the files see?
pub(crate) async fn follows(run: Arc<Run>) -> Finding {
    let began = Instant::now();
    loop {
        let (git, import) = tokio::join!(run.ask::<GitStatus>("git.status"), run.ask::<ImportStatus>("import.status"));
        let (git, import) = match (git, import) {
            (Ok(git), Ok(import)) => (git, import),
            (Err(error), _) | (_, Err(error)) => {
                let hint =
                    error.hint.clone().unwrap_or_else(|| "look at the logs of git-sync and duckdb-importer".to_owned());
                return Finding::unknown(format!("DuckDB: whether it follows is not known: {}", error.message), hint);
            }
        };
        let short = |commit: &str| commit.chars().take(12).collect::<String>();
        let Some(head) = &git.head else {
            return Finding::skip("DuckDB: git-sync has published nothing yet");
        };
        if import.commit.as_ref() == Some(head) {
            return Finding::pass(format!("DuckDB follows the repository (commit {})", short(head)))
                .with("commit", head.as_str());
        }
        if import.generation.is_some() && import.commit.is_none() {
            return Finding::skip("DuckDB: the importer reads files, not commits");
        }
        if began.elapsed() > MOMENT {
            let has =
                import.commit.as_deref().map_or("nothing".to_owned(), |commit| format!("commit {}", short(commit)));
            return Finding::fail(
                format!("DuckDB is behind the repository: it holds {has}, published is commit {}", short(head)),
                "baft import (and look at the log of duckdb-importer: it should have noticed by itself)",
            )
            .with("published", head.as_str())
            .with("imported", import.commit.as_deref());
        }
        tokio::time::sleep(AGAIN).await;
    }
}

pub(crate) async fn exists(run: Arc<Run>) -> Finding {
    let found = match look(&run) {
        Ok(found) => found,
        Err(finding) => return *finding,
    };
    let (old, by) = last_right(&run, &found).await;
    Finding::pass(format!("DuckDB exists ({}, updated {} ago)", size(found.bytes), age(old)))
        .with("path", found.path.display().to_string())
        .with("bytes", found.bytes)
        .with("updated_by", by)
}

pub(crate) async fn fresh(run: Arc<Run>) -> Finding {
    let found = match look(&run) {
        Ok(found) => found,
        Err(finding) => return *finding,
    };
    let (old, by) = last_right(&run, &found).await;
    let limit = run.scene.stale_after;
    if old <= limit {
        return Finding::pass(format!("DuckDB is up to date (updated {} ago)", age(old))).with("age_s", old.as_secs());
    }
    Finding::warn(format!("DuckDB is stale (updated {} ago, more than {})", age(old), age(limit)), "baft import")
        .with("age_s", old.as_secs())
        .with("updated_by", by)
}
