//! Values without places: what an edit or a merge must come to.

use serde_json::Value as Json;

use crate::pyjson;
use crate::yaml::{Document, Id, Limits, Value, parse};

/// A value, owned, aliases expanded, mappings in order.
#[derive(Debug, Clone)]
pub(crate) enum Val {
    /// Anything but a list or a mapping.
    Leaf(Value<'static>),
    /// A list.
    Seq(Vec<Val>),
    /// A mapping; keys are leaves.
    Map(Vec<(Val, Val)>),
}

impl PartialEq for Val {
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            // Not a number is the same text, and must not look like a change.
            (Val::Leaf(Value::Float(a)), Val::Leaf(Value::Float(b))) => a.to_bits() == b.to_bits(),
            (Val::Leaf(a), Val::Leaf(b)) => a == b,
            (Val::Seq(a), Val::Seq(b)) => a == b,
            (Val::Map(a), Val::Map(b)) => a == b,
            _ => false,
        }
    }
}

impl Val {
    /// The value of a node.
    pub fn of(doc: &Document<'_>, id: Id) -> Self {
        Val::Leaf(match doc.value(id) {
            Value::Seq(items) => return Val::Seq(items.iter().map(|&item| Val::of(doc, item)).collect()),
            Value::Map(pairs) => {
                return Val::Map(pairs.iter().map(|&(k, v)| (Val::of(doc, k), Val::of(doc, v))).collect());
            }
            Value::Null => Value::Null,
            Value::Bool(b) => Value::Bool(*b),
            Value::Int(i) => Value::Int(*i),
            Value::BigInt(digits) => Value::BigInt(digits.clone()),
            Value::Float(f) => Value::Float(*f),
            Value::Str(text) => Value::Str(text.to_string().into()),
            Value::Date(text) => Value::Date(text.clone()),
            Value::DateTime(text) => Value::DateTime(text.clone()),
            Value::Bytes(bytes) => Value::Bytes(bytes.clone()),
        })
    }

    /// The value of a whole document; an empty one is null.
    pub fn of_root(doc: &Document<'_>) -> Self {
        doc.root().map_or(Val::Leaf(Value::Null), |root| Val::of(doc, root))
    }

    /// A text.
    pub fn text(text: impl Into<String>) -> Self {
        Val::Leaf(Value::Str(text.into().into()))
    }

    /// A value that came as JSON.
    pub fn from_json(json: &Json) -> Self {
        Val::Leaf(match json {
            Json::Null => Value::Null,
            Json::Bool(b) => Value::Bool(*b),
            Json::Number(n) => match (n.as_i64(), n.as_u64()) {
                (Some(i), _) => Value::Int(i),
                (None, Some(u)) => Value::BigInt(u.to_string().into()),
                (None, None) => Value::Float(n.as_f64().unwrap_or_default()),
            },
            Json::String(text) => return Val::text(text),
            Json::Array(items) => return Val::Seq(items.iter().map(Val::from_json).collect()),
            Json::Object(fields) => {
                return Val::Map(fields.iter().map(|(k, v)| (Val::text(k), Val::from_json(v))).collect());
            }
        })
    }

    /// What the text of a plain scalar means; `None` when it is no scalar.
    pub fn of_plain(text: &str) -> Option<Self> {
        let doc = parse(text.as_bytes(), &Limits::default()).ok()?;
        match Val::of_root(&doc) {
            leaf @ Val::Leaf(_) => Some(leaf),
            _ => None,
        }
    }

    /// How a key is named in paths and messages.
    pub fn name(&self) -> String {
        match self {
            Val::Leaf(leaf) => pyjson::key_text(leaf),
            Val::Seq(_) | Val::Map(_) => String::new(),
        }
    }

    /// Whether a key is named so.
    pub fn is_named(&self, name: &str) -> bool {
        match self {
            Val::Leaf(Value::Str(text)) => text == name,
            other => other.name() == name,
        }
    }

    /// The value of a mapping's key.
    pub fn get(&self, key: &Val) -> Option<&Val> {
        match self {
            Val::Map(pairs) => pairs.iter().find(|(k, _)| k == key).map(|(_, v)| v),
            _ => None,
        }
    }

    /// The place of the pair with a key of this name; a text key goes first.
    pub fn position(&self, name: &str) -> Option<usize> {
        let Val::Map(pairs) = self else { return None };
        let text = Val::text(name);
        pairs.iter().position(|(k, _)| *k == text).or_else(|| pairs.iter().position(|(k, _)| k.is_named(name)))
    }

    /// A single value as text, if it can serve as an id.
    pub fn id_text(&self) -> Option<String> {
        match self {
            Val::Leaf(Value::Null | Value::Bytes(_)) | Val::Seq(_) | Val::Map(_) => None,
            Val::Leaf(Value::Str(text)) if text.is_empty() => None,
            Val::Leaf(leaf) => Some(pyjson::key_text(leaf)),
        }
    }
}
