//! Edits of one entity: exactly what was asked, and every other byte as it was.

#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]

mod common;

use baft_dataset::dataset::Datasets;
use baft_dataset::edit::{EditError, EditErrorKind, EntityRef, entities_of, set};
use baft_dataset::pyjson;
use baft_dataset::yaml::{Limits, parse};
use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rand::{Rng, SeedableRng};
use serde_json::{Value as Json, json};

const GAPS: &str = "data/gaps.yaml";

fn edit(
    path: &str,
    text: &str,
    kind: &str,
    id: &str,
    sets: &[(&str, Json)],
    unsets: &[&str],
) -> Result<String, EditError> {
    let sets: Vec<_> = sets.iter().map(|(field, value)| (field.parse().unwrap(), value.clone())).collect();
    let unsets: Vec<_> = unsets.iter().map(|field| field.parse().unwrap()).collect();
    let entity = EntityRef { type_name: kind, id };
    set(&Datasets::built_in(), path, text.as_bytes(), entity, &sets, &unsets)
        .map(|text| String::from_utf8(text).unwrap())
}

/// Edits the gap `A` of a file whose entries are given.
fn gap(entries: &str, sets: &[(&str, Json)], unsets: &[&str]) -> Result<String, EditError> {
    let text = format!("entries:\n{entries}");
    let new = edit(GAPS, &text, "gaps", "A", sets, unsets)?;
    Ok(new.strip_prefix("entries:\n").unwrap().to_owned())
}

#[test]
fn a_scalar_is_replaced_and_everything_else_stays() {
    let text = "# head\nversion: '2.3'\nentries:\n- id: SV-02\n  trend: Up\n- id: SV-03   # the third\n  trend: stable # was up\n\n  \
                name:  'HEU  Inventory'\n# tail\n";
    let new =
        edit("data/variables.yaml", text, "variables", "SV-03", &[("trend", json!("deteriorating"))], &[]).unwrap();
    assert_eq!(new, text.replace("stable", "deteriorating"));
    let crlf = text.replace('\n', "\r\n");
    let bom = format!("\u{FEFF}{crlf}");
    let new =
        edit("data/variables.yaml", &bom, "variables", "SV-03", &[("trend", json!("deteriorating"))], &[]).unwrap();
    assert_eq!(new, bom.replace("stable", "deteriorating"));
}

