//! Changes fields of one entity in the text of its file; every byte outside what is changed stays.
//!
//! The change is spliced in at the places where the values stand. Afterwards the text is read again
//! and must say exactly what was asked: the old value with that change and nothing else. Otherwise
//! there is an error and no new text.

mod fields;
mod manner;
mod plan;
mod remove;
mod render;
mod splice;

use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind};

use serde_json::Value as Json;

use crate::dataset::{Dataset, Datasets, Format};
use crate::entries::{Entry, entries, yaml_part};
use crate::extract::{BODY, read};
use crate::value::Val;
use crate::yaml::{Document, YamlError};

pub(crate) use plan::Step;
pub(crate) use splice::{Source, break_len};

/// An edit that takes more single changes than this is a new file.
const MAX_CHANGES: usize = 500;

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

/// The entities of a file, in file order. What has no id is left out.
///
/// # Errors
/// When the file belongs to no dataset or cannot be read.
pub fn entities_of(datasets: &Datasets, path: &str, text: &[u8]) -> Result<Vec<Located>, EditError> {
    let file = File::read(datasets, path, text)?;
    let type_name = || file.dataset.type_name.clone().unwrap_or_else(|| file.dataset.id.as_str().to_owned());
    let yaml = &file.text[file.part.clone()];
    let source = Source::read(yaml, file.dataset.format == Format::Json).ok();
    let span = |entry: &Entry| {
        let whole = 0..file.text.len();
        let (Some(source), false) = (&source, entry.way.is_empty()) else { return whole };
        let Some((place, part)) = source.place(&entry.way) else { return whole };
        let start = part.map_or(source.layout.spot(place).start, |part| part.at).pos as usize;
        file.part.start + start..file.part.start + source.layout.spot(place).end as usize
    };
    let located = |entry: &Entry| {
        let node = file.doc.node(entry.node);
        Some(Located {
            type_name: type_name(),
            id: entry.identity.as_ref()?.id.clone(),
            span: span(entry),
            line_start: node.start.line,
            line_end: node.last_line,
        })
    };
    Ok(file.entries.iter().filter_map(located).collect())
}

/// The paths, of `paths`, whose files can hold entities of this type.
pub fn candidates<'p>(datasets: &Datasets, type_name: &str, paths: impl IntoIterator<Item = &'p str>) -> Vec<&'p str> {
    let of_type = |path: &&str| datasets.for_path(path).is_some_and(|dataset| is_of_type(dataset, type_name));
    paths.into_iter().filter(of_type).collect()
}

fn is_of_type(dataset: &Dataset, type_name: &str) -> bool {
    dataset.type_name.as_deref() == Some(type_name) || dataset.id.as_str() == type_name
}

/// Sets and unsets fields of one entity and returns the file's new text.
///
/// What is set keeps the way the file writes such things. A date without quotes stays one when the
/// new value is a date too. Nothing but the fields asked for changes, or there is an error.
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
    // A file that a bug makes fatal must cost this edit and not the daemon.
    catch_unwind(AssertUnwindSafe(|| set_fields(datasets, path, text, entity, set, unset))).unwrap_or_else(|_| {
        Err(EditError {
            path: path.to_owned(),
            line: None,
            entity: Some(entity.id.to_owned()),
            kind: EditErrorKind::Refused,
            message: "editing this file failed; edit it by hand, and please report it with the file".to_owned(),
        })
    })
}

fn set_fields(
    datasets: &Datasets,
    path: &str,
    text: &[u8],
    entity: EntityRef<'_>,
    set: &[(FieldPath, Json)],
    unset: &[FieldPath],
) -> Result<Vec<u8>, EditError> {
    let file = File::read(datasets, path, text)?;
    let entry = file.entity(entity)?;
    let line = file.doc.node(entry.node).start.line;
    let id = entry.identity.as_ref().map(|identity| identity.id.clone());
    let refuse = |kind, line, message| EditError { path: path.to_owned(), line, entity: id.clone(), kind, message };
    let bad = |message| refuse(EditErrorKind::BadRequest, Some(line), message);

    let mut goal = Val::of_root(&file.doc);
    let Some(value) = fields::at(&mut goal, &entry.way) else {
        return Err(bad("the entity cannot be found in the file's text".to_owned()));
    };
    for (field, new) in set {
        fields::set(value, &field.0, new).map_err(|message| bad(format!("{field}: {message}")))?;
    }
    for field in unset {
        fields::unset(value, &field.0).map_err(|message| bad(format!("{field}: {message}")))?;
    }
    if file.dataset.format == Format::Markdown && value.get(&Val::text(BODY)) != body_of(&file.doc).as_ref() {
        return Err(bad(format!("\"{BODY}\" is the text of the file; send the whole file to change it")));
    }

    let new = file.reach(&goal).map_err(|(line, message)| refuse(EditErrorKind::Refused, Some(line), message))?;
    let again = File::read(datasets, path, &new)?;
    let ids = |file: &File<'_>| -> Vec<_> {
        file.entries.iter().map(|entry| entry.identity.as_ref().map(|identity| identity.id.clone())).collect()
    };
    if ids(&file) != ids(&again) {
        return Err(bad("this changes the entity's id; an id is changed by editing the file".to_owned()));
    }
    Ok(new)
}

fn body_of(doc: &Document<'_>) -> Option<Val> {
    doc.root().and_then(|root| doc.get(root, BODY)).map(|body| Val::of(doc, body))
}

