//! The engine against real git repositories and real DuckDB files.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

mod support;

use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use baft_duckdb_importer::config::{Follow, Source};
use baft_duckdb_importer::engine::{Engine, verify};
use baft_duckdb_importer::{ImporterError, Outcome, Report, Request};
use support::{Clone, ask, differences, list};

const GAPS: &str = "version: '1'
entries:
- id: G01-01
  description: Water rights in the upper basin
  status: OPEN
  cross_refs: [Obs 001]
- id: G01-02
  description: Wells
  status: FILLED
";
const OBSERVATIONS: &str = "entries:
- id: 1
  title: The dam
  diagnosis: See G01-01 and G09-09
- id: 2
  title: The canal
  diagnosis: نامه‌ی آب
";
const BRIEF: &str = "brief_id: B01
title: On water
sections:
- id: '1'
  title: Intro
  content: Water is scarce
  subsections:
  - id: '1.1'
    title: Detail
    content: Very scarce
";

fn sample() -> Clone {
    let clone = Clone::new();
    clone.write("data/gaps.yaml", GAPS);
    clone.write("data/observations.yaml", OBSERVATIONS);
    clone.write("data/briefs/b01.yaml", BRIEF);
    clone.commit("first");
    clone
}

fn import(engine: &mut Engine) -> Report {
    let report = engine.import(&Request::default()).unwrap();
    engine.tidy();
    report
}

/// Imports, and compares with a rebuild.
fn import_and_compare(clone: &Clone, engine: &mut Engine, settings: &baft_duckdb_importer::Settings) -> Report {
    let report = import(engine);
    let mut beside = settings.clone();
    beside.publish.dir = clone.workspace("beside");
    let mut rebuilt = Engine::open(beside).unwrap();
    rebuilt.import(&Request { full: true, commit: None }).unwrap();
    let differences = differences(&settings.publish.dir.join("itp.duckdb"), &clone.db("beside"));
    assert!(differences.is_empty(), "{differences:#?}");
    report
}

#[test]
fn a_changed_entity_is_one_changed_row() {
    let clone = sample();
    let settings = clone.commits("db");
    let mut engine = Engine::open(settings.clone()).unwrap();
    let first = import(&mut engine);
    assert_eq!((first.outcome, first.counts.inserted), (Outcome::Rebuilt, 5));
    assert_eq!(import(&mut engine).outcome, Outcome::Unchanged);

    clone.write("data/gaps.yaml", &GAPS.replace("Wells", "Deep wells"));
    let commit = clone.commit("second");
    let report = import_and_compare(&clone, &mut engine, &settings);
    assert_eq!((report.outcome, report.counts.updated, report.counts.unchanged), (Outcome::Incremental, 1, 4));
    let db = clone.db("db");
    assert_eq!(ask(&db, "SELECT description FROM gaps WHERE id = 'G01-02'"), "Deep wells");
    assert_eq!(ask(&db, "SELECT commit_oid FROM entities WHERE id = 'G01-02'"), commit);
    assert_ne!(ask(&db, "SELECT commit_oid FROM entities WHERE id = 'G01-01'"), commit);
    assert_eq!(
        list(&db, "SELECT op || ' ' || id || ' ' || CAST(fields AS VARCHAR) FROM _changes"),
        ["update G01-02 [description]"]
    );
    assert_eq!(ask(&db, "SELECT updated_date FROM entities WHERE id = 'G01-02'"), "2023-11-16");
    assert_eq!(ask(&db, "SELECT updated_date FROM entities WHERE id = 'G01-01'"), "2023-11-15");
}

#[test]
fn an_edit_above_moves_lines_without_changing_rows() {
    let clone = sample();
    let settings = clone.commits("db");
    let mut engine = Engine::open(settings.clone()).unwrap();
    import(&mut engine);
    clone.write("data/gaps.yaml", &format!("# a comment\n{GAPS}"));
    clone.write("data/briefs/b01.yaml", &format!("# a comment\n{BRIEF}"));
    clone.commit("second");
    let report = import_and_compare(&clone, &mut engine, &settings);
    assert_eq!((report.outcome, report.counts.updated), (Outcome::Incremental, 0));
    assert_eq!(ask(&clone.db("db"), "SELECT count(*) FROM _changes"), "0");
}

