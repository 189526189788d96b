//! The three-way merge of values: what a merged text must mean. It knows no text.

use std::collections::{BTreeMap, HashMap, HashSet};

use super::align::{Pick, diff3, order};
use crate::dataset::{Dataset, IdSource, Kind};
use crate::value::Val;
use crate::yaml::Value;

/// Names of keys and list items from the root down.
pub(super) type Way = Vec<Name>;

/// What a part of a mapping or list is known by.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Name {
    /// A key.
    Key(String),
    /// The id of a list's item.
    Item(String),
}

impl Name {
    pub fn text(&self) -> &str {
        match self {
            Name::Key(text) | Name::Item(text) => text,
        }
    }
}

/// How the two sides disagree.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Clash {
    /// Both changed it.
    Both,
    /// Ours removed what theirs changed.
    WeRemoved,
    /// Theirs removed what ours changed.
    TheyRemoved,
    /// Both put the same parts into different orders.
    Order,
    /// Both changed its comments, or wrote it in different ways.
    Layout,
}

/// What of a file is taken as a whole when the sides disagree inside it.
pub(super) struct Units<'d> {
    dataset: Option<&'d Dataset>,
    /// The list of entities.
    list: Option<Vec<String>>,
    /// Taken from theirs, because the sides disagree.
    pub forced: BTreeMap<Way, Vec<(Way, Clash)>>,
}

/// Fields by which the items of a list without a declaration are told apart.
const NAMING: [&str; 6] = ["id", "code", "number", "key", "version", "name"];

impl<'d> Units<'d> {
    pub fn new(dataset: Option<&'d Dataset>) -> Self {
        let list = dataset.and_then(|dataset| match &dataset.kind {
            Kind::List(pointer) => {
                Some(pointer.split('/').skip(1).map(|part| part.replace("~1", "/").replace("~0", "~")).collect())
            }
            Kind::Document => None,
        });
        Units { dataset, list, forced: BTreeMap::new() }
    }

    fn is_entity_list(&self, way: &[Name]) -> bool {
        self.list.as_ref().is_some_and(|list| list.iter().eq(way.iter().map(Name::text)))
    }

    /// What is taken as a whole when there is a clash at `way`; `None` for the whole file.
    pub fn of(&self, way: &[Name]) -> Option<Way> {
        let len = match (&self.list, self.dataset) {
            (Some(list), _) if list.len() < way.len() && self.is_entity_list(&way[..list.len()]) => list.len() + 1,
            // The list of all entities is no unit.
            (Some(list), _) if way.iter().map(Name::text).eq(list.iter().take(way.len())) => return None,
            (None, Some(_)) => return None,
            _ if matches!(way.get(1), Some(Name::Item(_))) => 2,
            _ => 1,
        };
        way.get(..len).map(<[Name]>::to_vec)
    }

    /// The names of the items of up to three versions of a list, if each item of each has one of its own.
    pub fn names(&self, way: &[Name], lists: [&[Val]; 3]) -> Option<[Vec<String>; 3]> {
        let declared = self.dataset.filter(|_| self.is_entity_list(way));
        let by = |fields: &[&str]| {
            let named = lists.map(|items| names_by(items, fields));
            let [Some(a), Some(b), Some(c)] = named else { return None };
            Some([a, b, c])
        };
        match declared {
            Some(dataset) => {
                let field = |source: &'d IdSource| match source {
                    IdSource::Field(field) => Some(field.as_str()),
                    IdSource::Stem | IdSource::StemUpper => None,
                };
                by(&dataset.ids.iter().filter_map(field).collect::<Vec<_>>())
            }
            None => NAMING.iter().find_map(|field| by(&[*field])),
        }
    }
}

/// The names of a list's items by the first of these fields that each has, unless two are the same.
fn names_by(items: &[Val], fields: &[&str]) -> Option<Vec<String>> {
    let mut seen = HashSet::new();
    let name = |item: &Val| fields.iter().find_map(|field| item.get(&Val::text(*field))?.id_text());
    items.iter().map(|item| name(item).filter(|name| seen.insert(name.clone()))).collect()
}

/// Whether an item goes by this name.
pub(super) fn is_named(item: &Val, name: &str, dataset: Option<&Dataset>) -> bool {
    let declared = dataset.into_iter().flat_map(|dataset| &dataset.ids).filter_map(|source| match source {
        IdSource::Field(field) => Some(field.as_str()),
        IdSource::Stem | IdSource::StemUpper => None,
    });
    let is = |field: &str| item.get(&Val::text(field)).and_then(Val::id_text).is_some_and(|id| id == name);
    declared.chain(NAMING).any(is)
}

