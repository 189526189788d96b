//! What is saved in the working clone of `baft up` is committed, pushed and a row; and what the commands about it say.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod baft;

use std::path::PathBuf;

use baft::{Answer, Machine, SOON, fingerprint, gaps};
use baft_tests::git::{GitRemote, git};
use baft_tests::wait_until;
use serde_json::json;

fn path(remote: &GitRemote) -> String {
    remote.bare().to_str().unwrap().to_owned()
}

fn remote() -> (GitRemote, String) {
    GitRemote::with_files(&[("data/gaps.yaml", &gaps(&[("G01-01", "First")]))])
}

fn wait_for_row(machine: &Machine, id: &str, title: &str) {
    let sql = format!("SELECT title FROM entities WHERE id = '{id}'");
    wait_until(&format!("{id} to be '{title}'"), SOON, || {
        (machine.rows_if_any(&sql)? == json!([{ "title": title }])).then_some(())
    });
}

/// Where the fleet's clone is, as `baft commit status` says it.
fn clone(machine: &Machine) -> PathBuf {
    let status = machine.json(&["commit", "status", "--workspace", "w", "--output", "json"]);
    PathBuf::from(status["clone"].as_str().unwrap())
}

fn newest(remote: &GitRemote, format: &str) -> String {
    git(&remote.bare(), &["log", "-1", &format!("--format={format}"), "main"])
}

fn failed(machine: &Machine, args: &[&str], code: i32) -> Answer {
    let answer = machine.baft(args);
    assert_eq!(answer.code, code, "baft {args:?}: {answer:#?}");
    assert!(answer.stderr.starts_with("error: "), "{answer:#?}");
    answer
}

#[test]
fn a_save_is_committed_pushed_synced_and_a_row() {
    let machine = Machine::new();
    let (remote, first) = remote();
    let mut up = machine.up_ready(&["--repo", &path(&remote)]);
    wait_for_row(&machine, "G01-01", "First");
    let clone = clone(&machine);
    assert!(
        up.stdout().contains(&format!("{}", clone.strip_prefix(machine.path("project")).unwrap().display())),
        "{}",
        up.stdout()
    );
    std::fs::write(clone.join("data/gaps.yaml"), gaps(&[("G01-01", "Saved")])).unwrap();
    wait_for_row(&machine, "G01-01", "Saved");
    assert_ne!(newest(&remote, "%H"), first);
    assert!(newest(&remote, "%s").starts_with("Auto-commit: "));
    // And the other way round: what somebody else pushes is in the files.
    remote.git(&["pull", "-q", "origin", "main"]);
    remote.commit(&[("data/traps.yaml", "entries:\n- id: 1\n  title: New\n")]);
    wait_until("the file of somebody else", SOON, || clone.join("data/traps.yaml").exists().then_some(()));
    wait_for_row(&machine, "Trap-1", "New");
    assert!(up.terminate(SOON).success(), "{}", up.logs());
    assert!(!std::fs::read_to_string(machine.workspace().join("up.log")).unwrap().contains("panicked"));
}

#[test]
fn without_nats_a_save_still_becomes_a_row_and_the_last_one_is_pushed_at_the_end() {
    let machine = Machine::new();
    let (remote, _) = remote();
    let mut up = machine.up_ready(&["--no-nats", "--repo", &path(&remote)]);
    let runtime: serde_json::Value =
        serde_json::from_slice(&std::fs::read(machine.workspace().join("runtime.json")).unwrap()).unwrap();
    let clone = PathBuf::from(runtime["agent"]["clone"].as_str().unwrap());
    std::fs::write(clone.join("data/gaps.yaml"), gaps(&[("G01-01", "Saved")])).unwrap();
    wait_for_row(&machine, "G01-01", "Saved");
    std::fs::write(clone.join("data/gaps.yaml"), gaps(&[("G01-01", "Last words")])).unwrap();
    assert!(up.terminate(SOON).success(), "{}", up.logs());
    let pushed = git(&remote.bare(), &["show", "main:data/gaps.yaml"]);
    assert!(pushed.contains("Last words"), "{pushed}");
}

