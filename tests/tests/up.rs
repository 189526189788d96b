//! `baft up`: a whole fleet in one process, found by the other commands, gone without a trace.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod baft;

use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt;
use std::time::Duration;

use baft::{Machine, SOON, alive, command_line, fingerprint, gaps, nats_server_of, ready};
use baft_tests::git::{GitRemote, git};
use baft_tests::wait_until;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::json;

fn path(remote: &GitRemote) -> String {
    remote.bare().to_str().unwrap().to_owned()
}

fn kill(pid: u32) {
    kill_process(Pid::from_raw(i32::try_from(pid).unwrap()).unwrap(), Signal::KILL).unwrap();
}

/// Waits until an entity has a row with this title.
fn wait_for_row(machine: &Machine, id: &str, title: &str) {
    let sql = format!("SELECT title FROM entities WHERE id = '{id}'");
    wait_until(&format!("{id} to be '{title}'"), SOON, || {
        (machine.rows_if_any(&sql)? == json!([{ "title": title }])).then_some(())
    });
}

#[test]
fn once_on_the_sample_ends_with_rows_to_query_wherever_it_is_run() {
    let machine = Machine::new();
    let first = machine.ok(&["up", "--once", "--workspace", "w"]);
    assert!(first.contains("generation 1") && first.contains("gaps "), "{first}");
    let rows = machine.rows("SELECT count(*) AS n FROM entities WHERE id = 'G14-01'");
    assert_eq!(rows, json!([{ "n": 1 }]));
    let again = machine.ok(&["up", "--once", "--workspace", "w"]);
    assert!(again.contains("nothing new"), "{again}");
    assert!(!machine.workspace().join("runtime.json").exists());
}

#[test]
fn once_on_another_repository_serves_that_one_and_its_changes() {
    let machine = Machine::new();
    let (remote, _) = GitRemote::with_files(&[("data/gaps.yaml", &gaps(&[("G01-01", "First")]))]);
    let args = ["up", "--once", "--workspace", "w", "--repo", &path(&remote)];
    machine.ok(&args);
    assert_eq!(machine.rows("SELECT id, title FROM entities"), json!([{ "id": "G01-01", "title": "First" }]));
    remote.commit(&[("data/gaps.yaml", &gaps(&[("G01-01", "Second"), ("G01-02", "New")]))]);
    let said = machine.ok(&args);
    assert!(said.contains("1 inserted, 1 updated, 0 deleted"), "{said}");
    // Going over to another repository leaves nothing of the first.
    let (other, _) = GitRemote::with_files(&[("data/gaps.yaml", &gaps(&[("G09-09", "Other")]))]);
    machine.ok(&["up", "--once", "--workspace", "w", "--repo", &path(&other)]);
    assert_eq!(machine.rows("SELECT id FROM entities"), json!([{ "id": "G09-09" }]));
}

#[test]
fn a_remote_that_cannot_be_had_is_an_error_that_says_why() {
    let machine = Machine::new();
    let empty = GitRemote::new();
    let answer = machine.baft(&["up", "--once", "--workspace", "w", "--repo", &path(&empty)]);
    assert_eq!((answer.code, answer.stderr.lines().count()), (1, 1), "{answer:#?}");
    let answer = machine.baft(&["up", "--workspace", "w", "--repo", "no/such/folder"]);
    assert_eq!(answer.code, 78, "{answer:#?}");
    assert!(answer.stderr.contains("--repo: 'no/such/folder'"), "{answer:#?}");
}

