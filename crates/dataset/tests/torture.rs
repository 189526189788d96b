//! Edits and merges of odd files: an honest refusal or exactly what was asked, never a panic.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

use baft_dataset::dataset::Datasets;
use baft_dataset::edit::{EditErrorKind, EntityRef, set};
use baft_dataset::merge::{Merged, merge};
use baft_dataset::pyjson;
use baft_dataset::yaml::{Limits, parse};
use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rand::{Rng, SeedableRng};
use serde_json::{Value as Json, json};

const CORPUS: &str = include_str!("golden/yaml_corpus.jsonl");

fn corpus() -> Vec<String> {
    CORPUS.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn seeded() -> (u64, StdRng) {
    let seed = std::env::var("BAFT_PROPERTY_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(3);
    (seed, StdRng::seed_from_u64(seed))
}

fn rounds(usual: usize) -> usize {
    std::env::var("BAFT_PROPERTY_SEEDS").ok().and_then(|n| n.parse().ok()).unwrap_or(usual)
}

/// A file that is one entity.
fn declared() -> Datasets {
    let text =
        "version = 1\n[[dataset]]\nname = \"docs\"\nfiles = [\"*.yaml\"]\nkind = \"document\"\nid = [\"@stem\"]\n";
    Datasets::parse("d.toml", text).unwrap()
}

fn value(text: &str) -> Option<Json> {
    let doc = parse(text.as_bytes(), &Limits::default()).ok()?;
    let mut out = String::new();
    pyjson::dump(&doc, doc.root()?, &mut out);
    serde_json::from_str(&out).ok()
}

#[test]
fn a_field_set_in_any_file_of_the_corpus_is_that_field_and_nothing_else() {
    let datasets = declared();
    let (mut done, mut refused) = (0, 0);
    for text in corpus() {
        let Some(Json::Object(before)) = value(&text) else { continue };
        let keys: Vec<String> = before.keys().cloned().chain(["new key".to_owned()]).collect();
        for key in keys.iter().filter(|key| !key.is_empty()) {
            for new in [json!("no"), json!("a\nb\n"), json!({"k": [1, {}]}), json!([]), json!(null)] {
                let field = format!("/{}", key.replace('~', "~0").replace('/', "~1")).parse().unwrap();
                let entity = EntityRef { type_name: "docs", id: "x" };
                match set(&datasets, "x.yaml", text.as_bytes(), entity, &[(field, new.clone())], &[]) {
                    Ok(after) => {
                        let after = value(std::str::from_utf8(&after).unwrap()).unwrap();
                        let mut expected = before.clone();
                        expected.insert(key.clone(), new);
                        assert_eq!(after, Json::Object(expected), "{text:?} {key}");
                        done += 1;
                    }
                    Err(error) => {
                        assert!(!error.message.contains("report"), "{text:?} {key}: {error}");
                        assert_ne!(error.kind, EditErrorKind::NotFound, "{text:?} {key}: {error}");
                        refused += 1;
                    }
                }
            }
        }
    }
    assert!(done > 8 * refused, "{done} done, {refused} refused");
}

/// A text of random shape: nested blocks, brackets, comments, empty lines, odd indentation.
fn generated(random: &mut StdRng) -> String {
    fn scalar(random: &mut StdRng) -> String {
        ["one", "'two'", "\"three\"", "4", "no", "2026-01-01", "", "~", "[a, b]", "{k: v}", "[]", "{}", "کتاب"]
            .choose(random)
            .unwrap()
            .to_string()
    }
    fn remark(random: &mut StdRng, indent: usize, out: &mut String) {
        match random.random_range(0..14) {
            0 => out.push('\n'),
            1 => out.push_str(&format!("{}# c{}\n", " ".repeat(indent), random.random_range(0..9))),
            2 => out.push_str(&format!("{}# deep\n", " ".repeat(indent + 3))),
            _ => {}
        }
    }
    fn inline(random: &mut StdRng, indent: usize, out: &mut String) {
        match random.random_range(0..8) {
            0 => {
                let head = ["|", "|-", ">", "|+", "| # c"].choose(random).unwrap();
                let pad = " ".repeat(indent + 2);
                out.push_str(&format!(" {head}\n{pad}text\n\n{pad}  more\n"));
            }
            1 => out.push_str(&format!(" plain text\n{}that goes on\n", " ".repeat(indent + 1))),
            2 => out.push_str(&format!(" {} # why\n", scalar(random))),
            _ => out.push_str(&format!(" {}\n", scalar(random))),
        }
    }
    fn mapping(random: &mut StdRng, indent: usize, depth: usize, first_inline: bool, out: &mut String) {
        let mut keys = ["a", "b", "c", "d e", "'f'"].to_vec();
        keys.truncate(random.random_range(1..=5));
        for (n, key) in keys.iter().enumerate() {
            if n > 0 || !first_inline {
                remark(random, indent, out);
                out.push_str(&" ".repeat(indent));
            }
            out.push_str(&format!("{key}:"));
            match random.random_range(0..6) {
                0 if depth > 0 => {
                    out.push('\n');
                    mapping(random, indent + 2, depth - 1, false, out);
                }
                1 | 2 if depth > 0 => {
                    out.push('\n');
                    let deeper = random.random_range(0..3);
                    list(random, indent + deeper, depth - 1, out);
                }
                _ => inline(random, indent, out),
            }
        }
    }
    fn list(random: &mut StdRng, indent: usize, depth: usize, out: &mut String) {
        let named = random.random_bool(0.6);
        for n in 0..random.random_range(1..4) {
            remark(random, indent, out);
            out.push_str(&format!("{}-", " ".repeat(indent)));
            if named {
                out.push_str(&format!(" id: i{n}\n{}", " ".repeat(indent + 2)));
                mapping(random, indent + 2, depth.saturating_sub(1), true, out);
            } else {
                inline(random, indent, out);
            }
        }
    }
    let mut out = String::new();
    mapping(random, 0, 3, false, &mut out);
    out
}

/// One change of a line or of a few, such as leaves most texts readable.
fn changed(random: &mut StdRng, text: &str, mark: &str) -> String {
    let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
    for _ in 0..random.random_range(1..4) {
        let at = random.random_range(0..lines.len());
        match random.random_range(0..6) {
            0 if lines.len() > 1 => drop(lines.remove(at)),
            1 => {
                let copy = lines[at]
                    .replace("i0", mark)
                    .replace("a:", &format!("{mark}:"))
                    .replace("b:", &format!("{mark}2:"));
                lines.insert(at + 1, copy);
            }
            2 => lines[at].push_str(" # said"),
            3 => lines.insert(at, format!("# {mark}")),
            _ => {
                for (from, to) in
                    [("one", "ONE"), ("two", "2"), ("4", "44"), ("text", mark), ("[a", "[z, a"), ("no", "yes")]
                {
                    if lines[at].contains(from) {
                        lines[at] = lines[at].replacen(from, to, 1);
                        break;
                    }
                }
            }
        }
    }
    lines.join("\n") + "\n"
}

/// The comments of a text, each as often as it stands there.
fn comments(text: &str) -> Vec<String> {
    let mut found: Vec<String> =
        text.lines().filter_map(|line| line.find('#').map(|at| line[at..].trim().to_owned())).collect();
    found.sort();
    found
}

#[test]
fn merges_of_generated_files_mean_what_both_meant_and_lose_no_comment() {
    let datasets = Datasets::built_in();
    let (seed, mut random) = seeded();
    let (mut clean, mut partly, mut whole) = (0, 0, 0);
    for round in 0..rounds(1_500) {
        let base = generated(&mut random);
        assert!(value(&base).is_some(), "seed {seed} round {round}\n{base}");
        let (ours, theirs) = (changed(&mut random, &base, "ours"), changed(&mut random, &base, "theirs"));
        let (Some(o), Some(t), Some(b)) = (value(&ours), value(&theirs), value(&base)) else { continue };
        let result = merge(&datasets, "x.yaml", Some(base.as_bytes()), ours.as_bytes(), theirs.as_bytes());
        let context = format!("seed {seed} round {round}\n--- base\n{base}--- ours\n{ours}--- theirs\n{theirs}");
        let text = match result {
            Merged::Clean(text) => {
                clean += 1;
                String::from_utf8(text).unwrap()
            }
            Merged::Partly { text, conflicts } => {
                partly += 1;
                assert!(!conflicts.is_empty());
                let m = value(std::str::from_utf8(&text).unwrap()).expect("the merge parses");
                let Some(fields) = m.as_object() else { continue };
                for (key, value) in fields {
                    let at = format!("/{key}");
                    let here = conflicts.iter().any(|c| c.pointer == at || c.pointer.starts_with(&format!("{at}/")));
                    if !here && b.get(key) == t.get(key) {
                        assert_eq!(Some(value), o.get(key), "{context}");
                    }
                }
                continue;
            }
            Merged::Whole { reason } => {
                assert!(!reason.contains("report"), "{context}");
                whole += 1;
                continue;
            }
        };
        let m = value(&text).unwrap_or_else(|| panic!("{context}--- merged\n{text}"));
        // A side that left nothing but comments makes the whole file that.
        let Some(fields) = m.as_object() else { continue };
        for (key, value) in fields {
            let [b, o, t] = [&b, &o, &t].map(|side| side.get(key));
            assert!(b != t || Some(value) == o, "{key} {context}--- merged\n{text}");
            assert!(b != o || Some(value) == t, "{key} {context}--- merged\n{text}");
        }
        // Every comment that a side added is there.
        let (was, here, there, now) = (comments(&base), comments(&ours), comments(&theirs), comments(&text));
        let times = |all: &[String], one: &String| all.iter().filter(|other| *other == one).count();
        for comment in here.iter().filter(|c| c.contains("ours")).chain(there.iter().filter(|c| c.contains("theirs"))) {
            let (added, kept) = (times(&here, comment).max(times(&there, comment)), times(&now, comment));
            assert!(kept >= added.max(times(&was, comment)), "{comment} {context}--- merged\n{text}");
        }
    }
    assert!(clean > partly && clean > whole, "{clean} clean, {partly} partly, {whole} whole");
}

#[test]
fn merges_of_the_corpus_with_itself_never_panic_and_never_invent() {
    let datasets = Datasets::built_in();
    let (_, mut random) = seeded();
    let texts = corpus();
    for _ in 0..rounds(3_000) {
        let pick = |random: &mut StdRng| texts.choose(random).unwrap().clone();
        let (base, ours) = (pick(&mut random), pick(&mut random));
        let theirs =
            if random.random_bool(0.5) { changed(&mut random, &format!("{ours}\n"), "t") } else { pick(&mut random) };
        match merge(&datasets, "x.yaml", Some(base.as_bytes()), ours.as_bytes(), theirs.as_bytes()) {
            Merged::Whole { reason } => assert!(!reason.contains("report"), "{base:?} {ours:?} {theirs:?}"),
            Merged::Clean(text) | Merged::Partly { text, .. } => {
                let fine = parse(&text, &Limits::default()).is_ok();
                assert!(fine || text == ours.as_bytes() || text == theirs.as_bytes(), "{base:?} {ours:?} {theirs:?}");
            }
        }
    }
}
