//! All rows of the real and of the sample repository against the reference importer's rules, run
//! by Python with PyYAML.

#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]

mod common;

use std::collections::BTreeMap;
use std::path::Path;

use baft_dataset::dataset::Datasets;
use baft_dataset::extract::parse_file;
use baft_dataset::rows::{FileState, ParsedFile, Severity, TypedValue};
use baft_dataset::schema::Schema;
use serde_json::json;

fn read(root: &Path) -> Vec<ParsedFile> {
    let datasets = Datasets::built_in();
    let mut schemas = BTreeMap::new();
    for path in datasets.all.iter().filter_map(|dataset| dataset.schema.clone()) {
        let bytes = std::fs::read(root.join(&path)).unwrap();
        schemas.insert(path.clone(), Schema::compile(&path, &bytes).unwrap());
    }
    common::files(root)
        .iter()
        .filter_map(|(path, bytes)| {
            let dataset = datasets.for_path(path)?;
            Some(parse_file(path, bytes, dataset, dataset.schema.as_ref().and_then(|path| schemas.get(path))))
        })
        .collect()
}

/// Our rows in the form the script prints.
fn rows(files: &[ParsedFile]) -> BTreeMap<(String, String), serde_json::Value> {
    let mut rows = BTreeMap::new();
    for row in files.iter().flat_map(|file| &file.entities) {
        let value = json!({
            "id": row.id, "type": row.type_name, "title": row.title, "status": row.status,
            "epistemic_tag": row.epistemic_tag, "confidence": row.confidence, "content": row.content,
            "tags": row.tags, "updated_date": row.updated_own.clone().unwrap_or_default(), "bare": row.local_id,
        });
        let old = rows.insert((row.type_name.clone(), row.id.clone()), value);
        assert!(old.is_none(), "{} is there twice", row.id);
    }
    rows
}

/// Compares all rows; returns how many rows and sections there are.
fn compare(root: &Path, files: &[ParsedFile]) -> Option<(usize, usize)> {
    let python = common::python_with_yaml()?;
    let mut expected = common::reference_rows(&python, root);
    let summary = expected.pop().unwrap();
    let ours = rows(files);
    let mut compared = 0;
    for row in &expected {
        // The reference writes a row without an id, which we refuse.
        if row["bare"] == "" {
            continue;
        }
        let key = (row["type"].as_str().unwrap().to_owned(), row["id"].as_str().unwrap().to_owned());
        let ours = ours.get(&key).unwrap_or_else(|| panic!("{key:?} is missing"));
        assert_eq!(ours, row, "{key:?}");
        compared += 1;
    }
    assert_eq!(compared, ours.len());
    let sections: usize = files.iter().map(|file| file.sections.len()).sum();
    let expected: u64 = summary["sections"].as_object().unwrap().values().map(|n| n.as_u64().unwrap()).sum();
    assert_eq!(sections as u64, expected);
    Some((compared, sections))
}

#[test]
fn the_real_data_gives_the_rows_the_reference_importer_gives() {
    let Some(root) = common::framework() else { return };
    let files = read(&root);
    let mut counts = BTreeMap::new();
    for row in files.iter().flat_map(|file| &file.entities) {
        *counts.entry(row.type_name.as_str()).or_insert(0) += 1;
        assert!(row.schema_valid, "{}", row.id);
        assert!((1..=row.line_end).contains(&row.line_start));
    }
    let expected = [
        ("brief", 18),
        ("gaps", 82),
        ("modules", 28),
        ("observations", 54),
        ("scenarios", 12),
        ("sessions", 26),
        ("traps", 14),
        ("variables", 103),
    ];
    assert_eq!(counts.into_iter().collect::<Vec<_>>(), expected);
    let sections = |kind| files.iter().flat_map(|file| &file.sections).filter(|s| s.doc_kind == kind).count();
    assert_eq!((sections("content"), sections("brief")), (513, 154));
    assert_eq!(files.iter().flat_map(|file| &file.issues).count(), 0);
    assert!(files.iter().all(|file| file.state == FileState::Good));
    if let Some(compared) = compare(&root, &files) {
        assert_eq!(compared, (337, 667));
    }
}

#[test]
fn spans_in_the_real_data_are_where_the_entity_is() {
    let Some(root) = common::framework() else { return };
    for file in read(&root) {
        let text = std::fs::read_to_string(root.join(&file.path)).unwrap();
        let lines: Vec<_> = text.lines().collect();
        let mut last_end = 0;
        for row in &file.entities {
            assert!(row.line_start > last_end, "{} starts before the one above it ends", row.id);
            last_end = row.line_end;
            let own = lines[row.line_start as usize - 1..row.line_end as usize].join("\n");
            assert!(!own.trim_end().is_empty() && !lines[row.line_end as usize - 1].trim().is_empty(), "{}", row.id);
            if row.type_name != "brief" {
                assert!(own.starts_with("- "), "{}: {own}", row.id);
                assert!(lines.get(row.line_end as usize).is_none_or(|next| next.starts_with("- ")), "{}", row.id);
            }
        }
    }
}

#[test]
fn the_sample_repository_gives_the_rows_the_reference_importer_gives() {
    let root = common::workspace().join("examples/sample-framework");
    let files = read(&root);
    compare(&root, &files);
    let find = |id: &str| files.iter().flat_map(|file| &file.entities).find(|row| row.id == id).unwrap();
    assert!(find("Session-11-12").aliases.contains(&"Session-12".to_owned()));
    assert_eq!(find("SUPP_LEAKS").aliases, ["SUPP-LEAKS"]);
    assert!(matches!(&find("Obs-3").typed[9], TypedValue::Json(json) if json.contains("S1")));
    let bad = find("G14-01");
    assert!(!bad.schema_valid);
    let gaps = files.iter().find(|file| file.path == "data/gaps.yaml").unwrap();
    assert_eq!(gaps.state, FileState::Partial { nameless: 1 });
    let of = |code: &str| gaps.issues.iter().filter(|issue| issue.code == code).collect::<Vec<_>>();
    assert_eq!(of("missing-id").len(), 1);
    let schema = of("schema");
    assert_eq!((schema.len(), schema[0].severity), (1, Severity::Error));
    assert_eq!(schema[0].entity_id.as_deref(), Some("G14-01"));
    assert!(schema[0].pointer.ends_with("/priority") && schema[0].message.contains('7'), "{}", schema[0]);
    assert!((bad.line_start..=bad.line_end).contains(&schema[0].line));
    assert!(find("G09-01").edges.iter().any(|edge| edge.raw == "Obs 099" && edge.target_id == "Obs-99"));
}