#[test]
fn commit_now_status_release_and_confirm_say_what_they_did() {
    let machine = Machine::new();
    let many: Vec<String> = (0..15).map(|n| format!("notes/{n}.md")).collect();
    let gaps_text = gaps(&[("G01-01", "First")]);
    let mut files: Vec<(&str, &str)> = many.iter().map(|name| (name.as_str(), "text\n")).collect();
    files.push(("data/gaps.yaml", &gaps_text));
    let (remote, _) = GitRemote::with_files(&files);
    let _up = machine.up_ready(&["--repo", &path(&remote)]);
    let clone = clone(&machine);
    let nothing = machine.ok(&["commit", "now", "--workspace", "w"]);
    assert_eq!(nothing, "nothing to commit, everything is on the remote\n");
    std::fs::write(clone.join("notes/1.md"), "changed\n").unwrap();
    let said = machine.ok(&["commit", "now", "--workspace", "w", "-m", "By hand", "--session", "ses-1"]);
    let commit = newest(&remote, "%H");
    assert_eq!(said, format!("{}: 1 file, pushed\n", &commit[..12]));
    assert!(newest(&remote, "%s").starts_with("Session ses-1: By hand — "));

    std::fs::write(clone.join("data/gaps.yaml"), "entries: [\n").unwrap();
    let said = machine.ok(&["commit", "now", "--workspace", "w"]);
    assert!(said.contains("held back: data/gaps.yaml (unparsable: "), "{said}");
    let status = machine.ok(&["commit", "status", "--workspace", "w", "--fetch"]);
    assert!(status.contains("held back: data/gaps.yaml") && status.contains("baft commit release"), "{status}");
    failed(&machine, &["commit", "release", "--workspace", "w", "notes/1.md"], 1);
    let said = machine.json(&["commit", "release", "--workspace", "w", "data/gaps.yaml", "-o", "json"]);
    assert_eq!((&said["released"], &said["pushed"]), (&json!(["data/gaps.yaml"]), &json!(true)));
    std::fs::write(clone.join("data/gaps.yaml"), &gaps_text).unwrap();
    machine.ok(&["commit", "now", "--workspace", "w"]);

    for name in &many[..12] {
        std::fs::remove_file(clone.join(name)).unwrap();
    }
    let said = machine.ok(&["commit", "now", "--workspace", "w"]);
    assert!(said.contains("mass_delete") && said.contains("baft commit confirm"), "{said}");
    failed(&machine, &["commit", "confirm", "--workspace", "w", "--deletions", "3"], 1);
    let said = machine.ok(&["commit", "confirm", "--workspace", "w"]);
    assert!(said.starts_with("confirmed: 12 files deleted"), "{said}");
    assert_eq!(git(&remote.bare(), &["ls-tree", "-r", "--name-only", "main"]).lines().count(), 4);
}

#[test]
fn entity_set_changes_one_field_in_the_file_and_says_which_commit() {
    let machine = Machine::new();
    let (remote, _) = remote();
    let _up = machine.up_ready(&["--repo", &path(&remote)]);
    let said = machine.ok(&["entity", "set", "--workspace", "w", "gaps", "G01-01", "description=Set", "priority=3"]);
    assert_eq!(said, format!("{}: data/gaps.yaml, pushed\n", &newest(&remote, "%H")[..12]));
    let text = git(&remote.bare(), &["show", "main:data/gaps.yaml"]);
    assert_eq!(format!("{text}\n"), gaps(&[("G01-01", "Set")]).replace("priority: 1", "priority: 3"));
    wait_for_row(&machine, "G01-01", "Set");
    let again = machine.ok(&["entity", "set", "--workspace", "w", "gaps", "G01-01", "priority=3"]);
    assert!(again.starts_with("G01-01 says so already"), "{again}");
    let answer = failed(&machine, &["entity", "set", "--workspace", "w", "gaps", "G99-99", "priority=3"], 1);
    assert!(answer.stderr.contains("G99-99"), "{answer:#?}");
    let answer = failed(&machine, &["entity", "set", "--workspace", "w", "gaps", "G01-01", "priority"], 78);
    assert!(answer.stderr.contains("FIELD=VALUE"), "{answer:#?}");
}

