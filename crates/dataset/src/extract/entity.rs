//! From a mapping to the row of an entity, by the reference importer's rules.

use std::collections::HashSet;

use super::{Extraction, aliases, columns, is_true};
use crate::dataset::{Dataset, IdSource};
use crate::pyjson;
use crate::rows::{EdgeRow, EntityRow, SearchFields, Severity};
use crate::yaml::{Document, Id, Value, is_calendar_date};

/// An id and where it came from.
pub(crate) struct Identity {
    /// With the prefix.
    pub id: String,
    /// As written.
    pub local: String,
    /// The field it was read from; `None` for a file name.
    pub field: Option<String>,
}

impl Identity {
    /// The id of an entity of a file; `None` when it has none.
    pub(crate) fn of(doc: &Document<'_>, dataset: &Dataset, path: &str, entity: Id) -> Option<Self> {
        let stem = || {
            let name = path.rsplit('/').next().unwrap_or(path);
            name.rsplit_once('.').map_or(name, |(stem, _)| stem)
        };
        let (local, field) = dataset.ids.iter().find_map(|source| match source {
            IdSource::StemUpper => Some((stem().to_uppercase(), None)),
            IdSource::Stem => Some((stem().to_owned(), None)),
            IdSource::Field(field) => {
                let id = doc.get(entity, field).filter(|&id| is_true(doc.value(id)))?;
                match doc.value(id) {
                    Value::Seq(_) | Value::Map(_) | Value::Bytes(_) => None,
                    _ => Some((pyjson::to_str(doc, id), Some(field.clone()))),
                }
            }
        })?;
        let prefix = &dataset.prefix;
        let bare = prefix.trim_end_matches('-');
        let id =
            if !prefix.is_empty() && !local.starts_with(bare) { format!("{prefix}{local}") } else { local.clone() };
        Some(Identity { id, local, field })
    }
}

impl Extraction<'_, '_> {
    pub(super) fn entity(&mut self, entity: Id, pointer: &str) {
        let at = self.doc.node(entity).start;
        if !matches!(self.doc.value(entity), Value::Map(_)) {
            self.nameless += 1;
            let message = "an entry must be a mapping of fields; this one has no id".to_owned();
            self.issue(at, Severity::Error, "not-a-mapping", pointer, None, message);
            return;
        }
        let Some(identity) = Identity::of(self.doc, self.dataset, self.path, entity) else {
            self.nameless += 1;
            let message = format!("this entry has no id and is not imported; give it {}", wanted_ids(self.dataset));
            self.issue(at, Severity::Error, "missing-id", pointer, None, message);
            return;
        };
        let Some(type_name) = self.dataset.type_name.clone() else {
            self.validate(entity, pointer, &identity.id);
            self.sections_of(entity, pointer, &identity.id);
            return;
        };
        let content = self.content(entity, &identity.local, identity.field.as_deref());
        let row_hash = self.row_hash(entity, &identity.id, &type_name, &content);
        if let Some(before) = self.before.get(identity.id.as_str()).filter(|before| before.row_hash == row_hash) {
            let (line_start, line_end) = self.lines(entity);
            self.entities.push(EntityRow { line_start, line_end, ..(*before).clone() });
            self.sections_of(entity, pointer, &identity.id);
            return;
        }
        let valid = self.validate(entity, pointer, &identity.id);
        self.sections_of(entity, pointer, &identity.id);
        let row = self.row(entity, pointer, identity, type_name, valid, content, row_hash);
        self.entities.push(row);
    }

    /// Applies the schema; `true` when the entity satisfies it.
    fn validate(&mut self, entity: Id, pointer: &str, id: &str) -> bool {
        let Some(schema) = self.schema else { return true };
        let violations = schema.violations(self.doc, entity);
        for violation in &violations {
            let at = violation.at;
            let pointer = format!("{pointer}{}", violation.pointer);
            let message = violation.message.clone();
            self.issue(at, Severity::Error, "schema", &pointer, Some(id), message);
        }
        violations.is_empty()
    }

