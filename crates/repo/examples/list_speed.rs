//! What one look at a remote costs, against `git ls-remote`: `cargo run --release -p baft-repo --example list_speed URL`. The server's own
//! work is not counted as processor time when it is another process.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stdout)]

use std::process::Command;
use std::time::{Duration, Instant};

use baft_repo::Settings;
use baft_repo::transport::{Libgit2, Remote, Transport};

fn main() {
    baft_repo::init(&Settings::default()).unwrap();
    let url = std::env::args().nth(1).expect("a URL");
    let remote = Remote { url: url.clone(), ..Remote::default() };
    let transport = Libgit2::new();
    let (wall, cpu) = cost(1000, || assert!(!transport.list(&remote).unwrap().is_empty()));
    let (git_wall, git_cpu) = cost(100, || {
        assert!(Command::new("git").args(["ls-remote", &url]).output().unwrap().status.success());
    });
    println!("ours: wall {wall:?}, cpu {cpu:?}; git ls-remote: wall {git_wall:?}, cpu {git_cpu:?}");
    println!(
        "{:.1}x wall, {:.1}x cpu",
        git_wall.as_secs_f64() / wall.as_secs_f64(),
        git_cpu.as_secs_f64() / cpu.as_secs_f64()
    );
}

/// Wall and processor time (children included) of one call.
fn cost(rounds: u32, mut call: impl FnMut()) -> (Duration, Duration) {
    let cpu = || -> f64 {
        let stat = std::fs::read_to_string("/proc/self/stat").unwrap();
        let times = stat.rsplit(')').next().unwrap().split_whitespace().skip(11).take(4);
        times.map(|ticks| ticks.parse::<f64>().unwrap()).sum::<f64>() / 100.0
    };
    let (start, before) = (Instant::now(), cpu());
    (0..rounds).for_each(|_| call());
    (start.elapsed() / rounds, Duration::from_secs_f64((cpu() - before) / f64::from(rounds)))
}
