//! One changed file in a large repository.

use std::fs;
use std::path::Path;
use std::time::Instant;

use anyhow::{Result, ensure};
use baft_repo::Repo;
use baft_tests::NatsServer;

use super::Setting;
use crate::child::{git, git_command, run as run_child};
use crate::data::{Repository, change_one_of_many};
use crate::fleet::{Client, Daemon, git_sync};
use crate::report::{Goal, Section};
use crate::scrape::Metrics;
use crate::stats::{Samples, show_seconds};

pub fn run(setting: &Setting) -> Result<Section> {
    let mut section = Section::new(
        "One changed file in a large repository",
        "One file changes on the remote, then one sync, asked for with `git.sync`: a new complete checkout, on disk for good,\n\
         and the link flipped. The baseline is `git fetch && git worktree add`, which does not wait for the disk. What removes\n\
         old checkouts is counted in neither.",
    );
    let mut flat = Vec::new();
    for count in [500, if setting.quick { 5_000 } else { 50_000 }] {
        let folder = setting.folder(&format!("many-files-{count}"))?;
        let remote = Repository::of_many_files(count, &folder)?;
        let rounds = setting.rounds(20);
        let ours = ours(&remote, &folder.join("sync"), rounds)?;
        let theirs = worktrees(&remote, &folder, rounds)?;
        let ratio = theirs.p50() / ours.whole.p50();
        let large = count > 1000;
        let (goal, reached) = if large { ("at least 3×", Some(Goal::when(ratio >= 3.0))) } else { ("", None) };
        section.compare(&format!("{count} files: whole sync"), ours.whole.show(), theirs.show(), ratio, goal, reached);
        let parts: Vec<String> =
            ours.phases.iter().map(|(name, seconds)| format!("{name} {}", show_seconds(*seconds))).collect();
        section.note(format!("{count} files, mean of each phase: {}.", parts.join(", ")));
        flat.push((count, ours.fetch, ours.diff.mean()));
        fs::remove_dir_all(&folder)?;
    }
    for (count, fetch, diff) in flat {
        let reached = Goal::when(fetch + diff <= 0.020);
        section.alone(
            &format!("{count} files: fetch and diff, mean"),
            format!("{} + {}", show_seconds(fetch), show_seconds(diff)),
            "flat, at most 20 ms",
            Some(reached),
        );
    }
    Ok(section)
}

struct Ours {
    whole: Samples,
    /// Mean seconds of asking for the refs and fetching.
    fetch: f64,
    diff: Samples,
    /// Mean seconds of every phase.
    phases: Vec<(String, f64)>,
}

fn ours(remote: &Path, root: &Path, rounds: usize) -> Result<Ours> {
    let nats = NatsServer::start();
    let client = Client::connect(&nats)?;
    let daemon = git_sync(&format!("file://{}", remote.display()), root, "600s", Some(&nats));
    let (mut whole, mut diff) = (Samples::default(), Samples::default());
    let before = phases(&daemon)?;
    for round in 0..rounds {
        change_one_of_many(remote, round)?;
        let began = Instant::now();
        let answer = client.sync()?;
        whole.push(began.elapsed());
        ensure!(answer.changed_files == 1, "{} files changed instead of one", answer.changed_files);

        // What `git.synced` lists, the way git-sync finds it.
        let mirror = Repo::open(root.join("mirror.git"))?;
        let old = answer.old.as_deref().unwrap_or_default().parse()?;
        let began = Instant::now();
        let changes = mirror.diff(Some(old), answer.new.parse()?)?;
        diff.push(began.elapsed());
        ensure!(changes.len() == 1, "{} changes instead of one", changes.len());
    }
    let phases: Vec<(String, f64)> = phases(&daemon)?
        .into_iter()
        .map(|(name, seconds)| {
            let earlier = before.iter().find(|(other, _)| *other == name).map_or(0.0, |(_, seconds)| *seconds);
            (name, (seconds - earlier) / rounds as f64)
        })
        .collect();
    let fetch = phases.iter().filter(|(name, _)| name == "ask" || name == "fetch").map(|(_, seconds)| seconds).sum();
    Ok(Ours { whole, fetch, diff, phases })
}

fn phases(daemon: &Daemon) -> Result<Vec<(String, f64)>> {
    Ok(Metrics::of(daemon.admin.address())?.by_label("baft_git_sync_phase_duration_seconds_sum", "phase"))
}

fn worktrees(remote: &Path, folder: &Path, rounds: usize) -> Result<Samples> {
    git(folder, &["clone", "--quiet", "--bare", "remote.git", "bare.git"])?;
    let bare = folder.join("bare.git");
    let mut samples = Samples::default();
    for round in 0..rounds {
        change_one_of_many(remote, 1000 + round)?;
        let tree = folder.join(format!("tree-{round}"));
        let began = Instant::now();
        run_child(git_command(&bare).args(["fetch", "--quiet", "origin", "+refs/heads/main:refs/heads/main"]))?;
        run_child(git_command(&bare).args(["worktree", "add", "--quiet", "--detach"]).arg(&tree).arg("main"))?;
        samples.push(began.elapsed());
        fs::remove_dir_all(&tree)?;
        git(&bare, &["worktree", "prune"])?;
    }
    Ok(samples)
}
