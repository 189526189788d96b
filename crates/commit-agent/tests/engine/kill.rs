//! kill -9 between every two steps, and at any moment.

use std::collections::BTreeSet;
use std::time::Duration;

use baft_commit_agent::engine::FAILPOINTS;
use baft_tests::wait_until;

use crate::child;
use crate::support::{Scene, any_cycle, cycle};

const SECRET: &str =
    "aws_secret_access_key: wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEZ\naws_access_key_id: AKIAIOSFODNN7EXAMPLF\n";

/// Something for every step to do.
fn eventful() -> Scene {
    eventful_on(|_| {})
}

/// The same in a clone at a place of its own.
pub fn eventful_in(clone: std::path::PathBuf) -> Scene {
    eventful_on(move |scene| scene.settings.clone = clone)
}

fn eventful_on(place: impl FnOnce(&mut Scene)) -> Scene {
    let mut scene = Scene::new(&[
        ("shared.txt", "base\n"),
        ("a.yaml", "a: 1\n"),
        ("b.yaml", "b: 1\n"),
        ("gone.yaml", "gone: 1\n"),
        ("moved.yaml", "moved: 1\n"),
        ("deep/c.yaml", "c: 1\n"),
    ]);
    place(&mut scene);
    let mut agent = scene.open();
    cycle(&mut agent);
    drop(agent);
    scene.save("a.yaml", "a: 2\n");
    scene.save("new.yaml", "new: 1\n");
    scene.save("shared.txt", "ours\n");
    scene.model.secret("secret.yaml", SECRET.as_bytes());
    std::fs::write(scene.clone_path().join("secret.yaml"), SECRET).unwrap();
    scene.remove("moved.yaml");
    scene.remote.commit_bytes(&[
        ("b.yaml", Some(b"b: 2\n")),
        ("shared.txt", Some(b"theirs\n")),
        ("gone.yaml", None),
        ("deep/c.yaml", None),
        ("deep/d.yaml", Some(b"d: 1\n")),
    ]);
    let head = scene.remote.head();
    scene.model.pushed(&head);
    scene
}

pub fn settles(scene: &Scene, at: &str) {
    let mut agent = scene.open();
    for _ in 0..3 {
        any_cycle(&mut agent);
    }
    let done = cycle(&mut agent);
    assert!(done.unpushed == 0 && done.blocked.is_none(), "{at}: {done:#?}");
    scene.check();
    for (path, content) in [
        ("a.yaml", Some("a: 2\n")),
        ("new.yaml", Some("new: 1\n")),
        ("b.yaml", Some("b: 2\n")),
        ("deep/d.yaml", Some("d: 1\n")),
        ("gone.yaml", None),
        ("moved.yaml", None),
        ("secret.yaml", None),
    ] {
        assert_eq!(scene.on_remote(path).as_deref(), content, "{at}: {path}");
    }
    let status = baft_tests::model::status(&scene.clone_path());
    assert_eq!(status, "?? secret.yaml", "{at}");
    let leftovers: Vec<_> = std::fs::read_dir(scene.clone_path())
        .unwrap()
        .flatten()
        .filter(|entry| entry.file_name().to_string_lossy().starts_with(".baft-"))
        .collect();
    assert!(leftovers.is_empty(), "{at}: {leftovers:?}");
}

#[test]
fn a_kill_between_any_two_steps_is_repaired_by_itself() {
    let mut passed = BTreeSet::new();
    for name in FAILPOINTS {
        // The second passing is another step: of the same files in the next cycle, or of the next file.
        let often = if std::env::var_os("BAFT_SOAK_ROUNDS").is_some() || name.starts_with("move") { 2 } else { 1 };
        for nth in 1..=often {
            let scene = eventful();
            let at = format!("{name}:abort:{nth}");
            if child::run_once(&scene, "once", &at) {
                passed.insert(*name);
            }
            settles(&scene, &at);
            assert_eq!(scene.on_remote("shared.txt").as_deref(), Some("theirs\n"), "{at}");
        }
    }
    let rare = rare::ALL.iter().map(|(name, _)| *name).chain(["apply.pending"]);
    let elsewhere: BTreeSet<&str> = rare.collect();
    let missed: Vec<_> =
        FAILPOINTS.iter().filter(|name| !passed.contains(*name) && !elsewhere.contains(*name)).collect();
    assert!(missed.is_empty(), "never reached: {missed:?}");
}

