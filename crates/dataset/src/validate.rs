//! What a change breaks: violations of a dataset's JSON Schema that were not there before.
//!
//! Files that people keep by hand violate their schema here and there. A change must not be refused
//! for what others left behind, so only what it adds counts.

use std::collections::HashSet;

use crate::dataset::{Dataset, Datasets, Kind};
use crate::extract::parse_file;
use crate::rows::Issue;
use crate::schema::Schema;

/// The violations in `after` that none of the versions in `before` has: of an edit, give the file as it
/// was; of a merge, give both sides.
#[must_use]
pub fn new_violations(dataset: &Dataset, schema: &Schema, path: &str, before: &[&[u8]], after: &[u8]) -> Vec<Issue> {
    let of = |bytes: &[u8]| {
        let issues = parse_file(path, bytes, dataset, Some(schema)).issues;
        issues.into_iter().filter(|issue| issue.code == "schema")
    };
    let known: HashSet<_> = before.iter().flat_map(|bytes| of(bytes)).map(|issue| identity(dataset, &issue)).collect();
    of(after).filter(|issue| !known.contains(&identity(dataset, issue))).collect()
}

/// The same, for a file of a repository: `read` gives the content of the schema file that the file's
/// dataset declares. Nothing is broken where there is no dataset or no usable schema.
pub fn broken(
    datasets: &Datasets,
    path: &str,
    before: &[&[u8]],
    after: &[u8],
    read: impl FnOnce(&str) -> Option<Vec<u8>>,
) -> Vec<Issue> {
    let checked = || {
        let dataset = datasets.for_path(path)?;
        let schema_path = dataset.schema.as_deref()?;
        let schema = Schema::compile(schema_path, &read(schema_path)?).ok()?;
        Some(new_violations(dataset, &schema, path, before, after))
    };
    checked().unwrap_or_default()
}

/// What makes two violations the same, wherever in the file their entity stands.
fn identity(dataset: &Dataset, issue: &Issue) -> (Option<String>, String, String) {
    let inside = match &dataset.kind {
        Kind::Document => issue.pointer.as_str(),
        Kind::List(list) => {
            let item =
                issue.pointer.strip_prefix(list.as_str()).and_then(|rest| rest.strip_prefix('/')).unwrap_or_default();
            item.find('/').map_or("", |at| &item[at..])
        }
    };
    (issue.entity_id.clone(), inside.to_owned(), issue.message.clone())
}
