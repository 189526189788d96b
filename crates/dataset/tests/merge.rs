//! Three-way merges: everything of both sides, each byte as its author wrote it, or an honest conflict.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

mod common;

use baft_dataset::dataset::Datasets;
use baft_dataset::edit::{EntityRef, entities_of, set};
use baft_dataset::merge::{Merged, merge};
use baft_dataset::pyjson;
use baft_dataset::yaml::{Limits, parse};
use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rand::{Rng, SeedableRng};
use serde_json::{Value as Json, json};

const GAPS: &str = "data/gaps.yaml";

fn merged(path: &str, base: &str, ours: &str, theirs: &str) -> Merged {
    merge(&Datasets::built_in(), path, Some(base.as_bytes()), ours.as_bytes(), theirs.as_bytes())
}

/// The text of a merge without conflicts.
fn clean(path: &str, base: &str, ours: &str, theirs: &str) -> String {
    match merged(path, base, ours, theirs) {
        Merged::Clean(text) => String::from_utf8(text).unwrap(),
        other => panic!("{other:?}"),
    }
}

/// The text of a merge with conflicts, and where they are.
fn partly(path: &str, base: &str, ours: &str, theirs: &str) -> (String, Vec<String>) {
    match merged(path, base, ours, theirs) {
        Merged::Partly { text, conflicts } => (
            String::from_utf8(text).unwrap(),
            conflicts
                .iter()
                .map(|c| format!("{} {} {}", c.id.as_deref().unwrap_or("-"), c.pointer, c.reason))
                .collect(),
        ),
        other => panic!("{other:?}"),
    }
}

const BASE: &str = "\
# Gaps of the framework
version: '1.0'   # keep in step
date: '2026-03-01'
entries:
# the first
- id: G01-01
  description: one
  status: OPEN # since ever
  modules: [a, b]
  sources:
  - x
  - y

# the second
- id: G01-02
  description: |
    two
    lines
  status: OPEN
  notes:
  - id: n1
    text: first
  - id: n2
    text: second
# the third
- id: G01-03
  description: three
  status: OPEN
# the end
";

#[test]
fn changes_of_different_entities_and_fields_merge_and_everything_else_stays() {
    for (name, ours, theirs) in [
        ("two entities", vec![("one", "ONE")], vec![("three", "THREE")]),
        (
            "two fields of one entity",
            vec![("one", "ONE")],
            vec![("status: OPEN # since ever", "status: 'SHUT' # since ever")],
        ),
        (
            "the value and its comment",
            vec![("status: OPEN # since", "status: SHUT # since")],
            vec![("# since ever", "# since 2020")],
        ),
        ("an entity and the comment above it", vec![("one\n", "1\n")], vec![("# the first", "# the very first")]),
        (
            "a text block and a field",
            vec![("    two\n", "    two and\n    a half\n")],
            vec![("  notes:", "  more: 1\n  notes:")],
        ),
        (
            "both add an entity at different places",
            vec![("# the second\n", "- id: G01-01b\n# the second\n")],
            vec![("# the end\n", "- id: G01-04\n# the end\n")],
        ),
        (
            "one adds, one removes",
            vec![("# the third\n- id: G01-03\n  description: three\n  status: OPEN\n", "")],
            vec![("one\n", "one\n  new: key\n")],
        ),
        ("items of an inner list", vec![("text: first", "text: 1st")], vec![("text: second", "text: 2nd")]),
        (
            "an inner item goes, another changes",
            vec![("  - id: n1\n    text: first\n", "")],
            vec![("text: second", "text: 2nd")],
        ),
        ("scalars of a list", vec![("  - x\n", "  - w\n  - x\n")], vec![("  - y\n", "  - Y # why\n")]),
        ("head and tail", vec![("# Gaps of", "# All gaps of")], vec![("# the end", "# the very end")]),
        ("keys of the file", vec![("'1.0'", "'1.1'")], vec![("'2026-03-01'", "'2026-03-02'")]),
        (
            "the same change twice",
            vec![("one\n", "same\n"), ("two\n", "2\n")],
            vec![("one\n", "same\n"), ("three", "3")],
        ),
    ] {
        let change = |changes: &[(&str, &str)]| {
            changes.iter().fold(BASE.to_owned(), |text, (from, to)| {
                assert_eq!(text.matches(from).count(), 1, "{name}: {from}");
                text.replace(from, to)
            })
        };
        let both: Vec<_> = ours.iter().copied().chain(theirs.iter().copied().filter(|c| !ours.contains(c))).collect();
        let (ours, theirs, both) = (change(&ours), change(&theirs), change(&both));
        assert_eq!(clean(GAPS, BASE, &ours, &theirs), both, "{name}");
        assert_eq!(clean(GAPS, BASE, &theirs, &ours), both, "{name}, the other way round");
        let crlf = |text: &str| format!("\u{FEFF}{}", text.replace('\n', "\r\n"));
        assert_eq!(clean(GAPS, &crlf(BASE), &crlf(&ours), &crlf(&theirs)), crlf(&both), "{name}, with CRLF");
    }
}

