//! Files made to hurt: all refused or read, quickly, in little memory, without a panic.

#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]

use std::time::{Duration, Instant};

use baft_dataset::dataset::{CONFIG_FILE, Datasets};
use baft_dataset::extract::parse_file;
use baft_dataset::rows::FileState;
use baft_dataset::yaml::{ErrorKind, Limits, parse, parse_json};

/// Anything linear is far below this even unoptimised on a busy machine; anything quadratic in
/// eight size is far above.
const PATIENCE: Duration = Duration::from_secs(60);

fn bomb(levels: usize) -> String {
    let mut text = "a0: &a0 [x, x, x, x, x, x, x, x, x]\n".to_owned();
    for level in 1..levels {
        let below = format!("*a{}", level - 1);
        text.push_str(&format!("a{level}: &a{level} [{}]\n", [below.as_str(); 9].join(", ")));
    }
    text
}

/// Name, text, and the expected kind of refusal.
fn cases() -> Vec<(&'static str, Vec<u8>, Option<ErrorKind>)> {
    let size = 1 << 20;
    let fill = |piece: &str| piece.repeat(size / piece.len()).into_bytes();
    let nested = |open: &str, n: usize| open.repeat(n).into_bytes();
    let blocks: String = (0..20_000).map(|depth| format!("{}- \n", " ".repeat(depth.min(400) * 2))).collect();
    let mappings: String = (0..1_000).map(|depth| format!("{}a:\n", " ".repeat(depth))).collect();
    let deep_aliases: String = (0..900)
        .map(|i| match i {
            0 => "k0: &a0 [[[[[[[[[[1]]]]]]]]]]\n".to_owned(),
            _ => format!("k{i}: &a{i} [[[[[[[[[[*a{}]]]]]]]]]]\n", i - 1),
        })
        .collect();
    use ErrorKind::{Encoding, Limit, Syntax};
    vec![
        ("20,000 open brackets", nested("[", 20_000), Some(Limit)),
        ("a MiB of open brackets", fill("["), Some(Limit)),
        ("a MiB of open braces", fill("{a: "), Some(Limit)),
        ("20,000 nested dashes on one line", nested("- ", 20_000), Some(Limit)),
        ("20,000 question marks on one line", nested("? ", 20_000), Some(Limit)),
        ("nested block lists", blocks.into_bytes(), Some(Limit)),
        ("nested block mappings", mappings.into_bytes(), Some(Limit)),
        ("billion laughs", bomb(12).into_bytes(), Some(Limit)),
        ("aliases that add up to depth", deep_aliases.into_bytes(), Some(Limit)),
        (
            "aliases that add up to text",
            format!("a: &a '{}'\nb: [{}]\n", "x".repeat(1 << 20), "*a, ".repeat(900)).into_bytes(),
            Some(Limit),
        ),
        ("10,000 aliases", format!("a: &a 1\nb: [{}]\n", "*a, ".repeat(10_000)).into_bytes(), Some(Limit)),
        ("a value that contains itself", b"a: &a {b: [*a]}".to_vec(), Some(Syntax)),
        ("64 MiB of text", vec![b'x'; 64 << 20], Some(Limit)),
        ("an integer of 5,000 digits", format!("a: {}", "7".repeat(5_000)).into_bytes(), Some(ErrorKind::Value)),
        (
            "an integer of 4 million octal digits",
            format!("a: 0{}", "7".repeat(4 << 20)).into_bytes(),
            Some(ErrorKind::Value),
        ),
        (
            "a sexagesimal of a million parts",
            format!("a: 1{}", ":59".repeat(1 << 20)).into_bytes(),
            Some(ErrorKind::Value),
        ),
        (
            "a sexagesimal float of a million parts",
            format!("a: 1{}.5", ":59".repeat(1 << 20)).into_bytes(),
            Some(ErrorKind::Value),
        ),
        ("two million list items", fill("- a\n"), Some(Limit)),
        ("two million flow items", [b"[".to_vec(), fill("a,"), b"]".to_vec()].concat()[..size].to_vec(), Some(Limit)),
        ("a MiB of spaces", fill(" "), None),
        ("a MiB of line breaks", fill("\n"), None),
        ("a MiB of comments", fill("# c\n"), None),
        ("a MiB of carriage returns in a text", [b"'".to_vec(), vec![b'\r'; size - 2], b"'".to_vec()].concat(), None),
        ("a MiB of tabs", fill("\t"), Some(Syntax)),
        ("a MiB of exclamation marks", fill("!"), Some(ErrorKind::Value)),
        ("a MiB of ampersands", fill("&a "), Some(Syntax)),
        ("a MiB of tags", fill("!!str "), Some(Syntax)),
        ("a MiB of quotes", fill("''"), None),
        ("a MiB of open quotes", fill("\""), Some(Syntax)),
        ("a MiB of backslashes", fill("\"\\\\"), Some(Syntax)),
        ("a MiB of percent signs", fill("%"), Some(Syntax)),
        ("a MiB of directives", fill("%A b\n"), Some(Syntax)),
        ("a MiB of document ends", fill("...\n"), Some(Syntax)),
        ("one plain text of a MiB", fill("word "), None),
        ("one plain text of a MiB on many lines", fill("word\n"), None),
        ("one folded text of a MiB", [b"a: >\n".to_vec(), fill("  word\n\n")].concat()[..size].to_vec(), None),
        ("one line of Persian, a MiB", fill("متن "), None),
        ("a key of a MiB", [vec![b'k'; size - 3], b": v".to_vec()].concat(), Some(Syntax)),
        (
            "a mapping of 100,000 keys",
            (0..100_000).map(|i| format!("k{i}: {i}\n")).collect::<String>().into_bytes(),
            None,
        ),
        ("a mapping of 100,000 equal keys", "k: no\n".repeat(100_000).into_bytes(), None),
        ("unicode line breaks", fill("a\u{2028}"), None),
        ("a lone continuation byte", b"a: \x80".to_vec(), Some(Encoding)),
        ("an overlong null", b"a: \xC0\x80".to_vec(), Some(Encoding)),
        ("a null byte", b"a: \0".to_vec(), Some(Encoding)),
        ("UTF-16", b"\xFF\xFEa\0:\0 \0b\0".to_vec(), Some(Encoding)),
    ]
}

