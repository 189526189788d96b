//! NATS is killed, away, paused, restored from a backup, made anew.

use std::time::{Duration, Instant};

use baft_bus::kv::Bucket;
use baft_bus::payload::*;
use baft_bus::{Bus, Code, RequestOptions, topology};
use baft_tests::wait_until_async;
use serde_json::{Value, json};

use crate::record::Recorder;
use crate::support::*;

/// Scenario 3: everything that was acknowledged is there after a kill -9 of the server under load.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_nats_server_killed_under_load_loses_no_acknowledged_session() {
    let (mut server, bus) = server().await;
    let _registries =
        [Registry::start(&server.url(), impatient()).await, Registry::start(&server.url(), impatient()).await];
    let recorder = Recorder::default();
    for round in 0..3 {
        let starts: Vec<_> = (0..30_usize)
            .map(|n| {
                let (bus, recorder) = (bus.clone(), recorder.clone());
                tokio::spawn(async move {
                    let id = format!("s-{round}-{n}");
                    let options = RequestOptions::timeout(Duration::from_secs(5));
                    if let Ok(started) = recorder.start(&bus, n, &named(&id), options).await {
                        let limit = Duration::from_secs(5);
                        let _ = recorder.beat(&bus, n, &id, &started.epoch, limit).await;
                    }
                })
            })
            .collect();
        tokio::time::sleep(Duration::from_millis(60 + 60 * round)).await;
        server.kill();
        server.restart();
        for start in starts {
            start.await.unwrap();
        }
        bus.wait_connected(SOON).await.unwrap();
    }
    wait_until_async("the registries to answer", SOON, || async {
        ask::<_, Value>(&bus, "list", &json!({})).await.ok().map(drop)
    })
    .await;
    recorder.check(&bus).await;
    events_tell_the_bucket(&bus).await;
}

/// Scenario 4: an outage three times as long as it takes to be lost expires nobody who comes back in time.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_outage_expires_nobody() {
    let (mut server, bus) = server().await;
    let registry = Registry::start(&server.url(), patient()).await;
    let mut sessions = Vec::new();
    for n in 0..10 {
        let id = format!("s-{n}");
        let epoch = start(&bus, &beating(&id)).await.epoch;
        sessions.push((id, epoch));
    }
    // Everybody beats all the time, whether or not anybody hears it.
    let mut beaters = tokio::task::JoinSet::new();
    let stop = tokio_util::sync::CancellationToken::new();
    let mut beat_over = |bus: &Bus| {
        for (id, epoch) in sessions.clone() {
            let (bus, stop) = (bus.clone(), stop.clone());
            beaters.spawn(stop.run_until_cancelled_owned(async move {
                loop {
                    let options = RequestOptions::timeout(Duration::from_millis(500));
                    let _ = ask_with::<_, Value>(&bus, "heartbeat", &heartbeat(&id, &epoch), options).await;
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
            }));
        }
    };
    beat_over(&bus);
    server.kill();
    tokio::time::sleep(Duration::from_secs(15)).await;
    server.restart();
    // The old connection may take ten seconds to come back; until then nobody could be heard, and rightly so.
    let fresh = client_at(&server.url()).await;
    beat_over(&fresh);
    wait_until_async("beats to be accepted again", SOON, || async {
        beat(&fresh, "s-0", &sessions[0].1).await.ok().map(drop)
    })
    .await;
    tokio::time::sleep(Duration::from_secs(6)).await;
    let steps: Vec<_> = events(&fresh).await.into_iter().map(|(_, step)| step.to).collect();
    assert!(!steps.contains(&SessionState::Lost) && !steps.contains(&SessionState::Suspect), "{steps:?}");
    stop.cancel();
    beaters.join_all().await;
    registry.stop().await;
}

/// Scenario 5: a server that stands still. Every request ends in time, with a word about why.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn while_the_server_stands_still_every_request_ends_in_time_and_nobody_is_lost() {
    let (server, bus) = server().await;
    let _registry = Registry::start(&server.url(), patient()).await;
    let started = start(&bus, &beating("s")).await;
    server.freeze();
    for limit in [1, 3] {
        let limit = Duration::from_secs(limit);
        let began = Instant::now();
        let options = RequestOptions::timeout(limit);
        let error = ask_with::<_, Value>(&bus, "status", &json!({}), options).await.unwrap_err();
        assert!(matches!(error.code, Code::Timeout | Code::Unavailable), "{error:?}");
        assert!(began.elapsed() < limit + Duration::from_secs(1));
    }
    tokio::time::sleep(Duration::from_secs(4)).await;
    server.thaw();
    wait_until_async("a beat to be accepted again", SOON, || async {
        beat(&bus, "s", &started.epoch).await.ok().map(drop)
    })
    .await;
    let steps: Vec<_> = events(&bus).await.into_iter().map(|(_, step)| step.to).collect();
    assert!(!steps.contains(&SessionState::Lost), "{steps:?}");
}

