//! git-sync with nothing to do.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Result, ensure};
use baft_tests::NatsServer;

use super::Setting;
use crate::child::{cpu_of, memory_of, run as run_child};
use crate::data::Repository;
use crate::fleet::{Client, git_sync};
use crate::http::GitHttp;
use crate::report::{Goal, Section};
use crate::scrape::Metrics;
use crate::stats::{Samples, show_mib, show_seconds};

pub fn run(setting: &Setting) -> Result<Section> {
    let folder = setting.folder("idle")?;
    let repository = Repository::of_folder(&setting.source.folder, &folder)?;
    let http = GitHttp::serve(repository.remote.clone())?;
    let mut section = Section::new(
        "git-sync with nothing new",
        "One check for news: git-sync looking every ten milliseconds, its own clock for the wall time, everything the process\n\
         does for the processor time. The baseline is `git ls-remote` in a loop.",
    );
    for (name, url) in [("file", repository.url()), ("http", http.url())] {
        let before = http.spent();
        let ours = checks(&url, &folder.join(format!("sync-{name}")), if setting.quick { 2 } else { 15 })?;
        let between = http.spent();
        let theirs = ls_remote(&url, &folder, setting.rounds(200))?;
        let after = http.spent();
        for (what, ours, theirs) in [("wall", &ours.wall, &theirs.wall), ("processor", &ours.cpu, &theirs.cpu)] {
            let ratio = theirs.mean() / ours.mean();
            section.compare(
                &format!("{name}: {what} time per check, mean"),
                show_seconds(ours.mean()),
                show_seconds(theirs.mean()),
                ratio,
                "at least 20×",
                Some(Goal::when(ratio >= 20.0)),
            );
        }
        if name == "http" {
            let share = |from: (u64, Duration), to: (u64, Duration)| {
                let requests = to.0 - from.0;
                let each = (to.1 - from.1).as_secs_f64() / requests.max(1) as f64;
                format!("{requests} requests, {} each", show_seconds(each))
            };
            section.note(format!(
                "The server's own time, part of the wall times over http: {} for git-sync, {} for `git ls-remote`.",
                share(before, between),
                share(between, after)
            ));
        }
    }
    memory(setting, &repository.url(), &folder, &mut section)?;
    Ok(section)
}

struct Costs {
    wall: Samples,
    cpu: Samples,
}

/// git-sync on the shortest period it takes: the mean of some seconds of looks that find nothing.
fn checks(url: &str, root: &Path, seconds: u64) -> Result<Costs> {
    let daemon = git_sync(url, root, "10ms", None);
    std::thread::sleep(Duration::from_secs(1));
    let state = || -> Result<(f64, f64, Duration)> {
        let metrics = Metrics::of(daemon.admin.address())?;
        let name = "baft_git_sync_unchanged_check_duration_seconds";
        Ok((metrics.sum(&format!("{name}_count")), metrics.sum(&format!("{name}_sum")), cpu_of(daemon.process.id())))
    };
    let (count_before, wall_before, cpu_before) = state()?;
    std::thread::sleep(Duration::from_secs(seconds));
    let (count, spent, cpu_after) = state()?;
    let rounds = count - count_before;
    ensure!(rounds >= 10.0, "git-sync made only {rounds} checks in {seconds} s");
    let (mut wall, mut cpu) = (Samples::default(), Samples::default());
    wall.push_seconds((spent - wall_before) / rounds);
    cpu.push_seconds((cpu_after - cpu_before).as_secs_f64() / rounds);
    Ok(Costs { wall, cpu })
}

fn ls_remote(url: &str, folder: &Path, rounds: usize) -> Result<Costs> {
    let (mut wall, mut cpu) = (Samples::default(), Samples::default());
    for _ in 0..rounds {
        let mut command = Command::new("git");
        command.current_dir(folder).args(["ls-remote", "--quiet", url, "refs/heads/main"]);
        let done = run_child(&mut command)?;
        wall.push(done.wall);
        cpu.push(done.cpu);
    }
    Ok(Costs { wall, cpu })
}

fn memory(setting: &Setting, url: &str, folder: &Path, section: &mut Section) -> Result<()> {
    let nats = NatsServer::start();
    let client = Client::connect(&nats)?;
    let daemon = git_sync(url, &folder.join("sync-memory"), "2s", Some(&nats));
    client.sync()?;
    let working = memory_of(daemon.process.id())?;
    // It rests after five seconds without anything new.
    let rest = Duration::from_secs(if setting.quick { 10 } else { 30 });
    std::thread::sleep(rest);
    let used = memory_of(daemon.process.id())?;
    let reached = Goal::when(used.resident <= 12 * 1024);
    section.alone("memory, resident", show_mib(used.resident), "at most 12 MiB", Some(reached));
    let reached = Goal::when(used.anonymous <= 4 * 1024);
    section.alone("memory, anonymous part", show_mib(used.anonymous), "at most 4 MiB", Some(reached));
    section.note(format!(
        "Memory after {} s of a check every two seconds, connected to NATS; before the rest it was {}, its peak {}.",
        rest.as_secs(),
        show_mib(working.resident),
        show_mib(used.peak)
    ));
    Ok(())
}
