//! From what is and what the database knows to what must be written.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use duckdb::Connection;

use super::memo::Memo;
use super::read::{DatedRow, Outcome};
use super::scene::Scenery;
use super::stored::{self, StoredRow};
use crate::ImporterError;
use crate::apply::{
    Change, Delta, FileRecord, Gone, Meta, NewRow, NewSection, SectionTouch, Touch, Touched, error_records,
};
use baft_dataset::rows::{FileState, SectionRow};

/// Fills `delta` with what the entities of the files read now change. `old` are their rows in the database, those of
/// files that are gone included. Numbers are taken from `meta`.
pub fn entities(
    connection: &Connection,
    scenery: &Scenery,
    outcomes: &mut BTreeMap<String, Outcome>,
    old: Vec<StoredRow>,
    meta: &mut Meta,
    delta: &mut Delta,
) -> Result<(), ImporterError> {
    let datasets = &scenery.rules.datasets;
    let dataset_of =
        |path: &str| datasets.for_path(path).map(|dataset| dataset.id.as_str().to_owned()).unwrap_or_default();
    let gone = |row: &StoredRow| Gone {
        id: row.id.clone(),
        dataset: dataset_of(&row.path),
        docid: row.docid,
        keeps_names: false,
    };
    let mut old: HashMap<String, StoredRow> = old.into_iter().map(|row| (row.id.clone(), row)).collect();
    let mut updated: Vec<Updated> = Vec::new();
    for (path, outcome) in outcomes.iter_mut() {
        for dated in std::mem::take(&mut outcome.rows) {
            let before = old.remove(&dated.row.id);
            let add = |dated: DatedRow, docid: i32, delta: &mut Delta| {
                let (path, dataset) = (path.clone(), outcome.dataset.clone());
                delta.rows.push(NewRow { dated, path, dataset, docid, keeps_names: false });
            };
            match before {
                Some(before)
                    if before.base.hash == dated.row.row_hash && dataset_of(&before.path) == outcome.dataset =>
                {
                    let different = different(&before, &dated, path);
                    if !different.is_empty() {
                        let moved = moved(before.lines, (dated.row.line_start, dated.row.line_end));
                        delta.touched.push(Touch { docid: before.docid, path: path.clone(), dated, moved, different });
                    }
                }
                Some(before) => {
                    let (gone_at, new_at) = (delta.gone.len(), delta.rows.len());
                    delta.gone.push(gone(&before));
                    add(dated, before.docid, delta);
                    updated.push(Updated { before, gone: gone_at, new: new_at });
                }
                None => {
                    add(dated, meta.next_docid, delta);
                    meta.next_docid += 1;
                    let new = &delta.rows[delta.rows.len() - 1].dated;
                    delta.names.push(new.row.id.clone());
                    delta.names.extend(new.row.aliases.iter().cloned());
                    delta.changes.push(change("insert", None, Some(new), Vec::new()));
                }
            }
        }
    }
    let mut removed: Vec<_> = old.into_values().collect();
    removed.sort_by_key(|row| row.docid);
    delta.names.extend(removed.iter().map(|row| row.id.clone()));
    delta.gone.extend(removed.iter().map(gone));
    tell_updates(connection, &scenery.memo, &updated, &removed, delta)?;
    delta.changes.extend(removed.iter().map(|row| change("delete", Some(row), None, Vec::new())));
    Ok(())
}

/// A row that gets another content.
struct Updated {
    before: StoredRow,
    /// Where among [`Delta::gone`] it goes.
    gone: usize,
    /// Where among [`Delta::rows`] it comes back.
    new: usize,
}

/// Changed rows: which fields differ, and which aliases came or went. What was read lately is not asked of the database.
fn tell_updates(
    connection: &Connection,
    memo: &Memo,
    updated: &[Updated],
    removed: &[StoredRow],
    delta: &mut Delta,
) -> Result<(), ImporterError> {
    let paths: BTreeSet<&str> = updated.iter().map(|it| it.before.path.as_str()).collect();
    let files: Vec<_> = paths.into_iter().flat_map(|path| memo.lately(path)).collect();
    let rows = files.iter().flat_map(|file| file.entities.iter().map(|row| (file.path.as_str(), row)));
    let known: HashMap<_, _> = rows.map(|(path, row)| ((path, row.id.as_str(), row.row_hash.as_str()), row)).collect();
    let (mut contents, mut aliases, mut unknown) = (HashMap::new(), BTreeSet::new(), Vec::new());
    for Updated { before, gone, new } in updated {
        let Some(old) = known.get(&(before.path.as_str(), before.id.as_str(), before.base.hash.as_str())) else {
            unknown.push(before.id.clone());
            continue;
        };
        let now = &delta.rows[*new].dated.row;
        let keeps_names = old.aliases == now.aliases && old.edges == now.edges;
        delta.rows[*new].keeps_names = keeps_names;
        delta.gone[*gone].keeps_names = keeps_names;
        aliases.extend(old.aliases.iter().map(|alias| (old.id.clone(), alias.clone())));
        contents.insert(old.id.clone(), old.content.clone());
    }
    if !unknown.is_empty() {
        contents.extend(stored::contents(connection, &unknown)?);
    }
    unknown.extend(removed.iter().map(|row| row.id.clone()));
    if !unknown.is_empty() {
        aliases.extend(stored::aliases(connection, &unknown)?);
    }
    let mut new_aliases = BTreeSet::new();
    for Updated { before, new, .. } in updated {
        let new = &delta.rows[*new].dated;
        new_aliases.extend(new.row.aliases.iter().map(|alias| (new.row.id.clone(), alias.clone())));
        let old = contents.get(&before.id).map(String::as_str).unwrap_or_default();
        delta.changes.push(change("update", Some(before), Some(new), changed_fields(old, &new.row.content)));
    }
    delta.names.extend(aliases.symmetric_difference(&new_aliases).map(|(_, alias)| alias.clone()));
    Ok(())
}

