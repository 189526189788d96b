//! Mappings: merge keys, and keys that are equal to Python.

use std::collections::HashMap;

use super::compose::Composer;
use super::document::{Document, Id, Mark, Note, Value};
use super::resolve::{CORE, value_error, wrong_tag};
use super::{YamlError, number::shorten};

type Result<T> = std::result::Result<T, YamlError>;

/// What makes two keys equal: to Python `1`, `1.0` and `True` are.
#[derive(Clone, PartialEq, Eq, Hash)]
enum KeyIdentity<'n> {
    Null,
    Number(i64),
    BigNumber(&'n str),
    Float(u64),
    Text(&'n str),
    Date(&'n str),
    /// Not a number is not equal to itself.
    Unique(Id),
}

impl<'n> KeyIdentity<'n> {
    #[allow(clippy::cast_possible_truncation, clippy::cast_precision_loss)]
    fn of(doc: &'n Document<'_>, id: Id) -> Option<Self> {
        Some(match doc.value(id) {
            Value::Null => KeyIdentity::Null,
            Value::Bool(b) => KeyIdentity::Number(i64::from(*b)),
            Value::Int(i) => KeyIdentity::Number(*i),
            Value::BigInt(digits) => KeyIdentity::BigNumber(digits),
            Value::Float(f) if f.is_nan() => KeyIdentity::Unique(id),
            // An integral float below 2^63 is exact as an integer.
            Value::Float(f) if f.fract() == 0.0 && f.abs() < i64::MAX as f64 => KeyIdentity::Number(*f as i64),
            Value::Float(f) => KeyIdentity::Float(f.to_bits()),
            Value::Str(text) => KeyIdentity::Text(text),
            Value::Date(text) | Value::DateTime(text) => KeyIdentity::Date(text),
            Value::Bytes(_) | Value::Seq(_) | Value::Map(_) => return None,
        })
    }
}

/// Below this many keys comparing each with each is faster than hashing.
const FEW_KEYS: usize = 12;

impl<'a> Composer<'a, '_> {
    pub(super) fn mapping(
        &mut self,
        pairs: Vec<(Id, Id)>,
        start: Mark,
        end_line: u32,
        tag: Option<&str>,
    ) -> Result<Id> {
        match tag {
            None | Some("!") => {}
            Some(tag) if tag.strip_prefix(CORE) == Some("map") => {}
            Some(tag) => return Err(value_error(start, wrong_tag(tag, "a mapping"))),
        }
        let (merged, own) = self.split_merges(pairs, start)?;
        for &(_, value) in &own {
            self.check_value(value)?;
        }
        let pairs = self.unique(merged, own)?;
        self.push_collection(Value::Map(pairs), start, end_line)
    }

    /// Pairs that `<<` brings in, and the mapping's own.
    #[allow(clippy::type_complexity)]
    fn split_merges(&self, pairs: Vec<(Id, Id)>, start: Mark) -> Result<(Vec<(Id, Id)>, Vec<(Id, Id)>)> {
        if self.key_only.is_empty() {
            return Ok((Vec::new(), pairs));
        }
        let mut merged = Vec::new();
        let mut own = Vec::new();
        for (key, value) in pairs {
            if self.key_only.get(&key) != Some(&true) {
                own.push((key, value));
                continue;
            }
            match self.doc.value(value) {
                Value::Map(other) => merged.extend_from_slice(other),
                Value::Seq(others) => {
                    // Of several the first wins, so it is laid on last.
                    for &other in others.iter().rev() {
                        match self.doc.value(other) {
                            Value::Map(other) => merged.extend_from_slice(other),
                            _ => return Err(not_mergeable(start)),
                        }
                    }
                }
                _ => return Err(not_mergeable(start)),
            }
        }
        Ok((merged, own))
    }

    /// Lays pairs over each other: the first place and spelling of a key stays, the last value
    /// wins.
    fn unique(&mut self, merged: Vec<(Id, Id)>, own: Vec<(Id, Id)>) -> Result<Vec<(Id, Id)>> {
        let merges = merged.len();
        let mut notes = Vec::new();
        let mut result: Vec<(Id, Id)> = Vec::with_capacity(merges + own.len());
        // For each key in `result` the mapping's own key that set it last.
        let mut set_by: Vec<Option<Id>> = Vec::with_capacity(result.capacity());
        let few = merges + own.len() <= FEW_KEYS;
        let mut places: HashMap<KeyIdentity<'_>, usize> = HashMap::new();
        let mut identities: Vec<KeyIdentity<'_>> = Vec::new();
        for (i, (key, value)) in merged.into_iter().chain(own).enumerate() {
            let identity = KeyIdentity::of(&self.doc, key).ok_or_else(|| {
                let message = "a list, mapping or binary value cannot be a key; use text";
                value_error(self.doc.node(key).start, message.to_owned())
            })?;
            let place = if few {
                identities.iter().position(|other| *other == identity)
            } else {
                places.get(&identity).copied()
            };
            let own_key = (i >= merges).then_some(key);
            match place {
                None => {
                    if few {
                        identities.push(identity);
                    } else {
                        places.insert(identity, result.len());
                    }
                    result.push((key, value));
                    set_by.push(own_key);
                }
                Some(place) => {
                    if let (Some(first), Some(second)) = (set_by[place], own_key) {
                        notes.push(self.duplicate_key(first, second));
                    }
                    result[place].1 = value;
                    set_by[place] = own_key;
                }
            }
        }
        for note in notes {
            self.note(note);
        }
        Ok(result)
    }

    fn duplicate_key(&self, first: Id, second: Id) -> Note {
        let name = crate::pyjson::key_text(self.doc.value(second));
        Note {
            at: self.doc.node(second).start,
            code: "duplicate-key",
            message: format!(
                "the key '{}' is already set on line {}; this value replaces that one. Remove one \
                 of them",
                shorten(&name),
                self.doc.node(first).start.line
            ),
        }
    }
}

fn not_mergeable(start: Mark) -> YamlError {
    value_error(start, "'<<' takes a mapping or a list of mappings; put it in quotes if it is text".to_owned())
}
