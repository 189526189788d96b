//! `baft session …` in a fleet on one machine: what it says, how it ends, and what it refuses.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod baft;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

use baft::{Answer, Machine, SOON, finish, gaps};
use baft_tests::git::{GitRemote, git};
use baft_tests::{Process, wait_until, web};
use serde_json::Value;

struct Office {
    machine: Machine,
    remote: GitRemote,
    clone: PathBuf,
    up: Process,
}

impl Office {
    fn open() -> Self {
        let machine = Machine::new();
        let config = "[user]\n\tname = Ann\n\temail = ann@example.org\n";
        std::fs::write(machine.path(".gitconfig"), config).unwrap();
        let (remote, _) = GitRemote::with_files(&[("data/gaps.yaml", &gaps(&[("G01-01", "First")]))]);
        let up = machine.up_ready(&["--repo", remote.bare().to_str().unwrap(), "--period", "1h"]);
        let status = machine.json(&["commit", "status", "--workspace", "w", "--json"]);
        let clone = PathBuf::from(status["clone"].as_str().unwrap());
        // It looks at the remote once when it starts, and, unless they had rested by then, once when the files of its
        // new clone have. What is pushed meanwhile it brings in by itself.
        let cycles = "baft_commit_agent_cycles_total{result=\"success\",trigger=\"timer\"}";
        let patience = Instant::now() + Duration::from_secs(4);
        wait_until("commit-agent to rest", SOON, || {
            let looked = admin(&machine).is_some_and(|admin| web::metric(admin, cycles) >= 2.0);
            (looked || Instant::now() > patience).then_some(())
        });
        Self { machine, remote, clone, up }
    }

    fn write(&self, path: &str, text: &str) {
        std::fs::write(self.clone.join(path), text).unwrap();
    }

    fn session(&self, args: &[&str]) -> Answer {
        finish(self.command(args))
    }

    fn command(&self, args: &[&str]) -> Command {
        self.machine.command("baft", &[&["session"], args, &["--workspace", "w"]].concat())
    }

    /// The same as another person on this machine.
    fn as_sara(&self, args: &[&str]) -> Answer {
        let mut command = self.command(args);
        command.env("XDG_STATE_HOME", self.machine.path("sara")).env("BAFT_ANALYST", "Sara");
        finish(command)
    }

    fn ok(&self, args: &[&str]) -> String {
        let answer = self.session(args);
        assert_eq!(answer.code, 0, "{args:?}: {answer:#?}");
        answer.stdout
    }

    fn json(&self, args: &[&str]) -> Value {
        serde_json::from_str(&self.ok(&[args, &["--json"]].concat())).unwrap()
    }

    fn refused(&self, args: &[&str], code: i32, says: &str) {
        let answer = self.session(args);
        assert!(answer.code == code && answer.stderr.contains(says), "{args:?}: {answer:#?}");
    }

    fn state(&self, id: &str) -> String {
        let all = self.json(&["list", "--all"]);
        let found = all["sessions"].as_array().unwrap().iter().find(|session| session["session_id"] == id).cloned();
        found.map(|session| session["state"].as_str().unwrap().to_owned()).unwrap_or_default()
    }
}

/// The admin server of the fleet's commit-agent.
fn admin(machine: &Machine) -> Option<SocketAddr> {
    let runtime: Value = serde_json::from_slice(&std::fs::read(machine.workspace().join("runtime.json")).ok()?).ok()?;
    runtime["admin"]["commit-agent"].as_str()?.parse().ok()
}