#[test]
fn references_are_resolved_again_when_what_they_name_comes_and_goes() {
    let clone = sample();
    let settings = clone.commits("db");
    let mut engine = Engine::open(settings.clone()).unwrap();
    import(&mut engine);
    let db = clone.db("db");
    let edges = "SELECT src_id || '>' || dst_id || ' ' || resolved FROM edges ORDER BY 1";
    assert_eq!(list(&db, edges), ["G01-01>Obs-1 true", "Obs-1>G01-01 true", "Obs-1>G09-09 false"]);
    clone.write("data/gaps.yaml", &format!("{GAPS}- id: G09-09\n  description: New\n"));
    clone.commit("it comes");
    import_and_compare(&clone, &mut engine, &settings);
    assert_eq!(list(&db, edges), ["G01-01>Obs-1 true", "Obs-1>G01-01 true", "Obs-1>G09-09 true"]);
    clone.write("data/gaps.yaml", "entries:\n- id: G09-09\n  description: New\n");
    clone.commit("others go");
    let report = import_and_compare(&clone, &mut engine, &settings);
    assert_eq!(report.counts.deleted, 2);
    assert_eq!(list(&db, edges), ["Obs-1>G01-01 false", "Obs-1>G09-09 true"]);
}

#[test]
fn a_file_that_cannot_be_read_keeps_its_last_good_rows() {
    let clone = sample();
    let settings = clone.commits("db");
    let mut engine = Engine::open(settings.clone()).unwrap();
    import(&mut engine);
    clone.write("data/gaps.yaml", &format!("{GAPS}- id: [G01-03\n"));
    clone.write("data/observations.yaml", &OBSERVATIONS.replace("The dam", "The high dam"));
    let broken = clone.commit("one good, one bad");
    let report = import_and_compare(&clone, &mut engine, &settings);
    assert_eq!((report.counts.updated, report.counts.errors), (1, 1));
    let db = clone.db("db");
    assert_eq!(list(&db, "SELECT id FROM entities WHERE stale ORDER BY id"), ["G01-01", "G01-02"]);
    assert_eq!(
        ask(
            &db,
            "SELECT path || ' ' || (line > 8) || ' ' || (commit_oid = '{broken}') FROM _errors"
                .replace("{broken}", &broken)
                .as_str()
        ),
        "data/gaps.yaml true true"
    );
    assert_eq!(ask(&db, "SELECT state FROM _files WHERE path = 'data/gaps.yaml'"), "quarantined");
    let quarantined = engine.current().unwrap().manifest.quarantined;
    assert_eq!((quarantined.len(), quarantined[0].new), (1, true));

    // Another bad version on top, then a good one.
    clone.write("data/gaps.yaml", &format!("{GAPS}- id: [G01-04\n"));
    clone.commit("still bad");
    import_and_compare(&clone, &mut engine, &settings);
    clone.write("data/gaps.yaml", &format!("{GAPS}- id: G01-03\n  description: Mended\n"));
    clone.commit("mended");
    import_and_compare(&clone, &mut engine, &settings);
    assert_eq!(ask(&db, "SELECT count(*) FROM entities WHERE stale"), "0");
    assert_eq!(ask(&db, "SELECT count(*) FROM _errors"), "0");
}

#[test]
fn an_entity_without_an_id_hides_no_other_and_drops_none() {
    let clone = sample();
    let settings = clone.commits("db");
    let mut engine = Engine::open(settings.clone()).unwrap();
    import(&mut engine);
    clone.write(
        "data/gaps.yaml",
        &GAPS.replace("- id: G01-02\n  description: Wells", "- description: Wells").replace("upper", "lower"),
    );
    clone.commit("lost an id");
    import_and_compare(&clone, &mut engine, &settings);
    let db = clone.db("db");
    assert_eq!(
        list(&db, "SELECT id || ' ' || stale FROM entities WHERE type = 'gaps' ORDER BY id"),
        ["G01-01 false", "G01-02 true"]
    );
    assert_eq!(ask(&db, "SELECT state FROM _files WHERE path = 'data/gaps.yaml'"), "partial");
}

