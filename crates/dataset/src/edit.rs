//! Changes fields of one entity in the text of its file; every byte outside what is changed stays.
//!
//! The change is spliced in at the places where the values stand. Afterwards the text is read again
//! and must say exactly what was asked: the old value with that change and nothing else. Otherwise
//! there is an error and no new text.

use std::ops::Range;

use serde_json::Value as Json;

use crate::dataset::Datasets;

/// Which entity is meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EntityRef<'a> {
    /// Its type, as in `entities.type`, or the name of its dataset.
    pub type_name: &'a str,
    /// Its id, with or without the dataset's prefix.
    pub id: &'a str,
}

/// Where a field stands in its entity: `trend`, `source.url`, `corrections.0.note`, or, when a name
/// holds dots, a JSON pointer: `/source/v1.2`. In a list a step is an index, the `id` of an item, or
/// `-` for "after the last".
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FieldPath(Vec<String>);

/// Why an edit was refused. Nothing was changed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}{}: {message}", self.place(), entity.as_deref().map(|id| format!(": {id}")).unwrap_or_default())]
pub struct EditError {
    /// The file.
    pub path: String,
    /// Line, from 1, when there is one.
    pub line: Option<u32>,
    /// The entity, when it is known.
    pub entity: Option<String>,
    /// What kind of trouble it is.
    pub kind: EditErrorKind,
    /// What is wrong and what to do about it.
    pub message: String,
}

/// Kinds of [`EditError`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EditErrorKind {
    /// The file cannot be read, or holds no entities.
    Unreadable,
    /// There is no such entity in the file.
    NotFound,
    /// The field or value asked for makes no sense here.
    BadRequest,
    /// It could be done, but not without changing something else; edit the file by hand.
    Refused,
}

impl EditError {
    fn place(&self) -> String {
        match self.line {
            Some(line) => format!("{}:{line}", self.path),
            None => self.path.clone(),
        }
    }
}

/// An entity of a file and where it stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Located {
    /// Its type, as in `entities.type`.
    pub type_name: String,
    /// Its id, with the dataset's prefix.
    pub id: String,
    /// Its bytes in the file.
    pub span: Range<usize>,
    /// First line, from 1.
    pub line_start: u32,
    /// Last line, from 1.
    pub line_end: u32,
}

/// The entities of a file, in file order.
///
/// # Errors
/// When the file belongs to no dataset or cannot be read.
pub fn entities_of(datasets: &Datasets, path: &str, text: &[u8]) -> Result<Vec<Located>, EditError> {
    let _ = (datasets, text);
    Err(EditError {
        path: path.to_owned(),
        line: None,
        entity: None,
        kind: EditErrorKind::Unreadable,
        message: "entities cannot be found yet".to_owned(),
    })
}

/// The paths, of `paths`, whose files can hold entities of this type.
pub fn candidates<'p>(datasets: &Datasets, type_name: &str, paths: impl IntoIterator<Item = &'p str>) -> Vec<&'p str> {
    let of_type = |path: &&str| {
        datasets
            .for_path(path)
            .is_some_and(|dataset| dataset.type_name.as_deref() == Some(type_name) || dataset.id.as_str() == type_name)
    };
    paths.into_iter().filter(of_type).collect()
}

/// Sets and unsets fields of one entity and returns the file's new text.
///
/// # Errors
/// When the entity is not in the file, or the change cannot be made without changing anything else.
pub fn set(
    datasets: &Datasets,
    path: &str,
    text: &[u8],
    entity: EntityRef<'_>,
    set: &[(FieldPath, Json)],
    unset: &[FieldPath],
) -> Result<Vec<u8>, EditError> {
    let _ = (datasets, text, entity, set, unset);
    Err(EditError {
        path: path.to_owned(),
        line: None,
        entity: None,
        kind: EditErrorKind::Refused,
        message: "fields cannot be edited yet".to_owned(),
    })
}

impl std::str::FromStr for FieldPath {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let steps: Vec<String> = match text.strip_prefix('/') {
            Some(pointer) => pointer.split('/').map(|step| step.replace("~1", "/").replace("~0", "~")).collect(),
            None => text.split('.').map(str::to_owned).collect(),
        };
        if steps.iter().any(String::is_empty) {
            return Err(format!("\"{text}\" names no field; write trend, source.url or /source/url"));
        }
        Ok(FieldPath(steps))
    }
}