    #[allow(clippy::too_many_arguments, reason = "called once, with what was found out before")]
    fn row(
        &mut self,
        entity: Id,
        pointer: &str,
        identity: Identity,
        type_name: String,
        schema_valid: bool,
        content: String,
        row_hash: String,
    ) -> EntityRow {
        let Identity { id, local, field } = identity;
        let title = self.first_text(entity, &self.dataset.titles);
        let tags = self.tags(entity);
        let updated_own = self.own_date(entity, pointer, &id);
        let (typed, extra) = columns::typed(self, entity, pointer, &id, field.as_deref());
        let search =
            SearchFields { title: title.clone(), tags: tags.clone(), content: search_text(self.doc, entity, &id) };
        let aliases = aliases::of(self.doc, entity, self.dataset, &id, &local);
        let (line_start, line_end) = self.lines(entity);
        EntityRow {
            title,
            status: self.first_text(entity, &self.dataset.statuses),
            epistemic_tag: self.first_text(entity, &self.dataset.epistemic_tags),
            confidence: self.first_text(entity, &self.dataset.confidences),
            content,
            tags,
            updated_own,
            line_start,
            line_end,
            row_hash,
            schema_valid,
            typed,
            extra,
            search,
            edges: self.edges(entity, &id, &aliases, field.as_deref()),
            aliases,
            id,
            type_name,
            local_id: local,
        }
    }

    fn lines(&self, entity: Id) -> (u32, u32) {
        let node = self.doc.node(entity);
        (node.start.line, node.last_line)
    }

    /// Equal for entities of which every column is equal.
    fn row_hash(&self, entity: Id, id: &str, type_name: &str, content: &str) -> String {
        let mut hasher = blake3::Hasher::new();
        for part in [id, type_name, content] {
            hasher.update(&(part.len() as u64).to_le_bytes()).update(part.as_bytes());
        }
        let mut place = 0;
        let mut untold = Vec::new();
        untold_kinds(self.doc, entity, &mut place, &mut untold);
        hasher.update(&untold);
        hasher.finalize().to_hex().to_string()
    }

    /// The entity as JSON. The reference importer puts an id taken from the file name into the
    /// entity, so it is part of the text.
    fn content(&self, entity: Id, local: &str, field: Option<&str>) -> String {
        let mut content = String::new();
        pyjson::dump(self.doc, entity, &mut content);
        if field.is_none() && self.doc.get(entity, "id").is_none() {
            content.pop();
            if content.len() > 1 {
                content.push_str(", ");
            }
            content.push_str("\"id\": ");
            pyjson::quote(local, &mut content);
            content.push('}');
        }
        content
    }

    fn first_text(&self, entity: Id, fields: &[String]) -> String {
        self.first_true(entity, fields).map(|id| pyjson::to_str(self.doc, id)).unwrap_or_default()
    }

    fn tags(&self, entity: Id) -> String {
        let mut parts = Vec::new();
        for field in &self.dataset.tags {
            match self.doc.get(entity, field).map(|id| self.doc.value(id)) {
                Some(Value::Str(text)) => parts.push(text.to_string()),
                Some(Value::Seq(items)) => {
                    parts.extend(items.iter().map(|&item| pyjson::to_str(self.doc, item)));
                }
                _ => {}
            }
        }
        parts.join(" ")
    }

    fn own_date(&mut self, entity: Id, pointer: &str, id: &str) -> Option<String> {
        let value = self.first_true(entity, &self.dataset.dates)?;
        let date = calendar_date(self.doc.value(value));
        if date.is_none() {
            let message = format!(
                "'{}' is no calendar date; write YYYY-MM-DD. The date of the last change is \
                 used instead",
                shorten(&pyjson::to_str(self.doc, value))
            );
            let at = self.doc.node(value).start;
            self.issue(at, Severity::Warning, "bad-date", pointer, Some(id), message);
        }
        date
    }

