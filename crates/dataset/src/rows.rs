//! What reading a file yields: rows, sections, cross references and findings. The reading side
//! fills these in without knowing a database; the database side stores them without knowing YAML.

use std::fmt;

use serde::Serialize;

/// Name of a dataset as declared in `baft-import.toml`, for example `observations`.
///
/// It is also the name of the dataset's typed table.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(transparent)]
pub struct DatasetId(pub(crate) String);

impl DatasetId {
    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for DatasetId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Everything one file contributes.
#[derive(Debug, Clone, PartialEq)]
pub struct ParsedFile {
    /// Path inside the repository, `/`-separated.
    pub path: String,
    /// The dataset whose glob the path matched.
    pub dataset: DatasetId,
    /// Whether all, some or none of the file could be used.
    pub state: FileState,
    /// One row per entity, in file order, ids unique within the file (of two entities with one id
    /// the last stands here and an issue `duplicate-id` names both places).
    pub entities: Vec<EntityRow>,
    /// Prose sections in reading order.
    pub sections: Vec<SectionRow>,
    /// Errors and warnings, in file order.
    pub issues: Vec<Issue>,
}

/// How much of a file could be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FileState {
    /// Every entity became a row.
    Good,
    /// `nameless` entities have no usable id and became no row. Rows that the last good version of
    /// this file had and this one lacks may be among them: keep those, marked stale.
    Partial {
        /// How many entities have no usable id.
        nameless: usize,
    },
    /// Nothing could be read; `issues` holds exactly one error saying why. Keep the rows of the
    /// last good version.
    Unparsable,
}

impl FileState {
    /// Whether rows of the last good version must be kept.
    #[must_use]
    pub fn is_quarantined(self) -> bool {
        self != FileState::Good
    }
}

/// One entity: the columns of `entities` that come from the file, the values of its dataset's
/// typed table, its search text, its aliases and its cross references.
#[derive(Debug, Clone, PartialEq)]
pub struct EntityRow {
    /// Id with the dataset's prefix, for example `Obs-51`. Never empty.
    pub id: String,
    /// Type name, for example `observations`, but `brief`, as the reference importer writes it.
    pub type_name: String,
    /// Title; empty when the entity has none.
    pub title: String,
    /// Status; empty when the entity has none.
    pub status: String,
    /// Epistemic tag; empty when the entity has none.
    pub epistemic_tag: String,
    /// Confidence; empty when the entity has none.
    pub confidence: String,
    /// The entity as JSON, byte for byte what Python's
    /// `json.dumps(entity, ensure_ascii=False, default=str)` prints.
    pub content: String,
    /// Space-separated tags, names and cross references.
    pub tags: String,
    /// The entity's own `updated_date` or `date` if that is a calendar date (`YYYY-MM-DD`). `None`
    /// means the date of the commit that last changed the row.
    pub updated_own: Option<String>,
    /// The id as the file writes it, without the prefix.
    pub local_id: String,
    /// Other spellings by which prose may name this entity, for example `Obs 051`.
    pub aliases: Vec<String>,
    /// First line of the entity, from 1.
    pub line_start: u32,
    /// Last line of the entity, from 1.
    pub line_end: u32,
    /// Hex BLAKE3 over id, type and content, and over the kinds of values that the content does not
    /// tell apart (a date from the same text). Equal hashes mean equal values in every column that
    /// comes from the entity itself; lines, `schema_valid` and what the dataset's declaration
    /// decides may still differ (see [`crate::dataset::Dataset::fingerprint`]).
    pub row_hash: String,
    /// Whether the entity satisfies its dataset's JSON Schema; `true` when there is no schema.
    pub schema_valid: bool,
    /// Values of the typed table, one per declared column in the declared order. The table's first
    /// column, `id`, is [`EntityRow::id`] and not repeated here.
    pub typed: Vec<TypedValue>,
    /// JSON object of the top-level fields no typed column holds; `None` when there are none.
    pub extra: Option<String>,
    /// What the search index indexes.
    pub search: SearchFields,
    /// Mentions of other entities, without repetition, in reading order.
    pub edges: Vec<EdgeRow>,
}

/// A value of a typed column.
#[derive(Debug, Clone, PartialEq)]
pub enum TypedValue {
    /// Absent, null, or not of the column's type (then an issue `column-type` says so and the
    /// value is kept in `extra`).
    Null,
    /// For `text`.
    Text(String),
    /// For `integer`.
    Integer(i64),
    /// For `number`, `percent-low` and `percent-high`.
    Number(f64),
    /// For `boolean`.
    Boolean(bool),
    /// For `date`: a valid calendar date, `YYYY-MM-DD`.
    Date(String),
    /// For `text[]`.
    TextList(Vec<String>),
    /// For `json`: JSON text.
    Json(String),
    /// For `records(a,b,…)[]`: one inner list per record, one text per declared field.
    Records(Vec<Vec<Option<String>>>),
}

/// Search text of one entity: values only, no keys.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct SearchFields {
    /// Same as [`EntityRow::title`].
    pub title: String,
    /// Same as [`EntityRow::tags`].
    pub tags: String,
    /// The id, and all scalar values of the entity in file order, separated by newlines.
    pub content: String,
}

/// A mention of another entity, before it is known whether that exists.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EdgeRow {
    /// Top-level field the mention was found in.
    pub field: String,
    /// The words as written, for example `Obs 051`.
    pub raw: String,
    /// The id they stand for, for example `Obs-51`. Resolve it against ids, then aliases.
    pub target_id: String,
}

/// One section of prose.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SectionRow {
    /// The document's dataset type: `brief`, `content`.
    pub doc_kind: String,
    /// Id of the document: the entity's id, or the id field of a document that is no entity.
    pub doc_id: String,
    /// JSON pointer of the section in its file; unique in the document.
    pub pointer: String,
    /// The section's own `id`, which may repeat; empty when it has none.
    pub section_id: String,
    /// Pointer of the section this one lies in.
    pub parent_pointer: Option<String>,
    /// Position in the document in reading order, from 0.
    pub ord: u32,
    /// Nesting depth, from 1.
    pub depth: u32,
    /// Heading level as written.
    pub level: Option<i64>,
    /// Heading.
    pub title: String,
    /// Tags.
    pub tags: Vec<String>,
    /// Prose; empty when the section only holds subsections.
    pub content: String,
    /// First line of the section, from 1.
    pub line_start: u32,
}

/// How bad a finding is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// Data is missing, quarantined or violates its schema.
    Error,
    /// Imported, but probably not what the author meant.
    Warning,
}

impl Severity {
    /// `error` or `warning`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Severity::Error => "error",
            Severity::Warning => "warning",
        }
    }
}

/// A finding at a place in a file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Issue {
    /// Path inside the repository.
    pub path: String,
    /// Line, from 1.
    pub line: u32,
    /// Column in characters, from 1.
    pub col: u32,
    /// JSON pointer of the value in its file; empty for the whole file.
    pub pointer: String,
    /// The entity concerned, if it has an id.
    pub entity_id: Option<String>,
    /// How bad it is.
    pub severity: Severity,
    /// Stable kebab-case code, for example `duplicate-id`.
    pub code: &'static str,
    /// What is wrong and what to do about it.
    pub message: String,
}

impl fmt::Display for Issue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{}:{}:{}: {}[{}]: {}",
            self.path,
            self.line,
            self.col,
            self.severity.as_str(),
            self.code,
            self.message
        )
    }
}
