//! Comparing what is published with what the source says, by building it again beside.

use std::collections::BTreeMap;

use super::seal::{TableDigest, table_digests};
use super::{Engine, Made};
use crate::ImporterError;
use crate::config::Source;
use crate::db::Access;

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

impl Engine {
    /// Builds the published commit again, beside, and compares every table by content.
    ///
    /// # Errors
    /// When nothing is published, or the rebuild fails.
    pub fn verify(&mut self) -> Result<Verification, ImporterError> {
        let Some(published) = self.workspace.current() else {
            return Err(ImporterError::Refused("nothing is published yet; run an import first".to_owned()));
        };
        self.workspace.check(&published).map_err(|why| {
            ImporterError::Damaged(format!("generation {}: {why}", published.manifest.generation.number))
        })?;
        // Saved files can only be compared as they are now.
        let at = published.manifest.commit.clone().filter(|_| matches!(self.settings.source, Source::Git { .. }));
        self.scenery.look(at.as_deref())?;
        let Made { attempt, .. } = self.rebuild()?;
        let datasets = self.scenery.datasets();
        let session = self.session()?;
        let mut digests = Vec::new();
        for db in [&published.db, attempt.db()] {
            session.attach(db, "compared", Access::Read)?;
            session.use_file("compared")?;
            let found = table_digests(session.connection(), &datasets);
            session.detach("compared")?;
            digests.push(found?);
        }
        let (rebuilt, published) = (digests.pop().unwrap_or_default(), digests.pop().unwrap_or_default());
        Ok(compare(&published, &rebuilt))
    }
}

fn compare(published: &BTreeMap<String, TableDigest>, rebuilt: &BTreeMap<String, TableDigest>) -> Verification {
    let tables: std::collections::BTreeSet<_> = published.keys().chain(rebuilt.keys()).collect();
    let differences = tables.iter().filter(|table| published.get(**table) != rebuilt.get(**table)).map(|table| Difference {
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
