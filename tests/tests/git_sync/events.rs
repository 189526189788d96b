//! Events and requests, with a real nats-server.

use std::collections::BTreeSet;
use std::time::Duration;

use baft_bus::payload::{GitPushed, GitStatus, GitSyncRequest, GitSyncResponse};
use baft_tests::{GitRemote, NatsServer, wait_until, wait_until_async};
use serde_json::Value;

use crate::support::{Place, SOON};

/// Ranges join up, ids are unique, and the last range ends at `head`.
pub fn check_ranges(events: &[(String, Value)], head: &str) {
    let ids: BTreeSet<_> = events.iter().map(|(id, _)| id).collect();
    assert_eq!(ids.len(), events.len(), "an id was used twice");
    assert_eq!(events[0].1["old"], Value::Null);
    for pair in events.windows(2) {
        assert_eq!(pair[0].1["new"], pair[1].1["old"], "a gap, or a range announced twice:\n{events:#?}");
    }
    assert_eq!(events.last().unwrap().1["new"], head);
}

pub async fn wait_for_event(nats: &NatsServer, commit: &str) -> Vec<(String, Value)> {
    wait_until_async(&format!("the event for {commit}"), SOON, || async {
        let events = nats.stored("git.synced").await;
        events.last().is_some_and(|(_, event)| event["new"] == commit).then_some(events)
    })
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_publication_is_announced_with_what_changed() {
    let nats = NatsServer::start();
    let _bus = nats.client().await;
    let (remote, first) = GitRemote::with_files(&[("a", "1"), ("gone", "1")]);
    let place = Place::new();
    let nats_url = nats.url();
    let process = place.start_with(&remote.url(), &[], &[("NATS_URL", &nats_url)]);
    place.expect(&remote, &first);
    wait_for_event(&nats, &first).await;
    remote.git(&["rm", "-q", "gone"]);
    let second = remote.commit(&[("a", "2"), ("new", "1")]);
    let events = wait_for_event(&nats, &second).await;
    check_ranges(&events, &second);
    let event = &events.last().unwrap().1;
    assert_eq!(event["forced"], false);
    assert_eq!(event["trigger"], "poll");
    let changed: Vec<_> =
        event["changed"].as_array().unwrap().iter().map(|c| (c["path"].clone(), c["status"].clone())).collect();
    assert_eq!(
        changed,
        [("a".into(), "modified".into()), ("gone".into(), "deleted".into()), ("new".into(), "added".into())]
    );
    let third = remote.force_push(1, &[("a", "3")]);
    let events = wait_for_event(&nats, &third).await;
    check_ranges(&events, &third);
    assert_eq!(events.last().unwrap().1["forced"], true);
    // A restart announces nothing again.
    drop(process);
    let mut process = place.start_with(&remote.url(), &[], &[("NATS_URL", &nats_url)]);
    let fourth = remote.commit(&[("a", "4")]);
    let events = wait_for_event(&nats, &fourth).await;
    check_ranges(&events, &fourth);
    assert!(process.terminate(SOON).success());
    assert!(!nats.stored("daemon.started").await.is_empty());
    assert!(!nats.stored("daemon.stopping").await.is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn requests_and_pushes_make_it_look_and_answer() {
    let nats = NatsServer::start();
    let bus = nats.client().await;
    let (remote, first) = GitRemote::with_files(&[("a", "1")]);
    let place = Place::new();
    let _process = place.start_with(&remote.url(), &["--period=1h"], &[("NATS_URL", &nats.url())]);
    place.expect(&remote, &first);
    let status: GitStatus = wait_until_async("an answer", SOON, || async {
        let status: GitStatus = bus.request("git.status", &serde_json::json!({}), Duration::from_secs(2)).await.ok()?;
        status.last_success_at.is_some().then_some(status)
    })
    .await;
    assert_eq!((status.head.as_deref(), status.behind, status.failures), (Some(first.as_str()), Some(0), 0));

    let second = remote.commit(&[("a", "2"), ("b", "1")]);
    let request = GitSyncRequest { wait_for: Some(second.clone()) };
    let answer: GitSyncResponse = bus.request("git.sync", &request, Duration::from_secs(10)).await.unwrap();
    assert_eq!(
        (answer.old.as_deref(), answer.new.as_str(), answer.changed_files),
        (Some(first.as_str()), second.as_str(), 2)
    );
    // An old commit is part of what is published.
    let request = GitSyncRequest { wait_for: Some(first.clone()) };
    let answer: GitSyncResponse = bus.request("git.sync", &request, Duration::from_secs(10)).await.unwrap();
    assert_eq!((answer.new.as_str(), answer.changed_files), (second.as_str(), 0));

    // A commit that comes only later is waited for, although nobody rings.
    let third = remote.commit_only(&[("a", Some(b"3"))]);
    let request = GitSyncRequest { wait_for: Some(third.clone()) };
    let waiting = tokio::spawn({
        let bus = bus.clone();
        async move { bus.request::<_, GitSyncResponse>("git.sync", &request, Duration::from_secs(10)).await }
    });
    tokio::time::sleep(Duration::from_millis(300)).await; // let it look in vain first
    remote.git(&["push", "-q", "origin", "main"]);
    assert_eq!(waiting.await.unwrap().unwrap().new, third);
    let fourth = remote.commit(&[("a", "4")]);
    let pushed = GitPushed {
        repo: remote.url(),
        reference: "refs/heads/main".to_owned(),
        commit: fourth.clone(),
        parent: Some(third),
        files: vec!["a".to_owned()],
        truncated: false,
        session_id: None,
        author: "someone".to_owned(),
    };
    bus.emit_best_effort(&pushed).await;
    place.wait_for(&fourth);
    let events = wait_for_event(&nats, &fourth).await;
    check_ranges(&events, &fourth);
    assert_eq!(events.last().unwrap().1["trigger"], "push");
    assert_eq!(events[1].1["trigger"], "request");
    // Only now, because whoever waits in vain makes it look again and again.
    let never = GitSyncRequest { wait_for: Some("1".repeat(40)) };
    let error = bus.request::<_, GitSyncResponse>("git.sync", &never, Duration::from_millis(700)).await.unwrap_err();
    assert_eq!(error.code, baft_bus::Code::Timeout, "{error:?}");
    let nonsense = GitSyncRequest { wait_for: Some("main".to_owned()) };
    let error = bus.request::<_, GitSyncResponse>("git.sync", &nonsense, Duration::from_secs(2)).await.unwrap_err();
    assert_eq!(error.code, baft_bus::Code::InvalidArgument, "{error:?}");
    // A failure is an answer, too.
    std::fs::rename(remote.bare(), remote.bare().with_extension("aside")).unwrap();
    let error = bus
        .request::<_, GitSyncResponse>("git.sync", &serde_json::json!({}), Duration::from_secs(5))
        .await
        .unwrap_err();
    assert_eq!(error.code, baft_bus::Code::Unavailable, "{error:?}");
    wait_until_async("the event of the failure", SOON, || async {
        nats.stored("git.sync_failed").await.first().filter(|(_, event)| event["class"] == "not_found").map(drop)
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_broker_that_comes_late_goes_and_comes_back_hears_of_everything() {
    let mut nats = NatsServer::prepare();
    let (remote, first) = GitRemote::with_files(&[("a", "0")]);
    let place = Place::new();
    let url = nats.url();
    let start = || place.start_with(&remote.url(), &["--period=20ms"], &[("NATS_URL", &url)]);
    let mut process = start();
    place.expect(&remote, &first);
    let mut last = first;
    for n in 1..=3 {
        last = remote.commit(&[("a", &n.to_string())]);
        place.wait_for(&last);
    }
    assert_eq!(place.get("/readyz").0, 200, "works without the broker");
    nats.restart();
    let bus = nats.client().await;
    let events = wait_for_event(&nats, &last).await;
    assert_eq!(events.len(), 4);
    check_ranges(&events, &last);
    drop(bus);
    for n in 4..=6 {
        nats.kill();
        last = remote.commit(&[("a", &n.to_string())]);
        place.wait_for(&last);
        if n == 5 {
            // git-sync crashes, too, while the broker is away.
            process.kill();
            process = start();
            place.wait_for(&last);
        }
        nats.restart();
        let events = wait_for_event(&nats, &last).await;
        check_ranges(&events, &last);
        assert_eq!(events.len(), n + 1);
    }
    wait_until("nothing left to announce", SOON, || {
        (place.metric("baft_git_sync_events_unannounced") == 0.0).then_some(())
    });
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lost_journal_announces_what_is_published_once_more() {
    let nats = NatsServer::start();
    let _bus = nats.client().await;
    let (remote, first) = GitRemote::with_files(&[("a", "1")]);
    let place = Place::new();
    let url = nats.url();
    let mut process = place.start_with(&remote.url(), &[], &[("NATS_URL", &url)]);
    wait_for_event(&nats, &first).await;
    process.kill();
    std::fs::remove_file(place.root().join("published.json")).unwrap();
    let _process = place.start_with(&remote.url(), &[], &[("NATS_URL", &url)]);
    let second = remote.commit(&[("a", "2")]);
    let events = wait_for_event(&nats, &second).await;
    let again = events.iter().skip(1).map(|(_, event)| event.clone()).collect::<Vec<_>>();
    assert_eq!(again[0]["old"], Value::Null);
    assert_eq!(again.last().unwrap()["new"], second);
}