#[test]
fn a_pushed_commit_is_a_row_and_the_events_tell_of_it() {
    let machine = Machine::new();
    let (remote, first) = GitRemote::with_files(&[("data/gaps.yaml", &gaps(&[("G01-01", "First")]))]);
    let mut up = machine.up_ready(&["--repo", &path(&remote)]);
    wait_for_row(&machine, "G01-01", "First");
    let second = remote.commit(&[("data/gaps.yaml", &gaps(&[("G01-01", "Second")]))]);
    let synced = machine.json(&["sync", "--workspace", "w", "--wait-for", &second, "--json"]);
    assert_eq!(synced["new"], json!(second));
    wait_for_row(&machine, "G01-01", "Second");
    wait_until("both events", SOON, || {
        let text = machine.ok(&["events", "--workspace", "w", "--json", "--limit", "100"]);
        let events: Vec<serde_json::Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        let find = |kind: &str, field: &str| {
            events.iter().any(|event| event["type"] == kind && event["data"][field] == json!(second))
        };
        assert!(events.iter().any(|event| event["type"] == "git.synced" && event["data"]["new"] == json!(first)));
        (find("git.synced", "new") && find("import.published", "commit")).then_some(())
    });
    let imported = machine.json(&["import", "--workspace", "w", "--json"]);
    assert_eq!((&imported["commit"], &imported["inserted"]), (&json!(second), &json!(0)));
    let rebuilt = machine.ok(&["import", "--workspace", "w", "--full"]);
    assert!(rebuilt.starts_with("generation "), "{rebuilt}");
    assert!(up.terminate(SOON).success());
    assert!(up.stdout().contains("Stopped."), "{}", up.logs());
}

#[test]
fn events_can_be_followed_as_they_happen() {
    let machine = Machine::new();
    let (remote, _) = GitRemote::with_files(&[("data/gaps.yaml", &gaps(&[("G01-01", "First")]))]);
    let _up = machine.up_ready(&["--repo", &path(&remote)]);
    let follow = machine.command("baft", &["events", "--workspace", "w", "--follow", "--type", "git.*", "--json"]);
    let mut follow = baft_tests::Process::spawn("baft events", follow);
    wait_until("the past", SOON, || (follow.stdout().lines().count() == 1).then_some(()));
    let second = remote.commit(&[("data/gaps.yaml", &gaps(&[("G01-01", "Second")]))]);
    wait_until("the new event", SOON, || follow.stdout().contains(&second).then_some(()));
    follow.signal(Signal::INT);
    assert!(follow.wait(SOON).success());
    assert!(follow.stdout().lines().all(|line| line.contains("\"type\":\"git.synced\"")), "{}", follow.logs());
}

#[test]
fn a_save_in_a_clone_is_a_row_and_the_clone_is_left_alone() {
    let machine = Machine::new();
    let (remote, _) = GitRemote::with_files(&[("data/gaps.yaml", &gaps(&[("G01-01", "First")]))]);
    let clone = remote.work();
    git(&clone, &["status"]);
    let before = fingerprint(&clone.join(".git"));
    let mut up = machine.up_ready(&["--clone", clone.to_str().unwrap()]);
    wait_for_row(&machine, "G01-01", "First");
    assert!(up.stdout().contains("branch main, nothing uncommitted"), "{}", up.logs());
    std::fs::write(clone.join("data/gaps.yaml"), gaps(&[("G01-01", "Edited")])).unwrap();
    wait_for_row(&machine, "G01-01", "Edited");
    let rows = machine.rows("SELECT commit_oid FROM entities");
    assert_eq!(rows, json!([{ "commit_oid": "WORKTREE" }]));
    let sync = machine.baft(&["sync", "--workspace", "w"]);
    assert_eq!(sync.code, 75, "{sync:#?}");
    assert!(up.terminate(SOON).success());
    assert_eq!(fingerprint(&clone.join(".git")), before);
}

#[test]
fn commands_find_the_fleet_by_themselves() {
    let machine = Machine::new();
    let (remote, _) = GitRemote::with_files(&[("data/gaps.yaml", &gaps(&[("G01-01", "First")]))]);
    let mut up = machine.up_ready(&["--repo", &path(&remote)]);
    let mut elsewhere = machine.command("baft", &["status", "--json"]);
    elsewhere.current_dir("/");
    let answer = baft::finish(elsewhere);
    assert_eq!(answer.code, 0, "{answer:#?}");
    let status: serde_json::Value = serde_json::from_str(&answer.stdout).unwrap();
    assert_eq!(status["workspace"], json!(machine.workspace()));
    assert_eq!(status["import"]["status"]["rows"], json!({ "gaps": 1 }));
    assert_eq!(status["git"]["status"]["head"], json!(remote.head()));
    for (_, address) in status["fleet"]["admin"].as_object().unwrap() {
        TcpStream::connect(address.as_str().unwrap()).unwrap();
    }
    assert!(up.terminate(SOON).success());
    let after = machine.json(&["status", "--workspace", "w", "--json"]);
    assert_eq!((&after["fleet"], &after["database"]["rows"]), (&json!(null), &json!({ "gaps": 1 })));
    assert_eq!(std::fs::read_dir(machine.path("run/baft")).unwrap().count(), 0);
}

