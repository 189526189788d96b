//! Nothing is skipped, nothing is told twice.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod common;

use std::sync::{Arc, Mutex};
use std::time::Duration;

use baft_bus::payload::{DaemonStarted, GitSynced, Trigger};
use baft_bus::{Announcer, Bus, Ledger, LedgerError, NatsArgs, Outgoing, topology};
use baft_tests::{NatsServer, wait_until_async};
use common::{SOON, api, connect, identity, plain, ready, stored};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

/// A producer whose state is a counter: what was done, and what was acknowledged.
#[derive(Default)]
struct State {
    done: u64,
    acknowledged: u64,
    failures_to_remember: u32,
}

#[derive(Clone, Default)]
struct Producer(Arc<Mutex<State>>);

impl Producer {
    fn with(done: u64) -> Self {
        let producer = Self::default();
        producer.work_until(done);
        producer
    }

    fn work_until(&self, done: u64) {
        self.0.lock().unwrap().done = done;
    }

    fn acknowledged(&self) -> u64 {
        self.0.lock().unwrap().acknowledged
    }

    async fn all_told(&self) {
        wait_until_async("everything to be announced", Duration::from_secs(60), || async {
            let state = self.0.lock().unwrap();
            (state.acknowledged == state.done).then_some(())
        })
        .await;
    }
}

impl Ledger for Producer {
    fn pending(&mut self) -> Result<Option<Outgoing>, LedgerError> {
        let state = self.0.lock().unwrap();
        if state.acknowledged == state.done {
            return Ok(None);
        }
        let number = state.acknowledged + 1;
        let event = GitSynced {
            repo: "test".into(),
            reference: "main".into(),
            old: Some(format!("{:040x}", number - 1)),
            new: format!("{number:040x}"),
            forced: false,
            changed: vec![],
            truncated: false,
            trigger: Trigger::Poll,
        };
        Ok(Some(Outgoing::new(format!("publish-{number}"), &event)?))
    }

    fn acknowledged(&mut self, id: &str) -> Result<(), LedgerError> {
        let mut state = self.0.lock().unwrap();
        if state.failures_to_remember > 0 {
            state.failures_to_remember -= 1;
            return Err(LedgerError::new("the disk is full"));
        }
        let number = id.strip_prefix("publish-").unwrap().parse().unwrap();
        assert_eq!(number, state.acknowledged + 1, "in order, without a gap");
        state.acknowledged = number;
        Ok(())
    }
}

async fn told(server: &NatsServer) -> Vec<String> {
    stored(&plain(server).await, "BAFT_EVENTS").await.into_iter().map(|(_, id, _)| id).collect()
}

fn expected(count: u64) -> Vec<String> {
    (1..=count).map(|number| format!("publish-{number}")).collect()
}

#[tokio::test]
async fn what_happened_before_the_broker_was_there_is_announced_when_it_comes() {
    let mut server = NatsServer::prepare();
    let bus = Bus::connect(&NatsArgs::for_url(&server.url()), identity("git-sync"), None).await.unwrap();
    let producer = Producer::with(5);
    let announcer = Announcer::spawn(&bus, producer.clone(), CancellationToken::new());
    announcer.flush(Duration::from_millis(200)).await;
    assert_eq!(producer.acknowledged(), 0);
    server.restart();
    // The streams come later still.
    topology::ensure(&connect(&server, "admin").await).await.unwrap();
    producer.all_told().await;
    assert_eq!(told(&server).await, expected(5));
}

