//! Rows of odd files: nothing is dropped silently, and everything odd is said where it is.

#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]

use baft_dataset::dataset::Datasets;
use baft_dataset::extract::parse_file;
use baft_dataset::rows::{FileState, ParsedFile, TypedValue};
use baft_dataset::schema::Schema;

fn parse(path: &str, text: &str) -> ParsedFile {
    parse_with(path, text, None)
}

fn parse_with(path: &str, text: &str, schema: Option<&str>) -> ParsedFile {
    let datasets = Datasets::built_in();
    let schema = schema.map(|schema| Schema::compile("s.json", schema.as_bytes()).unwrap());
    parse_file(path, text.as_bytes(), datasets.for_path(path).unwrap(), schema.as_ref())
}

fn ids(file: &ParsedFile) -> Vec<&str> {
    file.entities.iter().map(|row| row.id.as_str()).collect()
}

fn findings(file: &ParsedFile) -> Vec<(&'static str, u32, u32)> {
    file.issues.iter().map(|issue| (issue.code, issue.line, issue.col)).collect()
}

#[test]
fn ids_are_prefixed_once_and_taken_from_the_first_field_that_says_something() {
    let file = parse(
        "data/observations.yaml",
        "entries:\n- {id: 7}\n- {id: Obs-8}\n- {id: Observation-9}\n- {id: 0, code: X}\n- {id: '', number: 12}\n\
         - {id: 007}\n- {id: '007'}\n",
    );
    assert_eq!(ids(&file), ["Obs-8", "Observation-9", "Obs-X", "Obs-12", "Obs-7", "Obs-007"]);
    assert_eq!(findings(&file)[0], ("duplicate-id", 2, 1));
    let sessions = parse("data/sessions.yaml", "entries:\n- {number: '11-12'}\n- {number: 12}\n");
    assert_eq!(ids(&sessions), ["Session-11-12", "Session-12"]);
}

#[test]
fn an_entry_without_an_id_costs_only_itself() {
    let file = parse(
        "data/sessions.yaml",
        "entries:\n- number: 1\n- date: '2026-01-01'\n- just text\n- number: [1]\n- number: 4\n",
    );
    assert_eq!(ids(&file), ["Session-1", "Session-4"]);
    assert_eq!(file.state, FileState::Partial { nameless: 3 });
    assert_eq!(findings(&file), [("missing-id", 3, 3), ("not-a-mapping", 4, 3), ("missing-id", 5, 3)]);
    assert!(file.issues[0].message.contains("\"id\" or \"code\" or \"number\""));
    assert_eq!(file.issues[0].pointer, "/entries/1");
}

#[test]
fn of_two_entities_with_one_id_the_last_is_shown_and_both_are_named() {
    let file = parse("data/gaps.yaml", "entries:\n- id: G1-1\n  status: OLD\n- id: G1-2\n- id: G1-1\n  status: NEW\n");
    assert_eq!(ids(&file), ["G1-2", "G1-1"]);
    assert_eq!(file.entities[1].status, "NEW");
    let issue = &file.issues[0];
    assert_eq!((issue.code, issue.line, issue.entity_id.as_deref()), ("duplicate-id", 2, Some("G1-1")));
    assert!(issue.message.contains("data/gaps.yaml:5"), "{issue}");
}

#[test]
fn a_file_of_another_shape_is_unparsable_and_says_what_it_should_be() {
    for text in ["", "entries: 5\n", "- a\n", "text\n", "other: []\n"] {
        let file = parse("data/gaps.yaml", text);
        assert_eq!(file.state, FileState::Unparsable, "{text:?}");
        assert_eq!(file.issues.len(), 1);
        assert!(file.issues[0].message.contains("/entries"), "{}", file.issues[0]);
    }
    for text in ["entries: []\n", "entries:\n"] {
        let file = parse("data/gaps.yaml", text);
        assert_eq!((file.state, file.entities.len()), (FileState::Good, 0), "{text:?}");
    }
    let file = parse("data/gaps.yaml", "entries:\n- id: a\n  x: [1\n");
    assert_eq!((file.state, file.issues[0].code, file.issues[0].line), (FileState::Unparsable, "syntax", 4));
}

