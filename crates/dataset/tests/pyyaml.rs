//! The YAML reader against PyYAML: a committed corpus with committed results, and, where Python
//! with PyYAML is at hand, the same corpus and thousands of broken texts judged by PyYAML itself.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stderr)]

mod common;

use std::fmt::Write as _;

use baft_dataset::pyjson;
use baft_dataset::yaml::{Limits, parse};

const CORPUS: &str = include_str!("golden/yaml_corpus.jsonl");
const VALUES: &str = include_str!("golden/yaml_values.jsonl");

/// `["ok", json]` or `["error"]`, like the script, and whether a date was kept that Python refuses.
fn read(text: &str) -> (serde_json::Value, bool) {
    match parse(text.as_bytes(), &Limits::default()) {
        Err(error) => {
            assert!(error.line >= 1 && error.col >= 1 && !error.message.is_empty());
            (serde_json::json!(["error"]), false)
        }
        Ok(document) => {
            let mut json = String::new();
            match document.root() {
                Some(root) => pyjson::dump(&document, root, &mut json),
                None => json.push_str("null"),
            }
            let kept_date = document.notes().iter().any(|note| note.code == "invalid-date");
            (serde_json::json!(["ok", json]), kept_date)
        }
    }
}

fn lines(text: &str) -> Vec<serde_json::Value> {
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn differences(cases: &[serde_json::Value], expected: &[serde_json::Value]) -> String {
    assert_eq!(cases.len(), expected.len());
    let mut report = String::new();
    for (case, expected) in cases.iter().zip(expected) {
        let (got, kept_date) = read(case.as_str().unwrap());
        if got != *expected && !(kept_date && expected[0] == "error") {
            writeln!(report, "{case}\n  PyYAML: {expected}\n  ours:   {got}").unwrap();
        }
    }
    report
}

#[test]
fn the_corpus_reads_as_recorded() {
    assert_eq!(differences(&lines(CORPUS), &lines(VALUES)), "");
}

#[test]
fn the_corpus_reads_as_pyyaml_reads_it_now() {
    let Some(python) = common::python_with_yaml() else { return };
    let cases = lines(CORPUS);
    assert_eq!(differences(&cases, &common::yaml_values(&python, &cases)), "");
}

#[test]
fn broken_texts_read_as_pyyaml_reads_them() {
    let Some(python) = common::python_with_yaml() else { return };
    let cases = broken_texts(4_000);
    let expected = common::yaml_values(&python, &cases);
    let accepted = expected.iter().filter(|result| result[0] == "ok").count();
    assert!(accepted > 500, "only {accepted} texts are valid, the test proves little");
    assert_eq!(differences(&cases, &expected), "");
}

/// Texts with random insertions, deletions and copies. Always the same ones, so that a failure
/// can be repeated.
fn broken_texts(count: usize) -> Vec<serde_json::Value> {
    const SEEDS: [&str; 12] = [
        "a: b\nc:\n  - d\n  - e: f\n    g: 'h'\n",
        "a: [b, c, {d: e}]\nf: {g: h, i: [j]}\n",
        "a: |\n  x\n  y\n\nb: >-\n  z\n   w\n  v\n",
        "- \"a\\n b\"\n- 'it''s\n  so'\n- plain\n  two\n",
        "a: &x b\nb: &y [1]\nc: *y\n",
        "? a\n: b\n? [c]\n: d\n",
        "%YAML 1.1\n---\na: !!str b\n...\n",
        "a: 012\nb: 0x1F\nc: 1_000\nd: 1:30\ne: 1.5e+3\nf: .inf\ng: 2026-02-16\ni: yes\nj: ~\n",
        "1: a\ntrue: b\n1.0: c\nnull: d\n",
        "a: 'x\n\n  y\n\n\n  z'\nb: \"q\\\n   r\\x41 \\u00e9\"\n",
        "a: >+\n\n x\n\n  y\n z\n\n\nb: |1-\n  k\n",
        "a: &a {x: 1, y: 2}\nb:\n  <<: *a\n  y: 3\nc: {<<: [*a, {z: 1}], x: 0}\n",
    ];
    const PIECES: [&str; 54] = [
        ":", ": ", "-", "- ", "\n", "  ", " ", "\t", "#", " #", "[", "]", "{", "}", ",", "'", "\"", "|", ">", "&a ",
        "*a", "!", "!!str ", "!!int ", "!!float ", "? ", "---", "...", "--- ", "%", "\u{85}", "\u{2028}", "\u{feff}",
        "\\", "a", "1", "0", "_", "e+1", ".", "+", "@", "`", "\r\n", "\r", "\u{6cc}", "|2\n", "\n\n", "<<", "=", "~",
        "no", "12:30:45", "\u{7}",
    ];
    let mut state = 0x9E37_79B9_7F4A_7C15_u64;
    let mut random = move |below: usize| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        usize::try_from(state % below as u64).unwrap()
    };
    let mut texts = Vec::with_capacity(count);
    while texts.len() < count {
        let mut text: Vec<char> = SEEDS[random(SEEDS.len())].chars().collect();
        for _ in 0..=random(4) {
            let at = random(text.len() + 1);
            match random(10) {
                0..6 => drop(text.splice(at..at, PIECES[random(PIECES.len())].chars())),
                6..8 => drop(text.drain(at..(at + 1 + random(3)).min(text.len()))),
                _ => {
                    let from = random(text.len() + 1);
                    let copy = text[from..(from + 5).min(text.len())].to_vec();
                    drop(text.splice(at..at, copy));
                }
            }
        }
        let text: String = text.into_iter().collect();
        // A tag on the value of '<<' is looked at by PyYAML only after merging, and by us before.
        if !(text.contains("<<") && text.contains('!')) {
            texts.push(serde_json::Value::String(text));
        }
    }
    texts
}