#[test]
fn every_kind_of_change_is_made_in_the_manner_of_the_file() {
    for (name, before, sets, unsets, after) in [
        (
            "a new key goes after the last",
            "- id: A\n  x: 1 # c\n\n- id: B\n",
            vec![("y", json!(2))],
            vec![],
            "- id: A\n  x: 1 # c\n  y: 2\n\n- id: B\n",
        ),
        (
            "a new key after a block",
            "- id: A\n  x:\n  - 1\n- id: B\n",
            vec![("y", json!("t"))],
            vec![],
            "- id: A\n  x:\n  - 1\n  y: t\n- id: B\n",
        ),
        ("a new key at the end of the file", "- id: A", vec![("y", json!("t"))], vec![], "- id: A\n  y: t"),
        ("a new key in braces", "- {id: A, x: 1}\n", vec![("y", json!("no"))], vec![], "- {id: A, x: 1, y: 'no'}\n"),
        (
            "braces over lines",
            "- {\n    id: A,\n    x: 1\n  }\n",
            vec![("y", json!(true))],
            vec![],
            "- {\n    id: A,\n    x: 1,\n    y: true\n  }\n",
        ),
        (
            "a list grows",
            "- id: A\n  x:\n  - a # c\n  - b\n",
            vec![("x.-", json!("c d"))],
            vec![],
            "- id: A\n  x:\n  - a # c\n  - b\n  - c d\n",
        ),
        (
            "a list set as a whole keeps its comments",
            "- id: A\n  x:\n  - a # c\n  - b\n",
            vec![("x", json!(["a", "z", "b"]))],
            vec![],
            "- id: A\n  x:\n  - a # c\n  - z\n  - b\n",
        ),
        ("an item goes", "- id: A\n  x:\n  - a\n  - b\n", vec![("x", json!(["b"]))], vec![], "- id: A\n  x:\n  - b\n"),
        (
            "the last item goes",
            "- id: A\n  x: # c\n  - a\n  y: 1\n",
            vec![],
            vec!["x.0"],
            "- id: A\n  x: [] # c\n  y: 1\n",
        ),
        (
            "an empty list fills",
            "- id: A\n  x: [] # c\n  y: 1\n",
            vec![("x", json!(["a", "b"]))],
            vec![],
            "- id: A\n  x: # c\n  - a\n  - b\n  y: 1\n",
        ),
        (
            "brackets grow",
            "- id: A\n  x: [a, 'b']\n",
            vec![("x.-", json!("c, d"))],
            vec![],
            "- id: A\n  x: [a, 'b', 'c, d']\n",
        ),
        ("brackets shrink", "- id: A\n  x: [a, 'b', c]\n", vec![("x", json!(["b"]))], vec![], "- id: A\n  x: ['b']\n"),
        (
            "an item by its id",
            "- id: A\n  x:\n  - id: p\n    v: 1\n  - id: q\n    v: 1\n",
            vec![("x.q.v", json!(2))],
            vec![],
            "- id: A\n  x:\n  - id: p\n    v: 1\n  - id: q\n    v: 2\n",
        ),
        (
            "an item by its index",
            "- id: A\n  x:\n  - v: 1\n  - v: 1\n",
            vec![("x.1.v", json!(2))],
            vec![],
            "- id: A\n  x:\n  - v: 1\n  - v: 2\n",
        ),
        (
            "a mapping on the way is made",
            "- id: A\n",
            vec![("source.url", json!("http://x/#y"))],
            vec![],
            "- id: A\n  source:\n    url: http://x/#y\n",
        ),
        (
            "an empty value is filled",
            "- id: A\n  x: # why\n  y: 1\n",
            vec![("x", json!("v"))],
            vec![],
            "- id: A\n  x: v # why\n  y: 1\n",
        ),
        (
            "null becomes a mapping",
            "- id: A\n  x: null\n",
            vec![("x.k", json!("v"))],
            vec![],
            "- id: A\n  x:\n    k: v\n",
        ),
        (
            "quotes stay",
            "- id: A\n  x: 'it''s'\n  y: \"q\"\n",
            vec![("x", json!("he's")), ("y", json!("z"))],
            vec![],
            "- id: A\n  x: 'he''s'\n  y: \"z\"\n",
        ),
        (
            "several lines become one",
            "- id: A\n  x: one\n    two\n  y: 1\n",
            vec![("x", json!("three"))],
            vec![],
            "- id: A\n  x: three\n  y: 1\n",
        ),
        (
            "one line becomes several",
            "- id: A\n  x: one # c\n  y: 1\n",
            vec![("x", json!("a\n\n  b\nc"))],
            vec![],
            "- id: A\n  x: |- # c\n    a\n\n      b\n    c\n  y: 1\n",
        ),
        (
            "a text block changes",
            "- id: A\n  x: | # c\n    a\n    b\n\n- id: B\n",
            vec![("x", json!("n\nm\n"))],
            vec![],
            "- id: A\n  x: | # c\n    n\n    m\n\n- id: B\n",
        ),
        (
            "a text block becomes one line",
            "- id: A\n  x: >-\n    a\n    b\n  y: 1\n",
            vec![("x", json!("c"))],
            vec![],
            "- id: A\n  x: c\n  y: 1\n",
        ),
        (
            "a text block at the end",
            "- id: A\n  x: 1",
            vec![("y", json!("a\nb\n"))],
            vec![],
            "- id: A\n  x: 1\n  y: |\n    a\n    b\n",
        ),
        (
            "leading spaces",
            "- id: A\n  x: 1\n",
            vec![("x", json!("  a\nb\n"))],
            vec![],
            "- id: A\n  x: |2\n      a\n    b\n",
        ),
        (
            "a scalar becomes a list",
            "- id: A\n  x: 1 # c\n  y: 1\n",
            vec![("x", json!([{"a": 1, "b": [2, 3]}, []]))],
            vec![],
            "- id: A\n  x: # c\n  - a: 1\n    b:\n    - 2\n    - 3\n  - []\n  y: 1\n",
        ),
        (
            "a list becomes a scalar",
            "- id: A\n  x: # c\n  - 1\n  - 2\n  y: 1\n",
            vec![("x", json!("z"))],
            vec![],
            "- id: A\n  x: z # c\n  y: 1\n",
        ),
        (
            "a mapping becomes another",
            "- id: A\n  x:\n    a: 1\n",
            vec![("x", json!({"b": 2}))],
            vec![],
            "- id: A\n  x:\n    b: 2\n",
        ),
        (
            "a key goes",
            "- id: A\n  # about x\n  x: 1 # c\n  y: 2\n",
            vec![],
            vec!["x"],
            "- id: A\n  # about x\n  y: 2\n",
        ),
        ("the last key goes", "- id: A\n  x: |\n    t\n\n- id: B\n", vec![], vec!["x"], "- id: A\n\n- id: B\n"),
        ("the last key of the file goes", "- id: A\n  x: 1", vec![], vec!["x"], "- id: A"),
        ("a key beside the dash goes", "- x: 1\n  id: A\n  y: 2\n", vec![], vec!["x"], "- id: A\n  y: 2\n"),
        ("a key in braces goes", "- {x: 1, id: A, y: 2}\n", vec![], vec!["x", "y"], "- {id: A}\n"),
        (
            "an indented list stays indented",
            "- id: A\n  x:\n    - 1\n  y: 2\n",
            vec![("y", json!([1]))],
            vec![],
            "- id: A\n  x:\n    - 1\n  y:\n    - 1\n",
        ),
        (
            "a date stays a date",
            "- id: A\n  d: 2026-03-01\n  e: '2026-03-01'\n",
            vec![("d", json!("2026-03-02")), ("e", json!("2026-03-02"))],
            vec![],
            "- id: A\n  d: 2026-03-02\n  e: '2026-03-02'\n",
        ),
        (
            "a date that becomes text is quoted",
            "- id: A\n  d: 2026-03-01\n",
            vec![("d", json!("2026-02-30"))],
            vec![],
            "- id: A\n  d: '2026-02-30'\n",
        ),
        (
            "an alias itself may go",
            "- id: B\n  x: &a [1]\n- id: A\n  x: *a\n",
            vec![("x", json!(2))],
            vec![],
            "- id: B\n  x: &a [1]\n- id: A\n  x: 2\n",
        ),
        (
            "a merged key is overridden",
            "- &b {id: B, x: 1}\n- <<: *b\n  id: A\n",
            vec![("x", json!(2))],
            vec![],
            "- &b {id: B, x: 1}\n- <<: *b\n  id: A\n  x: 2\n",
        ),
        ("a tag goes with its value", "- id: A\n  x: !!str 12\n", vec![("x", json!(13))], vec![], "- id: A\n  x: 13\n"),
        (
            "a value on the next line",
            "- id: A\n  x:\n    long text\n",
            vec![("x", json!("short"))],
            vec![],
            "- id: A\n  x:\n    short\n",
        ),
        (
            "Persian stays as it is",
            "- id: A\n  x: 1\n",
            vec![("x", json!("کمبود آب: نامه‌ای")), ("عنوان", json!("ب"))],
            vec![],
            "- id: A\n  x: 'کمبود آب: نامه‌ای'\n  عنوان: ب\n",
        ),
    ] {
        let new = gap(before, &sets, &unsets).unwrap_or_else(|error| panic!("{name}: {error}"));
        assert_eq!(new, after, "{name}");
    }
}

