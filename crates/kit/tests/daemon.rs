//! What every daemon promises to those who run it, on a real process.

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod support;

use rustix::process::Signal;
use serde_json::Value;
use support::{Daemon, command, run};

#[test]
fn sigterm_finishes_the_work_in_flight_and_ends_with_0() {
    let mut daemon = Daemon::start(&["--repo", "/x", "--drain", "2s"]);
    daemon.signal(Signal::TERM);
    assert_eq!(daemon.logged("shutting down")["signal"], "SIGTERM");
    let (status, body) = daemon.ask("GET", "/readyz", "");
    assert_eq!(status, 503, "it answers during the drain: {body}");
    assert!(body.contains("shutting down"), "{body}");
    let (code, rest) = daemon.ended();
    assert_eq!(code, Some(0), "{rest}");
    assert!(rest.contains("stopped"), "{rest}");
}

#[test]
fn a_second_signal_ends_the_drain_at_once() {
    let mut daemon = Daemon::start(&["--drain", "1h", "--shutdown-grace", "1h"]);
    daemon.signal(Signal::TERM);
    daemon.logged("shutting down");
    daemon.signal(Signal::TERM);
    assert_eq!(daemon.ended().0, Some(1));
}

#[test]
fn a_second_signal_ends_even_a_process_whose_threads_are_all_stuck() {
    let mut daemon = Daemon::start(&["--stuck"]);
    daemon.logged("blocking");
    // Two of the same kind may be delivered as one.
    daemon.signal(Signal::TERM);
    daemon.signal(Signal::INT);
    assert_eq!(daemon.ended().0, Some(1));
}

#[test]
fn a_drain_longer_than_the_grace_period_is_cut_and_says_so() {
    let daemon = Daemon::start(&["--drain", "1h", "--shutdown-grace", "50ms"]);
    daemon.signal(Signal::INT);
    let (code, rest) = daemon.ended();
    assert_eq!(code, Some(1));
    assert!(rest.contains("still in flight"), "{rest}");
}

#[test]
fn readyz_names_what_is_missing() {
    let daemon = Daemon::start(&[]);
    let (status, body) = daemon.ask("GET", "/readyz", "");
    let report: Value = serde_json::from_str(&body).unwrap();
    assert_eq!(status, 503);
    assert_eq!(report["conditions"][0]["name"], "repo");
    assert_eq!(report["conditions"][0]["message"], "no repository given; set --repo");

    let ready = Daemon::start(&["--repo", "/x"]);
    let (status, body) = ready.ask("GET", "/readyz", "");
    assert_eq!((status, body.contains(r#""ready":true"#)), (200, true), "{body}");
}

#[test]
fn the_admin_server_shows_life_metrics_and_build() {
    let daemon = Daemon::start(&[]);
    assert_eq!(daemon.ask("GET", "/livez", ""), (200, "ok\n".to_owned()));
    let (status, metrics) = daemon.ask("GET", "/metrics", "");
    assert_eq!(status, 200);
    for name in ["baft_example_turns_total ", "baft_build_info{", "baft_start_time_seconds "] {
        assert!(metrics.contains(name), "{name} is not in {metrics}");
    }
    let build: Value = serde_json::from_str(&daemon.ask("GET", "/buildz", "").1).unwrap();
    assert_eq!(build["name"], "example");
    assert!(build["rustc"].as_str().unwrap().starts_with("rustc 1."));
}

#[test]
fn the_log_level_changes_while_it_runs_and_a_wrong_one_is_refused() {
    let mut daemon = Daemon::start(&[]);
    let (status, body) = daemon.ask("PUT", "/loglevel", "loud");
    assert_eq!(status, 400);
    assert!(body.contains("'loud' is not a log filter"), "{body}");
    assert_eq!(daemon.ask("PUT", "/loglevel", "debug\n").0, 200);
    assert_eq!(daemon.logged("turn")["level"], "DEBUG");
    assert_eq!(daemon.ask("PUT", "/loglevel", &"x".repeat(10_000)).0, 413);
}

#[test]
fn an_address_in_use_is_a_failure_that_says_what_to_change() {
    let daemon = Daemon::start(&[]);
    let output = run(command().args(["--admin-addr", &daemon.addr.to_string()]));
    assert_eq!(output.status.code(), Some(1));
    let log = String::from_utf8(output.stderr).unwrap();
    assert!(log.contains("--admin-addr or BAFT_ADMIN_ADDR"), "{log}");
}

#[test]
fn healthcheck_answers_by_exit_code() {
    let check = |daemon: &Daemon, arguments: &[&str]| {
        run(command().env("BAFT_ADMIN_ADDR", daemon.addr.to_string()).arg("healthcheck").args(arguments))
    };
    let daemon = Daemon::start(&[]);
    assert_eq!(check(&daemon, &["--live"]).status.code(), Some(0));
    let unready = check(&daemon, &[]);
    assert_eq!(unready.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&unready.stderr).contains("no repository given"));
    assert_eq!(check(&Daemon::start(&["--repo", "/x"]), &[]).status.code(), Some(0));
    let addr = daemon.addr.to_string();
    drop(daemon);
    let gone = run(command().env("BAFT_ADMIN_ADDR", addr).arg("healthcheck"));
    assert_eq!(gone.status.code(), Some(1));
}

#[test]
fn idle_it_stays_small() {
    let daemon = Daemon::start(&["--repo", "/x"]);
    for path in ["/readyz", "/metrics", "/livez"] {
        daemon.ask("GET", path, "");
    }
    let status = std::fs::read_to_string(format!("/proc/{}/status", daemon.id())).unwrap();
    let kib = |name: &str| -> u64 {
        let line = status.lines().find(|line| line.starts_with(name)).unwrap();
        line.split_whitespace().nth(1).unwrap().parse().unwrap()
    };
    let (anonymous, resident) = (kib("RssAnon"), kib("VmRSS"));
    assert!(anonymous < 4 * 1024 && resident < 12 * 1024, "{anonymous} KiB anonymous, {resident} KiB resident");
}
