//! Payloads of duckdb-importer.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::event::Payload;

/// Which publication of the database: a number that only means something within its lineage, so that a rebuilt volume
/// never looks older or equal.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Generation {
    /// ULID made when the publish folder was created.
    pub lineage: String,
    /// Counts up from 1.
    pub number: u64,
}

/// How many rows an import touched.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Counts {
    /// New rows.
    pub inserted: u64,
    /// Changed rows.
    pub updated: u64,
    /// Removed rows.
    pub deleted: u64,
    /// Rows looked at and left alone.
    pub unchanged: u64,
    /// Issues of severity error.
    pub errors: u64,
}

/// `import.published`: readers of the link now see this generation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ImportPublished {
    /// Which generation.
    pub generation: Generation,
    /// The commit it was built from; absent for a plain folder.
    pub commit: Option<String>,
    /// What changed against the generation before.
    pub counts: Counts,
    /// Digest of the database's content.
    pub digest: String,
    /// Size of the database file.
    pub bytes: u64,
    /// From noticing to published.
    pub duration_ms: u64,
}

impl Payload for ImportPublished {
    const TYPE: &'static str = "import.published";
    const VERSION: (u16, u16) = (1, 0);
}

/// `import.quarantined`: a file could not be read; its rows stay as they were.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ImportQuarantined {
    /// The file.
    pub path: String,
    /// Where, counted from 1; 0 when not known.
    #[serde(default)]
    pub line: u32,
    /// Where, counted from 1; 0 when not known.
    #[serde(default)]
    pub column: u32,
    /// One line for people.
    pub message: String,
    /// The generation whose rows of this file are kept.
    pub kept_generation: Option<Generation>,
}

impl Payload for ImportQuarantined {
    const TYPE: &'static str = "import.quarantined";
    const VERSION: (u16, u16) = (1, 0);
}

/// What happened to an entity.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EntityOp {
    /// It is new.
    Inserted,
    /// Some fields changed.
    Updated,
    /// It is gone.
    Deleted,
    /// An operation this version does not know; treat the entity as changed.
    #[serde(other)]
    Unknown,
}

/// `entity.changed`: one changed row; off by default.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EntityChanged {
    /// The entity's type.
    #[serde(rename = "type")]
    pub entity_type: String,
    /// Its id.
    pub id: String,
    /// What happened.
    pub op: EntityOp,
    /// Which fields changed; empty when all did.
    #[serde(default)]
    pub fields: Vec<String>,
    /// The generation that shows it.
    pub generation: Generation,
}

impl Payload for EntityChanged {
    const TYPE: &'static str = "entity.changed";
    const VERSION: (u16, u16) = (1, 0);
}

/// Request `import.run`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ImportRunRequest {
    /// Rebuild everything instead of applying what changed.
    #[serde(default)]
    pub full: bool,
    /// Import this commit; the published one when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub commit: Option<String>,
}

/// Answer to `import.run`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ImportRunResponse {
    /// The generation that is published now.
    pub generation: Generation,
    /// The commit it was built from.
    pub commit: Option<String>,
    /// What changed.
    #[serde(flatten)]
    pub counts: Counts,
    /// How long it took.
    pub duration_ms: u64,
}

/// A file that is in quarantine.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct QuarantinedFile {
    /// The file.
    pub path: String,
    /// Where, counted from 1; 0 when not known.
    #[serde(default)]
    pub line: u32,
    /// One line for people.
    pub message: String,
}

/// Answer to `import.status`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ImportStatus {
    /// The published generation; absent before the first.
    pub generation: Option<Generation>,
    /// The commit it was built from.
    pub commit: Option<String>,
    /// How many rows of each type.
    #[serde(default)]
    pub rows: BTreeMap<String, u64>,
    /// Files in quarantine.
    #[serde(default)]
    pub quarantined: Vec<QuarantinedFile>,
    /// When it was published, RFC 3339.
    pub published_at: Option<String>,
    /// Size of the database file.
    pub bytes: u64,
    /// When it was last found to be what the source says, RFC 3339; nothing needs to have changed then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reconciled_at: Option<String>,
}