#[test]
fn additions_at_one_place_are_both_kept_theirs_first() {
    let base = "entries:\n- id: A\n  tags: []\n  refs: [x]\n  list:\n  - 1\n";
    let ours = "entries:\n- id: A\n  tags:\n  - o\n  refs: [x, 'o']\n  list:\n  - 1\n  - 2\n  o: 1\n- id: O\n  v: 1\n";
    let theirs =
        "entries:\n- id: A\n  tags:\n  - t\n  refs: [x, \"t\"]\n  list:\n  - 1\n  - 3\n  t: 1\n- id: T\n  v: 2\n";
    let expected = "entries:\n- id: A\n  tags:\n  - t\n  - o\n  refs: [x, \"t\", o]\n  list:\n  - 1\n  - 3\n  - 2\n  t: 1\n  o: 1\n- id: T\n  v: 2\n- id: O\n  v: 1\n";
    assert_eq!(clean(GAPS, base, ours, theirs), expected);
    // A file that ends without a line break.
    let cut = |text: &str| text.trim_end().to_owned();
    assert_eq!(clean(GAPS, &cut(base), &cut(ours), &cut(theirs)), cut(expected));
}

#[test]
fn a_side_that_changes_all_line_breaks_merges_with_one_that_changes_a_value() {
    let crlf = |text: &str| text.replace('\n', "\r\n");
    let changed = BASE.replace("three", "3");
    let both = clean(GAPS, &crlf(BASE), &crlf(&BASE.replace("status: OPEN # since", "status: SHUT # since")), &changed);
    assert_eq!(both, changed.replace("status: OPEN # since", "status: SHUT # since"));
    // A list that one side indents differently cannot be put together, unless the other left it alone.
    let deeper = BASE.replace("  - x\n  - y\n", "    - x\n    - y\n");
    assert_eq!(clean(GAPS, BASE, &deeper, &changed), changed.replace("  - x\n  - y\n", "    - x\n    - y\n"));
    let (text, conflicts) = partly(GAPS, BASE, &deeper, &changed.replace("  - y\n", "  - y\n  - z\n"));
    assert_eq!(text, changed.replace("  - y\n", "  - y\n  - z\n"));
    assert_eq!(conflicts.len(), 1);
}

#[test]
fn where_one_entity_conflicts_only_that_takes_theirs() {
    let ours = BASE.replace("one\n", "ours\n").replace("three", "3").replace("'1.0'", "'1.1'");
    let theirs = BASE.replace("one\n", "theirs\n").replace("# the end", "# fin").replace("[a, b]", "[a, b, c]");
    let (text, conflicts) = partly(GAPS, BASE, &ours, &theirs);
    assert_eq!(text, theirs.replace("three", "3").replace("'1.0'", "'1.1'"));
    assert_eq!(conflicts, ["G01-01 /entries/0/description both sides changed it"]);

    let (text, conflicts) =
        partly(GAPS, BASE, &BASE.replace("'1.0'", "'1.1'").replace("three", "3"), &BASE.replace("'1.0'", "'2.0'"));
    assert_eq!(text, BASE.replace("'1.0'", "'2.0'").replace("three", "3"));
    assert_eq!(conflicts, ["- /version both sides changed it"]);
}

#[test]
fn what_one_side_removed_and_the_other_changed_is_a_conflict_that_theirs_wins() {
    let third = "# the third\n- id: G01-03\n  description: three\n  status: OPEN\n";
    let (without, changed) = (BASE.replace(third, ""), BASE.replace("three", "3").replace("one\n", "1\n"));
    let (text, conflicts) = partly(GAPS, BASE, &without, &changed);
    assert_eq!(text, changed);
    assert_eq!(conflicts, ["G01-03 /entries/2 it was removed here and changed upstream"]);
    let (text, conflicts) = partly(GAPS, BASE, &changed, &without);
    assert_eq!(text, without.replace("one\n", "1\n"));
    assert_eq!(conflicts, ["G01-03 /entries/2 it was changed here and removed upstream"]);
}

