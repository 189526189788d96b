//! Changes of values: what a field path means in an entity.

use serde_json::Value as Json;

use super::plan::{Op, Step};
use crate::value::Val;
use crate::yaml::Value;

/// A list item is named by the first of these that it has.
const ID_FIELDS: [&str; 3] = ["id", "code", "number"];

/// The value at the end of a way.
pub(super) fn at<'v>(value: &'v mut Val, way: &[Step]) -> Option<&'v mut Val> {
    let mut here = value;
    for step in way {
        here = match (here, step) {
            (Val::Map(pairs), Step::Key(key)) => pairs.iter_mut().find(|(k, _)| k == key).map(|(_, v)| v)?,
            (Val::Seq(items), Step::Index(i)) => items.get_mut(*i)?,
            _ => return None,
        };
    }
    Some(here)
}

/// Makes a change of a text on its value.
pub(super) fn apply(value: &mut Val, op: &Op) {
    match op {
        Op::Replace(path, new) => {
            if let Some(here) = at(value, path) {
                *here = new.clone();
            }
        }
        Op::Add(path, key, new) => {
            if let Some(Val::Map(pairs)) = at(value, path) {
                pairs.push((key.clone(), new.clone()));
            }
        }
        Op::Insert(path, index, new) => {
            if let Some(Val::Seq(items)) = at(value, path) {
                items.insert((*index).min(items.len()), new.clone());
            }
        }
        Op::Remove(path) => {
            let Some((step, above)) = path.split_last() else { return };
            match (at(value, above), step) {
                (Some(Val::Map(pairs)), Step::Key(key)) => pairs.retain(|(k, _)| k != key),
                (Some(Val::Seq(items)), Step::Index(i)) if *i < items.len() => drop(items.remove(*i)),
                _ => {}
            }
        }
    }
}

/// Sets a field. Mappings on the way to it are made when they are missing.
pub(super) fn set(value: &mut Val, path: &[String], new: &Json) -> Result<(), String> {
    let Some((step, rest)) = path.split_first() else {
        *value = in_kind_of(value, new);
        return Ok(());
    };
    if matches!(value, Val::Leaf(Value::Null)) {
        *value = Val::Map(Vec::new());
    }
    match value {
        Val::Map(_) => {
            let place = value.position(step);
            let Val::Map(pairs) = value else { return Ok(()) };
            let place = place.unwrap_or_else(|| {
                pairs.push((Val::text(step), Val::Leaf(Value::Null)));
                pairs.len() - 1
            });
            set(&mut pairs[place].1, rest, new)
        }
        Val::Seq(items) => {
            let place = if step == "-" {
                items.push(Val::Leaf(Value::Null));
                items.len() - 1
            } else {
                item(items, step)?
            };
            set(&mut items[place], rest, new)
        }
        Val::Leaf(_) => Err(format!("there is a single value where \"{step}\" is looked for; set it as a whole")),
    }
}

/// Removes a field.
pub(super) fn unset(value: &mut Val, path: &[String]) -> Result<(), String> {
    let Some((step, rest)) = path.split_first() else { return Ok(()) };
    let missing = || format!("there is no \"{step}\" to remove");
    let place = match &*value {
        Val::Map(_) => value.position(step).ok_or_else(missing)?,
        Val::Seq(items) => item(items, step)?,
        Val::Leaf(_) => return Err(missing()),
    };
    match value {
        Val::Map(pairs) if rest.is_empty() => drop(pairs.remove(place)),
        Val::Seq(items) if rest.is_empty() => drop(items.remove(place)),
        Val::Map(pairs) => return unset(&mut pairs[place].1, rest),
        Val::Seq(items) => return unset(&mut items[place], rest),
        Val::Leaf(_) => {}
    }
    Ok(())
}

/// The item of a list that a step means: by its id, otherwise by its index.
fn item(items: &[Val], step: &str) -> Result<usize, String> {
    let is = |item: &Val| {
        ID_FIELDS.iter().find_map(|field| item.get(&Val::text(*field))).and_then(Val::id_text).as_deref() == Some(step)
    };
    let mut named = items.iter().enumerate().filter(|(_, item)| is(item)).map(|(i, _)| i);
    match (named.next(), named.next(), step.parse::<usize>()) {
        (Some(i), None, _) => Ok(i),
        (Some(_), Some(_), _) => Err(format!("several items of the list have the id \"{step}\"; use the index")),
        (None, _, Ok(i)) if i < items.len() => Ok(i),
        (None, _, Ok(_)) => Err(format!("the list has {} items, counted from 0; \"-\" adds one", items.len())),
        (None, _, Err(_)) => Err(format!("the list has no item with the id \"{step}\"")),
    }
}

/// The value asked for. JSON has no dates: a date that replaces a date without quotes stays one.
fn in_kind_of(old: &Val, new: &Json) -> Val {
    if let (Val::Leaf(was @ (Value::Date(_) | Value::DateTime(_))), Json::String(text)) = (old, new)
        && let Some(Val::Leaf(will)) = Val::of_plain(text)
        && std::mem::discriminant(was) == std::mem::discriminant(&will)
        && crate::pyjson::key_text(&will) == *text
    {
        return Val::Leaf(will);
    }
    Val::from_json(new)
}