#[test]
fn a_step_that_fails_anywhere_is_done_later() {
    for name in FAILPOINTS {
        let scene = eventful();
        let at = format!("{name}:error:1");
        child::run_once(&scene, "once", &at);
        settles(&scene, &at);
    }
}

#[test]
fn a_kill_or_a_failure_during_apply_applies_all_or_nothing() {
    let mut passed = BTreeSet::new();
    for name in FAILPOINTS.iter().filter(|name| ["apply", "land", "move"].iter().any(|part| name.starts_with(part))) {
        for how in ["abort", "error"] {
            let mut scene = Scene::new(&[("shared.txt", "base\n"), ("a.yaml", "a: 1\n")]);
            drop(scene.open());
            scene.save("a.yaml", "a: 2\n");
            let at = format!("{name}:{how}:1");
            if child::run_once(&scene, "apply", &at) {
                passed.insert(*name);
            }
            let mut agent = scene.open();
            cycle(&mut agent);
            let (one, two) = (scene.on_remote("applied.yaml"), scene.on_remote("shared.txt"));
            match one.as_deref() {
                Some("by: request\n") => assert_eq!(two.as_deref(), Some("by request\n"), "{at}"),
                None => assert_eq!(two.as_deref(), Some("base\n"), "{at}"),
                other => panic!("{at}: {other:?}"),
            }
            assert_eq!(scene.on_remote("a.yaml").as_deref(), Some("a: 2\n"), "{at}");
            assert_eq!(baft_tests::model::status(&scene.clone_path()), "", "{at}");
            scene.check();
        }
    }
    assert!(passed.contains("apply.pending"), "{passed:?}");
}

/// Steps that only something out of the ordinary leads to.
mod rare {
    use super::{Scene, child, cycle};
    use std::os::unix::fs::PermissionsExt;
    use std::path::Path;
    use std::time::Duration;

    use baft_tests::git::GitHttp;
    use baft_tests::{Process, wait_until};

    /// What leads to a step: makes the scene, and runs a child through it.
    type Lead = fn(&str) -> (Scene, Process, Option<GitHttp>);

    pub const ALL: &[(&str, Lead)] =
        &[("move.stale", busy), ("settle.exchanged", busy), ("quarantine.held", refused), ("close.branch", returned)];

    /// Somebody has a file open for writing while upstream's change of it comes in.
    fn busy(at: &str) -> (Scene, Process, Option<GitHttp>) {
        let mut scene = Scene::new(&[("a.yaml", "a: 1\n"), ("b.yaml", "b: 1\n")]);
        cycle(&mut scene.open());
        scene.others_push(&[("a.yaml", "a: 2\n"), ("b.yaml", "b: 2\n")]);
        let writer = std::fs::OpenOptions::new().append(true).open(scene.clone_path().join("b.yaml")).unwrap();
        let marker = format!("{}.cycled", scene.clone_path().display());
        let mut child = child::start(&scene, "loop", Some(at));
        wait_until("a cycle that finds the file busy", Duration::from_secs(30), || {
            (Path::new(&marker).exists() || !child.is_running()).then_some(())
        });
        drop(writer);
        (scene, child, None)
    }