#[test]
fn a_second_up_on_the_same_workspace_is_refused_in_one_line() {
    let machine = Machine::new();
    let up = machine.up_ready(&["--no-nats"]);
    for args in [&["up", "--workspace", "w"][..], &["up", "--workspace", "w", "--once"]] {
        let second = machine.baft(args);
        assert_eq!((second.code, second.stdout.as_str()), (75, ""), "{second:#?}");
        assert_eq!(second.stderr.lines().count(), 1, "{second:#?}");
        assert!(second.stderr.contains(&format!("process {}", up.id())), "{second:#?}");
    }
}

#[test]
fn a_signal_ends_everything_in_order_and_leaves_no_process() {
    for signal in [Signal::TERM, Signal::INT] {
        let machine = Machine::new();
        let mut up = machine.up_ready(&[]);
        let server = nats_server_of(up.id());
        up.signal(signal);
        assert_eq!(up.wait(SOON).code(), Some(0), "{}", up.logs());
        assert!(!alive(server));
        assert!(!machine.workspace().join("runtime.json").exists());
        let events = std::fs::read_to_string(machine.workspace().join("up.log")).unwrap();
        assert!(!events.contains("panicked"), "{events}");
    }
}

#[test]
fn kill_9_leaves_no_nats_server_behind_and_the_next_start_goes_on() {
    let machine = Machine::new();
    let mut up = machine.up_ready(&[]);
    let server = nats_server_of(up.id());
    kill(up.id());
    up.wait(SOON);
    wait_until("the nats-server to be gone", Duration::from_secs(5), || (!alive(server)).then_some(()));
    let answer = machine.baft(&["events", "--workspace", "w"]);
    assert_eq!(answer.code, 75, "{answer:#?}");
    let mut up = machine.up_ready(&[]);
    let events = machine.ok(&["events", "--workspace", "w", "--type", "git.synced", "--json"]);
    assert_eq!(events.lines().count(), 1, "the sync of the first life, announced once: {events}");
    assert!(up.terminate(SOON).success());
}

#[test]
fn a_dead_nats_server_is_started_again_with_all_its_events() {
    let machine = Machine::new();
    let (remote, _) = GitRemote::with_files(&[("data/gaps.yaml", &gaps(&[("G01-01", "First")]))]);
    let up = machine.up_ready(&["--repo", &path(&remote)]);
    let synced = || machine.baft(&["events", "--workspace", "w", "--type", "git.synced", "--json"]);
    let before = wait_until("the first event", SOON, || Some(synced().stdout).filter(|text| !text.is_empty()));
    let server = nats_server_of(up.id());
    kill(server);
    let second = remote.commit(&[("data/gaps.yaml", &gaps(&[("G01-01", "Second")]))]);
    wait_for_row(&machine, "G01-01", "Second");
    wait_until("the event after the restart", SOON, || {
        let answer = synced();
        (answer.code == 0 && answer.stdout.contains(&second) && answer.stdout.starts_with(&before)).then_some(())
    });
    assert_ne!(nats_server_of(up.id()), server);
    assert!(up.stdout().contains("nats: ended and is started again"), "{}", up.stdout());
}

