//! The entities of a document and the way to each of them.

use std::ops::Range;

use crate::dataset::{Dataset, Format, Kind};
use crate::edit::Step;
use crate::extract::{Identity, front_matter};
use crate::value::Val;
use crate::yaml::{Document, Id, Value, YamlError};

/// An entity, or what stands where one is expected.
pub(crate) struct Entry {
    /// Its id; `None` when it has none.
    pub identity: Option<Identity>,
    pub node: Id,
    /// From the root of the document.
    pub way: Vec<Step>,
}

/// The entries of a file in file order; `None` when it is not of its dataset's kind.
pub(crate) fn entries(doc: &Document<'_>, dataset: &Dataset, path: &str) -> Option<Vec<Entry>> {
    let root = doc.root()?;
    let entry = |node, way| {
        let is_map = matches!(doc.value(node), Value::Map(_));
        let identity = if is_map { Identity::of(doc, dataset, path, node) } else { None };
        Entry { identity, node, way }
    };
    match &dataset.kind {
        Kind::Document => matches!(doc.value(root), Value::Map(_)).then(|| vec![entry(root, Vec::new())]),
        Kind::List(pointer) => {
            let (list, true) = doc.follow(root, pointer) else { return None };
            let way = way_of(doc, root, pointer);
            match doc.value(list) {
                Value::Seq(items) => {
                    let step = |i| way.iter().cloned().chain([Step::Index(i)]).collect();
                    Some(items.iter().enumerate().map(|(i, &item)| entry(item, step(i))).collect())
                }
                Value::Null => Some(Vec::new()),
                _ => None,
            }
        }
    }
}

/// The steps of a JSON pointer that leads somewhere.
pub(crate) fn way_of(doc: &Document<'_>, root: Id, pointer: &str) -> Vec<Step> {
    let mut way = Vec::new();
    let mut here = root;
    for part in pointer.split('/').skip(1) {
        let part = part.replace("~1", "/").replace("~0", "~");
        match doc.value(here) {
            Value::Seq(items) => {
                let Some((i, &next)) = part.parse().ok().and_then(|i: usize| Some((i, items.get(i)?))) else { break };
                way.push(Step::Index(i));
                here = next;
            }
            Value::Map(pairs) => {
                let named = |&&(key, _): &&(Id, Id)| Val::of(doc, key).is_named(&part);
                let Some(&(key, next)) = pairs.iter().find(named) else { break };
                way.push(Step::Key(Val::of(doc, key)));
                here = next;
            }
            _ => break,
        }
    }
    way
}

/// The part of a file that is YAML (or JSON), and how many lines stand before it.
pub(crate) fn yaml_part(text: &str, format: Format) -> Result<Option<(Range<usize>, u32)>, YamlError> {
    match format {
        Format::Yaml | Format::Json => Ok(Some((0..text.len(), 0))),
        Format::Markdown => Ok(front_matter(text)?.map(|range| (range, 1))),
    }
}
