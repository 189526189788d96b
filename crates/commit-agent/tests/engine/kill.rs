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
    let elsewhere = ["settle.exchanged", "move.stale", "quarantine.held", "apply.pending", "close.branch"];
    let missed: Vec<_> =
        FAILPOINTS.iter().filter(|name| !passed.contains(*name) && !elsewhere.contains(name)).collect();
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
fn a_kill_during_apply_applies_all_or_nothing() {
    for name in FAILPOINTS.iter().filter(|name| ["apply", "land", "move"].iter().any(|part| name.starts_with(part))) {
        let mut scene = Scene::new(&[("shared.txt", "base\n"), ("a.yaml", "a: 1\n")]);
        drop(scene.open());
        scene.save("a.yaml", "a: 2\n");
        let killed = child::run_once(&scene, "apply", &format!("{name}:abort:1"));
        let mut agent = scene.open();
        cycle(&mut agent);
        let (one, two) = (scene.on_remote("applied.yaml"), scene.on_remote("shared.txt"));
        match one.as_deref() {
            Some("by: request\n") => assert_eq!(two.as_deref(), Some("by request\n"), "{name} {killed}"),
            None => assert_eq!(two.as_deref(), Some("base\n"), "{name} {killed}"),
            other => panic!("{name}: {other:?}"),
        }
        assert_eq!(scene.on_remote("a.yaml").as_deref(), Some("a: 2\n"), "{name}");
        scene.check();
    }
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
    assert_eq!(baft_tests::model::status(&scene.clone_path()), "", "seed {seed}");
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