#[test]
fn comments_that_both_changed_are_a_conflict_of_what_they_belong_to() {
    let (ours, theirs) = (BASE.replace("# the first", "# our first"), BASE.replace("# the first", "# their first"));
    let (text, conflicts) = partly(GAPS, BASE, &ours.replace("three", "3"), &theirs);
    assert_eq!(text, theirs.replace("three", "3"));
    assert_eq!(conflicts, ["G01-01 /entries/0 both sides changed its comments or how it is written"]);
    let (ours, theirs) = (BASE.replace("# Gaps", "# Our gaps"), BASE.replace("# Gaps", "# Their gaps"));
    let (text, conflicts) = partly(GAPS, BASE, &ours.replace("three", "3"), &theirs);
    assert_eq!(text, theirs.replace("three", "3"));
    assert_eq!(conflicts, ["-  both sides changed the comments at the start or end of the file"]);
}

#[test]
fn files_of_other_kinds_merge_by_key_or_not_at_all() {
    let base = "a: 1\nb:\n  c: 2\n  d: 3\nlist:\n- id: x\n  v: 1\n- id: y\n  v: 1\n";
    let (ours, theirs) = (base.replace("c: 2", "c: 20"), base.replace("d: 3", "d: 30").replace("a: 1", "a: 10"));
    assert_eq!(clean("index.yaml", base, &ours, &theirs), theirs.replace("c: 2", "c: 20"));
    let ours = base.replace("- id: y\n  v: 1", "- id: y\n  v: 2").replace("a: 1", "a: 11");
    let (text, conflicts) = partly("index.yaml", base, &ours, &base.replace("- id: y\n  v: 1", "- id: y\n  v: 3"));
    assert_eq!(text, base.replace("- id: y\n  v: 1", "- id: y\n  v: 3").replace("a: 1", "a: 11"));
    assert_eq!(conflicts, ["- /list/1/v both sides changed it"]);

    // One entity in one file: a conflict in it takes all of theirs.
    let base = "title: a\nsections:\n- id: '1'\n  content: x\n- id: '2'\n  content: y\n";
    let (ours, theirs) = (base.replace("content: x", "content: X"), base.replace("content: y", "content: Y"));
    assert_eq!(clean("data/briefs/b01.yaml", base, &ours, &theirs), theirs.replace("content: x", "content: X"));
    let theirs = theirs.replace("content: x", "content: xx");
    let (text, conflicts) = partly("data/briefs/b01.yaml", base, &ours, &theirs);
    assert_eq!((text, conflicts), (theirs, vec!["B01 /sections/0/content both sides changed it".to_owned()]));

    for (name, path, base, ours, theirs) in [
        ("text", "README.md", "a\n", "b\n", "c\n"),
        ("JSON", "x.json", "[1]", "[2]", "[3]"),
        ("not YAML", GAPS, "a: 1\n", "a: [\n", "a: 2\n"),
        ("two documents", "x.yaml", "a: 1\n", "a: 1\n---\nb: 1\n", "a: 2\n"),
        (
            "an id twice",
            GAPS,
            "entries:\n- id: A\n",
            "entries:\n- id: A\n- id: A\n  x: 1\n",
            "entries:\n- id: A\n  y: 1\n",
        ),
        (
            "an id in two spellings",
            "data/observations.yaml",
            "entries:\n- id: 1\n",
            "entries:\n- id: 1\n- id: 7\n",
            "entries:\n- id: 1\n- id: Obs-7\n",
        ),
        (
            "braces",
            GAPS,
            "{entries: [{id: A, x: 1}, {id: B}]}",
            "{entries: [{id: A, x: 2}, {id: B}]}",
            "{entries: [{id: A, x: 1}, {id: B, y: 1}]}",
        ),
        ("an anchor is moved", "x.yaml", "a: &x 1\nb: *x\n", "a: 1\nb: 1\nc: 1\n", "a: &x 1\nb: *x\nd: *x\n"),
        ("different orders", "x.yaml", "a: 1\nb: 2\nc: 3\n", "b: 2\na: 1\nc: 3\n", "a: 1\nc: 3\nb: 2\n"),
    ] {
        let result = merged(path, base, ours, theirs);
        assert!(matches!(&result, Merged::Whole { reason } if !reason.is_empty()), "{name}: {result:?}");
    }
    let note = "---\nstatus: a\nowner: b\n---\n# Text\n";
    let declared = "version = 1\n[[dataset]]\nname = \"notes\"\nfiles = [\"*.md\"]\nformat = \"markdown\"\nkind = \"document\"\nid = [\"@stem\"]\n";
    let datasets = Datasets::parse("d.toml", declared).unwrap();
    let (ours, theirs) =
        (note.replace("status: a", "status: A"), note.replace("owner: b", "owner: B").replace("# Text", "# Texts"));
    let result = merge(&datasets, "n.md", Some(note.as_bytes()), ours.as_bytes(), theirs.as_bytes());
    assert_eq!(result, Merged::Clean(theirs.replace("status: a", "status: A").into_bytes()));
}

