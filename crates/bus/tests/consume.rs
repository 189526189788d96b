//! Every event is handled; one that cannot be is parked and holds nobody up.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod common;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use baft_bus::payload::{GitPushed, GitSynced, Trigger};
use baft_bus::{Announcer, Bus, Consumer, ConsumerSpec, Ledger, LedgerError, NatsArgs, Outgoing, RawEvent, Reject};
use baft_tests::{NatsServer, wait_until_async};
use common::{SOON, api, connect, identity, plain, ready, stored};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

fn synced(new: &str) -> GitSynced {
    GitSynced {
        repo: "test".into(),
        reference: "main".into(),
        old: None,
        new: new.into(),
        forced: false,
        changed: vec![],
        truncated: false,
        trigger: Trigger::Poll,
    }
}

/// Publishes the given events, in order, and waits for it.
async fn publish(bus: &Bus, events: Vec<Outgoing>) {
    struct List(Vec<Outgoing>, Arc<Mutex<usize>>);
    impl Ledger for List {
        fn pending(&mut self) -> Result<Option<Outgoing>, LedgerError> {
            Ok(self.0.get(*self.1.lock().unwrap()).cloned())
        }
        fn acknowledged(&mut self, _: &str) -> Result<(), LedgerError> {
            *self.1.lock().unwrap() += 1;
            Ok(())
        }
    }
    let (count, told) = (events.len(), Arc::default());
    let shutdown = CancellationToken::new();
    let announcer = Announcer::spawn(bus, List(events, Arc::clone(&told)), shutdown.clone());
    announcer.flush(SOON).await;
    shutdown.cancel();
    assert_eq!(*told.lock().unwrap(), count);
}

fn spec() -> ConsumerSpec {
    ConsumerSpec {
        retry_delays: vec![Duration::from_millis(20); 4],
        ..ConsumerSpec::new("EVENTS", "importer", &["git.synced"])
    }
}

/// What a handler saw: how often each commit.
#[derive(Clone, Default)]
struct Seen(Arc<Mutex<BTreeMap<String, u32>>>);

impl Seen {
    fn note(&self, event: &RawEvent) -> u32 {
        let key = event.decode::<GitSynced>().map_or_else(|_| event.id.clone(), |event| event.data.new);
        let mut seen = self.0.lock().unwrap();
        let count = seen.entry(key).or_default();
        *count += 1;
        *count
    }

    fn count(&self, key: &str) -> u32 {
        self.0.lock().unwrap().get(key).copied().unwrap_or_default()
    }

    async fn wait_for(&self, key: &str) {
        wait_until_async(key, Duration::from_secs(60), || async { (self.count(key) > 0).then_some(()) }).await;
    }
}

async fn dead_letters(server: &NatsServer) -> Vec<(String, String, Value)> {
    stored(&plain(server).await, "BAFT_DLQ").await
}

async fn wait_for_dead_letters(server: &NatsServer, count: usize) -> Vec<(String, String, Value)> {
    wait_until_async("dead letters", SOON, || async {
        let letters = dead_letters(server).await;
        (letters.len() >= count).then_some(letters)
    })
    .await
}

#[tokio::test]
async fn a_poison_event_among_many_is_parked_once_and_the_others_are_handled_in_order() {
    let (server, bus) = ready().await;
    let mut events = Vec::new();
    for number in 0..100 {
        events.push(Outgoing::new(format!("e{number}"), &synced(&format!("{number:03}"))).unwrap());
    }
    publish(&bus, events).await;
    let order = Arc::new(Mutex::new(Vec::new()));
    let shutdown = CancellationToken::new();
    let consumer = Consumer::spawn(&bus, spec(), shutdown.clone(), {
        let order = order.clone();
        move |event| {
            let order = order.clone();
            async move {
                let event = event.decode::<GitSynced>()?;
                if event.data.new == "042" {
                    return Err(Reject::Poison("no such\r\ncommit".into()));
                }
                order.lock().unwrap().push(event.data.new);
                Ok(())
            }
        }
    });
    wait_until_async("99 events", Duration::from_secs(30), || async {
        (order.lock().unwrap().len() == 99).then_some(())
    })
    .await;
    let expected: Vec<String> = (0..100).filter(|n| *n != 42).map(|n| format!("{n:03}")).collect();
    assert_eq!(*order.lock().unwrap(), expected);
    let letters = wait_for_dead_letters(&server, 1).await;
    assert_eq!(letters.len(), 1);
    assert_eq!((letters[0].0.as_str(), letters[0].1.as_str()), ("baft.dlq.importer", "BAFT_EVENTS:importer:43"));
    assert_eq!(letters[0].2["new"], "042");
    shutdown.cancel();
    tokio::time::timeout(SOON, consumer.finished()).await.unwrap();
    // Nothing is left waiting at the server.
    let info = api(&plain(&server).await, "CONSUMER.INFO.BAFT_EVENTS.importer", Value::Null).await;
    assert_eq!((&info["num_pending"], &info["num_ack_pending"]), (&json!(0), &json!(0)));
}

