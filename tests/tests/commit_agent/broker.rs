//! Events, with a nats-server that may be away.

use std::collections::BTreeSet;

use baft_bus::payload::{GitSynced, Trigger};
use baft_tests::git::git;
use baft_tests::{GitRemote, NatsServer, wait_until, wait_until_async};
use serde_json::{Value, json};

use crate::support::{Desk, SOON, newest, wait_for_file, wait_for_remote};

/// Waits until the remote's newest commit is announced as pushed.
async fn announced(nats: &NatsServer, remote: &GitRemote) -> Vec<(String, Value)> {
    let newest = newest(remote, "%H");
    wait_until_async(&format!("git.pushed of {newest}"), SOON, || async {
        let events = nats.stored("git.pushed").await;
        events.last().is_some_and(|(_, event)| event["commit"] == newest).then_some(events)
    })
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_commit_is_announced_once_when_made_and_once_when_pushed() {
    let nats = NatsServer::start();
    let _bus = nats.client().await;
    let (remote, first) = GitRemote::with_files(&[("a.yaml", "a: 1\n")]);
    let desk = Desk::new();
    let _agent = desk.ready(&remote.url(), &[&format!("--nats-url={}", nats.url())]);
    for n in 2..5 {
        desk.save("a.yaml", &format!("a: {n}\n"));
        wait_for_remote(&remote, "a.yaml", &format!("a: {n}\n"));
    }
    let pushed = announced(&nats, &remote).await;
    let committed = nats.stored("git.committed").await;
    let commits = git(&remote.bare(), &["rev-list", "--reverse", &format!("{first}..main")]);
    let of = |events: &[(String, Value)]| {
        events.iter().map(|(_, event)| event["commit"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(of(&committed), commits.lines().collect::<Vec<_>>());
    assert_eq!(of(&pushed), of(&committed));
    let (_, event) = &pushed[0];
    assert_eq!((&event["ref"], &event["files"]), (&json!("refs/heads/main"), &json!(["a.yaml"])));
    assert_eq!((&event["parent"], event.get("session_id")), (&json!(first), None));
    assert_eq!(event["repo"], json!(remote.url()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_broker_that_is_away_gets_everything_later_and_nothing_twice() {
    let mut nats = NatsServer::start();
    let _bus = nats.client().await;
    let (remote, first) = GitRemote::with_files(&[("a.yaml", "a: 1\n")]);
    let desk = Desk::new();
    let args = format!("--nats-url={}", nats.url());
    let mut agent = desk.ready(&remote.url(), &[&args]);
    desk.save("a.yaml", "a: 2\n");
    wait_for_remote(&remote, "a.yaml", "a: 2\n");
    announced(&nats, &remote).await;
    nats.stop();
    for n in 3..6 {
        desk.save("a.yaml", &format!("a: {n}\n"));
        wait_for_remote(&remote, "a.yaml", &format!("a: {n}\n"));
        if n == 4 {
            // And a crash in between.
            agent.kill();
            agent = desk.ready(&remote.url(), &[&args]);
        }
    }
    assert!(desk.metric("events_unannounced") >= 1.0);
    nats.restart();
    let pushed = announced(&nats, &remote).await;
    let commits = git(&remote.bare(), &["rev-list", "--reverse", &format!("{first}..main")]);
    let of: Vec<&str> = pushed.iter().map(|(_, event)| event["commit"].as_str().unwrap()).collect();
    assert_eq!(of, commits.lines().collect::<Vec<_>>(), "none is missing, and in order");
    let ids: BTreeSet<&String> = pushed.iter().map(|(id, _)| id).collect();
    assert_eq!(ids.len(), pushed.len());
    wait_until("no event to wait", SOON, || (desk.metric("events_unannounced") == 0.0).then_some(()));
    assert!(agent.terminate(SOON).success(), "{}", agent.logs());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_git_sync_saw_is_brought_in_at_once() {
    let nats = NatsServer::start();
    let bus = nats.client().await;
    let (remote, first) = GitRemote::with_files(&[("a.yaml", "a: 1\n")]);
    let desk = Desk::new();
    let _agent = desk.ready(&remote.url(), &[&format!("--nats-url={}", nats.url())]);
    let second = remote.commit(&[("a.yaml", "a: 2\n")]);
    let synced = GitSynced {
        repo: remote.url(),
        reference: "HEAD".to_owned(),
        old: Some(first),
        new: second,
        forced: false,
        changed: Vec::new(),
        truncated: false,
        trigger: Trigger::Poll,
    };
    // The agent may not listen yet: so it is told until it does.
    wait_until_async("the change in the clone", SOON, || {
        let (bus, synced) = (bus.clone(), synced.clone());
        let there = desk.read("a.yaml").as_deref() == Some("a: 2\n");
        async move {
            bus.emit_best_effort(&synced).await;
            there.then_some(())
        }
    })
    .await;
    wait_for_file(&desk, "a.yaml", "a: 2\n");
}