#[test]
fn one_sided_changes_and_files_without_a_base_are_taken_as_they_are() {
    for (base, ours, theirs, expected) in [
        (Some("x"), "x", "anything: [", "anything: ["),
        (Some("x"), "anything: [", "x", "anything: ["),
        (Some("x"), "same", "same", "same"),
        (None, "same", "same", "same"),
        (None, "entries:\n- id: A\n", "entries:\n- id: B\n", "entries:\n- id: B\n- id: A\n"),
    ] {
        let result = merge(&Datasets::built_in(), GAPS, base.map(str::as_bytes), ours.as_bytes(), theirs.as_bytes());
        assert_eq!(result, Merged::Clean(expected.as_bytes().to_vec()), "{base:?} {ours:?} {theirs:?}");
    }
}

fn value(text: &str) -> Json {
    let text = format!("{text}\n");
    let doc = parse(text.as_bytes(), &Limits::default()).unwrap();
    let mut out = String::new();
    pyjson::dump(&doc, doc.root().unwrap(), &mut out);
    serde_json::from_str(&out).unwrap()
}

/// A file's entities by id.
fn entities(datasets: &Datasets, path: &str, text: &str) -> Vec<(String, String)> {
    let found = entities_of(datasets, path, text.as_bytes()).unwrap();
    found.into_iter().map(|entity| (entity.id, text[entity.span].to_owned())).collect()
}

/// Some edits such as people make: fields set and removed, entities added and removed, comments.
fn edited(random: &mut StdRng, path: &str, text: &str, mark: &str) -> String {
    let datasets = Datasets::built_in();
    let mut text = text.to_owned();
    for n in 0..random.random_range(1..4) {
        let found = entities_of(&datasets, path, text.as_bytes()).unwrap();
        let Some(entity) = found.choose(random) else { return text };
        let eol = if text.contains("\r\n") { "\r\n" } else { "\n" };
        let whole_file = entity.span.start == 0 && entity.span.end == text.len();
        let after = text[entity.span.end..].find('\n').map_or(text.len(), |i| entity.span.end + i + 1);
        match random.random_range(0..10) {
            0 if !whole_file => {
                let id = format!("{mark}-{n}");
                text.insert_str(after, &format!("- id: {id}{eol}  title: 'added: {mark}'{eol}"));
            }
            1 if !whole_file && found.len() > 2 => {
                text.replace_range(entity.span.start..after, "");
            }
            2 if !whole_file => text.insert_str(entity.span.start, &format!("# {mark} says{eol}")),
            choice => {
                let fields =
                    ["title", "status", "trend", "confidence", "insight", "tags", "sources", "cross_refs", "new"];
                let field = fields.choose(random).unwrap();
                let values = [
                    json!(format!("by {mark}")),
                    json!(["a", mark]),
                    json!("two\nlines\n"),
                    json!(null),
                    json!({"k": mark}),
                ];
                let value = values[usize::from(choice % 5_u8)].clone();
                let reference = EntityRef { type_name: &entity.type_name, id: &entity.id };
                let sets = [(field.parse().unwrap(), value)];
                match set(&datasets, path, text.as_bytes(), reference, &sets, &[]) {
                    Ok(new) => text = String::from_utf8(new).unwrap(),
                    Err(error) => panic!("{path}: {error}"),
                }
            }
        }
    }
    text
}