#[test]
fn the_private_server_is_for_this_user_alone() {
    let machine = Machine::new();
    let up = machine.up_ready(&[]);
    let server = nats_server_of(up.id());
    let runtime: serde_json::Value =
        serde_json::from_slice(&std::fs::read(machine.workspace().join("runtime.json")).unwrap()).unwrap();
    let password = std::fs::read_to_string(runtime["nats"]["password_file"].as_str().unwrap()).unwrap();
    assert!(password.len() >= 32);
    for file in ["runtime.json", "nats/password", "nats/server.conf"] {
        let mode = std::fs::metadata(machine.workspace().join(file)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{file}");
    }
    for pid in [up.id(), server] {
        let environment = std::fs::read_to_string(format!("/proc/{pid}/environ")).unwrap_or_default();
        assert!(!command_line(pid).contains(&password) && !environment.contains(&password));
    }
    let log = std::fs::read_to_string(machine.workspace().join("up.log")).unwrap();
    assert!(!log.contains(&password) && !up.logs().contains(&password));
    let url = runtime["nats"]["url"].as_str().unwrap();
    assert!(url.starts_with("nats://127.0.0.1:"), "{url}");
    let stranger = machine.baft(&["events", "--nats-url", url]);
    assert_eq!(stranger.code, 1, "{stranger:#?}");
}

#[test]
fn without_nats_everything_but_events_and_requests_works() {
    let machine = Machine::new();
    let (remote, _) = GitRemote::with_files(&[("data/gaps.yaml", &gaps(&[("G01-01", "First")]))]);
    let mut up = machine.up_ready(&["--no-nats", "--repo", &path(&remote)]);
    remote.commit(&[("data/gaps.yaml", &gaps(&[("G01-01", "Second")]))]);
    wait_for_row(&machine, "G01-01", "Second");
    let answer = machine.baft(&["events", "--workspace", "w"]);
    assert_eq!(answer.code, 75, "{answer:#?}");
    assert!(answer.stderr.contains("without NATS"), "{answer:#?}");
    assert!(up.terminate(SOON).success());
}

#[test]
fn a_missing_nats_server_is_said_before_anything_is_started() {
    let machine = Machine::new();
    let mut command = machine.command("baft", &["up", "--workspace", "w"]);
    command.env("BAFT_NATS_SERVER", "/no/such/program");
    let answer = baft::finish(command);
    assert_eq!(answer.code, 78, "{answer:#?}");
    assert!(answer.stderr.contains("BAFT_NATS_SERVER: '/no/such/program'"), "{answer:#?}");
}

#[test]
fn a_file_that_does_not_parse_is_shown_and_everything_else_goes_on() {
    let machine = Machine::new();
    let first = gaps(&[("G01-01", "First")]);
    let (remote, _) = GitRemote::with_files(&[("data/gaps.yaml", &first), ("data/traps.yaml", "entries: []\n")]);
    let up = machine.up_ready(&["--repo", &path(&remote)]);
    remote.commit(&[("data/gaps.yaml", "entries: [\n"), ("data/traps.yaml", "entries:\n- id: 1\n  title: New\n")]);
    wait_for_row(&machine, "Trap-1", "New");
    assert_eq!(machine.rows("SELECT stale FROM entities WHERE id = 'G01-01'"), json!([{ "stale": true }]));
    wait_until("the line about it", SOON, || up.stdout().contains("quarantined data/gaps.yaml").then_some(()));
    remote.commit(&[("data/gaps.yaml", &first)]);
    wait_until("the mended file", SOON, || {
        (machine.rows("SELECT stale FROM entities WHERE id = 'G01-01'") == json!([{ "stale": false }])).then_some(())
    });
}

#[test]
fn on_a_terminal_a_few_lines_are_redrawn_in_place() {
    let machine = Machine::new();
    let mut up = machine.up(&["--no-nats", "--progress", "live"]);
    wait_until("the display", SOON, || up.stdout().contains("Ctrl-C stops").then_some(()));
    wait_until("a redraw", SOON, || up.stdout().contains("A\r\u{1b}[J").then_some(()));
    assert!(up.terminate(SOON).success());
    // What is left on the screen ends with a whole line.
    assert!(up.stdout().ends_with("Stopped.\n"), "{:?}", up.stdout());
    let _ = ready;
}
