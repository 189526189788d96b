//! Scenarios 3 to 9 and 17: editors, writers and people with a git of their own in the same clone.

use std::io::Write;
use std::time::{Duration, Instant};

use baft_commit_agent::engine::{Agent, Blocked, Confirm, Cycle, Extent, Flush, Notice, Order, Pause, Touched};
use baft_tests::wait_until;

use crate::child;
use crate::support::{Scene, any_cycle, cycle, now};

/// A cycle that waits for files to rest, as the daemon's do.
fn patient(agent: &mut Agent) -> Cycle {
    agent.touched(Touched::Rescan);
    agent.cycle(&Order { flush: Flush::Quiet, pause: Pause::Ignore, ..Order::default() })
}

#[test]
fn scenario_03_a_save_between_our_look_and_the_exchange_survives_and_so_does_upstreams() {
    for point in ["move.prepared", "move.replace"] {
        let mut scene = Scene::new(&[("x.yaml", "a: 1\nb: 1\n"), ("other.yaml", "o: 1\n")]);
        drop(scene.open());
        scene.others_push(&[("x.yaml", "a: 2\nb: 1\n"), ("other.yaml", "o: 2\n")]);
        let folder = tempfile::tempdir().unwrap();
        let reached = folder.path().join("reached");
        let mut child = child::start_with(
            &scene,
            "once",
            &[("BAFT_FAILPOINT", &format!("{point}:wait")), ("BAFT_FAILPOINT_DIR", folder.path().to_str().unwrap())],
        );
        wait_until("the exchange is about to happen", Duration::from_secs(30), || reached.exists().then_some(()));
        scene.save("x.yaml", "a: 1\nb: mine\n");
        std::fs::remove_file(&reached).unwrap();
        child.wait(Duration::from_secs(60));
        let mut agent = scene.open();
        for _ in 0..3 {
            any_cycle(&mut agent);
        }
        scene.check();
        assert_eq!(scene.on_remote("other.yaml").as_deref(), Some("o: 2\n"));
        let merged = scene.on_remote("x.yaml").unwrap();
        assert!(merged.contains("a: 2"), "{point}: upstream's change stays: {merged}");
        assert_eq!(merged, scene.read("x.yaml"), "{point}");
        assert_eq!(baft_tests::model::status(&scene.clone_path()), "");
    }
}

#[test]
fn scenario_04_a_save_of_the_text_from_before_a_pull_is_flagged() {
    for (saved, stale) in [
        ("a: 1\nb: 1\n", true),
        // With edits of the editor's own.
        ("a: 1\nb: 7\nc: 1\n", true),
        // Upstream's change is in it.
        ("a: 2\nb: 7\n", false),
    ] {
        let mut scene = Scene::new(&[("x.yaml", "a: 1\nb: 1\n")]);
        let mut agent = scene.open();
        scene.others_push(&[("x.yaml", "a: 2\nb: 1\n")]);
        cycle(&mut agent);
        assert_eq!(scene.read("x.yaml"), "a: 2\nb: 1\n");
        scene.save("x.yaml", saved);
        let done = cycle(&mut agent);
        let flagged = matches!(&done.notices[..], [Notice::StaleSave { path }] if path.as_str() == "x.yaml");
        assert_eq!(flagged, stale, "{saved:?}: {done:?}");
        // The commit says so for good, and its event.
        let named = scene.git(&["log", "-1", "--format=%(trailers:key=Takes-Back,valueonly)", "main"]);
        assert_eq!(named.trim(), if stale { "x.yaml" } else { "" });
        let told = done.landed.iter().flat_map(|commit| &commit.takes_back).count();
        assert_eq!(told, usize::from(stale));
        assert_eq!(scene.on_remote("x.yaml").as_deref(), Some(saved), "what was saved is committed as it is");
        scene.check();
    }
}