#[test]
fn random_edits_on_both_sides_merge_entity_by_entity() {
    let datasets = Datasets::built_in();
    let mut files = vec![(GAPS.to_owned(), BASE.to_owned())];
    let sample = common::workspace().join("examples/sample-framework");
    for root in [common::framework(), Some(sample)].into_iter().flatten() {
        let all = common::files(&root)
            .into_iter()
            .filter(|(path, _)| datasets.for_path(path).is_some_and(|dataset| dataset.type_name.is_some()));
        files.extend(all.map(|(path, bytes)| (path, String::from_utf8(bytes).unwrap())));
    }
    let seed = std::env::var("BAFT_PROPERTY_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(11);
    let rounds = std::env::var("BAFT_PROPERTY_SEEDS").ok().and_then(|n| n.parse().ok()).unwrap_or(120);
    let mut texts = Vec::new();
    let (mut random, mut cleanly, mut whole) = (StdRng::seed_from_u64(seed), 0, 0);
    for round in 0..rounds {
        let (path, base) = files.choose(&mut random).unwrap();
        let base = if round % 5 == 0 { base.replace('\n', "\r\n") } else { base.clone() };
        let (ours, theirs) = (edited(&mut random, path, &base, "ours"), edited(&mut random, path, &base, "theirs"));
        let context = format!("seed {seed} round {round} {path}");
        let same = |a: &str, b: &str, c: &str| merged(path, a, b, c) == Merged::Clean(c.as_bytes().to_vec());
        assert!(same(&base, &ours, &ours) && same(&base, &base, &theirs), "{context}");
        assert_eq!(merged(path, &base, &ours, &base), Merged::Clean(ours.clone().into_bytes()), "{context}");

        let (text, conflicts) = match merged(path, &base, &ours, &theirs) {
            Merged::Clean(text) => (text, Vec::new()),
            Merged::Partly { text, conflicts } => (text, conflicts),
            Merged::Whole { .. } => {
                whole += 1;
                continue;
            }
        };
        let text = String::from_utf8(text).unwrap();
        cleanly += usize::from(conflicts.is_empty());
        texts.push(text.clone());
        let [b, o, t, m] = [&base, &ours, &theirs, &text].map(|text| entities(&datasets, path, text));
        let get =
            |list: &[(String, String)], id: &str| list.iter().find(|(i, _)| i == id).map(|(_, text)| text.clone());
        let mut ids: Vec<_> = [&b, &o, &t, &m].into_iter().flatten().map(|(id, _)| id.clone()).collect();
        ids.sort();
        ids.dedup();
        for id in ids {
            let [b, o, t, m] = [&b, &o, &t, &m].map(|list| get(list, &id));
            let expected = if conflicts.iter().any(|conflict| conflict.id.as_deref() == Some(&id)) || o == b || o == t {
                t
            } else if t == b {
                o
            } else {
                // Both changed it and agree: every field is somebody's.
                let (Some(o), Some(t), Some(m)) = (o, t, m) else { panic!("{context} {id}") };
                let fields = |text: &str| value(text)[0].clone();
                let (o, t, m) = if path.contains("briefs") {
                    (value(&o), value(&t), value(&m))
                } else {
                    (fields(&o), fields(&t), fields(&m))
                };
                let b = b.map_or(Json::Null, |b| if path.contains("briefs") { value(&b) } else { fields(&b) });
                for (key, value) in m.as_object().unwrap() {
                    let simple = !value.is_array() && !value.is_object();
                    let from = if b.get(key) == o.get(key) { t.get(key) } else { o.get(key) };
                    assert!(!simple || Some(value) == from, "{context} {id} {key}: {b}\n{o}\n{t}\n{m}");
                }
                continue;
            };
            assert_eq!(m, expected, "{context} {id}");
        }
        // Both ways round the same things meet, up to who wins and whose comes first.
        let other = match merged(path, &base, &theirs, &ours) {
            Merged::Clean(text) => text,
            Merged::Partly { .. } if !conflicts.is_empty() => continue,
            other => panic!("{context}: {other:?}\nbut {conflicts:?}"),
        };
        let sorted = |text: &str| {
            let mut lines: Vec<_> = text.lines().map(str::to_owned).collect();
            lines.sort();
            lines
        };
        assert_eq!(sorted(&text), sorted(std::str::from_utf8(&other).unwrap()), "{context}");
    }
    assert!(cleanly * 2 > rounds && whole * 10 < rounds, "{cleanly} clean, {whole} whole of {rounds}");
    let Some(python) = common::python_with_yaml() else { return };
    let cases: Vec<Json> = texts.iter().map(|text| json!(text)).collect();
    for (text, python) in texts.iter().zip(common::yaml_values(&python, &cases)) {
        assert_eq!(python[0], "ok", "{python}\n{text}");
        assert_eq!(serde_json::from_str::<Json>(python[1].as_str().unwrap()).unwrap(), value(text));
    }
}
