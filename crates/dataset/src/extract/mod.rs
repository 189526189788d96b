//! From the bytes of one file to its rows. Pure: same bytes, dataset and schema, same result.

mod aliases;
mod columns;
mod entity;
mod markdown;
mod sections;

pub(crate) use entity::Identity;
pub(crate) use markdown::{BODY, front_matter};

use std::collections::{HashMap, HashSet};
use std::panic::{AssertUnwindSafe, catch_unwind};

use crate::dataset::{Dataset, Format, Kind};
use crate::rows::{EntityRow, FileState, Issue, ParsedFile, SectionRow, Severity};
use crate::schema::Schema;
use crate::yaml::{self, Document, Id, Limits, Mark, Value, YamlError};

/// Changes whenever this code may read the same bytes differently; part of the parse cache's key.
pub const PARSER_VERSION: u32 = 2;

/// Reads one file. Never panics and never fails: what cannot be used is in
/// [`ParsedFile::issues`].
#[must_use]
pub fn parse_file(path: &str, bytes: &[u8], dataset: &Dataset, schema: Option<&Schema>) -> ParsedFile {
    parse_file_after(None, path, bytes, dataset, schema)
}

/// The same, faster: `before` is another version of the file, read with the same dataset and schema. Entities that it has
/// too, and nothing to say about, are taken from there.
#[must_use]
pub fn parse_file_after(
    before: Option<&ParsedFile>,
    path: &str,
    bytes: &[u8],
    dataset: &Dataset,
    schema: Option<&Schema>,
) -> ParsedFile {
    let mut file = ParsedFile {
        path: path.to_owned(),
        dataset: dataset.id.clone(),
        state: FileState::Good,
        entities: Vec::new(),
        sections: Vec::new(),
        issues: Vec::new(),
    };
    // Files come from whoever can push. Should a bug make one of them fatal, it must cost that
    // file and not the daemon.
    let read = catch_unwind(AssertUnwindSafe(|| match read(bytes, dataset.format) {
        Ok(document) => Ok(Extraction::new(before, path, dataset, schema, &document).run()),
        Err(error) => Err(error),
    }));
    let failure = match read {
        Ok(Ok(Some(output))) => {
            file.state = output.state;
            file.entities = output.entities;
            file.sections = output.sections;
            file.issues = output.issues;
            return file;
        }
        Ok(Ok(None)) => no_entities(path, dataset),
        Ok(Err(error)) => Issue {
            path: path.to_owned(),
            line: error.line,
            col: error.col,
            pointer: String::new(),
            entity_id: None,
            severity: Severity::Error,
            code: error.kind.code(),
            message: error.message,
        },
        Err(_) => Issue {
            code: "internal",
            message: "reading this file failed inside the importer; please report it with the file".to_owned(),
            ..no_entities(path, dataset)
        },
    };
    file.state = FileState::Unparsable;
    file.issues = vec![failure];
    file
}

/// Reads the bytes of a file in one of the formats.
///
/// # Errors
/// When they are not of that format.
pub fn read(bytes: &[u8], format: Format) -> Result<Document<'_>, YamlError> {
    let limits = Limits::default();
    match format {
        Format::Yaml => yaml::parse(bytes, &limits),
        Format::Json => yaml::parse_json(bytes, &limits),
        Format::Markdown => markdown::parse(bytes, &limits),
    }
}

fn no_entities(path: &str, dataset: &Dataset) -> Issue {
    let message = match &dataset.kind {
        Kind::List(pointer) if pointer.is_empty() => "this file must be a list of entries".to_owned(),
        Kind::List(pointer) => {
            format!("this file must have a list of entries at {pointer} (dataset \"{}\")", dataset.id)
        }
        Kind::Document => "this file must be a mapping of fields".to_owned(),
    };
    Issue {
        path: path.to_owned(),
        line: 1,
        col: 1,
        pointer: String::new(),
        entity_id: None,
        severity: Severity::Error,
        code: "no-entries",
        message,
    }
}

/// The finding that two entities of a file have one id. `shown` is the place of the one that is shown.
fn duplicate_id(id: &str, hidden: (&str, u32), shown: (&str, u32)) -> Issue {
    Issue {
        path: hidden.0.to_owned(),
        line: hidden.1,
        col: 1,
        pointer: String::new(),
        entity_id: Some(id.to_owned()),
        severity: Severity::Error,
        code: "duplicate-id",
        message: format!(
            "the id {id} is used twice: here and at {}:{}, which is the one shown. Give one of \
             them another id",
            shown.0, shown.1
        ),
    }
}

/// What a file yields.
struct Output {
    state: FileState,
    entities: Vec<EntityRow>,
    sections: Vec<SectionRow>,
    issues: Vec<Issue>,
}