#[test]
fn what_yaml_would_read_as_something_else_is_quoted() {
    for text in [
        "no",
        "Yes",
        "on",
        "null",
        "~",
        "",
        "1:30",
        "2026-03-01",
        "11-12",
        "1e3",
        "0o17",
        "012",
        "0x1f",
        "1_000",
        ".5",
        "-",
        "- a",
        "a: b",
        "a #b",
        "#a",
        "@a",
        "`a",
        "%a",
        "*a",
        "&a",
        "!a",
        "? a",
        "{a",
        "[a]",
        " a",
        "a ",
        "'",
        "\"",
        "a: ",
        "<<",
        "=",
        "---",
        "...",
        "|",
        ">",
        "a\tb",
        "\t",
        "a\u{85}b",
        "a\u{2028}b",
        "\u{FEFF}a",
        "\u{7}",
        "1.5",
        "+1",
        "TRUE",
        "y",
        "a, b",
        "a]b",
        "🙂",
        "x\r\ny",
        "\n",
        "\n\n",
        "a\n",
        "a\n\n",
        " a\n b",
        "a\n \nb",
        "a\nb ",
        "\ta\nb",
        "#a\nb",
        "نه",
    ] {
        for was in ["1", "'q'", "\"q\"", "|\n    q", "[q]", "{a: q}", ""] {
            let entries = format!("- id: A\n  x: {was}\n  y: 1\n- id: B\n");
            let new = gap(&entries, &[("x", json!(text))], &[])
                .unwrap_or_else(|error| panic!("{text:?} over {was}: {error}"));
            let expected = format!("[{{\"id\": \"A\", \"x\": {}, \"y\": 1}}, {{\"id\": \"B\"}}]", quoted(text));
            assert_eq!(values(&new), expected, "{new}");
            assert!(new.ends_with("  y: 1\n- id: B\n"), "{new:?}");
        }
    }
}