#[test]
fn without_an_agent_the_commands_say_what_is_missing() {
    let machine = Machine::new();
    let answer = failed(&machine, &["commit", "status", "--workspace", "w"], 75);
    assert!(answer.stderr.contains("baft up"), "{answer:#?}");
    let (remote, _) = remote();
    let _up = machine.up_ready(&["--no-commit", "--repo", &path(&remote)]);
    let answer = failed(&machine, &["commit", "now", "--workspace", "w"], 75);
    assert!(answer.stderr.contains("no commit-agent"), "{answer:#?}");
    failed(&machine, &["commit", "now", "--workspace", "w", "--agent", "A B"], 2);
    let answer = failed(&machine, &["commit", "now", "--workspace", "w", "--agent", "elsewhere"], 75);
    assert!(answer.stderr.contains("elsewhere"), "{answer:#?}");
}

#[test]
fn somebodys_clone_is_committed_in_only_with_their_word() {
    let machine = Machine::new();
    let (remote, first) = remote();
    let clone = remote.work();
    std::fs::write(clone.join("data/gaps.yaml"), gaps(&[("G01-01", "Mine")])).unwrap();
    git(&clone, &["status"]);
    let before = fingerprint(&clone.join(".git"));
    let shown = clone.to_str().unwrap();
    let mut up = machine.up_ready(&["--clone", shown]);
    wait_for_row(&machine, "G01-01", "Mine");
    assert!(up.stdout().contains("--yes"), "it says how to agree: {}", up.stdout());
    assert!(up.terminate(SOON).success());
    assert_eq!((fingerprint(&clone.join(".git")), newest(&remote, "%H")), (before, first));

    let mut up = machine.up_ready(&["--clone", shown, "--yes"]);
    wait_until("the commit on the remote", SOON, || {
        git(&remote.bare(), &["show", "main:data/gaps.yaml"]).contains("Mine").then_some(())
    });
    wait_until("the row to be of a commit", SOON, || {
        let rows = machine.rows_if_any("SELECT commit_oid FROM entities")?;
        (rows == json!([{ "commit_oid": newest(&remote, "%H") }])).then_some(())
    });
    std::fs::write(clone.join("data/gaps.yaml"), gaps(&[("G01-01", "Uncommitted")])).unwrap();
    wait_for_row(&machine, "G01-01", "Uncommitted");
    assert!(up.terminate(SOON).success(), "{}", up.logs());
    // Whoever agreed once is not asked again.
    let up = machine.up_ready(&["--clone", shown]);
    assert!(up.stdout().contains("committed and pushed"), "{}", up.stdout());
}

#[test]
fn the_sample_has_a_remote_and_a_clone_to_edit() {
    let machine = Machine::new();
    let _up = machine.up_ready(&[]);
    let sample = machine.workspace().join("sample/data/gaps.yaml");
    let text = std::fs::read_to_string(&sample).unwrap();
    std::fs::write(&sample, text.replacen("priority: 7", "priority: 2", 1)).unwrap();
    wait_until("the row", SOON, || {
        let rows = machine.rows_if_any("SELECT schema_valid FROM entities WHERE id = 'G14-01'")?;
        (rows == json!([{ "schema_valid": true }])).then_some(())
    });
    let status = machine.ok(&["status", "--workspace", "w"]);
    assert!(status.contains("commit") && status.contains("everything is pushed"), "{status}");
}
