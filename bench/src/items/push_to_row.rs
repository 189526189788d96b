//! From a push to a row that a new reader sees.

use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::Result;
use baft_tests::{NatsServer, Process};

use super::Setting;
use crate::child::git;
use crate::data::{Editor, Repository, python, script};
use crate::fleet::{Client, From, database, git_sync, importer};
use crate::reader::{Published, Reader};
use crate::report::{Goal, Section};
use crate::stats::{Samples, show_seconds};

const PATIENCE: Duration = Duration::from_secs(60);

pub fn run(setting: &Setting) -> Result<Section> {
    let ours = ours(setting)?;
    let shell = shell_way(setting, "python", setting.rounds(30))?;
    let shell_c = shell_way(setting, "c", setting.rounds(30))?;

    let mut section = Section::new(
        "Push to row",
        "One-entity edits, each pushed to a bare repository and announced with `git.pushed`; measured until a reader that\n\
         opens the published file afresh reads the new value. The baseline pulls every second and runs the plain script when\n\
         something came (`shell_way.sh`); its pushes come at random moments.",
    );
    let goal = (ours.accepted.p50() <= 0.150, ours.accepted.p95() <= 0.400);
    section.compare(
        &format!("from the accepted push, {} pushes", ours.accepted.len()),
        ours.accepted.show(),
        shell.accepted.show(),
        shell.accepted.p50() / ours.accepted.p50(),
        "150 / 400 ms",
        Some(Goal::when(goal.0 && goal.1)),
    );
    section.compare(
        "the same, with libyaml's loader",
        ours.accepted.show(),
        shell_c.accepted.show(),
        shell_c.accepted.p50() / ours.accepted.p50(),
        "",
        None,
    );
    section.compare(
        "from the start of `git push`",
        ours.whole.show(),
        shell.whole.show(),
        shell.whole.p50() / ours.whole.p50(),
        "",
        None,
    );
    let computed = on_real_timers(shell.script);
    section.compare(
        "from the accepted push, the specification's timers (computed)",
        ours.accepted.show(),
        computed.show(),
        computed.p50() / ours.accepted.p50(),
        "",
        None,
    );
    section.note(format!(
        "Computed, not measured: waits spread evenly over 60 s (pull) and over 30 min (import) plus the script's {}.",
        show_seconds(shell.script)
    ));
    section.note(format!(
        "The shell way's median without its wait for the timer (half a second on average) is {}.",
        show_seconds((shell.accepted.p50() - 0.5).max(0.0))
    ));
    Ok(section)
}

struct Measured {
    accepted: Samples,
    whole: Samples,
    /// Seconds one run of the plain script takes.
    script: f64,
}

fn ours(setting: &Setting) -> Result<Measured> {
    let folder = setting.folder("push-to-row")?;
    let repository = Repository::of_folder(&setting.source.folder, &folder)?;
    let (root, workspace) = (folder.join("sync"), folder.join("workspace"));
    let nats = NatsServer::start();
    let client = Client::connect(&nats)?;
    // Timers so long that only the announcement can be the cause.
    let _sync = git_sync(&repository.url(), &root, "600s", Some(&nats));
    let _importer = importer(From::GitSync(&root), &workspace, Some(&nats));
    let reader = Reader::new(database(&workspace));
    let mut editor = Editor::open(repository.clone.join("data/variables.yaml"))?;

    let (mut accepted, mut whole) = (Samples::default(), Samples::default());
    let warm_up = 5;
    for round in 0..setting.rounds(100) + warm_up {
        let edit = editor.save(round)?;
        let commit = repository.commit(&format!("Round {round}"))?;
        let before = reader.published();
        let began = Instant::now();
        repository.push()?;
        let pushed = Instant::now();
        client.pushed(&repository.url(), &commit);
        let seen = reader.wait_for(before, &edit.sql, "true", PATIENCE)?;
        if round >= warm_up {
            accepted.push(seen - pushed);
            whole.push(seen - began);
        }
    }
    Ok(Measured { accepted, whole, script: 0.0 })
}

fn shell_way(setting: &Setting, loader: &str, rounds: usize) -> Result<Measured> {
    let folder = setting.folder(&format!("shell-way-{loader}"))?;
    let repository = Repository::of_folder(&setting.source.folder, &folder)?;
    git(&folder, &["clone", "--quiet", "remote.git", "pulled"])?;
    let database = folder.join("plain.duckdb");

    let mut once = Command::new(python());
    once.arg(script("baseline/import_plain.py")).arg(folder.join("pulled")).arg(&database).args(["--loader", loader]);
    let script_seconds = crate::child::run(&mut once)?.wall.as_secs_f64();

    let mut command = Command::new("sh");
    command
        .arg(script("baseline/shell_way.sh"))
        .arg(folder.join("pulled"))
        .arg(&database)
        .arg(python())
        .arg("1")
        .arg(loader);
    let _loop = Process::spawn("shell way", command);
    let reader = Reader::new(&database);
    let mut editor = Editor::open(repository.clone.join("data/variables.yaml"))?;
    let (mut accepted, mut whole) = (Samples::default(), Samples::default());
    for round in 0..rounds {
        // Evenly spread over the timer's period.
        std::thread::sleep(Duration::from_millis((round as u64 * 618) % 1000));
        let edit = editor.save(round)?;
        repository.commit(&format!("Round {round}"))?;
        let began = Instant::now();
        repository.push()?;
        let pushed = Instant::now();
        let seen = reader.wait_for(Published::default(), &edit.sql, "true", PATIENCE)?;
        accepted.push(seen - pushed);
        whole.push(seen - began);
    }
    Ok(Measured { accepted, whole, script: script_seconds })
}

/// Waiting for a pull every minute, then for an import every half hour, at even spread.
fn on_real_timers(script: f64) -> Samples {
    let mut samples = Samples::default();
    for pull in 0..60 {
        for import in 0..180 {
            samples.push_seconds(f64::from(pull) + 0.5 + f64::from(import) * 10.0 + 5.0 + script);
        }
    }
    samples
}