#[tokio::test]
async fn a_broker_that_is_killed_again_and_again_gets_every_event_once_and_in_order() {
    let (mut server, admin) = ready().await;
    drop(admin);
    let bus = Bus::connect(&NatsArgs::for_url(&server.url()), identity("git-sync"), None).await.unwrap();
    let producer = Producer::default();
    let announcer = Announcer::spawn(&bus, producer.clone(), CancellationToken::new());
    let working = tokio::spawn({
        let (producer, announcer) = (producer.clone(), announcer.clone());
        async move {
            for number in 1..=600 {
                producer.work_until(number);
                announcer.nudge();
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        }
    });
    for round in 1..=4 {
        wait_until_async("some progress", Duration::from_secs(30), || async {
            (producer.acknowledged() >= round * 40).then_some(())
        })
        .await;
        server.kill();
        if round % 2 == 0 {
            tokio::time::sleep(Duration::from_millis(700)).await;
        }
        server.restart();
    }
    working.await.unwrap();
    producer.all_told().await;
    assert_eq!(told(&server).await, expected(600));
}

#[tokio::test]
async fn an_event_published_by_a_process_that_died_before_remembering_is_not_told_twice_even_much_later() {
    let (server, bus) = ready().await;
    let client = plain(&server).await;
    // The server forgets ids after 200 ms, so that its duplicate window cannot help.
    let mut config = api(&client, "STREAM.INFO.BAFT_EVENTS", Value::Null).await["config"].clone();
    config["duplicate_window"] = json!(200_000_000);
    let answer = api(&client, "STREAM.UPDATE.BAFT_EVENTS", config).await;
    assert_eq!(answer["error"], Value::Null);
    let producer = Producer::with(3);
    // Published, but never remembered.
    producer.0.lock().unwrap().failures_to_remember = 1;
    let shutdown = CancellationToken::new();
    let _first = Announcer::spawn(&bus, producer.clone(), shutdown.clone());
    wait_until_async("the first event to be stored", SOON, || async {
        (!told(&server).await.is_empty()).then_some(())
    })
    .await;
    shutdown.cancel();
    tokio::time::sleep(Duration::from_millis(600)).await;
    let _second = Announcer::spawn(&bus, producer.clone(), CancellationToken::new());
    producer.all_told().await;
    assert_eq!(told(&server).await, expected(3));
}

#[tokio::test]
async fn flushing_before_the_end_leaves_nothing_untold() {
    let (server, bus) = ready().await;
    let producer = Producer::default();
    let shutdown = CancellationToken::new();
    let announcer = Announcer::spawn(&bus, producer.clone(), shutdown.clone());
    announcer.flush(SOON).await;
    producer.work_until(20);
    announcer.flush(SOON).await;
    shutdown.cancel();
    assert_eq!(producer.acknowledged(), 20);
    assert_eq!(told(&server).await.len(), 20);
}

#[tokio::test]
async fn an_event_is_a_cloud_event_that_anybody_can_read() {
    let (server, bus) = ready().await;
    let mut raw = plain(&server).await.subscribe("baft.event.>").await.unwrap();
    let mut live = baft_bus::consume::subscribe_live(&bus, ">").await.unwrap();
    let started = DaemonStarted { name: "git-sync".into(), instance: "test-1".into(), version: "0.1.0".into() };
    bus.emit_best_effort(&started).await;
    let message = futures_util::StreamExt::next(&mut raw).await.unwrap();
    assert_eq!(message.subject.as_str(), "baft.event.daemon.started");
    let headers = message.headers.unwrap();
    let header = |name: &str| headers.get(name).map(|value| value.as_str().to_owned()).unwrap_or_default();
    assert_eq!(header("ce-specversion"), "1.0");
    assert_eq!(header("ce-type"), "daemon.started");
    assert_eq!(header("ce-source"), "/baft/git-sync/test-1");
    assert_eq!(header("ce-dataschema"), "baft:event/daemon.started/1.0");
    assert_eq!(header("ce-id"), header("Nats-Msg-Id"));
    assert!(header("ce-time").ends_with('Z'));
    assert_eq!(serde_json::from_slice::<DaemonStarted>(&message.payload).unwrap(), started);
    let event = tokio::time::timeout(SOON, live.next()).await.unwrap().unwrap().unwrap();
    assert_eq!(event.decode::<DaemonStarted>().unwrap().data, started);
}
