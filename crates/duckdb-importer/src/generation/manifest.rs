//! What a generation says about itself, beside its database file.

use std::collections::BTreeMap;
use std::path::Path;

use baft_bus::payload::{Counts, Generation, ImportPublished};
use serde::{Deserialize, Serialize};

use crate::ImporterError;

/// Name of the manifest in a generation's folder.
pub const MANIFEST: &str = "manifest.json";

/// A file whose rows are not those of its newest version.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Quarantined {
    /// The file.
    pub path: String,
    /// Line of the first error, from 1; 0 when it has none.
    pub line: u32,
    /// Column of the first error, from 1.
    pub column: u32,
    /// The first error.
    pub message: String,
    /// It was not in quarantine in the generation before, or with another version.
    pub new: bool,
}

/// One published generation, without its rows.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Manifest {
    /// Which one. The lineage changes when the publish folder had to start again.
    pub generation: Generation,
    /// The commit it was built from; nothing for a plain folder.
    pub commit: Option<String>,
    /// Digest over all rows, equal for equal content.
    pub content_digest: String,
    /// BLAKE3 of the database file.
    pub file_digest: String,
    /// Size of the database file.
    pub bytes: u64,
    /// When, RFC 3339.
    pub published_at: String,
    /// From noticing to published.
    pub duration_ms: u64,
    /// What changed against the generation before.
    pub counts: Counts,
    /// Rows of each type.
    pub rows: BTreeMap<String, u64>,
    /// Files in quarantine.
    pub quarantined: Vec<Quarantined>,
    /// Built from nothing, not from the generation before.
    pub rebuilt: bool,
}

impl Manifest {
    /// Reads a generation's manifest; nothing when there is none or it cannot be understood.
    #[must_use]
    pub fn read(path: &Path) -> Option<Self> {
        serde_json::from_slice(&std::fs::read(path).ok()?).ok()
    }

    /// Writes it to disk.
    pub(super) fn write(&self, path: &Path) -> Result<(), ImporterError> {
        let bytes = serde_json::to_vec_pretty(self).unwrap_or_default();
        std::fs::write(path, bytes).map_err(ImporterError::io("write", path))?;
        baft_kit::durable::sync_file(path).map_err(ImporterError::io("sync", path))
    }

    /// The event that tells of it.
    #[must_use]
    pub fn event(&self) -> ImportPublished {
        ImportPublished {
            generation: self.generation.clone(),
            commit: self.commit.clone(),
            counts: self.counts,
            digest: self.content_digest.clone(),
            bytes: self.bytes,
            duration_ms: self.duration_ms,
        }
    }
}
