//! Other spellings of an id.

use crate::dataset::Dataset;
use crate::pyjson;
use crate::yaml::{Document, Id, Value};

/// Spellings by which prose may name the entity, without its id, each once.
pub(super) fn of(doc: &Document<'_>, entity: Id, dataset: &Dataset, id: &str, local: &str) -> Vec<String> {
    let mut aliases = Vec::new();
    for field in &dataset.aliases {
        if let Some(value) = doc.get(entity, field) {
            match doc.value(value) {
                Value::Seq(items) => {
                    aliases.extend(items.iter().map(|&item| pyjson::to_str(doc, item)));
                }
                Value::Map(_) | Value::Null => {}
                _ => aliases.push(pyjson::to_str(doc, value)),
            }
        }
    }
    let prefix = dataset.prefix.trim_end_matches('-');
    if !prefix.is_empty() && id != local {
        if let Ok(number) = local.parse::<u64>() {
            // `Obs 51`, `Obs 051` and `Obs-051` for `Obs-51`.
            aliases.push(format!("{prefix} {number}"));
            aliases.push(format!("{prefix} {number:03}"));
            aliases.push(format!("{prefix}-{number:03}"));
        } else if let Some(members) = range(local) {
            // `Session-11` and `Session-12` for `Session-11-12`.
            aliases.push(format!("{prefix} {local}"));
            aliases.extend(members.map(|number| format!("{}{number}", dataset.prefix)));
        } else {
            // `ITB-A` for `Mod-ITB-A`.
            aliases.push(local.to_owned());
        }
    }
    let mut unique: Vec<String> = Vec::new();
    for alias in aliases {
        if !alias.is_empty() && alias != id && !unique.contains(&alias) {
            unique.push(alias);
        }
    }
    unique
}

fn range(local: &str) -> Option<std::ops::RangeInclusive<u64>> {
    let (from, to) = local.split_once('-')?;
    let (from, to) = (from.parse().ok()?, to.parse().ok()?);
    (from < to && to - from <= 50).then_some(from..=to)
}
