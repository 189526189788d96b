//! What is imported: the datasets a repository declares in `baft-import.toml`, or the built-in
//! ones of the specification's layout. `docs/datasets.md` describes the declaration.

mod declaration;
mod mention;
mod roots;
mod toml_reader;

use std::sync::{Arc, LazyLock};

use globset::GlobMatcher;

use crate::rows::DatasetId;

pub(crate) use mention::{Mention, Mentions};

/// Name of the declaration at the repository's root.
pub const CONFIG_FILE: &str = "baft-import.toml";

/// The declaration used when the repository has none.
pub const BUILT_IN: &str = include_str!("built_in.toml");

/// A column of a dataset's typed table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Column {
    /// Column name.
    pub name: String,
    /// Top-level field of the entity it is read from.
    pub source: String,
    /// Type.
    pub column_type: ColumnType,
}

/// Type of a typed column.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ColumnType {
    /// VARCHAR.
    Text,
    /// BIGINT.
    Integer,
    /// DOUBLE.
    Number,
    /// BOOLEAN.
    Boolean,
    /// DATE.
    Date,
    /// VARCHAR[].
    TextList,
    /// JSON text in a VARCHAR.
    Json,
    /// STRUCT(a VARCHAR, b VARCHAR, …)[] with these field names.
    Records(Vec<String>),
    /// DOUBLE: 7 of `7-13%`.
    PercentLow,
    /// DOUBLE: 13 of `7-13%`.
    PercentHigh,
}

/// How the files of a dataset are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// YAML as PyYAML reads it.
    Yaml,
    /// JSON.
    Json,
    /// Markdown with YAML front matter; the text becomes the field `body`.
    Markdown,
}

/// Where the entities of a file are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Kind {
    /// In the list this JSON pointer leads to.
    List(String),
    /// The file is one entity.
    Document,
}

/// Where an id comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum IdSource {
    /// A field of the entity.
    Field(String),
    /// The file's name without its extension, in upper case.
    StemUpper,
    /// The file's name without its extension.
    Stem,
}

/// Names of a section's fields.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SectionFields {
    /// The section's id.
    pub id: String,
    /// Its heading.
    pub title: String,
    /// Its heading level.
    pub level: String,
    /// Its tags.
    pub tags: String,
    /// Its prose.
    pub content: String,
    /// The list of sections inside it.
    pub children: String,
}

/// Where the sections of an entity are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Sections {
    /// In the list this JSON pointer leads to, from the entity.
    List(String, SectionFields),
    /// Between the `#` headings of a Markdown body.
    Headings,
}

/// One declared dataset.
#[derive(Debug, Clone)]
pub struct Dataset {
    /// Its name and the name of its typed table.
    pub id: DatasetId,
    /// Value of `entities.type`; `None` for a dataset that yields sections only.
    pub type_name: Option<String>,
    /// Path of its JSON Schema in the repository.
    pub schema: Option<String>,
    /// Columns of its typed table after `id` and before `extra`; empty: no typed table.
    pub columns: Vec<Column>,
    /// How its files are written.
    pub format: Format,
    /// Where its entities are.
    pub kind: Kind,
    pub(crate) ids: Vec<IdSource>,
    pub(crate) prefix: String,
    pub(crate) titles: Vec<String>,
    pub(crate) tags: Vec<String>,
    pub(crate) statuses: Vec<String>,
    pub(crate) epistemic_tags: Vec<String>,
    pub(crate) confidences: Vec<String>,
    pub(crate) dates: Vec<String>,
    pub(crate) aliases: Vec<String>,
    pub(crate) sections: Option<Sections>,
    pub(crate) mentions: Arc<Mentions>,
    globs: Vec<GlobMatcher>,
    fingerprint: String,
}

impl Dataset {
    /// Whether its files hold sections of prose.
    #[must_use]
    pub fn has_sections(&self) -> bool {
        self.sections.is_some()
    }

    /// Changes whenever the declaration changes in a way that can change a row.
    #[must_use]
    pub fn fingerprint(&self) -> &str {
        &self.fingerprint
    }

    /// Whether a repository path belongs to it, other datasets aside.
    #[must_use]
    pub fn matches(&self, path: &str) -> bool {
        self.globs.iter().any(|glob| glob.is_match(path))
    }

    /// What its sections are called in `sections.doc_kind`.
    #[must_use]
    pub fn section_kind(&self) -> &str {
        self.type_name.as_deref().unwrap_or(self.id.as_str())
    }
}

/// All datasets of a repository.
#[derive(Debug, Clone)]
pub struct Datasets {
    /// In declared order; the first whose globs match a path takes it.
    pub all: Vec<Dataset>,
    ignored: Vec<GlobMatcher>,
}

/// Why a declaration was refused: one line naming file, line and what is allowed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{file}:{line}: {message}")]
pub struct DatasetError {
    /// The declaration file.
    pub file: String,
    /// Line, from 1.
    pub line: u32,
    /// What is wrong and what is allowed.
    pub message: String,
}

impl Datasets {
    /// The specification's layout: eight entity datasets and `content`. One for the whole process: its expressions take a
    /// fifth of a megabyte, and milliseconds to compile.
    #[must_use]
    #[allow(clippy::expect_used)]
    pub fn built_in() -> Arc<Self> {
        static SHARED: LazyLock<Arc<Datasets>> = LazyLock::new(|| {
            // A test reads it; it is part of the program.
            Arc::new(Datasets::parse("built_in.toml", BUILT_IN).expect("the built-in declaration is valid"))
        });
        Arc::clone(&SHARED)
    }

    /// Reads a declaration; `file` is named in errors.
    ///
    /// # Errors
    /// When the text is not TOML, or a key or value is not allowed.
    pub fn parse(file: &str, text: &str) -> Result<Self, DatasetError> {
        declaration::read(file, text)
    }

    /// The dataset a repository path belongs to, if any.
    #[must_use]
    pub fn for_path(&self, path: &str) -> Option<&Dataset> {
        if self.ignored.iter().any(|glob| glob.is_match(path)) {
            return None;
        }
        self.all.iter().find(|dataset| dataset.matches(path))
    }

    /// The dataset of this name.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&Dataset> {
        self.all.iter().find(|dataset| dataset.id.as_str() == name)
    }

    /// Changes whenever any dataset's declaration does; store it to know when to re-read all.
    #[must_use]
    pub fn fingerprint(&self) -> String {
        let mut hasher = blake3::Hasher::new();
        for dataset in &self.all {
            hasher.update(dataset.fingerprint.as_bytes());
        }
        for glob in &self.ignored {
            hasher.update(glob.glob().glob().as_bytes()).update(b"\n");
        }
        hasher.finalize().to_hex().to_string()
    }
}