#[tokio::test]
async fn what_is_no_event_or_comes_from_the_future_is_parked_without_asking_the_handler_twice() {
    let (server, bus) = ready().await;
    let client = plain(&server).await;
    client.publish("baft.event.git.synced", "no headers".into()).await.unwrap();
    let mut headers = async_nats::HeaderMap::new();
    for (name, value) in [
        ("ce-specversion", "1.0"),
        ("ce-id", "future"),
        ("ce-source", "/x"),
        ("ce-type", "git.synced"),
        ("ce-dataschema", "baft:event/git.synced/2.0"),
    ] {
        headers.insert(name, value);
    }
    client.publish_with_headers("baft.event.git.synced", headers, "{}".into()).await.unwrap();
    client.flush().await.unwrap();
    let seen = Seen::default();
    let _consumer = Consumer::spawn(&bus, spec(), CancellationToken::new(), {
        let seen = seen.clone();
        move |event| {
            seen.note(&event);
            let result = event.decode::<GitSynced>().map(drop).map_err(Reject::from);
            std::future::ready(result)
        }
    });
    assert_eq!(wait_for_dead_letters(&server, 2).await.len(), 2);
    assert_eq!(seen.count("future"), 1);
}

#[tokio::test]
async fn an_event_that_fails_is_retried_and_parked_after_the_last_try_while_others_go_on() {
    let (server, bus) = ready().await;
    let seen = Seen::default();
    let _consumer = Consumer::spawn(&bus, spec(), CancellationToken::new(), {
        let seen = seen.clone();
        move |event| {
            let count = seen.note(&event);
            async move {
                match event.decode::<GitSynced>()?.data.new.as_str() {
                    "never" => Err(Reject::Retry("still not there".into())),
                    "panics" => panic!("a defect"),
                    "third" if count < 3 => Err(Reject::Retry("not yet".into())),
                    _ => Ok(()),
                }
            }
        }
    });
    let names = ["never", "panics", "third", "fine"];
    publish(&bus, names.iter().map(|name| Outgoing::new(*name, &synced(name)).unwrap()).collect()).await;
    let letters = wait_for_dead_letters(&server, 2).await;
    seen.wait_for("fine").await;
    let parked: Vec<&str> = letters.iter().map(|(_, _, body)| body["new"].as_str().unwrap()).collect();
    assert!(parked.contains(&"never") && parked.contains(&"panics"), "{parked:?}");
    wait_until_async("the third try", SOON, || async { (seen.count("third") == 3).then_some(()) }).await;
    assert_eq!((seen.count("never"), seen.count("panics"), seen.count("fine")), (5, 5, 1));
    assert_eq!(dead_letters(&server).await.len(), 2);
}

