//! Partitions: one way and both, of clients and of registries.

use std::time::{Duration, Instant};

use baft_bus::payload::*;
use baft_bus::{Bus, NatsArgs, RequestOptions};
use baft_tests::luck::{Luck, variable};
use baft_tests::{Wire, wait_until_async};

use crate::record::Recorder;
use crate::support::*;

/// A client behind a wire, that reconnects for as long as it takes.
async fn behind(wire: &Wire) -> Bus {
    let bus = Bus::connect(&NatsArgs::for_url(&wire.url()), identity("test"), None).await.unwrap();
    bus.wait_connected(SOON).await.unwrap();
    bus
}

/// Scenarios 1 and 6: the answers to starts get lost on the way. Repeated with the same request id they start nothing
/// twice, and what is counted is counted once.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_start_whose_answer_was_lost_is_not_done_twice() {
    let (server, bus) = server().await;
    let _registries =
        [Registry::start(&server.url(), impatient()).await, Registry::start(&server.url(), impatient()).await];
    let wire = Wire::to(server.port()).await;
    let client = behind(&wire).await;
    let recorder = Recorder::default();
    for n in 0..10_usize {
        let request = SessionStartRequest { analyst: Some("ann".into()), ..Default::default() };
        let options = |limit| RequestOptions {
            request_id: Some(format!("lost-{n}")),
            ..RequestOptions::timeout(Duration::from_millis(limit))
        };
        wire.drop_answers(true);
        let unknown = recorder.start(&client, n, &request, options(300)).await;
        assert!(unknown.is_err());
        wire.drop_answers(false);
        let started = wait_until_async("the same start to be answered", SOON, || async {
            recorder.start(&client, n, &request, options(5000)).await.ok()
        })
        .await;
        // The same beat three times, as often as its answer might be lost.
        for _ in 0..3 {
            let beat =
                SessionHeartbeatRequest { operations: Some(7), ..heartbeat(&started.session_id, &started.epoch) };
            ask::<_, SessionHeartbeatResponse>(&client, "heartbeat", &beat).await.unwrap();
        }
        // The other registry may not have read of it yet.
        let counted = get(&bus, &started.session_id).await.unwrap().record.operations;
        assert!([0, 7].contains(&counted), "{counted}");
    }
    let listed: SessionListResponse = ask(&bus, "list", &serde_json::json!({})).await.unwrap();
    assert_eq!(listed.total, 10);
    recorder.check(&bus).await;
    events_tell_the_bucket(&bus).await;
}

/// A registry that is cut off does not keep a session that was taken over meanwhile, and loses nobody.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn registries_that_are_cut_off_now_and_then_keep_every_promise() {
    let rounds = variable("BAFT_SOAK_ROUNDS").unwrap_or(6);
    let seed = variable("BAFT_SOAK_SEED").unwrap_or_else(|| u64::from(std::process::id()));
    println!("BAFT_SOAK_SEED={seed} BAFT_SOAK_ROUNDS={rounds}");
    let mut luck = Luck::new(seed);
    let (server, bus) = server().await;
    let wires = [Wire::to(server.port()).await, Wire::to(server.port()).await];
    let _registries =
        [Registry::start(&wires[0].url(), impatient()).await, Registry::start(&wires[1].url(), impatient()).await];
    let recorder = Recorder::default();
    let limit = Duration::from_secs(3);
    // A session for every so many rounds: the checker compares each call with each other call of the same one.
    for (part, rounds) in (0..rounds).collect::<Vec<_>>().chunks(20).enumerate() {
        let id = format!("s-{part}");
        // What goes to a registry that is only just back may be lost with its old connection.
        let first = wait_until_async("a start", SOON, || async {
            let options = RequestOptions { request_id: Some(format!("first-{id}")), ..RequestOptions::timeout(limit) };
            recorder.start(&bus, 0, &named(&id), options).await.ok()
        })
        .await;
        let mut epochs = vec![first.epoch];
        let take = SessionStartRequest { if_live: IfLive::TakeOver, ..named(&id) };
        for _ in rounds {
            let wire = &wires[luck.below(2) as usize];
            if luck.below(2) == 0 {
                wire.drop_answers(true);
            } else {
                wire.cut(true);
            }
            let began = Instant::now();
            while began.elapsed() < Duration::from_millis(500 + luck.below(1500)) {
                if luck.below(3) == 0
                    && let Ok(taken) = recorder.start(&bus, 1, &take, RequestOptions::timeout(limit)).await
                {
                    epochs.push(taken.epoch);
                }
                let epoch = &epochs[luck.below(epochs.len() as u64) as usize];
                let _ = recorder.beat(&bus, 2, &id, epoch, Duration::from_secs(1)).await;
            }
            wire.cut(false);
        }
        wait_until_async("everybody to answer again", SOON, || async {
            let epoch = get(&bus, &id).await.ok()?.record.epoch;
            recorder.beat(&bus, 3, &id, &epoch, limit).await.ok().map(drop)
        })
        .await;
    }
    recorder.check(&bus).await;
    events_tell_the_bucket(&bus).await;
    assert!(recorder.lines().lines().count() == recorder.calls().len());
}