#[test]
fn hostile_yaml_is_read_or_refused_in_time_and_memory() {
    let cases = cases();
    let before = peak_memory();
    for (name, bytes, expected) in &cases {
        let start = Instant::now();
        let result = parse(bytes, &Limits::default());
        let took = start.elapsed();
        let got = result.as_ref().err().map(|error| error.kind);
        assert_eq!(got, *expected, "{name}: {:?}", result.err());
        assert!(took < PATIENCE, "{name} took {took:?}");
    }
    if let (Some(before), Some(after)) = (before, peak_memory()) {
        let grown = (after - before) >> 10;
        assert!(grown < 100, "memory grew by {grown} MiB");
    }
}

#[test]
fn hostile_json_is_read_or_refused_in_time() {
    for (name, text, expected) in [
        ("brackets", "[".repeat(8 << 20), Some(ErrorKind::Limit)),
        ("braces", "{\"a\":".repeat(1 << 20), Some(ErrorKind::Limit)),
        ("items", format!("[{}1]", "1,".repeat(1 << 20)), Some(ErrorKind::Limit)),
        ("one line", format!("[{}1]", "\"متن\",".repeat(100_000)), None),
        ("digits", "7".repeat(1 << 20), Some(ErrorKind::Value)),
        ("escapes", format!("\"{}\"", "\\u0041".repeat(1 << 20)), None),
        ("half a pair", "\"\\ud83d\"".to_owned(), Some(ErrorKind::Value)),
        ("trailing", "1 2".to_owned(), Some(ErrorKind::Syntax)),
        ("nothing", String::new(), Some(ErrorKind::Syntax)),
        ("a number that only starts", "-".to_owned(), Some(ErrorKind::Syntax)),
        ("an escape that only starts", "\"\\u00".to_owned(), Some(ErrorKind::Syntax)),
    ] {
        let start = Instant::now();
        let result = parse_json(text.as_bytes(), &Limits::default());
        assert_eq!(result.as_ref().err().map(|error| error.kind), expected, "{name}: {:?}", result.err());
        assert!(start.elapsed() < PATIENCE, "{name}");
    }
}

#[test]
fn random_bytes_never_panic_in_any_format() {
    let declaration = ["yaml", "json", "markdown"].map(|format| {
        let kind = if format == "markdown" { "headings" } else { "/sections" };
        format!(
            "[[dataset]]\nname = \"{format}\"\nfiles = [\"*.{format}\"]\nformat = \"{format}\"\nkind = \"document\"\n\
             id = [\"id\", \"@stem\"]\nsections = \"{kind}\"\n[dataset.columns]\nx = \"integer\"\n"
        )
    });
    let datasets = Datasets::parse(CONFIG_FILE, &format!("version = 1\n{}", declaration.concat())).unwrap();
    let seeds: [&[u8]; 4] = [
        "id: 1\nx: [a, 'b', \"c\\n\"]\nsections:\n- title: «t»\n  content: |\n    Obs 1\n".as_bytes(),
        br#"{"id": "a", "x": [1, 2.5e3, "\u00e9"], "sections": [{"title": "t"}]}"#,
        "---\nid: a\n---\ntext\n# One\n```\n# no\n```\n## Two ##\n".as_bytes(),
        b"&a b: *a\n<<: {c: d}\n? [e]\n: !!int 5\n%TAG",
    ];
    let mut state = 42_u64;
    let mut random = move |below: usize| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        usize::try_from(state % below as u64).unwrap()
    };
    for round in 0..6_000 {
        let mut bytes = seeds[round % seeds.len()].to_vec();
        for _ in 0..=random(6) {
            let at = random(bytes.len() + 1);
            match random(4) {
                0 => bytes.insert(at, u8::try_from(random(256)).unwrap()),
                1 => bytes.truncate(at),
                2 => drop(bytes.drain(at..(at + random(4)).min(bytes.len()))),
                _ => {
                    let from = random(bytes.len() + 1);
                    let copy = bytes[from..(from + 9).min(bytes.len())].to_vec();
                    drop(bytes.splice(at..at, copy));
                }
            }
        }
        for dataset in &datasets.all {
            let path = format!("f.{}", dataset.id);
            let file = parse_file(&path, &bytes, dataset, None);
            assert!(file.issues.iter().all(|issue| issue.code != "internal"), "{bytes:?}");
            if file.state == FileState::Unparsable {
                assert_eq!(file.issues.len(), 1);
            }
        }
    }
}

/// Peak resident memory in KiB, where the system says it.
fn peak_memory() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find(|line| line.starts_with("VmHWM:"))?;
    line.split_whitespace().nth(1)?.parse().ok()
}