fn change(op: &'static str, old: Option<&StoredRow>, new: Option<&DatedRow>, fields: Vec<String>) -> Change {
    let (type_name, id) = match (old, new) {
        (_, Some(new)) => (new.row.type_name.clone(), new.row.id.clone()),
        (Some(old), None) => (old.type_name.clone(), old.id.clone()),
        (None, None) => Default::default(),
    };
    Change {
        op,
        type_name,
        id,
        old_hash: old.map(|row| row.base.hash.clone()),
        new_hash: new.map(|row| row.row.row_hash.clone()),
        fields,
        commit: new.map(|row| row.since.commit.clone()),
    }
}

/// Top-level fields of two JSON objects that are not equal.
#[must_use]
pub fn changed_fields(old: &str, new: &str) -> Vec<String> {
    let parse =
        |text: &str| serde_json::from_str::<serde_json::Map<String, serde_json::Value>>(text).unwrap_or_default();
    let (old, new) = (parse(old), parse(new));
    let names: BTreeSet<_> = old.keys().chain(new.keys()).collect();
    names.into_iter().filter(|name| old.get(*name) != new.get(*name)).cloned().collect()
}

fn moved(before: (u32, u32), now: (u32, u32)) -> (i64, i64) {
    (i64::from(now.0) - i64::from(before.0), i64::from(now.1) - i64::from(before.1))
}

fn different(before: &StoredRow, now: &DatedRow, path: &str) -> Vec<Touched> {
    [
        (Touched::Lines, before.lines != (now.row.line_start, now.row.line_end)),
        (Touched::File, before.path != path),
        (Touched::Past, before.base.since != now.since),
        (Touched::Flags, before.schema_valid != now.row.schema_valid || before.base.stale != now.stale),
    ]
    .into_iter()
    .filter_map(|(what, differs)| differs.then_some(what))
    .collect()
}

/// Fills `delta` with what the sections of the files read now change.
pub fn sections(
    connection: &Connection,
    paths: &[String],
    outcomes: &mut BTreeMap<String, Outcome>,
    meta: &mut Meta,
    delta: &mut Delta,
) -> Result<(), ImporterError> {
    let mut old = stored::sections(connection, paths)?;
    for (path, outcome) in outcomes.iter_mut() {
        for section in std::mem::take(&mut outcome.sections) {
            let before = old.remove(&crate::apply::section_key(path, &section.pointer));
            match before {
                Some(before) if same_but_place(&before.section, &section) => {
                    let (docid, line_start, ord) = (before.docid, section.line_start, section.ord);
                    if before.section.line_start != line_start || before.section.ord != ord {
                        delta.touched_sections.push(SectionTouch { docid, line_start, ord });
                    }
                }
                Some(before) => {
                    delta.gone_sections.push(before.docid);
                    delta.sections.push(NewSection { section, path: path.clone(), docid: before.docid });
                }
                None => {
                    delta.sections.push(NewSection { section, path: path.clone(), docid: meta.next_section });
                    meta.next_section += 1;
                }
            }
        }
    }
    delta.gone_sections.extend(old.into_values().map(|section| section.docid));
    Ok(())
}

fn same_but_place(a: &SectionRow, b: &SectionRow) -> bool {
    a.content == b.content
        && a.title == b.title
        && a.tags == b.tags
        && a.section_id == b.section_id
        && a.parent_pointer == b.parent_pointer
        && (a.depth, a.level) == (b.depth, b.level)
        && (&a.doc_kind, &a.doc_id) == (&b.doc_kind, &b.doc_id)
}

/// The `_files` entry of a file that was read. Call it while the outcome still has its rows.
#[must_use]
pub fn file_record(outcome: &Outcome) -> FileRecord {
    FileRecord {
        path: outcome.path.clone(),
        blob: outcome.blob.to_string(),
        bytes: outcome.bytes,
        kind: outcome.dataset.clone(),
        rows: outcome.rows.len(),
        state: match outcome.state {
            FileState::Good => "ok",
            FileState::Partial { .. } => "partial",
            FileState::Unparsable => "quarantined",
        }
        .to_owned(),
        good_blob: outcome.good_blob.map(|blob| blob.to_string()),
        since: outcome.since.clone(),
    }
}

/// The books' entries of the files read now.
pub fn books(outcomes: &BTreeMap<String, Outcome>, delta: &mut Delta) {
    for outcome in outcomes.values() {
        delta.files.push(file_record(outcome));
        delta.errors.extend(error_records(&outcome.issues, &outcome.since));
    }
}

/// Ids shown before by the files read now, with their file.
#[must_use]
pub fn shown(old: &[StoredRow]) -> HashMap<String, String> {
    old.iter().map(|row| (row.id.clone(), row.path.clone())).collect()
}

/// Ids in the files read now that none of them showed before: another file may show them.
#[must_use]
pub fn new_ids(outcomes: &BTreeMap<String, Outcome>, before: &HashMap<String, String>) -> Vec<String> {
    let ids: BTreeSet<_> = outcomes.values().flat_map(|outcome| &outcome.rows).map(|dated| &dated.row.id).collect();
    ids.into_iter().filter(|id| !before.contains_key(*id)).cloned().collect()
}
