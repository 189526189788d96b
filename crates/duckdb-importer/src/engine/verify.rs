//! Comparing what is published with what the source says, by building it again beside.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::seal::{TableDigest, table_digests};
use super::{Engine, Made, Progress};
use crate::ImporterError;
use crate::config::{Settings, Source};
use crate::db::Access;
use crate::generation::Workspace;

/// A table whose rows are not those of a rebuild.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Difference {
    /// The table.
    pub table: String,
    /// What is published.
    pub published: Option<TableDigest>,
    /// What a rebuild gives.
    pub rebuilt: Option<TableDigest>,
}

/// What a comparison came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verification {
    /// Tables compared.
    pub tables: usize,
    /// Rows compared.
    pub rows: i64,
    /// Tables that differ; empty when all is well.
    pub differences: Vec<Difference>,
}

/// Builds the published commit again, in a temporary folder, and compares every table by content. Needs no lock, so it
/// can be done while a daemon works. `watch` is handed the engine's progress.
///
/// # Errors
/// When nothing is published, or the rebuild fails.
pub fn verify(settings: &Settings, watch: impl FnOnce(Arc<Progress>)) -> Result<Verification, ImporterError> {
    let publish = &settings.publish;
    let Some(published) = Workspace::look(&publish.dir, &publish.db_name) else {
        return Err(ImporterError::Refused("nothing is published yet; run an import first".to_owned()));
    };
    let number = published.manifest.generation.number;
    published
        .check()
        .map_err(|why| ImporterError::Refused(format!("generation {number}: {why}; the next import rebuilds it")))?;
    let beside = Beside::new()?;
    let mut settings = settings.clone();
    settings.publish.dir.clone_from(&beside.0);
    // Saved files can only be compared as they are now.
    let at = published.manifest.commit.clone().filter(|_| matches!(settings.source, Source::Git { .. }));
    let mut engine = Engine::open(settings)?;
    watch(engine.progress());
    engine.scenery.look(at.as_deref())?;
    let Made { attempt, .. } = engine.rebuild()?;
    let datasets = engine.scenery.datasets();
    let session = engine.session()?;
    let digest = |db: &Path| {
        session.attach(db, "compared", Access::Read)?;
        session.use_file("compared")?;
        let found = table_digests(session.connection(), &datasets);
        session.detach("compared")?;
        found
    };
    Ok(compare(&digest(&published.db)?, &digest(attempt.db())?))
}

/// A temporary folder, removed in the end.
struct Beside(PathBuf);

impl Beside {
    fn new() -> Result<Self, ImporterError> {
        let path = std::env::temp_dir().join(format!("duckdb-importer-{}", ulid::Ulid::new()));
        std::fs::create_dir(&path).map_err(ImporterError::io("create", &path))?;
        Ok(Self(path))
    }
}

impl Drop for Beside {
    fn drop(&mut self) {
        // A temporary folder that stays is a nuisance, not a fault.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn compare(published: &BTreeMap<String, TableDigest>, rebuilt: &BTreeMap<String, TableDigest>) -> Verification {
    let tables: std::collections::BTreeSet<_> = published.keys().chain(rebuilt.keys()).collect();
    let differences =
        tables.iter().filter(|table| published.get(**table) != rebuilt.get(**table)).map(|table| Difference {
            table: (*table).clone(),
            published: published.get(*table).cloned(),
            rebuilt: rebuilt.get(*table).cloned(),
        });
    Verification {
        tables: tables.len(),
        rows: rebuilt.values().map(|digest| digest.rows).sum(),
        differences: differences.collect(),
    }
}