/// Scenario 3, second half: the store is put back to an earlier state while registries remember a later one.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bucket_restored_from_a_backup_gets_back_what_it_lost_and_gives_no_epoch_twice() {
    let (mut server, bus) = server().await;
    let registry = Registry::start(&server.url(), impatient()).await;
    let before = start(&bus, &named("before")).await;
    events_tell_the_bucket(&bus).await;
    server.stop();
    let copy = tempfile::tempdir().unwrap();
    let copied = |from: &std::path::Path, to: &std::path::Path| {
        let status = std::process::Command::new("cp").arg("-a").arg(from).arg(to).status().unwrap();
        assert!(status.success());
    };
    copied(&server.store(), &copy.path().join("store"));
    server.restart();
    bus.wait_connected(SOON).await.unwrap();
    wait_until_async("the registry to answer", SOON, || async { get(&bus, "before").await.ok().map(drop) }).await;
    let after = start(&bus, &named("after")).await;
    let take = SessionStartRequest { if_live: IfLive::TakeOver, ..named("before") };
    let taken = start(&bus, &take).await;
    server.kill();
    std::fs::remove_dir_all(server.store()).unwrap();
    copied(&copy.path().join("store"), &server.store());
    server.restart();
    bus.wait_connected(SOON).await.unwrap();
    wait_until_async("what was lost to be back", SOON, || async { get(&bus, "after").await.ok().map(drop) }).await;
    assert_eq!(get(&bus, "after").await.unwrap().record.epoch, after.epoch);
    assert_eq!(get(&bus, "before").await.unwrap().record.epoch, taken.epoch);
    assert_eq!(beat(&bus, "before", &before.epoch).await.unwrap_err().code, Code::Conflict);
    beat(&bus, "before", &taken.epoch).await.unwrap();
    let anew = start(&bus, &take).await;
    assert!(anew.epoch > taken.epoch && anew.epoch.incarnation > taken.epoch.incarnation, "{:?}", anew.epoch);
    registry.stop().await;
}

/// Scenario 10: the bucket is deleted under a running registry. Nothing is written, it says so, and goes on by itself.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bucket_that_is_deleted_is_missed_by_name_and_when_it_is_back_so_are_the_sessions() {
    let (server, bus) = server().await;
    let _registry = Registry::start(&server.url(), impatient()).await;
    let started = start(&bus, &named("monday")).await;
    let plain = async_nats::ConnectOptions::with_user_and_password(
        baft_tests::nats::USER.into(),
        baft_tests::nats::PASSWORD.into(),
    );
    let plain = plain.connect(server.bare_url()).await.unwrap();
    plain.request("$JS.API.STREAM.DELETE.KV_BAFT_SESSIONS", "".into()).await.unwrap();
    let error = ask::<_, Value>(&bus, "start", &named("tuesday")).await.unwrap_err();
    assert_eq!((error.code, error.retryable), (Code::Unavailable, true), "{error:?}");
    assert!(error.message.contains("KV.BAFT_SESSIONS") || error.message.contains("KV_BAFT_SESSIONS"), "{error}");
    topology::ensure(&bus).await.unwrap();
    wait_until_async("sessions to start again", SOON, || async {
        ask::<_, Value>(&bus, "start", &named("tuesday")).await.ok().map(drop)
    })
    .await;
    let back = wait_until_async("monday to be back", SOON, || async { get(&bus, "monday").await.ok() }).await;
    assert_eq!(back.record.epoch, started.epoch);
    assert!(Bucket::open(&bus, "SESSIONS").newest("s.monday").await.unwrap().is_some());
}

/// A registry that stood still finds nobody lost when it goes on: what came meanwhile lies unread before it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_registry_that_stood_still_takes_nobody_for_lost() {
    let (server, bus) = server().await;
    let mut registry = Program::ready(&server.url(), &PATIENT).await;
    let started = start(&bus, &beating("s")).await;
    registry.process.freeze();
    let beating = {
        let (bus, epoch) = (bus.clone(), started.epoch.clone());
        tokio::spawn(async move {
            let began = Instant::now();
            while began.elapsed() < Duration::from_secs(11) {
                let options = RequestOptions::timeout(Duration::from_millis(300));
                let _ = ask_with::<_, Value>(&bus, "heartbeat", &heartbeat("s", &epoch), options).await;
                tokio::time::sleep(Duration::from_millis(200)).await;
            }
        })
    };
    tokio::time::sleep(Duration::from_secs(7)).await;
    registry.process.thaw();
    beating.await.unwrap();
    let steps: Vec<_> = events(&bus).await.into_iter().map(|(_, step)| step.to).collect();
    assert!(!steps.contains(&SessionState::Lost) && !steps.contains(&SessionState::Suspect), "{steps:?}");
    assert!(registry.process.terminate(SOON).success());
}