#[test]
fn scenario_05_a_writer_without_pause_holds_nobody_up_and_is_captured_in_the_end() {
    let mut scene = Scene::new(&[("log.txt", "start\n"), ("a.yaml", "a: 1\n")]);
    scene.settings.quiet = Duration::from_millis(300);
    scene.settings.max_wait = Duration::from_secs(5);
    let mut agent = scene.open();
    let path = scene.clone_path().join("log.txt");
    let stop = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut file = std::fs::OpenOptions::new().append(true).open(&path).unwrap();
            while !stop.load(std::sync::atomic::Ordering::Acquire) {
                file.write_all(b"line\n").unwrap();
                std::thread::sleep(Duration::from_millis(20));
            }
        });
        scene.save("a.yaml", "a: 2\n");
        let started = Instant::now();
        wait_until("the other file", Duration::from_secs(10), || {
            patient(&mut agent);
            (scene.on_remote("a.yaml").as_deref() == Some("a: 2\n")).then_some(())
        });
        assert!(started.elapsed() < Duration::from_millis(4900), "on time");
        wait_until("the busy file", Duration::from_secs(10), || {
            patient(&mut agent);
            scene.on_remote("log.txt").is_some_and(|text| text.contains("line")).then_some(())
        });
        assert!(started.elapsed() >= Duration::from_millis(4900), "not before its time");
        stop.store(true, std::sync::atomic::Ordering::Release);
    });
    scene.check();
}

#[test]
fn scenario_06_files_saved_in_two_pieces_or_by_rename_are_never_committed_torn() {
    let mut scene = Scene::new(&[("x.yaml", "a: 1\n"), ("y.yaml", "b: 1\n")]);
    scene.settings.quiet = Duration::from_millis(400);
    let mut agent = scene.open();
    let (x, y) = (scene.clone_path().join("x.yaml"), scene.clone_path().join("y.yaml"));
    let whole = "items:\n  - one\n  - two\n";
    let mut file = std::fs::File::create(&x).unwrap();
    file.write_all(&whole.as_bytes()[..9]).unwrap();
    std::fs::write(y.with_extension("tmp"), "b: 2\n").unwrap();
    let until = Instant::now() + Duration::from_millis(900);
    while Instant::now() < until {
        patient(&mut agent);
        std::thread::sleep(Duration::from_millis(30));
    }
    file.write_all(&whole.as_bytes()[9..]).unwrap();
    drop(file);
    std::fs::rename(y.with_extension("tmp"), &y).unwrap();
    scene.model.saw("x.yaml", whole.as_bytes());
    scene.model.saw("y.yaml", b"b: 2\n");
    wait_until("both", Duration::from_secs(10), || {
        patient(&mut agent);
        (scene.on_remote("x.yaml").as_deref() == Some(whole) && scene.on_remote("y.yaml").as_deref() == Some("b: 2\n"))
            .then_some(())
    });
    let history = scene.git(&["log", "--format=%H", "--", "x.yaml"]);
    assert_eq!(history.lines().count(), 2, "no torn version in between");
    scene.check();
}

#[test]
fn scenario_07_a_person_who_holds_the_index_stops_landing_and_nothing_else() {
    let mut scene = Scene::new(&[("a.yaml", "a: 1\n"), ("b.yaml", "b: 1\n")]);
    let mut agent = scene.open();
    scene.save("b.yaml", "b: staged\n");
    scene.git(&["add", "b.yaml"]);
    let lock = scene.clone_path().join(".git/index.lock");
    std::fs::write(&lock, "").unwrap();
    scene.save("a.yaml", "a: 2\n");
    let done = any_cycle(&mut agent);
    assert!(matches!(done.blocked, Some(Blocked::IndexLock { .. })), "{done:?}");
    assert_eq!(done.captured.len(), 1);
    let pending = baft_tests::git::git(&scene.remote.bare(), &["show", "rescue/main/pending:a.yaml"]);
    assert_eq!(pending, "a: 2");
    assert!(agent.status().index_lock_age.is_some());
    scene.check();
    scene.save("b.yaml", "b: later\n");
    any_cycle(&mut agent);
    std::fs::remove_file(&lock).unwrap();
    cycle(&mut agent);
    assert_eq!(scene.git(&["show", ":b.yaml"]), "b: staged", "the staging is theirs");
    assert_eq!(scene.on_remote("b.yaml").as_deref(), Some("b: later\n"));
    assert_eq!(scene.remote_branches(), Vec::<String>::new(), "the rescue branch is closed");
    scene.check();
}

