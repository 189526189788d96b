//! How long a one-file change in a large repository takes, against `git fetch && git worktree add`:
//! `cargo run --release -p baft-repo --example checkout_speed [files] [rounds]`.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stdout)]

use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use baft_repo::checkout::{Access, Checkouts, Keep, Mode};
use baft_repo::{Oid, Repo, Settings};

fn git(dir: &Path, args: &[&str]) -> String {
    let output = Command::new("git").current_dir(dir).args(args).output().unwrap();
    assert!(output.status.success(), "git {args:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

fn main() {
    let mut args = std::env::args().skip(1).map(|arg| arg.parse::<usize>().unwrap());
    let (files, rounds) = (args.next().unwrap_or(50_000), args.next().unwrap_or(5));
    let dir = tempfile::tempdir_in(".").unwrap();
    let work = dir.path().join("work");
    std::fs::create_dir(&work).unwrap();
    git(&work, &["init", "-q", "-b", "main"]);
    git(&work, &["config", "user.email", "a@b"]);
    git(&work, &["config", "user.name", "a"]);
    for i in 0..files {
        let folder = work.join(format!("data/{:03}", i / 100));
        std::fs::create_dir_all(&folder).unwrap();
        std::fs::write(
            folder.join(format!("{i}.yaml")),
            format!("id: {i}\ntitle: number {i}\n{}", "x: y\n".repeat(i % 50)),
        )
        .unwrap();
    }
    git(&work, &["add", "-A"]);
    git(&work, &["commit", "-qm", "first"]);
    let first: Oid = git(&work, &["rev-parse", "HEAD"]).parse().unwrap();
    git(dir.path(), &["clone", "-q", "--bare", "work", "baseline.git"]);

    baft_repo::init(&Settings::default()).unwrap();
    let repo = Repo::open(work.join(".git")).unwrap();
    let checkouts = Checkouts::open(dir.path().join("checkouts"), Mode::Link, Access::ReadOnly).unwrap();
    let start = Instant::now();
    println!("first checkout: {:?} {:?}", checkouts.publish(&repo, first, None).unwrap().origin, start.elapsed());
    let start = Instant::now();
    checkouts.prepare(&repo, first, &|| false).unwrap();
    println!("preparing the spare: {:?}", start.elapsed());

    let mut current = first;
    for round in 0..rounds {
        std::fs::write(work.join("data/123/12345.yaml"), format!("round: {round}\n")).unwrap();
        git(&work, &["commit", "-qam", "edit"]);
        let next: Oid = git(&work, &["rev-parse", "HEAD"]).parse().unwrap();
        let start = Instant::now();
        let changes = repo.diff(Some(current), next).unwrap();
        let diff = start.elapsed();
        let start = Instant::now();
        let report = checkouts.publish(&repo, next, Some(current)).unwrap();
        let publish = start.elapsed();
        let start = Instant::now();
        checkouts.sweep(Keep { newest: 2, younger_than: Duration::ZERO }, next, &|| false).unwrap();
        let sweep = start.elapsed();
        let start = Instant::now();
        if round % 2 == 0 {
            checkouts.prepare(&repo, next, &|| false).unwrap();
        }
        println!(
            "{} change: diff {diff:?}, publish {publish:?} ({:?}, {} written, {} kept), sweep {sweep:?}, prepare {:?}",
            changes.len(),
            report.origin,
            report.written,
            report.linked,
            start.elapsed()
        );
        current = next;

        let start = Instant::now();
        git(&dir.path().join("baseline.git"), &["fetch", "-q", "../work", "+main:main"]);
        let fetch = start.elapsed();
        let start = Instant::now();
        git(
            &dir.path().join("baseline.git"),
            &["worktree", "add", "-q", "--detach", &format!("../tree{round}"), "main"],
        );
        println!("  git: fetch {fetch:?}, worktree add {:?}", start.elapsed());
    }
}
