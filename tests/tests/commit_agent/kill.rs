//! kill -9 of the real program at any moment, with editors, another pusher and a person's git at work in the same clone.

use std::time::{Duration, Instant};

use baft_tests::git::command;
use baft_tests::{GitRemote, Model, wait_until};

use crate::support::{Desk, SOON};

fn rounds() -> u32 {
    std::env::var("BAFT_SOAK_ROUNDS").ok().and_then(|text| text.parse().ok()).unwrap_or(50)
}

/// So that a failing run can be repeated.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % sides
    }
}

/// Somebody else pushes; a lost race is run again.
fn others(remote: &GitRemote, model: &mut Model, files: &[(&str, &str)]) {
    let files: Vec<(&str, Option<&[u8]>)> = files.iter().map(|(path, text)| (*path, Some(text.as_bytes()))).collect();
    for _ in 0..20 {
        remote.git(&["fetch", "-q", "origin"]);
        remote.git(&["reset", "-q", "--hard", "origin/main"]);
        let oid = remote.commit_only(&files);
        let pushed = command(&remote.work()).args(["push", "-q", "origin", "HEAD:main"]).output().unwrap();
        if pushed.status.success() {
            model.pushed(&oid);
            return;
        }
    }
}

#[test]
fn a_kill_of_the_program_at_any_moment_loses_nothing() {
    let seed = std::env::var("BAFT_SOAK_SEED").ok().and_then(|text| text.parse().ok()).unwrap_or(11);
    let mut dice = Dice(seed);
    let (remote, first) = GitRemote::with_files(&[("x.yaml", "x: 0\n"), ("z.txt", "z\n"), ("sub/w.yaml", "w: 0\n")]);
    let mut model = Model::new();
    model.pushed(&first);
    let desk = Desk::new();
    let url = remote.url();
    let mut process = desk.ready(&url, &[]);
    let points = [
        "",
        "land.index:abort",
        "land.branch:abort",
        "move.replaced_one:abort",
        "capture.ref:abort",
        "push.after:abort",
        "park.pushed:abort",
    ];
    for round in 0..rounds() {
        let point = points[usize::try_from(dice.roll(points.len() as u64)).unwrap()];
        let quick = ["--quiet=0s", "--schedule=1s"];
        process.kill();
        let clone = desk.clone();
        // Nobody is at work now: what is in the files is at rest.
        model.saw_folder(&clone);
        let env: Vec<(&str, &str)> = if point.is_empty() { Vec::new() } else { vec![("BAFT_FAILPOINT", point)] };
        process = desk.start_with(&url, &quick, &env);
        wait_until("the agent to look, or to die where it was told to", SOON, || {
            (!process.is_running() || desk.get("/readyz").0 == 200).then_some(())
        });
        if !process.is_running() {
            // It died before it could see what was at rest; whoever writes over that now takes it from nobody's hands but their own.
            continue;
        }
        let until = Instant::now() + Duration::from_millis(20 + dice.roll(300));
        let mut turn = 0;
        while Instant::now() < until {
            turn += 1;
            match dice.roll(6) {
                0 => {
                    let (path, text) = (format!("unique/{round}-{turn}.yaml"), format!("n: {round}.{turn}\n"));
                    desk.save(&path, &text);
                    model.saw(&path, text.as_bytes());
                }
                1 => desk.save("x.yaml", &format!("x: {round}.{turn}\n")),
                2 => desk.save("z.txt", &format!("ours {round}.{turn}\n")),
                3 => others(&remote, &mut model, &[("z.txt", &format!("others {round}.{turn}\n"))]),
                4 => others(&remote, &mut model, &[("sub/w.yaml", &format!("w: {round}.{turn}\n"))]),
                _ => drop(command(&clone).args(["commit", "-q", "-a", "-m", "by hand"]).output().unwrap()),
            }
        }
    }
    process.kill();
    let clone = desk.clone();
    model.saw_folder(&clone);
    let mut process = desk.start(&url, &["--quiet=0s", "--schedule=1s"]);
    wait_until("everything to be pushed and nothing to change any more", Duration::from_secs(60), || {
        assert!(process.is_running(), "seed {seed}: {}", process.logs());
        let (head, main) = (desk.git(&["rev-parse", "HEAD"]), remote.git(&["ls-remote", "origin", "refs/heads/main"]));
        (main.starts_with(&head) && baft_tests::model::status(&clone).is_empty()).then_some(())
    });
    assert!(process.terminate(SOON).success(), "{}", process.logs());
    model.check(&clone, &remote.bare(), "main");
}