#[test]
fn an_id_in_two_files_stays_with_the_first_until_that_lets_it_go() {
    let clone = sample();
    let settings = clone.commits("db");
    let mut engine = Engine::open(settings.clone()).unwrap();
    import(&mut engine);
    let variable = "entries:\n- id: G01-01\n  name: Not a gap\n";
    clone.write("data/variables.yaml", variable);
    clone.commit("claimed twice");
    import_and_compare(&clone, &mut engine, &settings);
    let db = clone.db("db");
    let owner = "SELECT source_path FROM entities WHERE id = 'G01-01'";
    assert_eq!(ask(&db, owner), "data/gaps.yaml");
    assert_eq!(ask(&db, "SELECT path || ' ' || code FROM _errors"), "data/variables.yaml duplicate-id-elsewhere");
    clone.write("data/gaps.yaml", "entries:\n- id: G01-02\n  description: Wells\n");
    clone.commit("let go");
    import_and_compare(&clone, &mut engine, &settings);
    assert_eq!(ask(&db, owner), "data/variables.yaml");
    assert_eq!(ask(&db, "SELECT count(*) FROM _errors"), "0");
    clone.write("data/gaps.yaml", GAPS);
    clone.commit("claimed again");
    import_and_compare(&clone, &mut engine, &settings);
    assert_eq!(ask(&db, owner), "data/gaps.yaml");
}

#[test]
fn deleted_and_renamed_files_take_their_rows_along() {
    let clone = sample();
    let settings = clone.commits("db");
    let mut engine = Engine::open(settings.clone()).unwrap();
    import(&mut engine);
    clone.git(&["mv", "data/briefs/b01.yaml", "data/briefs/b02.yaml"]);
    clone.remove("data/observations.yaml");
    clone.commit("moved and removed");
    let report = import_and_compare(&clone, &mut engine, &settings);
    assert_eq!((report.counts.inserted, report.counts.deleted), (1, 3));
    let db = clone.db("db");
    assert_eq!(list(&db, "SELECT id FROM entities ORDER BY id"), ["B02", "G01-01", "G01-02"]);
    assert_eq!(ask(&db, "SELECT count(*) FROM sections WHERE source_path = 'data/briefs/b02.yaml'"), "2");
    clone.write("data/observations.yaml", OBSERVATIONS);
    clone.commit("back again");
    import_and_compare(&clone, &mut engine, &settings);
}

#[test]
fn rewritten_history_changes_dates_but_not_rows_that_are_the_same() {
    let clone = sample();
    let settings = clone.commits("db");
    let mut engine = Engine::open(settings.clone()).unwrap();
    clone.write("data/gaps.yaml", &GAPS.replace("Wells", "Old wells"));
    clone.commit("second");
    clone.write("data/gaps.yaml", &GAPS.replace("Wells", "Older wells"));
    clone.commit("third");
    import(&mut engine);
    clone.git(&["reset", "-q", "--hard", "HEAD~2"]);
    clone.write("data/gaps.yaml", &GAPS.replace("Wells", "Older wells"));
    let forced = clone.commit("another second");
    let report = import_and_compare(&clone, &mut engine, &settings);
    assert_eq!(report.counts.updated, 0);
    assert_eq!(ask(&clone.db("db"), "SELECT commit_oid FROM entities WHERE id = 'G01-02'"), forced);
}

#[test]
fn one_commit_can_be_imported_by_name() {
    let clone = sample();
    let first = clone.git(&["rev-parse", "HEAD"]);
    clone.write("data/gaps.yaml", &GAPS.replace("Wells", "Deep wells"));
    clone.commit("second");
    let mut engine = Engine::open(clone.commits("db")).unwrap();
    import(&mut engine);
    let report = engine.import(&Request { full: false, commit: Some(first.clone()) }).unwrap();
    assert_eq!(report.commit.as_deref(), Some(first.as_str()));
    assert_eq!(ask(&clone.db("db"), "SELECT description FROM gaps WHERE id = 'G01-02'"), "Wells");
    let missing = engine.import(&Request { full: false, commit: Some("f".repeat(40)) });
    assert!(matches!(missing, Err(ImporterError::Repo { .. })), "{missing:?}");
}