fn quoted(text: &str) -> String {
    let mut out = String::new();
    pyjson::quote(text, &mut out);
    out
}

fn values(yaml: &str) -> String {
    let doc = parse(yaml.as_bytes(), &Limits::default()).unwrap();
    let mut out = String::new();
    pyjson::dump(&doc, doc.root().unwrap(), &mut out);
    out
}

#[test]
fn a_refused_edit_says_file_line_entity_and_what_to_do() {
    use EditErrorKind::{BadRequest, NotFound, Refused, Unreadable};
    let refused = |entries: &str, sets: &[(&str, Json)], unsets: &[&str]| gap(entries, sets, unsets).unwrap_err();
    for (error, kind, parts) in [
        (refused("- id: B\n", &[("x", json!(1))], &[]), NotFound, vec!["data/gaps.yaml: A: ", "no such entity"]),
        (refused("- id: A\n- id: A\n", &[("x", json!(1))], &[]), Refused, vec!["data/gaps.yaml:2: A: ", "line 3"]),
        (refused("- id: A\n  x: 1\n", &[("x.y", json!(1))], &[]), BadRequest, vec![":2: A: x.y: "]),
        (refused("- id: A\n  x: [1]\n", &[("x.5", json!(1))], &[]), BadRequest, vec!["1 items"]),
        (refused("- id: A\n", &[], &["x"]), BadRequest, vec!["x: there is no \"x\""]),
        (refused("- id: A\n", &[("id", json!("B"))], &[]), BadRequest, vec!["id"]),
        (refused("- id: A\n  x: &a 1\n- id: B\n  y: *a\n", &[("x", json!(2))], &[]), Refused, vec![":3: A", "anchor"]),
        (
            refused("- id: B\n  x: &a {k: 1}\n- id: A\n  x: *a\n", &[("x.k", json!(2))], &[]),
            Refused,
            vec![":5: A", "alias"],
        ),
        (refused("- &b {id: B, x: 1}\n- <<: *b\n  id: A\n", &[], &["x"]), Refused, vec!["merge key"]),
        (refused("- id: A\n  x: 1\n  x: 2\n", &[], &["x"]), Refused, vec!["twice"]),
        (
            refused("- id: A\n  x: [\n", &[("x", json!(2))], &[]),
            Unreadable,
            vec!["data/gaps.yaml:", "correct the file"],
        ),
        (edit(GAPS, "entries:\n- id: A\n", "traps", "A", &[], &[]).unwrap_err(), NotFound, vec!["gaps, not traps"]),
        (edit("x.yaml", "a: 1", "gaps", "A", &[], &[]).unwrap_err(), Unreadable, vec!["no dataset"]),
    ] {
        let text = error.to_string();
        assert_eq!(error.kind, kind, "{text}");
        assert!(parts.iter().all(|part| text.contains(part)), "{text} lacks one of {parts:?}");
        assert_eq!(text.lines().count(), 1);
    }
}