#[test]
fn titles_tags_and_texts_are_what_python_prints() {
    let file = parse(
        "data/variables.yaml",
        "entries:\n- id: SV-01\n  title: ''\n  name: 1.50\n  status: yes\n  confidence: null\n  epistemic_tag: 2026-01-02\n  \
         tags: [a, 1, null, [b, 'it''s'], {k: 2026-01-02}]\n  cross_refs: ''\n  topics: 5\n",
    );
    let row = &file.entities[0];
    assert_eq!((row.title.as_str(), row.status.as_str(), row.confidence.as_str()), ("1.5", "True", ""));
    assert_eq!(row.epistemic_tag, "2026-01-02");
    assert_eq!(row.tags, r#" a 1 None ['b', "it's"] {'k': datetime.date(2026, 1, 2)} "#);
    assert_eq!(
        row.content,
        r#"{"id": "SV-01", "title": "", "name": 1.5, "status": true, "confidence": null, "epistemic_tag": "2026-01-02", "tags": ["a", 1, null, ["b", "it's"], {"k": "2026-01-02"}], "cross_refs": "", "topics": 5}"#
    );
}

#[test]
fn search_text_holds_the_id_and_the_values_but_no_keys() {
    let file =
        parse("data/gaps.yaml", "entries:\n- id: G28-01\n  why: کمبود آب\n  open: true\n  n: [1, {deep: text}]\n");
    assert_eq!(file.entities[0].search.content, "G28-01\nG28-01\nکمبود آب\n1\ntext");
}

#[test]
fn a_date_that_is_none_is_null_with_a_warning_and_stays_in_the_content() {
    let file =
        parse("data/sessions.yaml", "entries:\n- number: 1\n  date: '2026-02-30'\n- number: 2\n  date: 2026-02-03\n");
    assert_eq!(file.entities[0].updated_own, None);
    assert!(file.entities[0].content.contains("2026-02-30"));
    assert_eq!(file.entities[0].typed[1], TypedValue::Null);
    assert_eq!(file.entities[0].extra.as_deref(), Some(r#"{"date": "2026-02-30"}"#));
    assert_eq!(file.entities[1].updated_own.as_deref(), Some("2026-02-03"));
    assert_eq!(file.entities[1].typed[1], TypedValue::Date("2026-02-03".into()));
    assert_eq!(findings(&file), [("bad-date", 3, 9), ("column-type", 3, 9), ("ambiguous-scalar", 5, 9)]);
}

#[test]
fn typed_columns_hold_what_fits_and_extra_the_rest() {
    let file = parse(
        "data/scenarios.yaml",
        "entries:\n- id: S1\n  probability_current: 7-13%\n  probability_history:\n  - {version: v1, range: 5%, by: X}\n  \
         key_variables: one\n  parent_scenario: null\n  traps_activated: [1, {a: b}]\n  new: {k: 1}\n  title: [x]\n",
    );
    let row = &file.entities[0];
    let names: Vec<_> =
        Datasets::built_in().get("scenarios").unwrap().columns.iter().map(|column| column.name.clone()).collect();
    let value = |name: &str| &row.typed[names.iter().position(|other| other == name).unwrap()];
    assert_eq!(value("prob_low"), &TypedValue::Number(7.0));
    assert_eq!(value("prob_high"), &TypedValue::Number(13.0));
    assert_eq!(value("key_variables"), &TypedValue::TextList(vec!["one".into()]));
    assert_eq!(value("traps_activated"), &TypedValue::TextList(vec!["1".into(), r#"{"a": "b"}"#.into()]));
    assert_eq!(
        value("probability_history"),
        &TypedValue::Records(vec![vec![Some("v1".into()), Some("5%".into()), None]])
    );
    assert_eq!(value("title"), &TypedValue::Null);
    assert_eq!(
        row.extra.as_deref(),
        Some(
            r#"{"probability_history": [{"version": "v1", "range": "5%", "by": "X"}], "new": {"k": 1}, "title": ["x"]}"#
        )
    );
    assert_eq!(findings(&file), [("column-type", 10, 10)]);
}

#[test]
fn schema_violations_point_at_the_value_and_keep_the_row() {
    let schema = r#"{
        "$schema": "http://json-schema.org/draft-07/schema#",
        "type": "object", "required": ["id", "status"], "additionalProperties": false,
        "properties": { "id": {"type": "string"}, "status": {"enum": ["OPEN"]}, "list": {"items": {"type": "integer"}} }
    }"#;
    let text = "entries:\n- id: G1-1\n  status: OPEN\n- id: G1-2\n  status: SHUT\n  list:\n  - 1\n  - two\n  typo: 3\n- id: G1-3\n";
    let file = parse_with("data/gaps.yaml", text, Some(schema));
    assert_eq!(ids(&file), ["G1-1", "G1-2", "G1-3"]);
    assert_eq!(file.entities.iter().map(|row| row.schema_valid).collect::<Vec<_>>(), [true, false, false]);
    let places: Vec<_> =
        file.issues.iter().map(|issue| (issue.line, issue.col, issue.pointer.as_str(), issue.code)).collect();
    assert_eq!(
        places,
        [
            (5, 11, "/entries/1/status", "schema"),
            (8, 5, "/entries/1/list/1", "schema"),
            (9, 3, "/entries/1/typo", "schema"),
            (10, 3, "/entries/2", "schema"),
        ]
    );
    assert!(file.issues[2].message.contains("\"typo\" is not allowed"), "{}", file.issues[2]);
    assert!(file.issues[3].message.contains("\"status\""), "{}", file.issues[3]);
    assert_eq!(file.state, FileState::Good);
}

#[test]
fn a_broken_schema_says_where() {
    for (text, line, hint) in [
        ("{\n  \"type\": \"objekt\"\n}", 2, "not a valid schema"),
        ("{\n  \"type\": \n}", 3, "not JSON"),
        ("[]", 1, "JSON object"),
        ("{\"$ref\": \"https://example.com/other.json\"}", 1, "not a valid schema"),
        ("{\n\"properties\": {\"a\": {\"pattern\": \"(\"}}}", 2, "not a valid schema"),
    ] {
        let error = Schema::compile("s.json", text.as_bytes()).unwrap_err();
        assert_eq!(error.line, line, "{error}");
        assert!(error.message.contains(hint), "{error}");
    }
}

#[test]
fn sections_keep_their_order_place_and_prose() {
    let file = parse(
        "data/content/x.yaml",
        "module_code: ITB-X\nsections:\n- id: '1'\n  title: One\n  content: |\n    text\n  subsections:\n  - id: '1'\n    title: \
         Inner\n    level: 3\n    tags: [a, 1]\n- just text\n- id: '2'\n  title: Two\n",
    );
    assert!(file.entities.is_empty());
    let rows: Vec<_> = file
        .sections
        .iter()
        .map(|s| (s.ord, s.depth, s.pointer.as_str(), s.parent_pointer.as_deref(), s.section_id.as_str(), s.line_start))
        .collect();
    assert_eq!(
        rows,
        [
            (0, 1, "/sections/0", None, "1", 3),
            (1, 2, "/sections/0/subsections/0", Some("/sections/0"), "1", 8),
            (2, 1, "/sections/2", None, "2", 13),
        ]
    );
    assert_eq!((file.sections[0].content.as_str(), file.sections[1].level), ("text\n", Some(3)));
    assert_eq!(file.sections[1].tags, ["a", "1"]);
    assert!(file.sections.iter().all(|s| s.doc_id == "ITB-X" && s.doc_kind == "content"));
    assert_eq!(findings(&file), [("bad-section", 12, 3)]);
}

#[test]
fn a_brief_has_its_file_name_as_id_and_the_other_spelling_as_alias() {
    let file =
        parse("data/briefs/supp_psc.yaml", "brief_id: SUPP-PSC\ntitle: T\nstatus: CURRENT\nsections:\n- title: S\n");
    let row = &file.entities[0];
    assert_eq!((row.id.as_str(), row.type_name.as_str(), row.local_id.as_str()), ("SUPP_PSC", "brief", "SUPP_PSC"));
    assert_eq!(row.aliases, ["SUPP-PSC"]);
    assert!(row.content.ends_with(r#""sections": [{"title": "S"}], "id": "SUPP_PSC"}"#), "{}", row.content);
    assert_eq!(file.sections[0].doc_id, "SUPP_PSC");
    assert!(row.edges.is_empty(), "{:?}", row.edges);
    let with_id = parse("data/briefs/b01.yaml", "id: B1\ntitle: T\n");
    assert_eq!(with_id.entities[0].content, r#"{"id": "B1", "title": "T"}"#);
    assert_eq!(with_id.entities[0].id, "B1");
}

#[test]
fn equal_entities_have_equal_hashes_wherever_they_stand() {
    let one = parse("data/gaps.yaml", "entries:\n- id: G1-1\n  a: b\n");
    let moved = parse("data/gaps.yaml", "version: 2\nentries:\n- {id: x}\n\n- \"id\": G1-1 # comment\n  a: 'b'\n");
    let changed = parse("data/gaps.yaml", "entries:\n- id: G1-1\n  a: c\n");
    assert_eq!(one.entities[0].row_hash, moved.entities[1].row_hash);
    assert_ne!(one.entities[0].row_hash, changed.entities[0].row_hash);
}

#[test]
fn values_of_two_kinds_that_look_alike_as_json_have_two_hashes() {
    let hash = |value: &str| {
        let mut file = parse("data/gaps.yaml", &format!("entries:\n- id: G1-1\n  a: [x, {value}]\n"));
        let row = file.entities.remove(0);
        (row.content, row.row_hash)
    };
    for (one, other) in
        [("2026-01-02 03:04:05", "'2026-01-02 03:04:05'"), ("!!binary aGk=", "\"b'hi'\""), ("{1: y}", "{'1': y}")]
    {
        let (one, other) = (hash(one), hash(other));
        assert_eq!(one.0, other.0);
        assert_ne!(one.1, other.1, "{}", one.0);
    }
}