#[test]
fn scenario_07_a_person_commits_while_captures_wait() {
    let mut scene = Scene::new(&[("a.yaml", "a: 1\n"), ("b.yaml", "b: 1\n")]);
    let mut agent = scene.open();
    let lock = scene.clone_path().join(".git/index.lock");
    std::fs::write(&lock, "").unwrap();
    scene.save("a.yaml", "a: captured\n");
    any_cycle(&mut agent);
    scene.save("a.yaml", "a: by hand\n");
    std::fs::remove_file(&lock).unwrap();
    scene.git(&["commit", "-q", "-a", "-m", "by hand"]);
    let by_hand = scene.git(&["rev-parse", "HEAD"]);
    scene.save("b.yaml", "b: 2\n");
    cycle(&mut agent);
    assert_eq!(scene.on_remote("a.yaml").as_deref(), Some("a: by hand\n"));
    assert_eq!(scene.on_remote("b.yaml").as_deref(), Some("b: 2\n"));
    scene.model.pushed(&by_hand);
    assert_eq!(baft_tests::model::status(&scene.clone_path()), "");
    scene.check();
}

#[test]
fn scenario_08_a_stale_lock_of_somebody_elses_is_never_deleted() {
    let mut scene = Scene::new(&[("a.yaml", "a: 1\n")]);
    drop(scene.open());
    let lock = scene.clone_path().join(".git/index.lock");
    std::fs::write(&lock, "").unwrap();
    let mut agent = scene.open();
    for n in 0..3 {
        scene.save("a.yaml", &format!("a: {n}\n"));
        any_cycle(&mut agent);
        assert!(lock.exists());
    }
    drop(agent);
    let mut agent = scene.open();
    assert!(lock.exists(), "not even when starting");
    any_cycle(&mut agent);
    let pending = baft_tests::git::git(&scene.remote.bare(), &["show", "rescue/main/pending:a.yaml"]);
    assert_eq!(pending, "a: 2");
    scene.check();
}

#[test]
fn scenario_09_in_the_middle_of_a_persons_operation_nothing_lands_and_everything_is_kept() {
    for state in ["rebase", "merge", "bisect", "detached", "other branch"] {
        let mut scene = Scene::new(&[("a.yaml", "a: 1\n"), ("b.yaml", "b: 1\n")]);
        let mut agent = scene.open();
        scene.save("a.yaml", "a: main\n");
        cycle(&mut agent);
        let main = scene.git(&["rev-parse", "main"]);
        match state {
            "rebase" | "merge" => {
                scene.git(&["checkout", "-q", "-b", "side", "HEAD~1"]);
                std::fs::write(scene.clone_path().join("a.yaml"), "a: side\n").unwrap();
                scene.git(&["commit", "-q", "-a", "-m", "side"]);
                if state == "merge" {
                    scene.git(&["checkout", "-q", "main"]);
                }
                let args = if state == "merge" { ["merge", "side"] } else { ["rebase", "main"] };
                let mut git = std::process::Command::new("git");
                git.current_dir(scene.clone_path()).args(args);
                for role in ["AUTHOR", "COMMITTER"] {
                    git.env(format!("GIT_{role}_NAME"), "P").env(format!("GIT_{role}_EMAIL"), "p@example.org");
                }
                assert!(!git.output().unwrap().status.success(), "a conflict is wanted");
            }
            "bisect" => {
                scene.git(&["bisect", "start", "HEAD", "HEAD~1"]);
            }
            "detached" => {
                scene.git(&["checkout", "-q", "--detach"]);
            }
            _ => {
                scene.git(&["checkout", "-q", "-b", "feature"]);
            }
        }
        scene.save("b.yaml", "b: in the middle\n");
        let done = any_cycle(&mut agent);
        assert!(done.blocked.is_some(), "{state}: {done:?}");
        assert!(done.landed.is_empty() && done.pushed.is_none(), "{state}");
        assert_eq!(scene.git(&["rev-parse", "main"]), main, "{state}");
        assert_eq!(scene.on_remote("b.yaml").as_deref(), Some("b: 1\n"), "{state}");
        let kept = baft_tests::git::git(&scene.remote.bare(), &["show", "rescue/main/snapshot:b.yaml"]);
        assert_eq!(kept, "b: in the middle", "{state}");
        let log = baft_tests::git::git(&scene.remote.bare(), &["log", "-p", "--all"]);
        assert!(!log.contains("+<<<<<<<"), "{state}: no markers anywhere on the remote");
        scene.check();
        match state {
            "rebase" => drop(scene.git(&["rebase", "--abort"])),
            "merge" => drop(scene.git(&["merge", "--abort"])),
            "bisect" => drop(scene.git(&["bisect", "reset"])),
            _ => {}
        }
        scene.git(&["checkout", "-q", "-f", "main"]);
        scene.save("b.yaml", "b: after\n");
        cycle(&mut agent);
        assert_eq!(scene.on_remote("b.yaml").as_deref(), Some("b: after\n"), "{state}");
        scene.check();
    }
}

