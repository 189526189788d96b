//! The published database: is it there, and is it of today?

use std::io::Read;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

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