#[tokio::test]
async fn an_event_that_killed_its_handlers_process_five_times_is_parked_unseen() {
    let (server, bus) = ready().await;
    publish(&bus, vec![Outgoing::new("killer", &synced("killer")).unwrap()]).await;
    // What processes that die leave behind: deliveries nobody acknowledged.
    let client = plain(&server).await;
    let config = json!({ "stream_name": "BAFT_EVENTS", "config": {
        "name": "importer", "durable_name": "importer", "filter_subjects": ["baft.event.git.synced"],
        "ack_policy": "explicit", "ack_wait": 30_000_000_000_u64, "deliver_policy": "all", "max_deliver": -1 } });
    assert_eq!(api(&client, "CONSUMER.CREATE.BAFT_EVENTS.importer", config).await["error"], Value::Null);
    for _ in 0..5 {
        let request =
            async_nats::Request::new().payload(r#"{"batch":1,"expires":5000000000}"#.into()).inbox(client.new_inbox());
        let message = client.send_request("$JS.API.CONSUMER.MSG.NEXT.BAFT_EVENTS.importer", request).await.unwrap();
        client.publish(message.reply.unwrap(), "-NAK".into()).await.unwrap();
    }
    let seen = Seen::default();
    let _consumer = Consumer::spawn(&bus, spec(), CancellationToken::new(), {
        let seen = seen.clone();
        move |event| {
            seen.note(&event);
            std::future::ready(Ok(()))
        }
    });
    let letters = wait_for_dead_letters(&server, 1).await;
    assert_eq!(letters[0].2["new"], "killer");
    assert_eq!(seen.count("killer"), 0);
}

#[tokio::test]
async fn a_consumer_waits_for_its_stream_and_survives_broker_restarts_and_its_own_removal() {
    let mut server = NatsServer::prepare();
    let bus = Bus::connect(&NatsArgs::for_url(&server.url()), identity("duckdb-importer"), None).await.unwrap();
    let seen = Seen::default();
    let shutdown = CancellationToken::new();
    let consumer = Consumer::spawn(&bus, spec(), shutdown.clone(), {
        let seen = seen.clone();
        move |event| {
            seen.note(&event);
            std::future::ready(Ok(()))
        }
    });
    server.restart();
    let producer = connect(&server, "git-sync").await;
    baft_bus::topology::ensure(&producer).await.unwrap();
    publish(&producer, vec![Outgoing::new("1", &synced("one")).unwrap()]).await;
    seen.wait_for("one").await;
    server.kill();
    server.restart();
    producer.wait_connected(Duration::from_secs(15)).await.unwrap();
    publish(&producer, vec![Outgoing::new("2", &synced("two")).unwrap()]).await;
    seen.wait_for("two").await;
    let gone = api(&plain(&server).await, "CONSUMER.DELETE.BAFT_EVENTS.importer", Value::Null).await;
    assert_eq!(gone["success"], true);
    publish(&producer, vec![Outgoing::new("3", &synced("three")).unwrap()]).await;
    seen.wait_for("three").await;
    shutdown.cancel();
    tokio::time::timeout(SOON, consumer.finished()).await.unwrap();
}

#[tokio::test]
async fn the_event_in_work_is_finished_before_a_shutdown_and_the_next_process_goes_on_after_it() {
    let (server, bus) = ready().await;
    publish(&bus, vec![Outgoing::new("1", &synced("one")).unwrap(), Outgoing::new("2", &synced("two")).unwrap()]).await;
    let seen = Seen::default();
    let shutdown = CancellationToken::new();
    let release = Arc::new(tokio::sync::Notify::new());
    let consumer = Consumer::spawn(&bus, spec(), shutdown.clone(), {
        let (seen, release) = (seen.clone(), release.clone());
        move |event| {
            let (seen, release) = (seen.clone(), release.clone());
            async move {
                seen.note(&event);
                release.notified().await;
                Ok(())
            }
        }
    });
    seen.wait_for("one").await;
    shutdown.cancel();
    release.notify_one();
    tokio::time::timeout(SOON, consumer.finished()).await.unwrap();
    let info = api(&plain(&server).await, "CONSUMER.INFO.BAFT_EVENTS.importer", Value::Null).await;
    assert_eq!((&info["ack_floor"]["stream_seq"], &info["num_pending"]), (&json!(1), &json!(1)));
    let _next = Consumer::spawn(&bus, spec(), CancellationToken::new(), {
        let seen = seen.clone();
        move |event| {
            seen.note(&event);
            std::future::ready(Ok(()))
        }
    });
    seen.wait_for("two").await;
    assert_eq!(seen.count("one"), 1);
}

#[tokio::test]
async fn a_consumer_that_starts_now_skips_what_happened_before_and_gets_only_its_kinds() {
    let (_server, bus) = ready().await;
    publish(&bus, vec![Outgoing::new("old", &synced("old")).unwrap()]).await;
    let seen = Seen::default();
    let _consumer = Consumer::spawn(&bus, spec().starting_now(), CancellationToken::new(), {
        let seen = seen.clone();
        move |event| {
            seen.note(&event);
            std::future::ready(Ok(()))
        }
    });
    let pushed = GitPushed {
        repo: "r".into(),
        reference: "main".into(),
        commit: "c".into(),
        parent: None,
        files: vec![],
        truncated: false,
        session_id: None,
        author: "a".into(),
    };
    // Until the consumer exists, everything is "before": so new ones are sent until one arrives.
    let mut number = 0;
    wait_until_async("a new event", SOON, || {
        number += 1;
        let (bus, seen, pushed) = (bus.clone(), seen.clone(), pushed.clone());
        async move {
            let other = Outgoing::new(format!("other-{number}"), &pushed).unwrap();
            publish(&bus, vec![other, Outgoing::new(format!("new-{number}"), &synced("new")).unwrap()]).await;
            (seen.count("new") > 0).then_some(())
        }
    })
    .await;
    let seen = seen.0.lock().unwrap();
    assert_eq!(seen.keys().collect::<Vec<_>>(), ["new"]);
}

#[tokio::test]
async fn a_handler_that_takes_long_is_not_given_its_event_a_second_time() {
    let (server, bus) = ready().await;
    publish(&bus, vec![Outgoing::new("1", &synced("one")).unwrap(), Outgoing::new("2", &synced("two")).unwrap()]).await;
    let seen = Seen::default();
    let spec = ConsumerSpec { ack_wait: Duration::from_secs(1), ..spec() };
    // Two replicas share the work; neither may take what the other has under way.
    let other = connect(&server, "duckdb-importer").await;
    let consumers = [&bus, &other].map(|bus| {
        Consumer::spawn(bus, spec.clone(), CancellationToken::new(), {
            let seen = seen.clone();
            move |event| {
                seen.note(&event);
                async {
                    tokio::time::sleep(Duration::from_secs(4)).await;
                    Ok(())
                }
            }
        })
    });
    wait_until_async("both events to be handled", Duration::from_secs(20), || async {
        let info = api(&plain(&server).await, "CONSUMER.INFO.BAFT_EVENTS.importer", Value::Null).await;
        (info["ack_floor"]["stream_seq"] == 2).then_some(())
    })
    .await;
    assert_eq!((seen.count("one"), seen.count("two")), (1, 1));
    drop(consumers);
}