#[test]
fn a_person_who_resets_amends_or_rebases_loses_nothing_and_gets_their_way() {
    let mut scene = Scene::new(&[("a.yaml", "a: 1\n"), ("b.yaml", "b: 1\n")]);
    let mut agent = scene.open();
    scene.save("a.yaml", "a: unpushed\n");
    agent.touched(Touched::Rescan);
    agent.cycle(&Order { extent: Extent::Local, ..now() });
    scene.git(&["reset", "-q", "--hard", "HEAD~1"]);
    cycle(&mut agent);
    assert_eq!(scene.read("a.yaml"), "a: 1\n");
    assert_eq!(scene.on_remote("a.yaml").as_deref(), Some("a: 1\n"));
    assert_eq!(agent.status().parked.len(), 1);
    scene.check();
}

#[test]
fn a_reset_behind_upstream_takes_nothing_of_upstream_back() {
    let mut scene = Scene::new(&[("a.yaml", "a: 1\n")]);
    let mut agent = scene.open();
    let theirs = scene.others_push(&[("a.yaml", "a: 2\n")]);
    cycle(&mut agent);
    scene.git(&["reset", "-q", "--hard", "HEAD~1"]);
    cycle(&mut agent);
    assert_eq!(scene.git(&["rev-parse", "HEAD"]), theirs);
    assert_eq!(scene.read("a.yaml"), "a: 2\n");
    scene.check();
}

#[test]
fn scenario_17_everything_deleted_waits_for_a_person() {
    let files: Vec<(String, String)> = (0..30).map(|n| (format!("d/{n}.yaml"), format!("n: {n}\n"))).collect();
    let files: Vec<(&str, &str)> = files.iter().map(|(path, text)| (path.as_str(), text.as_str())).collect();
    let scene = Scene::new(&files);
    let mut agent = scene.open();
    std::fs::remove_dir_all(scene.clone_path().join("d")).unwrap();
    let done = any_cycle(&mut agent);
    assert_eq!(done.held.len(), 30, "{:?}", done.held.first());
    assert!(done.captured.is_empty() && scene.on_remote("d/3.yaml").is_some());
    // Brought back, nothing is held any more.
    scene.git(&["checkout", "-q", "--", "."]);
    let done = cycle(&mut agent);
    assert!(done.held.is_empty() && done.captured.is_empty(), "{done:?}");
    std::fs::remove_dir_all(scene.clone_path().join("d")).unwrap();
    any_cycle(&mut agent);
    assert_eq!(agent.confirm(&Confirm::Deletions).unwrap(), 30);
    cycle(&mut agent);
    assert_eq!(scene.on_remote("d/3.yaml"), None);
    scene.check();
}

#[test]
fn scenario_17_an_unmounted_or_emptied_volume_is_a_fault_and_no_fresh_start() {
    use baft_commit_agent::engine::{Class, OpenError};
    let scene = Scene::new(&[("a.yaml", "a: 1\n")]);
    let mut agent = scene.open();
    let (clone, away) = (scene.clone_path(), scene.clone_path().with_extension("away"));
    std::fs::rename(&clone, &away).unwrap();
    for empty in [false, true] {
        if empty {
            std::fs::create_dir(&clone).unwrap();
        }
        let done = any_cycle(&mut agent);
        assert_eq!(done.errors[0].class, Class::Gone, "{done:?}");
    }
    drop(agent);
    let again = Agent::open(scene.settings.clone(), std::sync::Arc::new(baft_repo::transport::Libgit2::new()));
    assert!(matches!(again, Err(OpenError::Gone { .. })), "{again:?}");
    std::fs::remove_dir(&clone).unwrap();
    std::fs::rename(&away, &clone).unwrap();
    cycle(&mut scene.open());
    assert_eq!(scene.on_remote("a.yaml").as_deref(), Some("a: 1\n"));
    scene.check();
}