    /// The server refuses one content.
    fn refused(at: &str) -> (Scene, Process, Option<GitHttp>) {
        let mut scene = Scene::new(&[("a.yaml", "a: 1\n"), ("b.yaml", "b: 1\n")]);
        // Pushes to a folder run no hook.
        let http = scene.remote.serve_http();
        scene.settings.remote.url = http.url();
        cycle(&mut scene.open());
        let hook = scene.remote.bare().join("hooks/pre-receive");
        std::fs::create_dir_all(hook.parent().unwrap()).unwrap();
        let script = "#!/bin/sh\nwhile read old new ref; do
            git show $new:a.yaml 2>/dev/null | grep -q FORBIDDEN && { echo 'a.yaml is not allowed' >&2; exit 1; }; done; exit 0\n";
        std::fs::write(&hook, script).unwrap();
        std::fs::set_permissions(&hook, std::fs::Permissions::from_mode(0o755)).unwrap();
        scene.save("a.yaml", "a: FORBIDDEN\n");
        scene.save("b.yaml", "b: 2\n");
        let child = child::start_on(&scene.clone_path(), &http.url(), "main", "loop", Some(at));
        (scene, child, Some(http))
    }

    /// Somebody merged a rescue branch upstream.
    fn returned(at: &str) -> (Scene, Process, Option<GitHttp>) {
        let mut scene = Scene::new(&[("a.yaml", "a: 1\n"), ("b.txt", "b\n")]);
        let mut agent = scene.open();
        cycle(&mut agent);
        scene.save("b.txt", "ours\n");
        scene.others_push(&[("b.txt", "theirs\n")]);
        cycle(&mut agent);
        drop(agent);
        let branch = scene.remote_branches().pop().unwrap();
        scene.remote.git(&["fetch", "-q", "origin", &branch]);
        scene.remote.git(&["merge", "-q", "-s", "ours", "-m", "decided", "FETCH_HEAD"]);
        scene.remote.git(&["push", "-q", "origin", "HEAD:main"]);
        let head = scene.remote.head();
        scene.model.pushed(&head);
        let child = child::start(&scene, "loop", Some(at));
        (scene, child, None)
    }
}

#[test]
fn a_kill_at_a_step_that_is_rarely_reached_is_repaired_by_itself() {
    for (name, lead) in rare::ALL {
        let at = format!("{name}:abort:1");
        let (scene, mut child, _http) = lead(&at);
        let status = child.wait(Duration::from_secs(60));
        assert!(!status.success(), "{at} was not reached");
        rare_settles(&scene, name, &at);
    }
}

#[test]
fn a_step_that_is_rarely_reached_and_fails_is_done_later() {
    for (name, lead) in rare::ALL {
        let at = format!("{name}:error:1");
        let (scene, mut child, _http) = lead(&at);
        let marker = format!("{}.cycled", scene.clone_path().display());
        for _ in 0..2 {
            let _ = std::fs::remove_file(&marker);
            wait_until("a cycle", Duration::from_secs(30), || std::fs::metadata(&marker).ok());
        }
        child.kill();
        rare_settles(&scene, name, &at);
    }
}

fn rare_settles(scene: &Scene, name: &str, at: &str) {
    let mut agent = scene.open();
    for _ in 0..3 {
        any_cycle(&mut agent);
    }
    let done = cycle(&mut agent);
    assert!(done.unpushed == 0 && done.blocked.is_none(), "{at}: {done:#?}");
    let refused = name == "quarantine.held";
    if refused {
        assert_eq!(scene.on_remote("a.yaml").as_deref(), Some("a: 1\n"), "{at}");
        assert_eq!(scene.read("a.yaml"), "a: FORBIDDEN\n", "{at}: the file stays");
        assert_eq!(scene.on_remote("b.yaml").as_deref(), Some("b: 2\n"), "{at}");
    } else {
        assert_eq!(baft_tests::model::status(&scene.clone_path()), "", "{at}");
        assert_eq!(scene.remote_branches(), Vec::<String>::new(), "{at}");
    }
    if ["move.stale", "settle.exchanged"].contains(&name) {
        assert_eq!((scene.read("a.yaml").as_str(), scene.read("b.yaml").as_str()), ("a: 2\n", "b: 2\n"), "{at}");
    }
    scene.check();
}

fn rounds() -> u32 {
    std::env::var("BAFT_SOAK_ROUNDS").ok().and_then(|text| text.parse().ok()).unwrap_or(50)
}