/// A file of a dataset that was read.
struct File<'f> {
    path: &'f str,
    dataset: &'f Dataset,
    text: &'f str,
    doc: Document<'f>,
    entries: Vec<Entry>,
    /// The part that is YAML or JSON.
    part: Range<usize>,
    /// Lines before it.
    skipped: u32,
}

impl<'f> File<'f> {
    fn read(datasets: &'f Datasets, path: &'f str, bytes: &'f [u8]) -> Result<Self, EditError> {
        let error = |line, message: String| EditError {
            path: path.to_owned(),
            line,
            entity: None,
            kind: EditErrorKind::Unreadable,
            message,
        };
        let unreadable = |e: YamlError| error(Some(e.line), format!("{}; correct the file first", e.message));
        let dataset = datasets
            .for_path(path)
            .ok_or_else(|| error(None, "no dataset declares this file, so it has no entities".to_owned()))?;
        let doc = read(bytes, dataset.format).map_err(unreadable)?;
        let text = std::str::from_utf8(bytes).map_err(|_| error(None, "this is not UTF-8".to_owned()))?;
        let entries = entries(&doc, dataset, path)
            .ok_or_else(|| error(None, "the file is not laid out as its dataset declares".to_owned()))?;
        let (part, skipped) = yaml_part(text, dataset.format).map_err(unreadable)?.unwrap_or((0..0, 0));
        Ok(File { path, dataset, text, doc, entries, part, skipped })
    }

    fn entity(&self, wanted: EntityRef<'_>) -> Result<&Entry, EditError> {
        let error = |kind, line, message| EditError {
            path: self.path.to_owned(),
            line,
            entity: Some(wanted.id.to_owned()),
            kind,
            message,
        };
        if !is_of_type(self.dataset, wanted.type_name) {
            let message = format!(
                "this file holds {}, not {}",
                self.dataset.type_name.as_deref().unwrap_or(self.dataset.id.as_str()),
                wanted.type_name
            );
            return Err(error(EditErrorKind::NotFound, None, message));
        }
        let by = |same: fn(&crate::extract::Identity, &str) -> bool| -> Vec<&Entry> {
            let is = |entry: &&Entry| entry.identity.as_ref().is_some_and(|identity| same(identity, wanted.id));
            self.entries.iter().filter(is).collect()
        };
        let mut found = by(|identity, id| identity.id == id);
        if found.is_empty() {
            found = by(|identity, id| identity.local == id);
        }
        match found[..] {
            [entry] => Ok(entry),
            [] => Err(error(EditErrorKind::NotFound, None, "there is no such entity in this file".to_owned())),
            [first, second, ..] => {
                let line = |entry: &Entry| self.doc.node(entry.node).start.line;
                let message = format!(
                    "the id is used twice, here and on line {}; give one of them another id first",
                    line(second)
                );
                Err(error(EditErrorKind::Refused, Some(line(first)), message))
            }
        }
    }

    /// The file's text with what it takes to mean `goal`, or the line and why not.
    fn reach(&self, goal: &Val) -> Result<Vec<u8>, (u32, String)> {
        let json = self.dataset.format == Format::Json;
        let mut yaml_goal = goal.clone();
        if let (Format::Markdown, Val::Map(pairs)) = (self.dataset.format, &mut yaml_goal) {
            pairs.retain(|(key, _)| *key != Val::text(BODY));
        }
        let yaml = reach(&self.text[self.part.clone()], &yaml_goal, json)
            .map_err(|(line, message)| (line + self.skipped, message))?;
        let mut text = String::with_capacity(self.text.len() + yaml.len());
        text.push_str(&self.text[..self.part.start]);
        text.push_str(&yaml);
        text.push_str(&self.text[self.part.end..]);
        match read(text.as_bytes(), self.dataset.format) {
            Ok(doc) if Val::of_root(&doc) == *goal => Ok(text.into_bytes()),
            _ => Err((1, "the change would change something else as well; edit the file by hand".to_owned())),
        }
    }
}

/// The YAML text with what it takes to mean `goal`, one change after the other, each of them proved.
pub(crate) fn reach(text: &str, goal: &Val, json: bool) -> Result<String, (u32, String)> {
    let unreadable = |e: YamlError| (e.line, format!("{}; correct the file first", e.message));
    let mut text = text.to_owned();
    for _ in 0..MAX_CHANGES {
        let mut source = Source::read(&text, json).map_err(unreadable)?;
        let mut value = Val::of_root(&source.doc);
        let Some(op) = plan::next(&[], &value, goal) else { return Ok(text) };
        fields::apply(&mut value, &op);
        let good = |text: &str| Source::read(text, json).is_ok_and(|source| Val::of_root(&source.doc) == value);
        let refusal = |refusal: splice::Refusal| (refusal.line, refusal.message);
        let mut next = source.apply(&op).map_err(refusal)?;
        if !good(&next) {
            // A text as `|` takes in blank lines that follow it; in quotes it does not.
            source.manner.literals = false;
            next = source.apply(&op).map_err(refusal)?;
        }
        if !good(&next) {
            let line = source.line_of(&op);
            let why = if source.layout.decorated {
                "anchors, aliases or merge keys make this change something else as well; edit it by hand"
            } else {
                "this cannot be changed here without changing something else as well; edit it by hand"
            };
            return Err((line, why.to_owned()));
        }
        text = next;
    }
    Err((1, format!("more than {MAX_CHANGES} changes in one edit; send the whole file")))
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

impl std::fmt::Display for FieldPath {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0.join("."))
    }
}