/// The names of a mapping's keys. A key that is no text cannot be mistaken for one.
pub(super) fn key_name(key: &Val) -> String {
    match key {
        Val::Leaf(Value::Str(text)) => text.to_string(),
        other => format!("\0{other:?}"),
    }
}

/// The value-level merge. `None` stands for "not there"; clashes are reported and give theirs.
pub(super) fn merge3(
    units: &Units<'_>,
    way: &mut Way,
    base: Option<&Val>,
    ours: Option<&Val>,
    theirs: Option<&Val>,
    clashes: &mut Vec<(Way, Clash)>,
) -> Option<Val> {
    if units.forced.contains_key(way) || base == ours || ours == theirs {
        return theirs.cloned();
    }
    // Something below may be theirs for the sake of its comments only.
    let forced_below = || units.forced.keys().any(|unit| unit.len() > way.len() && unit.starts_with(way));
    if base == theirs && !forced_below() {
        return ours.cloned();
    }
    let clash = match (base, ours, theirs) {
        (None | Some(Val::Map(_)), Some(Val::Map(o)), Some(Val::Map(t))) => {
            let empty = Vec::new();
            let b = if let Some(Val::Map(b)) = base { b } else { &empty };
            let names = |pairs: &[(Val, Val)]| pairs.iter().map(|(key, _)| key_name(key)).collect::<Vec<_>>();
            match order(&names(b), &names(o), &names(t)) {
                None => Clash::Order,
                Some(names) => {
                    let mut merged = Vec::with_capacity(names.len());
                    for name in names {
                        let of = |pairs: &'_ [(Val, Val)]| pairs.iter().position(|(key, _)| key_name(key) == name);
                        let (in_b, in_o, in_t) = (of(b), of(o), of(t));
                        let key = in_t.map(|i| &t[i].0).or(in_o.map(|i| &o[i].0)).cloned();
                        way.push(Name::Key(name));
                        let value = merge3(
                            units,
                            way,
                            in_b.map(|i| &b[i].1),
                            in_o.map(|i| &o[i].1),
                            in_t.map(|i| &t[i].1),
                            clashes,
                        );
                        way.pop();
                        merged.extend(key.zip(value));
                    }
                    return Some(Val::Map(merged));
                }
            }
        }
        (None | Some(Val::Seq(_)), Some(Val::Seq(o)), Some(Val::Seq(t))) => {
            let b: &[Val] = if let Some(Val::Seq(b)) = base { b } else { &[] };
            match merge_lists(units, way, b, o, t, clashes) {
                Ok(items) => return Some(Val::Seq(items)),
                Err(clash) => clash,
            }
        }
        (_, None, _) => Clash::WeRemoved,
        (_, _, None) => Clash::TheyRemoved,
        _ => Clash::Both,
    };
    clashes.push((way.clone(), clash));
    theirs.cloned()
}

fn merge_lists(
    units: &Units<'_>,
    way: &mut Way,
    b: &[Val],
    o: &[Val],
    t: &[Val],
    clashes: &mut Vec<(Way, Clash)>,
) -> Result<Vec<Val>, Clash> {
    let Some([in_b, in_o, in_t]) = units.names(way, [b, o, t]) else {
        let picks = diff3(b, o, t).ok_or(Clash::Both)?;
        let item = |pick: Pick| match pick {
            Pick::Ours(i) => o[i].clone(),
            Pick::Theirs(i) | Pick::Kept(_, _, i) => t[i].clone(),
        };
        return Ok(picks.into_iter().map(item).collect());
    };
    let names = order(&in_b, &in_o, &in_t).ok_or(Clash::Order)?;
    let (in_b, in_o, in_t) = (places(&in_b), places(&in_o), places(&in_t));
    let mut merged = Vec::with_capacity(names.len());
    for name in names {
        let of = |places: &HashMap<&str, usize>| places.get(name.as_str()).copied();
        let (b, o, t) = (of(&in_b).map(|i| &b[i]), of(&in_o).map(|i| &o[i]), of(&in_t).map(|i| &t[i]));
        way.push(Name::Item(name.clone()));
        merged.extend(merge3(units, way, b, o, t, clashes));
        way.pop();
    }
    Ok(merged)
}

/// Where each name stands.
pub(super) fn places(names: &[String]) -> HashMap<&str, usize> {
    names.iter().enumerate().map(|(i, name)| (name.as_str(), i)).collect()
}