#[test]
fn documents_json_and_front_matter_are_edited_in_their_own_manner() {
    let brief = "title: One\nsections: []\n";
    let new = edit("data/briefs/b01.yaml", brief, "brief", "B01", &[("title", json!("Two: more"))], &[]).unwrap();
    assert_eq!(new, "title: 'Two: more'\nsections: []\n");

    let declared = "version = 1\n[[dataset]]\nname = \"suppliers\"\nfiles = [\"s.json\"]\nformat = \"json\"\nlist = \"/all\"\nid = [\"code\"]\n\
                    [[dataset]]\nname = \"notes\"\nfiles = [\"*.md\"]\nformat = \"markdown\"\nkind = \"document\"\nid = [\"@stem\"]\n";
    let datasets = Datasets::parse("d.toml", declared).unwrap();
    let one = |path, text: &str, kind, id, field: &str, value| {
        let sets = [(field.parse().unwrap(), value)];
        set(&datasets, path, text.as_bytes(), EntityRef { type_name: kind, id }, &sets, &[])
            .map(|text| String::from_utf8(text).unwrap())
    };
    let json = "{\n  \"all\": [\n    {\"code\": \"A\", \"n\": 1}\n  ]\n}\n";
    let new = one("s.json", json, "suppliers", "A", "note", json!("no \"x\"")).unwrap();
    assert_eq!(new, json.replace("\"n\": 1", "\"n\": 1, \"note\": \"no \\\"x\\\"\""));
    // YAML takes a number like this for text; what is not read alike is not touched.
    let error =
        one("s.json", "{\"all\": [{\"code\": \"A\", \"n\": 1e5}]}", "suppliers", "A", "note", json!(1)).unwrap_err();
    assert!(error.to_string().contains("by hand"), "{error}");
    let note = "---\nstatus: new\n---\n# Text\n";
    assert_eq!(one("a.md", note, "notes", "a", "status", json!("old")).unwrap(), note.replace("new", "old"));
    assert!(one("a.md", note, "notes", "a", "body", json!("x")).unwrap_err().to_string().contains("whole file"));
}

#[test]
fn entities_are_found_with_their_place() {
    let text = "a: 1\nentries:\n- id: A\n  x: 1\n# c\n- id: B\n";
    let found = entities_of(&Datasets::built_in(), GAPS, text.as_bytes()).unwrap();
    let places: Vec<_> =
        found.iter().map(|e| (e.id.as_str(), &text[e.span.clone()], e.line_start, e.line_end)).collect();
    assert_eq!(places, [("A", "- id: A\n  x: 1", 3, 4), ("B", "- id: B", 6, 6)]);
}