/// Reading one document.
struct Extraction<'e, 'd> {
    path: &'e str,
    dataset: &'e Dataset,
    schema: Option<&'e Schema>,
    doc: &'e Document<'d>,
    entities: Vec<EntityRow>,
    sections: Vec<SectionRow>,
    issues: Vec<Issue>,
    nameless: usize,
    /// Rows of another version, of which there is nothing to say, by id.
    before: HashMap<&'e str, &'e EntityRow>,
}

impl<'e, 'd> Extraction<'e, 'd> {
    fn new(
        before: Option<&'e ParsedFile>,
        path: &'e str,
        dataset: &'e Dataset,
        schema: Option<&'e Schema>,
        doc: &'e Document<'d>,
    ) -> Self {
        let said = |before: &'e ParsedFile| -> HashSet<&'e str> {
            before.issues.iter().filter_map(|issue| issue.entity_id.as_deref()).collect()
        };
        let clean = |before: &'e ParsedFile| {
            let said = said(before);
            let rows = before.entities.iter().filter(move |row| row.schema_valid && !said.contains(row.id.as_str()));
            rows.map(|row| (row.id.as_str(), row))
        };
        Extraction {
            before: before.into_iter().flat_map(clean).collect(),
            path,
            dataset,
            schema,
            doc,
            entities: Vec::new(),
            sections: Vec::new(),
            issues: Vec::new(),
            nameless: 0,
        }
    }

    /// `None` when the document is not of the declared kind.
    fn run(mut self) -> Option<Output> {
        let root = self.doc.root()?;
        match &self.dataset.kind {
            Kind::Document => match self.doc.value(root) {
                Value::Map(_) => self.entity(root, ""),
                _ => return None,
            },
            Kind::List(pointer) => match self.doc.follow(root, pointer) {
                (list, true) => match self.doc.value(list) {
                    Value::Seq(items) => {
                        for (i, &item) in items.iter().enumerate() {
                            self.entity(item, &format!("{pointer}/{i}"));
                        }
                    }
                    Value::Null => {}
                    _ => return None,
                },
                (_, false) => return None,
            },
        }
        self.notes();
        self.hide_duplicates();
        self.issues.sort_by_key(|issue| (issue.line, issue.col));
        let state = match self.nameless {
            0 => FileState::Good,
            nameless => FileState::Partial { nameless },
        };
        Some(Output { state, entities: self.entities, sections: self.sections, issues: self.issues })
    }

    fn issue(
        &mut self,
        at: Mark,
        severity: Severity,
        code: &'static str,
        pointer: &str,
        entity_id: Option<&str>,
        message: String,
    ) {
        self.issues.push(Issue {
            path: self.path.to_owned(),
            line: at.line,
            col: at.col,
            pointer: pointer.to_owned(),
            entity_id: entity_id.map(str::to_owned),
            severity,
            code,
            message,
        });
    }

    /// What the reader found odd.
    fn notes(&mut self) {
        for note in self.doc.notes() {
            let severity = match note.code {
                "invalid-date" => Severity::Error,
                _ => Severity::Warning,
            };
            let entity = self
                .entities
                .iter()
                .find(|row| (row.line_start..=row.line_end).contains(&note.at.line))
                .map(|row| row.id.clone());
            self.issue(note.at, severity, note.code, "", entity.as_deref(), note.message.clone());
        }
    }

    /// Of entities with one id the last stays.
    fn hide_duplicates(&mut self) {
        let mut shown: HashMap<String, u32> = HashMap::new();
        let mut kept = Vec::with_capacity(self.entities.len());
        for row in self.entities.drain(..).rev() {
            match shown.get(&row.id) {
                None => {
                    shown.insert(row.id.clone(), row.line_start);
                    kept.push(row);
                }
                Some(&line) => {
                    let hidden = (self.path, row.line_start);
                    self.issues.push(duplicate_id(&row.id, hidden, (self.path, line)));
                }
            }
        }
        kept.reverse();
        self.entities = kept;
    }

    /// The first of these fields that Python would call true.
    fn first_true(&self, entity: Id, fields: &[String]) -> Option<Id> {
        fields.iter().filter_map(|field| self.doc.get(entity, field)).find(|&id| is_true(self.doc.value(id)))
    }
}

/// Whether Python takes a value for true.
pub(super) fn is_true(value: &Value<'_>) -> bool {
    match value {
        Value::Null => false,
        Value::Bool(b) => *b,
        Value::Int(i) => *i != 0,
        Value::Float(f) => *f != 0.0,
        Value::Str(text) => !text.is_empty(),
        Value::Bytes(bytes) => !bytes.is_empty(),
        Value::Seq(items) => !items.is_empty(),
        Value::Map(pairs) => !pairs.is_empty(),
        Value::BigInt(_) | Value::Date(_) | Value::DateTime(_) => true,
    }
}
