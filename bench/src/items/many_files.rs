//! One changed file in a large repository.

use std::fs;
use std::path::Path;
use std::time::Instant;

use anyhow::{Result, ensure};
use baft_tests::NatsServer;

use super::Setting;
use crate::child::{git, git_command, run as run_child};
use crate::data::{Repository, change_one_of_many};
use crate::fleet::{Client, git_sync};
use crate::report::{Goal, Section};
use crate::scrape::Metrics;
use crate::stats::{Samples, show_seconds};

pub fn run(setting: &Setting) -> Result<Section> {
    let mut section = Section::new(
        "One changed file in a large repository",
        "One file changes on the remote, then one sync: fetch, diff, a new complete checkout, the link flipped. The baseline is\n\
         `git fetch && git worktree add`, without its removal of the old worktree. Old checkouts are removed off the path by\n\
         git-sync and are not counted either.",
    );
    let mut fetch_and_diff = Vec::new();
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
        fetch_and_diff.push((count, ours.fetch_and_diff));
    }
    for (count, mean) in fetch_and_diff {
        let reached = Goal::when(mean <= 0.020);
        section.alone(&format!("{count} files: fetch and diff, mean"), show_seconds(mean), "flat, at most 20 ms", Some(reached));
    }
    Ok(section)
}

struct Ours {
    whole: Samples,
    fetch_and_diff: f64,
}

fn ours(remote: &Path, root: &Path, rounds: usize) -> Result<Ours> {
    let nats = NatsServer::start();
    let client = Client::connect(&nats)?;
    let daemon = git_sync(&format!("file://{}", remote.display()), root, "600s", Some(&nats));
    let mut whole = Samples::default();
    let before = phases(&daemon)?;
    for round in 0..rounds {
        change_one_of_many(remote, round)?;
        let began = Instant::now();
        let answer = client.sync()?;
        whole.push(began.elapsed());
        ensure!(answer.changed_files == 1, "{} files changed instead of one", answer.changed_files);
    }
    let spent = phases(&daemon)? - before;
    Ok(Ours { whole, fetch_and_diff: spent / rounds as f64 })
}

/// Seconds spent so far in what must not grow with the repository.
fn phases(daemon: &crate::fleet::Daemon) -> Result<f64> {
    let metrics = Metrics::of(daemon.admin.address())?;
    let name = "baft_git_sync_phase_seconds_sum";
    Ok(metrics.with(name, "phase=\"fetch\"") + metrics.with(name, "phase=\"diff\""))
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