#[test]
fn saved_files_are_rows_marked_as_not_committed() {
    let clone = sample();
    let settings = clone.files("db");
    let mut engine = Engine::open(settings.clone()).unwrap();
    let db = clone.db("db");
    import(&mut engine);
    assert_eq!(ask(&db, "SELECT count(*) FROM entities WHERE commit_oid = 'WORKTREE'"), "0");
    clone.write("data/gaps.yaml", &GAPS.replace("Wells", "Deep wells"));
    import_and_compare(&clone, &mut engine, &settings);
    assert_eq!(list(&db, "SELECT id FROM entities WHERE commit_oid = 'WORKTREE'"), ["G01-02"]);
    let commit = clone.commit("second");
    let report = import_and_compare(&clone, &mut engine, &settings);
    assert_eq!((report.outcome, report.counts.updated), (Outcome::Incremental, 0));
    assert_eq!(ask(&db, "SELECT commit_oid FROM entities WHERE id = 'G01-02'"), commit);
    clone.write("data/new.yaml", "not: imported\n");
    assert_eq!(import(&mut engine).outcome, Outcome::Unchanged);
}

#[test]
fn a_file_that_was_saved_broken_shows_the_committed_rows() {
    let clone = sample();
    let settings = clone.files("db");
    let mut engine = Engine::open(settings.clone()).unwrap();
    import(&mut engine);
    clone.write("data/gaps.yaml", "entries: [");
    // Just saved: it may not be finished.
    assert!(matches!(engine.import(&Request::default()), Err(ImporterError::Unsettled)));
    std::thread::sleep(std::time::Duration::from_millis(300));
    import_and_compare(&clone, &mut engine, &settings);
    assert_eq!(list(&clone.db("db"), "SELECT id FROM entities WHERE stale ORDER BY id"), ["G01-01", "G01-02"]);
}

#[test]
fn a_huge_file_is_refused_alone() {
    let clone = sample();
    let settings = clone.files("db");
    let mut engine = Engine::open(settings.clone()).unwrap();
    import(&mut engine);
    let huge = std::fs::File::create(clone.path().join("data/gaps.yaml")).unwrap();
    huge.set_len(1 << 40).unwrap();
    clone.write("data/observations.yaml", &OBSERVATIONS.replace("The dam", "The new dam"));
    std::thread::sleep(std::time::Duration::from_millis(300));
    import(&mut engine);
    let db = clone.db("db");
    assert_eq!(list(&db, "SELECT id FROM entities WHERE stale ORDER BY id"), ["G01-01", "G01-02"]);
    assert_eq!(ask(&db, "SELECT title FROM entities WHERE id = 'Obs-1'"), "The new dam");
    assert!(ask(&db, "SELECT message FROM _errors WHERE path = 'data/gaps.yaml'").contains("split it"));
}

#[test]
fn a_mirror_that_is_not_there_yet_is_waited_for() {
    let clone = sample();
    let mut settings = clone.files("db");
    settings.source =
        Source::Git { repo: clone.workspace("mirror.git"), follow: Follow::Link(clone.workspace("link")) };
    let mut engine = Engine::open(settings).unwrap();
    assert!(matches!(engine.import(&Request::default()), Err(ImporterError::NoSource(_))));
}

#[test]
fn a_folder_without_git_is_imported_too() {
    let clone = sample();
    std::fs::remove_dir_all(clone.path().join(".git")).unwrap();
    let settings = clone.files("db");
    let mut engine = Engine::open(settings.clone()).unwrap();
    let report = import(&mut engine);
    assert_eq!((report.commit, report.counts.inserted), (None, 5));
    clone.write("data/gaps.yaml", &GAPS.replace("Wells", "Deep wells"));
    assert_eq!(import_and_compare(&clone, &mut engine, &settings).counts.updated, 1);
}

