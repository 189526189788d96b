//! Ids that several files claim: the first file in path order keeps it, the others are told.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::read::Outcome;
use baft_dataset::rows::{EntityRow, Issue, Severity};

/// The code of the error on the file that does not keep the id.
pub const ELSEWHERE: &str = "duplicate-id-elsewhere";

/// Takes from every file the rows whose ids belong to another, and says so on that file. `others` are ids of files that
/// are not read now.
pub fn settle(outcomes: &mut BTreeMap<String, Outcome>, others: &HashMap<String, String>) {
    let mut owners: HashMap<String, String> = others.clone();
    for (path, outcome) in outcomes.iter() {
        for dated in &outcome.rows {
            let owner = owners.entry(dated.row.id.clone()).or_insert_with(|| path.clone());
            if path < owner {
                *owner = path.clone();
            }
        }
    }
    for (path, outcome) in outcomes.iter_mut() {
        drop_lost(outcome, |id| owners.get(id).filter(|owner| *owner != path).cloned());
    }
}

/// Takes from a file the rows that `owner` gives to another.
pub fn drop_lost(outcome: &mut Outcome, owner: impl Fn(&str) -> Option<String>) {
    let issues = &mut outcome.issues;
    outcome.rows.retain(|dated| {
        let Some(owner) = owner(&dated.row.id) else { return true };
        issues.push(id_is_elsewhere(&dated.row, &outcome.path, &owner));
        false
    });
}

/// The error on the file `path` that does not keep the id of `row`, because `owner` does.
pub fn id_is_elsewhere(row: &EntityRow, path: &str, owner: &str) -> Issue {
    Issue {
        path: path.to_owned(),
        line: row.line_start,
        col: 1,
        pointer: String::new(),
        entity_id: Some(row.id.clone()),
        severity: Severity::Error,
        code: ELSEWHERE,
        message: format!("{} is also in {owner}, which is shown; give one of them another id", row.id),
    }
}

/// Files that must be read too, because an id they claim changes hands: `before` are the ids that the files read now
/// showed, `owned` says which other file shows an id, `losers` which files have lost it. None of the files `seen`, which
/// were read or are gone.
#[must_use]
pub fn drawn_in(
    outcomes: &BTreeMap<String, Outcome>,
    before: &HashMap<String, String>,
    owned: &HashMap<String, String>,
    losers: &HashMap<String, Vec<String>>,
    seen: &[String],
) -> BTreeSet<String> {
    let mut claimed: HashMap<&str, &str> = HashMap::new();
    for (path, outcome) in outcomes {
        for dated in &outcome.rows {
            // In path order, so the first stays.
            claimed.entry(&dated.row.id).or_insert(path);
        }
    }
    let mut more = BTreeSet::new();
    let taken = claimed.iter().filter_map(|(id, first)| {
        let owner = owned.get(*id).filter(|owner| *first < owner.as_str())?;
        Some((*id, Some(owner)))
    });
    let left = before
        .iter()
        .filter(|(id, path)| claimed.get(id.as_str()) != Some(&path.as_str()))
        .map(|(id, _)| (id.as_str(), None));
    for (id, owner) in taken.chain(left) {
        more.extend(owner.cloned());
        more.extend(losers.get(id).into_iter().flatten().cloned());
    }
    for path in seen {
        more.remove(path);
    }
    more
}
