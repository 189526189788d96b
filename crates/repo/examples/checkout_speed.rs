//! How long a one-file change in a large repository takes, against `git fetch && git worktree add`:
//! `cargo run --release -p baft-repo --example checkout_speed [files] [rounds]`.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stdout)]

use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use baft_repo::checkout::{Access, Checkouts, Keep, Mode};
use baft_repo::transport::{Libgit2, Remote, Transport};
use baft_repo::{Oid, Repo, Settings};

fn git(dir: &Path, args: &[&str]) -> String {
    let output = Command::new("git").current_dir(dir).args(args).output().unwrap();
    assert!(output.status.success(), "git {args:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

/// Wall and processor time (children included) of one call.
fn cost(rounds: u32, mut call: impl FnMut()) -> (Duration, Duration) {
    let cpu = || -> f64 {
        let stat = std::fs::read_to_string("/proc/self/stat").unwrap();
        let fields: Vec<f64> =
            stat.rsplit(')').next().unwrap().split_whitespace().skip(11).take(4).map(|x| x.parse().unwrap()).collect();
        fields.iter().sum::<f64>() / 100.0
    };
    let (start, before) = (Instant::now(), cpu());
    for _ in 0..rounds {
        call();
    }
    (start.elapsed() / rounds, Duration::from_secs_f64((cpu() - before) / f64::from(rounds)))
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
    let repo = Repo::create_bare(dir.path().join("mirror.git")).unwrap();
    git(dir.path(), &["clone", "-q", "--bare", "work", "remote.git"]);
    let http = baft_tests::git::GitHttp::start(dir.path());
    let file = Remote { url: dir.path().join("remote.git").to_str().unwrap().to_owned(), ..Remote::default() };
    let http_remote = Remote { url: http.url(), ..Remote::default() };
    let specs = ["+refs/heads/main:refs/baft/upstream".to_owned()];
    let start = Instant::now();
    Libgit2::new().fetch(&repo, &file, &specs).unwrap();
    println!("first fetch: {:?}", start.elapsed());
    for remote in [&file, &http_remote] {
        let transport = Libgit2::new();
        let (wall, cpu) = cost(200, || drop(transport.list(remote).unwrap()));
        let (git_wall, git_cpu) = cost(50, || drop(git(dir.path(), &["ls-remote", &remote.url])));
        println!(
            "list {}: wall {wall:?} cpu {cpu:?}; git ls-remote: wall {git_wall:?} cpu {git_cpu:?}; {:.1}x wall, {:.1}x cpu",
            &remote.url[..8],
            git_wall.as_secs_f64() / wall.as_secs_f64(),
            git_cpu.as_secs_f64() / cpu.as_secs_f64()
        );
    }
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
        git(&work, &["push", "-q", "../remote.git", "main"]);
        let remote = if round % 2 == 0 { &file } else { &http_remote };
        let start = Instant::now();
        let report = Libgit2::new().fetch(&repo, remote, &specs).unwrap();
        println!("fetch over {}: {:?}, {} objects", &remote.url[..4], start.elapsed(), report.objects);
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