/// A small generator of its own, so that a failing run can be repeated.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % sides
    }
}

#[test]
fn kill_at_any_moment_with_editors_others_and_a_person_at_work() {
    let seed = std::env::var("BAFT_SOAK_SEED").ok().and_then(|text| text.parse().ok()).unwrap_or(7);
    let mut dice = Dice(seed);
    let mut scene =
        Scene::new(&[("x.yaml", "x: 0\n"), ("y.yaml", "y: 0\n"), ("z.txt", "z\n"), ("sub/w.yaml", "w: 0\n")]);
    drop(scene.open());
    let marker = format!("{}.cycled", scene.clone_path().display());
    for round in 0..rounds() {
        let _ = std::fs::remove_file(&marker);
        let mut child = child::start(&scene, "loop", None);
        wait_until("the first cycle", Duration::from_secs(30), || {
            assert!(child.is_running(), "round {round}: {}", child.logs());
            std::fs::metadata(&marker).ok()
        });
        let until = std::time::Instant::now() + Duration::from_millis(20 + dice.roll(250));
        let mut turn = 0;
        while std::time::Instant::now() < until {
            turn += 1;
            match dice.roll(7) {
                0 => scene.save(&format!("unique/{round}-{turn}.yaml"), &format!("n: {round}.{turn}\n")),
                1 => overwrite(&scene, "x.yaml", &format!("x: {round}.{turn}\n")),
                2 => replace(&scene, "y.yaml", &format!("y: {round}.{turn}\n")),
                3 => scene.others_race(&[("z.txt", &format!("others {round}.{turn}\n"))]),
                4 => scene.others_race(&[
                    (&format!("others/{round}-{turn}.yaml"), "o: 1\n"),
                    ("sub/w.yaml", &format!("w: {round}.{turn}\n")),
                ]),
                5 => person(&scene, &["commit", "-q", "-a", "-m", "by hand"]),
                _ => {
                    overwrite(&scene, "z.txt", &format!("ours {round}.{turn}\n"));
                    person(&scene, &["add", "z.txt"]);
                }
            }
        }
        child.kill();
        let clone = scene.clone_path();
        scene.model.saw_folder(&clone);
    }
    let mut agent = scene.open();
    for _ in 0..4 {
        any_cycle(&mut agent);
    }
    let done = cycle(&mut agent);
    assert!(done.unpushed == 0 && done.blocked.is_none(), "seed {seed}: {done:#?}");
    scene.check();
    // What the person has staged is theirs and may still be there; the files are what the branch says.
    let clone = scene.clone_path();
    let differing = baft_tests::git::git(&clone, &["diff", "HEAD", "--name-only"]);
    let unknown = baft_tests::git::git(&clone, &["ls-files", "--others", "--exclude-standard"]);
    let status = baft_tests::model::status(&clone);
    assert_eq!((differing.as_str(), unknown.as_str()), ("", ""), "seed {seed}: {status}");
}

/// In place, as some editors do.
fn overwrite(scene: &Scene, path: &str, content: &str) {
    std::fs::write(scene.clone_path().join(path), content).unwrap();
}

/// By rename, as others do.
fn replace(scene: &Scene, path: &str, content: &str) {
    let beside = scene.clone_path().join(".y.tmp");
    std::fs::write(&beside, content).unwrap();
    std::fs::rename(beside, scene.clone_path().join(path)).unwrap();
}

/// A person's git; it may find the index locked, or nothing to do.
fn person(scene: &Scene, args: &[&str]) {
    let mut git = std::process::Command::new("git");
    git.current_dir(scene.clone_path()).args(args).env("GIT_CONFIG_GLOBAL", "/dev/null");
    for role in ["AUTHOR", "COMMITTER"] {
        git.env(format!("GIT_{role}_NAME"), "Person").env(format!("GIT_{role}_EMAIL"), "person@example.org");
    }
    drop(git.output().unwrap());
}