#[test]
fn what_python_cannot_repeat_or_json_cannot_hold_is_refused() {
    for (text, hint) in [
        ("a: !!set {b, c}", "does not fit"),
        ("a: \"\\ud83d\\ude00\"", "8 digits"),
        ("&a [*a]", "never end"),
        ("{&a [b]: c}", "cannot be a key"),
        ("a: b\n---\nc: d", "one file holds one document"),
        ("a: =", "quotes"),
        ("a: !!python/object:os.system x", "tag"),
    ] {
        let error = parse(text.as_bytes(), &Limits::default()).unwrap_err();
        assert!(error.message.contains(hint), "{text}: {error}");
    }
    for bytes in [&b"\xFF\xFEa\0"[..], b"\xFE\xFF\0a"] {
        assert!(parse(bytes, &Limits::default()).unwrap_err().message.contains("UTF-16"));
    }
    let error = parse("ok: 1\nbad: «\u{7}»".as_bytes(), &Limits::default()).unwrap_err();
    assert_eq!((error.line, error.col), (2, 7));
    let error = parse(b"ok: 1\nbad: \xC3\x28", &Limits::default()).unwrap_err();
    assert_eq!((error.line, error.col), (2, 6));
}

#[test]
fn an_unquoted_date_that_does_not_exist_stays_text_and_is_reported() {
    let document = parse(b"date: 2026-02-30", &Limits::default()).unwrap();
    let mut json = String::new();
    pyjson::dump(&document, document.root().unwrap(), &mut json);
    assert_eq!(json, r#"{"date": "2026-02-30"}"#);
    let note = &document.notes()[0];
    assert_eq!((note.code, note.at.line, note.at.col), ("invalid-date", 1, 7));
}

#[test]
fn errors_say_where_and_what_to_do() {
    for (text, line, col, hint) in [
        ("a: 1\nb: x: y\n", 2, 5, "put the value in quotes"),
        ("a: 1\nb\nc: 2\n", 2, 1, "no ':' follows"),
        ("a:\n\tb: 1\n", 2, 1, "spaces"),
        ("a: 'x\nb: 1\n", 1, 4, "closing quote"),
        ("a: [1, 2\nb: 3\n", 2, 2, "','"),
        ("a: @x\n", 1, 4, "quotes"),
        ("a: *x\n", 1, 4, "no anchor"),
        ("a: 1\n b: 2\n", 2, 3, "quotes"),
        ("a: \"\\q\"\n", 1, 5, "double the backslash"),
        ("متن: «ب»\nم: !x y\n", 2, 4, "tag"),
    ] {
        let error = parse(text.as_bytes(), &Limits::default()).unwrap_err();
        assert_eq!((error.line, error.col), (line, col), "{text:?}: {error}");
        assert!(error.message.contains(hint), "{text:?}: {error}");
    }
}

#[test]
fn a_duplicate_key_is_noted_with_both_lines_and_a_merged_one_is_not() {
    let text = b"base: &b {x: 1}\nrow:\n  <<: *b\n  x: 2\n  y: 1\n  z: 0\n  y: 2\n";
    let document = parse(text, &Limits::default()).unwrap();
    let notes: Vec<_> = document.notes().iter().map(|note| (note.at.line, &note.message)).collect();
    assert_eq!(notes.len(), 1, "{notes:?}");
    assert_eq!(notes[0].0, 7);
    assert!(notes[0].1.contains("'y'") && notes[0].1.contains("line 5"), "{}", notes[0].1);
}