#[test]
fn a_session_is_known_by_the_clone_it_was_started_for_and_ends_once() {
    let office = Office::open();
    office.refused(&["end"], 1, "no session was started from here");
    assert_eq!(office.ok(&["list"]), "no sessions\n");
    let started = office.json(&["start", "--objective", "Wells", "--session-id", "wells-1"]);
    assert_eq!((&started["session_id"], &started["state"]), (&"wells-1".into(), &"active".into()));
    office.refused(&["start"], 1, "wells-1 was started from here and is still open");
    let listed = office.ok(&["list"]);
    assert!(listed.starts_with("wells-1 (yours)  active  Ann on "), "{listed}");
    assert!(finish(office.command(&["list"])).stderr.is_empty());

    // What is committed now belongs to it, under the analyst's own name.
    office.write("data/gaps.yaml", &gaps(&[("G01-01", "Second")]));
    office.machine.ok(&["commit", "now", "--workspace", "w", "-m", "By hand"]);
    let newest = git(&office.remote.bare(), &["log", "-1", "--format=%an|%s", "main"]);
    assert!(newest.starts_with("Ann|Session wells-1: By hand — "), "{newest}");

    office.write("data/gaps.yaml", &gaps(&[("G01-01", "Third")]));
    let ended = office.session(&["end", "-m", "Counted"]);
    assert_eq!(ended.code, 0, "{ended:#?}");
    assert!(ended.stdout.starts_with("Framework changes committed and pushed. ("), "{ended:#?}");
    assert!(ended.stdout.contains("Session wells-1: ended\n") && ended.stderr.contains("  push: "), "{ended:#?}");
    assert!(git(&office.remote.bare(), &["show", "main:data/gaps.yaml"]).contains("Third"));
    office.refused(&["end"], 1, "no session was started from here");
    let steps = office.json(&["history", "wells-1"]);
    let to: Vec<&str> =
        steps["transitions"].as_array().unwrap().iter().map(|step| step["to"].as_str().unwrap()).collect();
    assert_eq!(to, ["starting", "active", "ending", "ended"]);

    // Nothing has changed since.
    office.ok(&["start"]);
    let ended = office.ok(&["end"]);
    assert!(ended.starts_with("No framework changes to commit.\n"), "{ended}");
}

#[test]
fn what_others_pushed_is_counted_then_brought_in_and_another_clone_is_not_spoken_for() {
    let office = Office::open();
    assert_eq!(office.ok(&["sync-check"]), "Framework is current.\n");
    office.remote.commit(&[("data/gaps.yaml", &gaps(&[("G01-01", "First"), ("G01-02", "Theirs")]))]);
    office.remote.commit(&[("notes.md", "more\n")]);
    let said = office.ok(&["sync-check"]);
    let expected = "Framework has 2 new commits from remote. Run `baft session sync` to pull and re-import.\n";
    assert_eq!(said, expected);
    assert_eq!(office.session(&["sync-check", "--exit-code"]).code, 1);
    let synced = office.ok(&["sync"]);
    assert!(synced.starts_with("Synced to ") && synced.ends_with(". DuckDB updated.\n"), "{synced}");
    let rows = office.machine.rows("SELECT title FROM entities WHERE id = 'G01-02'");
    assert_eq!(rows[0]["title"], "Theirs");
    assert_eq!(office.session(&["sync-check", "--exit-code"]).code, 0);

    let other = office.machine.path("other");
    git(&office.machine.path("project"), &["clone", "-q", &office.remote.url(), other.to_str().unwrap()]);
    let workspace = office.machine.workspace();
    let there = |args: &[&str]| {
        let mut command = office.machine.command("baft", &["session"]);
        command.args(args).arg("--workspace").arg(&workspace).current_dir(&other);
        finish(command)
    };
    for args in [&["sync-check"][..], &["sync"], &["start"], &["end"]] {
        let answer = there(args);
        assert_eq!(answer.code, 2, "{answer:#?}");
        assert!(answer.stderr.contains("no commit-agent looks after"), "{answer:#?}");
    }
    let status = office.machine.json(&["commit", "status", "--workspace", "w", "--json"]);
    assert_eq!(there(&["sync-check", "--agent", status["agent"].as_str().unwrap()]).code, 0);
}

