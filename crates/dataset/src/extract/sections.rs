//! Prose sections.

use super::{Extraction, markdown};
use crate::dataset::{SectionFields, Sections};
use crate::pyjson;
use crate::rows::{SectionRow, Severity};
use crate::yaml::{Id, Value};

/// Where a section lies.
struct Place<'p> {
    doc_id: &'p str,
    parent: Option<&'p str>,
    depth: u32,
}

impl Extraction<'_, '_> {
    /// Adds the sections of an entity or document that lies at `base` in its file.
    pub(super) fn sections_of(&mut self, entity: Id, base: &str, doc_id: &str) {
        let dataset = self.dataset;
        match &dataset.sections {
            None => {}
            Some(Sections::Headings) => {
                let body = self.doc.get(entity, markdown::BODY);
                if let Some((body, Value::Str(text))) = body.map(|id| (id, self.doc.value(id))) {
                    let first_line = self.doc.node(body).start.line;
                    let kind = dataset.section_kind();
                    self.sections.extend(markdown::sections(text, first_line, kind, doc_id));
                }
            }
            Some(Sections::List(pointer, fields)) => {
                let (list, true) = self.doc.follow(entity, pointer) else { return };
                let place = Place { doc_id, parent: None, depth: 1 };
                self.section_list(list, &format!("{base}{pointer}"), fields, &place, &mut 0);
            }
        }
    }

    fn section_list(&mut self, list: Id, pointer: &str, fields: &SectionFields, place: &Place<'_>, ord: &mut u32) {
        let doc = self.doc;
        let items = match doc.value(list) {
            Value::Seq(items) => items.as_slice(),
            Value::Null => return,
            _ => &[list],
        };
        for (i, &item) in items.iter().enumerate() {
            let pointer = format!("{pointer}/{i}");
            let at = doc.node(item).start;
            if !matches!(doc.value(item), Value::Map(_)) {
                let message = "a section must be a mapping with a title or content; it is left \
                               out of the sections, not of the entity"
                    .to_owned();
                let id = Some(place.doc_id);
                self.issue(at, Severity::Warning, "bad-section", &pointer, id, message);
                continue;
            }
            let field = |name: &str| doc.get(item, name).map(|id| (id, doc.value(id)));
            let text = |name: &str| match field(name) {
                None | Some((_, Value::Null)) => String::new(),
                Some((id, _)) => pyjson::to_str(doc, id),
            };
            self.sections.push(SectionRow {
                doc_kind: self.dataset.section_kind().to_owned(),
                doc_id: place.doc_id.to_owned(),
                section_id: text(&fields.id),
                parent_pointer: place.parent.map(str::to_owned),
                ord: *ord,
                depth: place.depth,
                level: match field(&fields.level) {
                    Some((_, Value::Int(level))) => Some(*level),
                    _ => None,
                },
                title: text(&fields.title),
                tags: match field(&fields.tags) {
                    Some((_, Value::Seq(tags))) => tags.iter().map(|&tag| pyjson::to_str(doc, tag)).collect(),
                    Some((_, Value::Str(tag))) => vec![tag.to_string()],
                    _ => Vec::new(),
                },
                content: text(&fields.content),
                line_start: at.line,
                pointer: pointer.clone(),
            });
            *ord += 1;
            if let Some((children, _)) = field(&fields.children) {
                let inner = Place { doc_id: place.doc_id, parent: Some(&pointer), depth: place.depth + 1 };
                let below = format!("{pointer}/{}", fields.children);
                self.section_list(children, &below, fields, &inner, ord);
            }
        }
    }
}
