//! Declarations: the documented example does what the document says, and mistakes are named.

#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]

use std::collections::BTreeMap;

use baft_dataset::dataset::{CONFIG_FILE, ColumnType, Datasets};
use baft_dataset::extract::parse_file;
use baft_dataset::rows::{FileState, ParsedFile, TypedValue};
use baft_dataset::schema::Schema;

const DOCUMENT: &str = include_str!("../../../docs/datasets.md");

/// Fenced blocks that have a name: "```yaml recipes/bread.yaml".
fn blocks(document: &str) -> BTreeMap<String, String> {
    let mut blocks = BTreeMap::new();
    let mut open: Option<(String, String)> = None;
    for line in document.lines() {
        match (&mut open, line.strip_prefix("```")) {
            (None, Some(info)) => {
                let name = info.split_once(' ').map_or("", |(_, name)| name);
                open = Some((name.to_owned(), String::new()));
            }
            (Some(_), Some("")) => {
                let (name, text) = open.take().unwrap();
                blocks.insert(name, text);
            }
            (Some((_, text)), _) => {
                text.push_str(line);
                text.push('\n');
            }
            (None, None) => {}
        }
    }
    blocks
}

fn documented() -> (BTreeMap<String, String>, BTreeMap<String, ParsedFile>) {
    let blocks = blocks(DOCUMENT);
    let datasets = Datasets::parse(CONFIG_FILE, &blocks[CONFIG_FILE]).unwrap();
    let mut files = BTreeMap::new();
    for (path, text) in &blocks {
        if let Some(dataset) = datasets.for_path(path) {
            let schema = dataset.schema.as_ref().map(|path| Schema::compile(path, blocks[path].as_bytes()).unwrap());
            files.insert(path.clone(), parse_file(path, text.as_bytes(), dataset, schema.as_ref()));
        }
    }
    (blocks, files)
}

#[test]
fn the_documented_example_gives_the_documented_rows_and_findings() {
    let (blocks, files) = documented();
    let mut rows: Vec<String> = Vec::new();
    for path in ["recipes/bread.yaml", "suppliers.json", "notes/sour.md"] {
        for row in &files[path].entities {
            rows.push(format!("{} {} {}", row.type_name, row.id, row.title));
        }
    }
    let words = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
    let expected: Vec<String> = blocks["rows"].lines().map(words).collect();
    assert_eq!(rows, expected);

    let findings: Vec<String> = files
        .values()
        .flat_map(|file| &file.issues)
        .map(|issue| format!("{}:{}:{} {} {}", issue.path, issue.line, issue.col, issue.severity.as_str(), issue.code))
        .collect();
    assert_eq!(findings, blocks["findings"].lines().collect::<Vec<_>>());
    assert_eq!(files["recipes/bread.yaml"].state, FileState::Partial { nameless: 1 });
}