/// A value such as people and programs might ask for.
fn random_value(random: &mut StdRng, depth: u32) -> Json {
    const TEXTS: [&str; 22] = [
        "deteriorating",
        "no",
        "1:30",
        "2026-03-01",
        "11-12",
        "a: b",
        "it's",
        "say \"no\"",
        "کمبود آب",
        "a\nb\n",
        "one\n\ntwo",
        " x",
        "x ",
        "",
        "- a",
        "#x",
        "[a, b]",
        "{}",
        "a\\b",
        "\u{85}",
        "1_0",
        "long text, with: everything # in it 'and' \"more\"",
    ];
    match random.random_range(0..if depth == 0 { 8 } else { 11 }) {
        0 => Json::Null,
        1 => json!(random.random_bool(0.5)),
        2 => json!(random.random_range(-100_000..100_000)),
        3 => json!(random.random_range(-1.0e6..1.0e6)),
        4 => json!([1e300, 1e-7, 0.0, 1e16, 123.0].choose(random).unwrap()),
        5..=7 => json!(TEXTS.choose(random).unwrap()),
        8 | 9 => Json::Array((0..random.random_range(0..4)).map(|_| random_value(random, depth - 1)).collect()),
        _ => {
            let keys = ["k", "no", "a b", "کلید", "1", "x: y"];
            let n = random.random_range(0..keys.len());
            keys[..n].iter().map(|key| ((*key).to_owned(), random_value(random, depth - 1))).collect()
        }
    }
}

#[test]
fn random_edits_of_the_real_files_change_nothing_else_and_pyyaml_agrees() {
    let Some(root) = common::framework() else { return };
    let datasets = Datasets::built_in();
    let seed = std::env::var("BAFT_PROPERTY_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(7);
    let rounds = std::env::var("BAFT_PROPERTY_SEEDS").ok().and_then(|n| n.parse().ok()).unwrap_or(150);
    let mut random = StdRng::seed_from_u64(seed);
    let files: Vec<_> =
        common::files(&root).into_iter().filter(|(path, _)| datasets.for_path(path).is_some()).collect();
    let mut cases = Vec::new();
    for round in 0..rounds {
        let (path, bytes) = files.choose(&mut random).unwrap();
        let text = String::from_utf8(bytes.clone()).unwrap();
        let text = if round % 4 == 0 { text.replace('\n', "\r\n") } else { text };
        let found = entities_of(&datasets, path, text.as_bytes()).unwrap();
        let Some(entity) = found.choose(&mut random) else { continue };
        let dataset = datasets.for_path(path).unwrap();
        let mut fields: Vec<_> = dataset.columns.iter().map(|column| column.source.clone()).collect();
        fields.retain(|field| !["id", "code", "number"].contains(&field.as_str()));
        fields.push("new_field".to_owned());
        fields.push("deep.er".to_owned());
        let (mut sets, field) = (Vec::new(), fields.choose(&mut random).unwrap().clone());
        sets.push((field.parse().unwrap(), random_value(&mut random, 2)));
        let reference = EntityRef { type_name: &entity.type_name, id: &entity.id };
        let new = match set(&datasets, path, text.as_bytes(), reference, &sets, &[]) {
            Ok(new) => String::from_utf8(new).unwrap(),
            Err(error) if error.kind == EditErrorKind::BadRequest => continue,
            Err(error) => panic!("seed {seed} round {round}: {field} = {}: {error}", sets[0].1),
        };
        assert!(new.starts_with(&text[..entity.span.start]), "seed {seed} round {round}");
        assert!(
            new.ends_with(text[entity.span.end..].trim_start_matches([' ', '\r', '\n'])),
            "seed {seed} round {round}"
        );
        cases.push((new, path.clone()));
    }
    assert!(cases.len() > rounds / 2, "{}", cases.len());
    let Some(python) = common::python_with_yaml() else { return };
    let texts: Vec<Json> = cases.iter().map(|(text, _)| json!(text)).collect();
    let read = common::yaml_values(&python, &texts);
    for ((text, path), python) in cases.iter().zip(read) {
        assert_eq!(python[0], "ok", "{path}: {python}");
        assert_eq!(python[1], values(text), "{path}");
    }
}
