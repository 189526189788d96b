//! Only what a change breaks is its fault.

#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]

use baft_dataset::dataset::Datasets;
use baft_dataset::edit::{EntityRef, set};
use baft_dataset::schema::Schema;
use baft_dataset::validate::{broken as broken_by, new_violations};
use serde_json::json;

const SCHEMA: &str = r#"{
    "type": "object", "required": ["id", "status"], "additionalProperties": false,
    "properties": { "id": {"type": "string"}, "status": {"enum": ["OPEN", "SHUT"]}, "note": {"type": "string"} }
}"#;
const PATH: &str = "data/gaps.yaml";

/// What setting a field of G1-1 breaks.
fn broken(text: &str, field: &str, value: serde_json::Value) -> Vec<String> {
    let datasets = Datasets::built_in();
    let entity = EntityRef { type_name: "gaps", id: "G1-1" };
    let new = set(&datasets, PATH, text.as_bytes(), entity, &[(field.parse().unwrap(), value)], &[]).unwrap();
    let schema = Schema::compile("s.json", SCHEMA.as_bytes()).unwrap();
    let found = new_violations(datasets.for_path(PATH).unwrap(), &schema, PATH, &[text.as_bytes()], &new);
    found.iter().map(ToString::to_string).collect()
}

#[test]
fn an_edit_that_breaks_the_schema_says_where_and_what() {
    let good = "entries:\n- id: G1-1\n  status: OPEN\n";
    assert_eq!(broken(good, "status", json!("SHUT")), Vec::<String>::new());
    let found = broken(good, "status", json!("AJAR"));
    assert_eq!(found.len(), 1);
    assert!(found[0].starts_with("data/gaps.yaml:3:11: error[schema]: \"status\""), "{}", found[0]);
    assert!(broken(good, "nota", json!("x"))[0].contains("\"nota\" is not allowed"));
}

#[test]
fn what_was_broken_before_does_not_stop_an_edit() {
    let bad = "entries:\n- id: G1-0\n  status: 5\n- id: G1-1\n  status: AJAR\n  typo: 1\n";
    assert_eq!(broken(bad, "note", json!("x")), Vec::<String>::new());
    assert_eq!(broken(bad, "status", json!("OPEN")), Vec::<String>::new());
    assert_eq!(broken(bad, "status", json!("WIDE")).len(), 1);
    // The same violations further down in the file are no new ones.
    let datasets = Datasets::built_in();
    let schema = Schema::compile("s.json", SCHEMA.as_bytes()).unwrap();
    let moved = bad.replace("entries:\n", "entries:\n- id: G0-9\n  status: OPEN\n");
    let dataset = datasets.for_path(PATH).unwrap();
    assert!(new_violations(dataset, &schema, PATH, &[bad.as_bytes()], moved.as_bytes()).is_empty());
}

#[test]
fn the_schema_is_the_one_that_the_dataset_declares() {
    let datasets = Datasets::built_in();
    let (before, after) = ("entries:\n- id: A\n  status: OPEN\n", "entries:\n- id: A\n  status: AJAR\n");
    let check = |path: &str, schema: Option<&str>| {
        let read = |asked: &str| {
            assert_eq!(asked, "schemas/gap.schema.json");
            schema.map(|schema| schema.as_bytes().to_vec())
        };
        broken_by(&datasets, path, &[before.as_bytes()], after.as_bytes(), read).len()
    };
    assert_eq!(check(PATH, Some(SCHEMA)), 1);
    assert_eq!(check(PATH, None), 0);
    assert_eq!(check(PATH, Some("{\"type\": 5}")), 0);
    assert_eq!(check("other.yaml", None), 0);
}