#[test]
fn a_restarted_importer_carries_on_where_the_last_one_was() {
    let clone = sample();
    let settings = clone.commits("db");
    let first = import(&mut Engine::open(settings.clone()).unwrap());
    let mut engine = Engine::open(settings.clone()).unwrap();
    assert_eq!(import(&mut engine).outcome, Outcome::Unchanged);
    clone.write("data/gaps.yaml", &GAPS.replace("Wells", "Deep wells"));
    clone.commit("second");
    drop(engine);
    let report = import(&mut Engine::open(settings.clone()).unwrap());
    assert_eq!(report.outcome, Outcome::Incremental);
    assert_eq!(report.generation.lineage, first.generation.lineage);
    assert_eq!(report.generation.number, 2);
}

#[test]
fn only_one_importer_publishes_in_a_folder() {
    let clone = sample();
    let _first = Engine::open(clone.commits("db")).unwrap();
    let second = Engine::open(clone.commits("db"));
    assert_eq!(second.err().map(|error| error.exit()), Some(baft_kit::Exit::TryAgain));
}

#[test]
fn a_damaged_generation_is_not_carried_on() {
    let clone = sample();
    let settings = clone.commits("db");
    let mut engine = Engine::open(settings.clone()).unwrap();
    type Damage = fn(&std::path::Path);
    let damages: [(&str, Damage); 3] = [
        ("tampered", |db| {
            let mut bytes = std::fs::read(db).unwrap();
            let middle = bytes.len() / 2;
            bytes[middle] ^= 0xff;
            make_writable(db);
            std::fs::write(db, bytes).unwrap();
        }),
        ("truncated", |db| {
            make_writable(db);
            std::fs::OpenOptions::new().write(true).open(db).unwrap().set_len(20_000).unwrap();
        }),
        ("with a log beside it", |db| std::fs::write(format!("{}.wal", db.display()), b"log").unwrap()),
    ];
    for (round, (what, damage)) in damages.iter().enumerate() {
        import(&mut engine);
        for reopened in [false, true] {
            damage(&engine.current().unwrap().db);
            if reopened {
                drop(engine);
                engine = Engine::open(settings.clone()).unwrap();
            }
            clone.write("data/gaps.yaml", &GAPS.replace("Wells", &format!("Wells {round} {reopened}")));
            clone.commit(what);
            let report = import_and_compare(&clone, &mut engine, &settings);
            assert_eq!(report.outcome, Outcome::Rebuilt, "{what}, reopened: {reopened}");
        }
    }
}

fn make_writable(db: &std::path::Path) {
    use std::os::unix::fs::PermissionsExt;
    std::fs::set_permissions(db, std::fs::Permissions::from_mode(0o644)).unwrap();
}

#[test]
fn damage_is_found_even_when_nothing_changed() {
    let clone = sample();
    let mut engine = Engine::open(clone.commits("db")).unwrap();
    import(&mut engine);
    std::fs::remove_file(engine.current().unwrap().db).unwrap();
    assert_eq!(import(&mut engine).outcome, Outcome::Rebuilt);
}

#[test]
fn a_schema_that_breaks_stays_in_effect_as_it_was() {
    let clone = sample();
    let schema = r#"{"type": "object", "properties": {"status": {"enum": ["OPEN", "FILLED"]}}}"#;
    clone.write("schemas/gap.schema.json", schema);
    clone.commit("a schema");
    let settings = clone.commits("db");
    let mut engine = Engine::open(settings.clone()).unwrap();
    import_and_compare(&clone, &mut engine, &settings);
    let db = clone.db("db");
    let invalid = "SELECT id FROM entities WHERE NOT schema_valid ORDER BY id";
    assert_eq!(list(&db, invalid), [""; 0]);
    clone.write("schemas/gap.schema.json", &schema.replace("\"FILLED\"", "\"CLOSED\""));
    clone.commit("tighter");
    import_and_compare(&clone, &mut engine, &settings);
    assert_eq!(list(&db, invalid), ["G01-02"]);
    clone.write("schemas/gap.schema.json", "{ broken");
    clone.commit("broken");
    import_and_compare(&clone, &mut engine, &settings);
    assert_eq!(list(&db, invalid), ["G01-02"]);
    assert_eq!(ask(&db, "SELECT state FROM _files WHERE kind = 'schema'"), "quarantined");
    clone.write("data/gaps.yaml", &GAPS.replace("OPEN", "UNHEARD OF"));
    clone.commit("judged by the last good one");
    import_and_compare(&clone, &mut engine, &settings);
    assert_eq!(list(&db, invalid), ["G01-01", "G01-02"]);
    clone.remove("schemas/gap.schema.json");
    clone.commit("no schema");
    import_and_compare(&clone, &mut engine, &settings);
    assert_eq!(list(&db, invalid), [""; 0]);
}

