//! The values of a document, in one flat list so that aliases can share them.

use std::borrow::Cow;

/// A position in the source.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Mark {
    /// Line, from 1.
    pub line: u32,
    /// Column in characters, from 1.
    pub col: u32,
    /// Bytes before it in the text that was read; 0 where only line and column are known.
    pub(crate) pos: u32,
}

impl Mark {
    /// A place known by line and column only.
    pub(crate) const fn at(line: u32, col: u32) -> Self {
        Mark { line, col, pos: 0 }
    }
}

/// Index of a node in its document.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Id(pub(crate) u32);

/// A value and where it stands.
#[derive(Debug, Clone, PartialEq)]
pub struct Node<'a> {
    /// The value.
    pub value: Value<'a>,
    /// Where it starts.
    pub start: Mark,
    /// Last line that holds a part of it.
    pub last_line: u32,
    /// Whether it is a scalar without quotes, whose type YAML guesses.
    pub plain: bool,
    /// Values in it, itself included, aliases expanded.
    pub(crate) weight: u32,
    /// Bytes of text in it, aliases expanded.
    pub(crate) text_bytes: u32,
    /// Lists and mappings on the longest way down, aliases expanded.
    pub(crate) height: u32,
}

/// A value as Python would hold it.
#[derive(Debug, Clone, PartialEq)]
pub enum Value<'a> {
    /// `None`.
    Null,
    /// `bool`.
    Bool(bool),
    /// `int`.
    Int(i64),
    /// `int` beyond 64 bits, in decimal.
    BigInt(Box<str>),
    /// `float`.
    Float(f64),
    /// `str`.
    Str(Cow<'a, str>),
    /// `datetime.date`, as `YYYY-MM-DD`.
    Date(Box<str>),
    /// `datetime.datetime`, as `str()` prints it.
    DateTime(Box<str>),
    /// `bytes`.
    Bytes(Box<[u8]>),
    /// `list`.
    Seq(Vec<Id>),
    /// `dict`, in insertion order, keys unique as Python compares them.
    Map(Vec<(Id, Id)>),
}

/// Something odd that does not stop the reading.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Note {
    /// Where.
    pub at: Mark,
    /// Stable code: `duplicate-key`, `invalid-date`, `ambiguous-scalar`.
    pub code: &'static str,
    /// What, and what to do.
    pub message: String,
}

/// A document: nodes, a root, and what was odd.
#[derive(Debug, Clone, Default)]
pub struct Document<'a> {
    pub(crate) nodes: Vec<Node<'a>>,
    pub(crate) root: Option<Id>,
    pub(crate) notes: Vec<Note>,
}

impl<'a> Document<'a> {
    /// The root value; `None` for an empty file.
    #[must_use]
    pub fn root(&self) -> Option<Id> {
        self.root
    }

    /// A node.
    #[must_use]
    pub fn node(&self, id: Id) -> &Node<'a> {
        &self.nodes[id.0 as usize]
    }

    /// A node's value.
    #[must_use]
    pub fn value(&self, id: Id) -> &Value<'a> {
        &self.nodes[id.0 as usize].value
    }

    /// What was odd, in file order.
    #[must_use]
    pub fn notes(&self) -> &[Note] {
        &self.notes
    }

    /// The value of a text key of a mapping.
    #[must_use]
    pub fn get(&self, map: Id, key: &str) -> Option<Id> {
        self.get_pair(map, key).map(|(_, value)| value)
    }

    /// A text key of a mapping and its value.
    #[must_use]
    pub fn get_pair(&self, map: Id, key: &str) -> Option<(Id, Id)> {
        match self.value(map) {
            Value::Map(pairs) => pairs.iter().copied().find(|&(k, _)| self.text(k) == Some(key)),
            _ => None,
        }
    }

    /// The text of a text node.
    #[must_use]
    pub fn text(&self, id: Id) -> Option<&str> {
        match self.value(id) {
            Value::Str(text) => Some(text),
            _ => None,
        }
    }

    /// Follows a JSON pointer from `from` as far as it leads: the last node reached and whether
    /// that is the end of the pointer.
    #[must_use]
    pub fn follow(&self, from: Id, pointer: &str) -> (Id, bool) {
        let mut here = from;
        for part in pointer.split('/').skip(1) {
            let part = part.replace("~1", "/").replace("~0", "~");
            let next = match self.value(here) {
                Value::Seq(items) => part.parse().ok().and_then(|i: usize| items.get(i).copied()),
                Value::Map(pairs) => pairs
                    .iter()
                    .find(|&&(key, _)| crate::pyjson::key_text(self.value(key)) == part)
                    .map(|&(_, value)| value),
                _ => None,
            };
            match next {
                Some(next) => here = next,
                None => return (here, false),
            }
        }
        (here, true)
    }
}
