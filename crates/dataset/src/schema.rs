//! JSON Schemas of datasets, compiled once and applied to each entity.

use jsonschema::error::ValidationErrorKind;
use serde_json::Value as Json;

use crate::pyjson;
use crate::yaml::{Document, Id, Mark, Value};

/// A compiled schema (draft 4 to 2020-12, by its `$schema`).
#[derive(Debug)]
pub struct Schema {
    validator: jsonschema::Validator,
}

/// Why a schema file cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("schema {path}:{line}:{col} cannot be used: {message}")]
pub struct SchemaError {
    /// The schema file.
    pub path: String,
    /// Line, from 1.
    pub line: u32,
    /// Column, from 1.
    pub col: u32,
    /// What is wrong.
    pub message: String,
}

/// A place where an entity violates its schema.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Violation {
    /// From the entity.
    pub pointer: String,
    pub at: Mark,
    pub message: String,
}

/// Violations reported per entity; one wrong list can have thousands.
const MAX_VIOLATIONS: usize = 20;

impl Schema {
    /// Compiles a schema file; `path` is named in errors. References to other files and to the
    /// network are refused.
    ///
    /// # Errors
    /// When it is not JSON or not a valid schema.
    pub fn compile(path: &str, bytes: &[u8]) -> Result<Self, SchemaError> {
        let error = |line, col, message| SchemaError { path: path.to_owned(), line, col, message };
        let document = crate::yaml::parse_json(bytes, &crate::yaml::Limits::default())
            .map_err(|e| error(e.line, e.col, format!("it is not JSON: {}", e.message)))?;
        let Some(root) = document.root() else {
            return Err(error(1, 1, "it is empty".to_owned()));
        };
        let schema = to_json(&document, root);
        if !matches!(schema, Json::Object(_) | Json::Bool(_)) {
            return Err(error(1, 1, "a schema is a JSON object".to_owned()));
        }
        let validator = jsonschema::validator_for(&schema).map_err(|e| {
            let (near, _) = document.follow(root, e.instance_path().as_str());
            let at = document.node(near).start;
            error(at.line, at.col, format!("it is not a valid schema: {e}"))
        })?;
        Ok(Schema { validator })
    }

    pub(crate) fn violations(&self, doc: &Document<'_>, entity: Id) -> Vec<Violation> {
        let instance = to_json(doc, entity);
        if self.validator.is_valid(&instance) {
            return Vec::new();
        }
        let mut violations = Vec::new();
        for error in self.validator.iter_errors(&instance) {
            let pointer = error.instance_path().as_str().to_owned();
            let (near, _) = doc.follow(entity, &pointer);
            let field = match pointer.rsplit('/').next() {
                None | Some("") => "the entry".to_owned(),
                Some(name) => format!("\"{name}\""),
            };
            match error.kind() {
                ValidationErrorKind::AdditionalProperties { unexpected } => {
                    for name in unexpected {
                        let at = doc.get_pair(near, name).map_or(near, |(key, _)| key);
                        violations.push(Violation {
                            pointer: format!("{pointer}/{}", escape(name)),
                            at: doc.node(at).start,
                            message: format!(
                                "\"{name}\" is not allowed in {field}; correct its spelling or \
                                 add it to the schema"
                            ),
                        });
                    }
                }
                ValidationErrorKind::Required { property } => violations.push(Violation {
                    at: doc.node(near).start,
                    message: format!("{field} needs the field {property}"),
                    pointer,
                }),
                _ => violations.push(Violation {
                    at: doc.node(near).start,
                    message: format!("{field}: {}", error.masked_with(shown(doc, near))),
                    pointer,
                }),
            }
            if violations.len() >= MAX_VIOLATIONS {
                break;
            }
        }
        violations
    }
}

/// Enough of the offending value to recognise it.
fn shown(doc: &Document<'_>, id: Id) -> String {
    let mut text = String::new();
    pyjson::dump(doc, id, &mut text);
    match text.char_indices().nth(60) {
        Some((at, _)) => format!("{}…", &text[..at]),
        None => text,
    }
}

fn escape(name: &str) -> String {
    name.replace('~', "~0").replace('/', "~1")
}

/// A value as JSON, dates as text.
fn to_json(doc: &Document<'_>, id: Id) -> Json {
    match doc.value(id) {
        Value::Null => Json::Null,
        Value::Bool(b) => Json::Bool(*b),
        Value::Int(i) => Json::from(*i),
        Value::BigInt(digits) => Json::from(digits.parse::<f64>().unwrap_or(f64::MAX)),
        // What JSON has no number for becomes null, which no numeric schema accepts.
        Value::Float(f) => Json::from(*f),
        Value::Str(text) => Json::String(text.to_string()),
        Value::Date(_) | Value::DateTime(_) | Value::Bytes(_) => Json::String(pyjson::to_str(doc, id)),
        Value::Seq(items) => Json::Array(items.iter().map(|&item| to_json(doc, item)).collect()),
        Value::Map(pairs) => Json::Object(
            pairs.iter().map(|&(key, value)| (pyjson::key_text(doc.value(key)), to_json(doc, value))).collect(),
        ),
    }
}