    /// Mentions of other entities, each once per field.
    fn edges(&self, entity: Id, own_id: &str, own_aliases: &[String], id_field: Option<&str>) -> Vec<EdgeRow> {
        let Value::Map(pairs) = self.doc.value(entity) else { return Vec::new() };
        let mut edges = Vec::new();
        let mut seen = HashSet::new();
        for &(key, value) in pairs {
            let field = pyjson::key_text(self.doc.value(key));
            if Some(field.as_str()) == id_field {
                continue;
            }
            walk_texts(self.doc, value, &mut |text| {
                for found in self.dataset.mentions.find(text) {
                    let own = found.target == own_id || own_aliases.contains(&found.target);
                    if !own && seen.insert((field.clone(), found.target.clone())) {
                        edges.push(EdgeRow {
                            field: field.clone(),
                            raw: found.raw.to_owned(),
                            target_id: found.target,
                        });
                    }
                }
            });
        }
        edges
    }
}

/// The day a value names, if it names one.
pub(super) fn calendar_date(value: &Value<'_>) -> Option<String> {
    match value {
        Value::Date(date) => Some(date.to_string()),
        Value::DateTime(time) => time.get(..10).map(str::to_owned),
        Value::Str(text) if is_calendar_date(text) => Some(text.to_string()),
        _ => None,
    }
}

/// Where values stand whose kind their JSON does not tell: dates and bytes look like text, a key that is a number like one
/// that is its digits.
fn untold_kinds(doc: &Document<'_>, id: Id, place: &mut u32, found: &mut Vec<u8>) {
    *place += 1;
    let tell = |found: &mut Vec<u8>, place: u32, kind: u8| {
        found.extend_from_slice(&place.to_le_bytes());
        found.push(kind);
    };
    match doc.value(id) {
        Value::Date(_) | Value::DateTime(_) => tell(found, *place, 1),
        Value::Bytes(_) => tell(found, *place, 2),
        Value::Seq(items) => items.iter().for_each(|&item| untold_kinds(doc, item, place, found)),
        Value::Map(pairs) => {
            for &(key, value) in pairs {
                if !matches!(doc.value(key), Value::Str(_)) {
                    tell(found, *place, 3);
                }
                untold_kinds(doc, value, place, found);
            }
        }
        _ => {}
    }
}

fn walk_texts(doc: &Document<'_>, id: Id, visit: &mut impl FnMut(&str)) {
    match doc.value(id) {
        Value::Str(text) => visit(text),
        Value::Seq(items) => items.iter().for_each(|&item| walk_texts(doc, item, visit)),
        Value::Map(pairs) => pairs.iter().for_each(|&(_, value)| walk_texts(doc, value, visit)),
        _ => {}
    }
}

/// The id and all values, one per line; no keys, no nulls, no booleans.
fn search_text(doc: &Document<'_>, entity: Id, id: &str) -> String {
    fn push(doc: &Document<'_>, id: Id, out: &mut String) {
        match doc.value(id) {
            Value::Seq(items) => items.iter().for_each(|&item| push(doc, item, out)),
            Value::Map(pairs) => pairs.iter().for_each(|&(_, value)| push(doc, value, out)),
            Value::Null | Value::Bool(_) | Value::Bytes(_) => {}
            Value::Str(text) => {
                out.push('\n');
                out.push_str(text);
            }
            _ => {
                out.push('\n');
                out.push_str(&pyjson::to_str(doc, id));
            }
        }
    }
    let mut out = id.to_owned();
    push(doc, entity, &mut out);
    out
}

fn wanted_ids(dataset: &Dataset) -> String {
    let names: Vec<_> = dataset
        .ids
        .iter()
        .filter_map(|source| match source {
            IdSource::Field(field) => Some(format!("\"{field}\"")),
            _ => None,
        })
        .collect();
    names.join(" or ")
}

/// Enough of a text to recognise it.
pub(super) fn shorten(text: &str) -> String {
    match text.char_indices().nth(60) {
        Some((at, _)) => format!("{}…", &text[..at]),
        None => text.to_owned(),
    }
}
