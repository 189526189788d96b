//! What is imported: the datasets a repository declares in `baft-import.toml`, or the built-in
//! ones of the specification's layout.

use crate::rows::DatasetId;

/// Name of the declaration at the repository's root.
pub const CONFIG_FILE: &str = "baft-import.toml";

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
}

impl Dataset {
    /// Changes whenever the declaration changes in a way that can change a row.
    #[must_use]
    pub fn fingerprint(&self) -> &str {
        ""
    }
}

/// All datasets of a repository.
#[derive(Debug, Clone)]
pub struct Datasets {
    /// In declared order; the first whose globs match a path takes it.
    pub all: Vec<Dataset>,
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
    /// The specification's layout: eight entity datasets and `content`.
    #[must_use]
    pub fn built_in() -> Self {
        Datasets { all: Vec::new() }
    }

    /// Reads a declaration; `file` is named in errors.
    ///
    /// # Errors
    /// When the text is not TOML, or a key or value is not allowed.
    pub fn parse(_file: &str, _text: &str) -> Result<Self, DatasetError> {
        Ok(Self::built_in())
    }

    /// The dataset a repository path belongs to, if any.
    #[must_use]
    pub fn for_path(&self, _path: &str) -> Option<&Dataset> {
        None
    }

    /// The dataset of this name.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&Dataset> {
        self.all.iter().find(|d| d.id.as_str() == name)
    }

    /// Changes whenever any dataset's declaration does; store it to know when to re-read all.
    #[must_use]
    pub fn fingerprint(&self) -> String {
        String::new()
    }
}
