//! From a change to a row.

use std::time::Duration;

use baft_tests::{Process, wait_until};

use crate::support::{Place, SOON, gaps, look, open, remote, search};

#[test]
fn a_push_becomes_rows() {
    let remote = remote("one");
    let place = Place::new();
    let mut process = place.follow(&remote.bare(), &["--poll", "1h"], &[]);
    place.wait_for("one");
    let found = search(&open(&place.db()).unwrap(), "G01-07");
    assert_eq!(found.first().map(String::as_str), Some("G01-07"));
    remote.commit(&[("data/gaps.yaml", &gaps("two"))]);
    place.wait_for("two");
    let (status, ready) = place.get("/readyz");
    assert_eq!(status, 200, "{ready}");
    assert!(process.terminate(SOON).success(), "{}", process.logs());
    place.verify(&remote.bare());
}

#[test]
fn git_sync_and_the_importer_work_together() {
    let remote = remote("one");
    let place = Place::new();
    let root = place.path("sync");
    // The volume that both have mounted.
    std::fs::create_dir(&root).unwrap();
    let (root, url) = (root.display().to_string(), remote.url());
    let args =
        ["--repo", &url, "--root", &root, "--link", "framework", "--period", "100ms", "--admin-addr", "127.0.0.1:0"];
    let _sync = Process::spawn_bin("git-sync", args, &[("NATS_URL", "")]);
    // The importer may well be there first.
    let _importer = place.run(&["--root", &root, "--source", "git", "--poll", "1h"], &[]);
    place.wait_for("one");
    remote.commit(&[("data/gaps.yaml", &gaps("two"))]);
    place.wait_for("two");
    remote.force_push(1, &[("data/gaps.yaml", &gaps("three"))]);
    place.wait_for("three");
}

#[test]
fn a_save_becomes_rows_before_it_is_committed() {
    let remote = remote("one");
    let place = Place::new();
    let _process = place.watch(&remote.work(), &["--poll", "1h"]);
    place.wait_for("one");
    let uncommitted = || -> i64 {
        let sql = "SELECT count(*) FROM entities WHERE commit_oid = 'WORKTREE'";
        open(&place.db()).unwrap().query_row(sql, [], |row| row.get(0)).unwrap()
    };
    assert_eq!(uncommitted(), 0);
    // Saved the way editors save: beside, then renamed over.
    let file = remote.work().join("data/gaps.yaml");
    std::fs::write(file.with_extension("new"), gaps("two")).unwrap();
    std::fs::rename(file.with_extension("new"), &file).unwrap();
    place.wait_for("two");
    assert_eq!(uncommitted(), 40);
    remote.git(&["commit", "-qam", "two"]);
    wait_until("the rows to be committed ones", SOON, || (uncommitted() == 0).then_some(()));
    // And a folder that was not there before.
    std::fs::create_dir_all(remote.work().join("data/briefs")).unwrap();
    std::fs::write(remote.work().join("data/briefs/b01.yaml"), "brief_id: B01\ntitle: New\n").unwrap();
    wait_until("the brief", SOON, || {
        let sql = "SELECT count(*) FROM briefs";
        let count: i64 = open(&place.db()).unwrap().query_row(sql, [], |row| row.get(0)).unwrap();
        (count == 1).then_some(())
    });
}

#[test]
fn sighup_and_the_schedule_make_it_look() {
    let remote = remote("one");
    let place = Place::new();
    // A link that nothing can watch: the folder above it does not exist yet.
    let root = place.path("root");
    std::fs::create_dir_all(&root).unwrap();
    let args = ["--root", root.to_str().unwrap(), "--source", "git", "--poll", "1h", "--reconcile", "200ms"];
    let _process = place.run(&args, &[]);
    std::os::unix::fs::symlink(remote.bare(), root.join("mirror.git")).unwrap();
    std::os::unix::fs::symlink(format!("checkouts/{}", remote.head()), root.join("framework")).unwrap();
    place.wait_for("one");
    wait_until("the schedule to be counted", SOON, || {
        (place.metric("baft_duckdb_importer_doorbells_total{kind=\"schedule\"}") > 0.0).then_some(())
    });

    let other = Place::new();
    let quiet = other.follow(&remote.bare(), &["--poll", "1h"], &[]);
    other.wait_for("one");
    quiet.signal(rustix::process::Signal::HUP);
    wait_until("SIGHUP to be counted", SOON, || {
        (other.metric("baft_duckdb_importer_doorbells_total{kind=\"request\"}") > 0.0).then_some(())
    });
}

#[test]
fn commands_say_what_they_did_and_codes_what_went_wrong() {
    let remote = remote("one");
    let place = Place::new();
    let (code, said) = place.import(&remote.bare(), &[]);
    assert_eq!(code, 0, "{said}");
    assert!(said.contains("generation 1") && said.contains("40 inserted"), "{said}");
    let (code, said) = place.import(&remote.bare(), &[]);
    assert!(code == 0 && said.contains("unchanged"), "{said}");
    let (code, said) = place.import(&remote.bare(), &["--full"]);
    assert!(code == 0 && said.contains("rebuilt"), "{said}");
    let (code, said) = place.import(&remote.bare(), &["--at", "no-such-branch"]);
    assert!(code == 1 && said.contains("no-such-branch"), "{code}: {said}");
    let (code, said) = place.import(&place.path("nowhere"), &[]);
    assert!(code == 78 && said.lines().count() == 1, "{code}: {said}");
    let workspace = place.workspace().display().to_string();
    let mut stats = Process::spawn_bin("duckdb-importer", ["stats", "--workspace", &workspace], &[]);
    assert!(stats.wait(SOON).success() && stats.stdout().contains("40 gaps"), "{}", stats.logs());
    assert_eq!(look(&place.db()).unwrap().generation, 2);
    let mut usage = Process::spawn_bin("duckdb-importer", ["fly"], &[]);
    assert_eq!(usage.wait(Duration::from_secs(10)).code(), Some(2));
}
