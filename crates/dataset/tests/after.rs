//! What another version of a file had already is the same as read anew.

#![allow(clippy::unwrap_used, missing_docs)]

use baft_dataset::dataset::Datasets;
use baft_dataset::extract::{parse_file, parse_file_after};
use baft_dataset::schema::Schema;
use proptest::prelude::*;

const SCHEMA: &str =
    r#"{"type": "object", "properties": {"status": {"enum": ["OPEN", "FILLED"]}, "score": {"type": "integer"}}}"#;

/// Values, each with one that looks alike as JSON where there is such a thing. Some are wrong, some speak of other entities.
const VALUES: [[&str; 2]; 10] = [
    ["2026-01-02", "'2026-01-02'"],
    ["2026-01-02 03:04:05", "'2026-01-02 03:04:05'"],
    ["!!binary aGk=", "\"b'hi'\""],
    ["{1: x}", "{'1': x}"],
    ["7", "'7'"],
    ["See G01-02 and Obs 001", "'See G01-02 and Obs 001'"],
    ["[a, G01-03, \"x\\u001fy\"]", "[G01-03]"],
    ["OPEN", "wrong"],
    ["2026-02-30", "'2026-02-30'"],
    ["~", "''"],
];
const FIELDS: [&str; 9] =
    ["status", "updated_date", "date", "title", "tags", "cross_refs", "score", "description", "source"];

/// An entity, and another that is much like it.
fn entity() -> impl Strategy<Value = [String; 2]> {
    let id = prop_oneof![Just("1"), Just("2"), Just("3"), Just("3"), Just("''")];
    let fields = proptest::sample::subsequence(FIELDS.to_vec(), 0..4);
    let values = proptest::collection::vec((0..VALUES.len(), 0..2_usize, proptest::bool::weighted(0.3)), FIELDS.len());
    (id, fields, values).prop_map(|(id, fields, values)| {
        let written = |other: bool| {
            let fields = fields.iter().zip(&values).map(|(field, (value, way, changes))| {
                let way = way ^ usize::from(other && *changes);
                format!("  {field}: {}\n", VALUES[*value][way])
            });
            format!("- id: {id}\n{}", fields.collect::<String>())
        };
        [written(false), written(true)]
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_version_read_after_another_is_as_if_read_alone(
        entities in proptest::collection::vec(entity(), 1..5),
        judged: bool,
        path in prop_oneof![Just("data/gaps.yaml"), Just("data/sessions.yaml"), Just("data/variables.yaml")],
    ) {
        let datasets = Datasets::built_in();
        let dataset = datasets.for_path(path).unwrap();
        let schema = Schema::compile("s.json", SCHEMA.as_bytes()).unwrap();
        let schema = Some(&schema).filter(|_| judged);
        let [before, after] = [0, 1].map(|which| {
            let entities = entities.iter().map(|entity| entity[which].as_str());
            format!("entries:\n{}", entities.collect::<String>())
        });
        let first = parse_file(path, before.as_bytes(), dataset, schema);
        let second = parse_file(path, after.as_bytes(), dataset, schema);
        let again = parse_file_after(Some(&first), path, after.as_bytes(), dataset, schema);
        prop_assert_eq!(again, second);
    }
}