#[test]
fn an_end_that_cannot_push_says_so_and_the_push_happens_later_by_itself() {
    let office = Office::open();
    office.ok(&["start", "--session-id", "far-away"]);
    office.write("data/gaps.yaml", &gaps(&[("G01-01", "Unpushed")]));
    let (bare, gone) = (office.remote.bare(), office.remote.bare().with_extension("gone"));
    std::fs::rename(&bare, &gone).unwrap();
    let ended = office.session(&["end", "-m", "No network"]);
    assert_eq!(ended.code, 75, "{ended:#?}");
    assert!(
        ended.stdout.contains("not pushed yet") && ended.stderr.contains("the push did not happen yet"),
        "{ended:#?}"
    );
    assert_eq!(office.state("far-away"), "ended_unpushed");
    std::fs::rename(&gone, &bare).unwrap();
    wait_until("the push", SOON, || git(&bare, &["show", "main:data/gaps.yaml"]).contains("Unpushed").then_some(()));
    wait_until("the session to be ended", SOON, || (office.state("far-away") == "ended").then_some(()));
    let subject = git(&bare, &["log", "--format=%s", "main"]);
    assert!(subject.contains("Session far-away: No network"), "{subject}");
}

#[test]
fn a_session_that_was_taken_over_is_refused_and_held_files_are_named_before_the_end() {
    let mut office = Office::open();
    office.ok(&["start", "--session-id", "shared"]);
    let refused = office.as_sara(&["start", "--session-id", "shared"]);
    assert!(refused.code == 1 && refused.stderr.contains("shared"), "{refused:#?}");
    let mut watch = Process::spawn("watch", office.command(&["watch", "--every", "200ms", "--json"]));
    wait_until("the first beat", SOON, || watch.stdout().contains("\"active\"").then_some(()));
    let taken = office.as_sara(&["start", "--session-id", "shared", "--take-over"]);
    assert_eq!(taken.code, 0, "{taken:#?}");
    // Whoever held it hears of it, and can do nothing in its name any more.
    assert_eq!(watch.wait(SOON).code(), Some(1), "{}", watch.logs());
    office.refused(&["end"], 1, "no session was started from here");

    office.write("data/gaps.yaml", "entries: [\n");
    let held = office.as_sara(&["end", "-m", "Broken"]);
    assert!(held.code == 1 && held.stderr.contains("data/gaps.yaml") && held.stderr.contains("--force"), "{held:#?}");
    let forced = office.as_sara(&["end", "-m", "Broken", "--force"]);
    assert!(forced.code == 0 && forced.stdout.contains("held back, in no commit: data/gaps.yaml"), "{forced:#?}");
    assert!(git(&office.remote.bare(), &["show", "main:data/gaps.yaml"]).contains("First"));
    assert!(office.up.terminate(SOON).success(), "{}", office.up.logs());
}

#[test]
fn a_watch_tells_that_others_pushed_whoever_asked_and_what_becomes_of_it() {
    let office = Office::open();
    office.ok(&["start", "--session-id", "mine"]);
    // It beats once, so what it says later it has heard.
    let mut watch = Process::spawn("watch", office.command(&["watch", "--every", "10m"]));
    wait_until("the first beat", SOON, || watch.stdout().contains("mine: active").then_some(()));
    // It listens a moment later: others push until it is noticed.
    let mut pushed = 0;
    wait_until("the push to be noticed", SOON, || {
        pushed += 1;
        office.remote.commit(&[("data/gaps.yaml", &gaps(&[("G01-01", &format!("Theirs {pushed}"))]))]);
        let asked = office.as_sara(&["sync-check"]);
        assert_eq!(asked.code, 0, "{asked:#?}");
        let commits = if pushed == 1 { "1 new commit".to_owned() } else { format!("{pushed} new commits") };
        let says = format!("mine: session.sync_checked: Framework has {commits} from remote. Run `baft session sync`");
        let until = Instant::now() + Duration::from_secs(2);
        while !watch.stdout().contains(&says) && Instant::now() < until {
            std::thread::sleep(Duration::from_millis(10));
        }
        watch.stdout().contains(&says).then_some(())
    });
    office.ok(&["sync"]);
    for what in ["mine: git.synced: ", "mine: import.published: generation "] {
        wait_until(what, SOON, || watch.stdout().contains(what).then_some(()));
    }
    watch.signal(rustix::process::Signal::INT);
    assert!(watch.wait(SOON).success(), "{}", watch.logs());
}
