//! The past of a stream can be read and followed without leaving anything behind.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod common;

use std::time::Duration;

use baft_bus::Bus;
use baft_bus::history::{From, History};
use baft_bus::payload::{DaemonStarted, DaemonStopping};
use chrono::{DateTime, Utc};
use common::{SOON, ready};

async fn started(bus: &Bus, name: &str) {
    let version = "1".to_owned();
    bus.emit_best_effort(&DaemonStarted { name: name.to_owned(), instance: "one".to_owned(), version }).await;
}

async fn stopping(bus: &Bus) {
    let (name, instance, version) = ("x".to_owned(), "one".to_owned(), "1".to_owned());
    bus.emit_best_effort(&DaemonStopping { name, instance, version }).await;
}

/// Everything there is so far: the names of the daemons that started, `-` for other events.
async fn read(history: &mut History) -> Vec<String> {
    let mut names = Vec::new();
    while let Some(event) = history.next().await.unwrap() {
        let event = event.unwrap();
        names.push(event.decode::<DaemonStarted>().map_or_else(|_| "-".to_owned(), |event| event.data.name));
    }
    names
}

#[tokio::test(flavor = "multi_thread")]
async fn the_newest_events_are_found_however_far_back_they_are() {
    let (_server, bus) = ready().await;
    for name in ["a", "b", "c"] {
        started(&bus, name).await;
    }
    for _ in 0..40 {
        stopping(&bus).await;
    }
    let mut newest = History::open(&bus, "daemon.started", From::Newest(2)).await.unwrap();
    assert_eq!(read(&mut newest).await, ["b", "c"]);
    let mut all = History::open(&bus, "daemon.started", From::Newest(99)).await.unwrap();
    assert_eq!(read(&mut all).await, ["a", "b", "c"]);
    let mut any = History::open(&bus, ">", From::Newest(2)).await.unwrap();
    assert_eq!(read(&mut any).await, ["-", "-"]);
    let mut none = History::open(&bus, ">", From::Newest(0)).await.unwrap();
    assert!(read(&mut none).await.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn reading_starts_at_the_moment_asked_for() {
    let (_server, bus) = ready().await;
    for name in ["a", "b"] {
        started(&bus, name).await;
    }
    let between = Utc::now();
    for name in ["c", "d"] {
        started(&bus, name).await;
    }
    for (time, names) in [
        (DateTime::UNIX_EPOCH, &["a", "b", "c", "d"][..]),
        (between, &["c", "d"]),
        (Utc::now() + Duration::from_secs(60), &[]),
    ] {
        let mut history = History::open(&bus, "daemon.*", From::Time(time)).await.unwrap();
        assert_eq!(read(&mut history).await, names);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn following_goes_on_over_a_restart_of_the_server_and_misses_nothing() {
    let (mut server, bus) = ready().await;
    let mut history = History::open(&bus, ">", From::Newest(0)).await.unwrap();
    started(&bus, "a").await;
    history.rung().await;
    assert_eq!(read(&mut history).await, ["a"]);
    server.restart();
    let until = tokio::time::Instant::now() + SOON;
    let mut seen = Vec::new();
    while seen.is_empty() {
        assert!(tokio::time::Instant::now() < until, "the event was never seen");
        // Best effort: while the connection is lost it goes nowhere.
        started(&bus, "b").await;
        history.rung().await;
        while let Ok(Some(event)) = history.next().await {
            seen.push(event.unwrap().decode::<DaemonStarted>().unwrap().data.name);
        }
    }
    assert!(seen.iter().all(|name| name == "b"), "{seen:?}");
}
