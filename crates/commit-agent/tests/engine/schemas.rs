//! What newly violates a schema does not land.

use baft_commit_agent::engine::{Agent, Apply, ApplyError, Edit};
use serde_json::json;

use crate::support::{Scene, cycle};

const GAPS: &str = "data/gaps.yaml";
const TEXT: &str = "# by hand\nentries:\n- id: G01-01  # first\n  status: OPEN\n- id: G01-02\n  status: 'OPEN'\n";
const SCHEMA: &str = r#"{"type": "object", "maxProperties": 3, "properties": {"status": {"enum": ["OPEN", "SHUT"]}}}"#;

fn scene() -> Scene {
    Scene::new(&[(GAPS, TEXT), ("schemas/gap.schema.json", SCHEMA)])
}

fn set(agent: &mut Agent, id: &str, field: &str, value: serde_json::Value) -> Result<(), ApplyError> {
    let set = [(field.to_owned(), value)].into_iter().collect();
    let edits = vec![Edit::Entity { type_: "gaps".to_owned(), id: id.to_owned(), set, unset: Vec::new() }];
    agent.apply(&Apply { session: None, base: None, edits, message: None }).map(drop)
}

#[test]
fn two_valid_changes_that_are_not_valid_together_are_a_conflict() {
    let mut scene = scene();
    let mut agent = scene.open();
    scene.save(GAPS, &TEXT.replace("status: OPEN\n", "status: OPEN\n  ours: 1\n"));
    let theirs = TEXT.replace("status: OPEN\n", "theirs: 1\n  status: OPEN\n");
    scene.others_push(&[(GAPS, &theirs)]);
    let done = cycle(&mut agent);
    assert_eq!(done.parked.len(), 1, "{done:?}");
    assert_eq!(scene.on_remote(GAPS), Some(theirs));
    scene.check();
}

#[test]
fn an_edit_by_request_changes_one_field_and_one_that_breaks_the_schema_is_refused() {
    let mut scene = scene();
    let mut agent = scene.open();
    set(&mut agent, "G01-02", "status", json!("SHUT")).unwrap();
    let new = TEXT.replace("'OPEN'", "'SHUT'");
    scene.model.saw(GAPS, new.as_bytes());
    assert_eq!(scene.read(GAPS), new);
    match set(&mut agent, "G01-01", "status", json!("ajar")) {
        Err(ApplyError::Refused { message, .. }) => {
            assert!(message.contains("data/gaps.yaml:4:11") && message.contains("status"), "{message}");
        }
        other => panic!("{other:?}"),
    }
    assert_eq!(scene.read(GAPS), new);
    cycle(&mut agent);
    assert_eq!(scene.on_remote(GAPS), Some(new));
    scene.check();
}