#[test]
fn the_documented_example_fills_typed_columns_mentions_and_sections() {
    let (_, files) = documented();
    let recipes = &files["recipes/bread.yaml"].entities;
    assert_eq!(
        recipes[0].typed,
        [
            TypedValue::Text("Barbari".into()),
            TypedValue::Integer(260),
            TypedValue::TextList(vec!["bread".into(), "flat".into()]),
            TypedValue::Records(vec![
                vec![Some("knead".into()), Some("10".into())],
                vec![Some("rest".into()), Some("90".into())],
            ]),
            TypedValue::Date("2026-03-20".into()),
        ]
    );
    assert_eq!(recipes[0].extra.as_deref(), Some(r#"{"season": "all year", "flour": "from SUP-MILL"}"#));
    assert_eq!(recipes[0].tags, "bread flat all year");
    assert_eq!(recipes[0].edges[0].target_id, "SUP-MILL");
    assert!(recipes[0].schema_valid && !recipes[1].schema_valid);
    assert_eq!(recipes[1].typed[1], TypedValue::Null);
    assert_eq!(
        recipes[1].extra.as_deref(),
        Some(r#"{"oven_celsius": "very hot", "note": "Same dough as Recipe 7, wetter."}"#)
    );
    assert_eq!(recipes[1].edges[0].target_id, "Recipe-7");
    assert_eq!(recipes[1].aliases, ["Recipe 12", "Recipe 012", "Recipe-012"]);

    let note = &files["notes/sour.md"];
    assert_eq!(note.entities[0].updated_own.as_deref(), Some("2026-05-01"));
    assert_eq!(note.entities[0].status, "current");
    assert!(note.entities[0].content.ends_with(r#"The fridge.\n", "id": "sour"}"#), "{}", note.entities[0].content);
    let sections: Vec<_> = note
        .sections
        .iter()
        .map(|s| (s.title.as_str(), s.level, s.depth, s.line_start, s.parent_pointer.as_deref(), s.content.as_str()))
        .collect();
    assert_eq!(
        sections,
        [
            ("", None, 1, 6, None, "Feed it daily."),
            ("In summer", Some(1), 1, 8, None, "Less water. See Recipe #7."),
            ("On hot days", Some(2), 2, 12, Some("/body/1"), "The fridge."),
        ]
    );

    assert_eq!(files["suppliers.json"].entities[0].line_start, 2);
    assert_eq!(
        files["suppliers.json"].entities[0].content,
        r#"{"code": "SUP-MILL", "company": "آسیاب بالا", "since": 1998}"#
    );
}

#[test]
fn the_built_in_declaration_knows_the_nine_datasets() {
    let datasets = Datasets::built_in();
    let names: Vec<_> = datasets.all.iter().map(|dataset| dataset.id.as_str()).collect();
    assert_eq!(
        names,
        ["variables", "observations", "gaps", "scenarios", "traps", "modules", "sessions", "briefs", "content"]
    );
    let of = |path| datasets.for_path(path).map(|dataset| dataset.id.as_str());
    assert_eq!(of("data/gaps.yaml"), Some("gaps"));
    assert_eq!(of("data/briefs/b01.yaml"), Some("briefs"));
    assert_eq!(of("data/content/itb_a.yaml"), Some("content"));
    assert_eq!(of("data/index_meta.yaml"), None);
    assert_eq!(of("data/briefs/old/b01.yaml"), None);
    assert_eq!(of("schemas/gap.schema.json"), None);
    assert_eq!(datasets.get("briefs").unwrap().type_name.as_deref(), Some("brief"));
    assert_eq!(datasets.get("content").unwrap().type_name, None);
    let columns = &datasets.get("scenarios").unwrap().columns;
    assert_eq!(columns[3].name, "prob_low");
    assert_eq!((columns[3].source.as_str(), &columns[3].column_type), ("probability_current", &ColumnType::PercentLow));
}

#[test]
fn mistakes_in_a_declaration_are_one_line_with_the_place_and_what_is_allowed() {
    let head = "version = 1\n[[dataset]]\nname = \"a\"\nfiles = [\"a.yaml\"]\n";
    for (text, expected) in [
        ("", "baft-import.toml:1: the declaration must start with: version = 1"),
        ("version = 2\n", "baft-import.toml:1: \"version\" of the declaration must be 1"),
        ("version = 1\n", "must have at least one [[dataset]]"),
        (
            "version = 1\nversions = 2\n[[dataset]]",
            "baft-import.toml:2: unknown key \"versions\" in the declaration; allowed: version, ignore, dataset",
        ),
        ("version = \n", "baft-import.toml:1: this is not TOML"),
        ("version = 1\n[[dataset]]\nfiles = []", "baft-import.toml:2: "),
        ("version = 1\n[[dataset]]\nname = \"A b\"", "baft-import.toml:3: \"name\" of "),
        ("version = 1\n[[dataset]]\nname = \"entities\"", "cannot have this name"),
        ("version = 1\n[[dataset]]\nname = \"a\"", "needs files, for example"),
        (
            "version = 1\n[[dataset]]\nname = \"a\"\nfiles = \"x\"",
            "baft-import.toml:4: \"files\" of dataset \"a\" must be a list of texts",
        ),
        ("version = 1\n[[dataset]]\nname = \"a\"\nfiles = [\"{a\"]", "has a pattern that cannot be used"),
        (
            &format!("{head}prefx = \"x\""),
            "baft-import.toml:5: unknown key \"prefx\" in dataset \"a\"; allowed: name, files, format",
        ),
        (&format!("{head}format = \"xml\""), "must be one of: yaml, json, markdown"),
        (&format!("{head}list = \"entries\""), "must be a JSON pointer"),
        (&format!("{head}kind = \"document\"\nlist = \"/x\""), "so it cannot have a list"),
        (&format!("{head}entities = false\ntype = \"x\""), "so it cannot have a type"),
        (&format!("{head}id = []"), "needs at least one field name"),
        (&format!("{head}mentions = [{{ pattern = '(x', id = \"{{1}}\" }}]"), "baft-import.toml:5: "),
        (&format!("{head}mentions = [{{ pattern = 'x' }}]"), "needs pattern and id"),
        (&format!("{head}[dataset.columns]\nid = \"text\""), "baft-import.toml:6: \"id\" of "),
        (&format!("{head}[dataset.columns]\nx = \"int\""), "baft-import.toml:6: \"x\" of "),
        (&format!("{head}[dataset.columns]\nx = {{ type = \"records\" }}"), "needs fields"),
        (&format!("{head}[dataset.columns]\nx = {{ type = \"text\", form = \"y\" }}"), "unknown key \"form\""),
        (
            &format!("{head}[[dataset]]\nname = \"a\"\nfiles = [\"b\"]"),
            "baft-import.toml:5: the dataset \"a\" is declared twice",
        ),
    ] {
        let error = Datasets::parse(CONFIG_FILE, text).unwrap_err().to_string();
        assert!(error.contains(expected), "{text:?}\n  got:    {error}\n  wanted: {expected}");
        assert_eq!(error.lines().count(), 1, "{error}");
    }
}

#[test]
fn a_change_of_the_declaration_changes_the_fingerprint_and_a_comment_does_not() {
    let text = "version = 1\n[[dataset]]\nname = \"a\"\nfiles = [\"a.yaml\"]\n";
    let print = |text: &str| Datasets::parse(CONFIG_FILE, text).unwrap().fingerprint();
    assert_eq!(print(text), print(&format!("# hello\n{text}")));
    assert_ne!(print(text), print(&format!("{text}prefix = \"A-\"\n")));
    assert_ne!(print(text), print(&text.replace("a.yaml", "b.yaml")));
    assert_ne!(print(text), print(&format!("{text}[dataset.columns]\nx = \"text\"\n")));
}