#[test]
fn a_strict_importer_keeps_the_last_valid_row() {
    let clone = sample();
    clone.write("schemas/gap.schema.json", r#"{"properties": {"status": {"enum": ["OPEN", "FILLED"]}}}"#);
    clone.commit("a schema");
    let mut settings = clone.commits("db");
    settings.strict = true;
    let mut engine = Engine::open(settings.clone()).unwrap();
    import(&mut engine);
    let row = "SELECT status || ' ' || schema_valid || ' ' || stale FROM entities WHERE id = 'G01-01'";
    clone.write("data/gaps.yaml", &GAPS.replace("OPEN", "UNHEARD OF"));
    clone.commit("invalid");
    import_and_compare(&clone, &mut engine, &settings);
    assert_eq!(ask(&clone.db("db"), row), "OPEN true true");
    clone.write("data/gaps.yaml", &GAPS.replace("OPEN", "UNHEARD OF").replace("Wells", "Deep wells"));
    clone.commit("still invalid");
    import_and_compare(&clone, &mut engine, &settings);
    assert_eq!(ask(&clone.db("db"), row), "OPEN true true");
    clone.write("data/gaps.yaml", GAPS);
    clone.commit("valid again");
    import_and_compare(&clone, &mut engine, &settings);
    assert_eq!(ask(&clone.db("db"), row), "OPEN true false");
}

#[test]
fn another_declaration_means_another_database() {
    let clone = sample();
    let settings = clone.commits("db");
    let mut engine = Engine::open(settings.clone()).unwrap();
    import(&mut engine);
    let built_in = include_str!("../../dataset/src/dataset/built_in.toml");
    clone.write("baft-import.toml", &built_in.replace("data/gaps.yaml", "data/holes.yaml"));
    clone.git(&["mv", "data/gaps.yaml", "data/holes.yaml"]);
    clone.commit("declared");
    let report = import_and_compare(&clone, &mut engine, &settings);
    assert_eq!((report.outcome, report.counts.deleted), (Outcome::Rebuilt, 0));
    assert_eq!(ask(&clone.db("db"), "SELECT source_path FROM entities WHERE id = 'G01-01'"), "data/holes.yaml");
    clone.write("baft-import.toml", "broken = [");
    clone.commit("broken");
    import_and_compare(&clone, &mut engine, &settings);
    assert_eq!(ask(&clone.db("db"), "SELECT count(*) FROM entities WHERE type = 'gaps'"), "2");
    assert_eq!(ask(&clone.db("db"), "SELECT state FROM _files WHERE kind = 'config'"), "quarantined");
}

#[test]
fn verify_finds_nothing_when_all_is_well() {
    let clone = sample();
    let settings = clone.commits("db");
    let mut engine = Engine::open(settings.clone()).unwrap();
    import(&mut engine);
    clone.write("data/gaps.yaml", &GAPS.replace("Wells", "Deep wells"));
    clone.commit("second");
    import(&mut engine);
    let verification = verify(&settings, |_| {}).unwrap();
    assert!(verification.differences.is_empty(), "{verification:?}");
    assert!(verification.tables >= 15 && verification.rows > 10, "{verification:?}");
}

#[test]
fn old_generations_go_and_the_newest_stay() {
    let clone = sample();
    let settings = clone.commits("db");
    let mut engine = Engine::open(settings).unwrap();
    engine.announced(Some(u64::MAX));
    for round in 0..7 {
        clone.write("data/gaps.yaml", &GAPS.replace("Wells", &format!("Wells {round}")));
        clone.commit("again");
        import(&mut engine);
    }
    let mut gens: Vec<_> = std::fs::read_dir(clone.workspace("db").join("gens"))
        .unwrap()
        .map(|e| e.unwrap().file_name().into_string().unwrap())
        .collect();
    gens.sort();
    assert_eq!(gens, ["000005", "000006", "000007"]);
}

#[test]
fn a_value_that_changes_only_its_kind_changes_its_columns() {
    let clone = sample();
    let settings = clone.commits("db");
    let mut engine = Engine::open(settings.clone()).unwrap();
    for written in ["2026-01-02 03:04:05", "'2026-01-02 03:04:05'", "'2026-01-02'", "2026-01-02 03:04:05"] {
        clone.write("data/sessions.yaml", &format!("entries:\n- number: 1\n  title: The dam\n  date: {written}\n"));
        clone.commit("another kind");
        import_and_compare(&clone, &mut engine, &settings);
    }
}

#[test]
fn lists_and_records_keep_every_character() {
    let clone = sample();
    let settings = clone.commits("db");
    let mut engine = Engine::open(settings.clone()).unwrap();
    import(&mut engine);
    clone.write("data/gaps.yaml", &GAPS.replace("[Obs 001]", r#"["a\x1fb", "\x1e", "", Obs 001]"#));
    clone.commit("odd characters");
    let report = import_and_compare(&clone, &mut engine, &settings);
    assert_eq!(report.counts.updated, 1);
    let lengths =
        ask(&clone.db("db"), "SELECT list_transform(cross_refs, lambda t: length(t)) FROM gaps WHERE id = 'G01-01'");
    assert_eq!(lengths, "[3, 1, 0, 7]");
}

#[test]
fn a_copy_waits_for_the_next_change() {
    let clone = sample();
    let settings = clone.commits("db");
    let mut engine = Engine::open(settings.clone()).unwrap();
    engine.keep_standby();
    import(&mut engine);
    let inode = |path: PathBuf| std::fs::metadata(path).map(|meta| meta.ino());
    for round in 0..4 {
        let until = Instant::now() + Duration::from_secs(20);
        let waiting = loop {
            match inode(clone.workspace("db").join("gens/.standby/itp.duckdb")) {
                Ok(inode) => break inode,
                Err(error) => assert!(Instant::now() < until, "no copy: {error}"),
            }
            std::thread::sleep(Duration::from_millis(5));
        };
        clone.write("data/gaps.yaml", &GAPS.replace("Wells", &format!("Wells {round}")));
        clone.commit("again");
        import_and_compare(&clone, &mut engine, &settings);
        assert_eq!(
            inode(clone.db("db")).unwrap(),
            waiting,
            "round {round}: the copy that waited is what was published"
        );
    }
}

#[test]
fn a_file_that_lost_an_id_is_deleted_in_the_commit_that_gives_the_id_up() {
    let clone = sample();
    clone.write("data/more-gaps.yaml", "entries:\n- id: G01-02\n  description: Claimed twice\n");
    let declaration = "version = 1\n[[dataset]]\nname = \"gaps\"\nfiles = [\"data/*gaps.yaml\"]\nlist = \"/entries\"\n\
                       columns = { description = \"text\" }\n";
    clone.write("baft-import.toml", declaration);
    clone.commit("one id in two files");
    let settings = clone.commits("db");
    let mut engine = Engine::open(settings.clone()).unwrap();
    import(&mut engine);
    let lost = "SELECT path FROM _errors WHERE code = 'duplicate-id-elsewhere'";
    assert_eq!(ask(&clone.db("db"), lost), "data/more-gaps.yaml");
    clone.remove("data/more-gaps.yaml");
    clone.write("data/gaps.yaml", &GAPS.replace("G01-02", "G01-03"));
    clone.commit("neither");
    // Looking for who gets the id must come to an end.
    let (done, waited) = std::sync::mpsc::channel();
    let worker = std::thread::spawn(move || {
        let report = import(&mut engine);
        let _ = done.send(());
        (engine, report)
    });
    waited.recv_timeout(Duration::from_secs(60)).expect("the import ends");
    let (mut engine, report) = worker.join().unwrap();
    assert_eq!((report.counts.inserted, report.counts.deleted), (1, 1));
    import_and_compare(&clone, &mut engine, &settings);
}

#[test]
fn what_is_read_ahead_is_imported_only_if_it_stays_so() {
    let clone = sample();
    let settings = clone.files("db");
    let mut engine = Engine::open(settings.clone()).unwrap();
    engine.keep_standby();
    import(&mut engine);
    let write = |text: &str| clone.write("data/gaps.yaml", &GAPS.replace("Wells", text));
    let shown = || ask(&clone.db("db"), "SELECT content->>'description' FROM entities WHERE id = 'G01-02'");
    for round in 0..3 {
        // Whoever saves may save again before the burst is over: the same file, another besides, or as it was before.
        write(&format!("half {round}"));
        engine.anticipate();
        write(&format!("whole {round}"));
        clone.write("data/observations.yaml", &OBSERVATIONS.replace("The dam", &format!("The dam {round}")));
        import_and_compare(&clone, &mut engine, &settings);
        assert_eq!(shown(), format!("whole {round}"));
        write(&format!("early {round}"));
        std::thread::sleep(Duration::from_millis(200));
        engine.anticipate();
        import_and_compare(&clone, &mut engine, &settings);
        assert_eq!(shown(), format!("early {round}"));
    }
    write("gone again");
    engine.anticipate();
    write("early 2");
    assert_eq!(import(&mut engine).outcome, Outcome::Unchanged);
    clone.remove("data/gaps.yaml");
    engine.anticipate();
    import_and_compare(&clone, &mut engine, &settings);
    assert_eq!(shown(), "NULL");
}

#[test]
fn references_and_aliases_follow_an_entity_that_changes_and_one_that_does_not_change_them() {
    let clone = sample();
    let settings = clone.commits("db");
    let mut engine = Engine::open(settings.clone()).unwrap();
    import(&mut engine);
    let save = |text: &str| {
        clone.write("data/gaps.yaml", text);
        clone.commit("edit");
    };
    let edges = || ask(&clone.db("db"), "SELECT list(dst_id ORDER BY dst_id) FROM edges WHERE src_id = 'G01-01'");
    // The first edit after a start is compared with the database, those after it with what was read.
    for round in 0..2 {
        save(&GAPS.replace("Water rights", &format!("Water rights {round}")));
        import_and_compare(&clone, &mut engine, &settings);
        assert_eq!(edges(), "[Obs-1]");
        save(&GAPS.replace("[Obs 001]", "[Obs 002, G01-02]"));
        import_and_compare(&clone, &mut engine, &settings);
        assert_eq!(edges(), "[G01-02, Obs-2]");
    }
}

#[test]
fn the_small_row_groups_that_imports_leave_are_merged_every_so_often() {
    let clone = Clone::new();
    let write = |edited: usize| {
        let text = |n: usize| if n < edited { "edited" } else { "as it was" };
        let entries = (0..20).map(|n| format!("- id: G01-{n:02}\n  description: {}\n", text(n)));
        clone.write("data/gaps.yaml", &format!("entries:\n{}", entries.collect::<String>()));
        clone.commit("edit");
    };
    write(0);
    let settings = clone.commits("db");
    let mut engine = Engine::open(settings.clone()).unwrap();
    import(&mut engine);
    let groups = "SELECT count(DISTINCT row_group_id) FROM pragma_storage_info('entities')";
    let mut most = 0;
    for edited in 1..=20 {
        write(edited);
        import(&mut engine);
        most = most.max(ask(&clone.db("db"), groups).parse::<u32>().unwrap());
    }
    assert!((2..=9).contains(&most), "{most} row groups at worst after 20 imports");
    import_and_compare(&clone, &mut engine, &settings);
}
