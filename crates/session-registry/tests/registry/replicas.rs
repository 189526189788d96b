//! Several registries, one bucket.

use std::collections::BTreeSet;
use std::time::Duration;

use baft_bus::RequestOptions;
use baft_bus::payload::*;
use baft_tests::luck::{Luck, variable};

use crate::record::Recorder;
use crate::support::*;

const DEADLINE: Duration = Duration::from_secs(20);

/// Scenario 1: of one nonce one session, of two hundred two hundred.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_hundred_starts_at_once_of_one_request_are_one_session_and_of_two_hundred_two_hundred() {
    let (server, bus) = server().await;
    let url = server.url();
    let _registries = [
        Registry::start(&url, impatient()).await,
        Registry::start(&url, impatient()).await,
        Registry::start(&url, impatient()).await,
    ];
    let recorder = Recorder::default();
    for (name, nonces) in [("one", 1_usize), ("many", 200)] {
        let starts: Vec<_> = (0..200)
            .map(|n| {
                let (bus, recorder) = (bus.clone(), recorder.clone());
                tokio::spawn(async move {
                    let request = SessionStartRequest { analyst: Some(name.to_owned()), ..Default::default() };
                    loop {
                        let options = RequestOptions {
                            request_id: Some(format!("{name}-{}", n % nonces)),
                            ..RequestOptions::timeout(DEADLINE)
                        };
                        match recorder.start(&bus, n, &request, options).await {
                            Ok(started) => return started.session_id,
                            Err(error) => assert!(error.retryable, "{error:?}"),
                        }
                        tokio::time::sleep(Duration::from_millis(50)).await;
                    }
                })
            })
            .collect();
        let mut ids = BTreeSet::new();
        for start in starts {
            ids.insert(start.await.unwrap());
        }
        assert_eq!(ids.len(), nonces, "{name}");
        let request = SessionListRequest { analyst: Some(name.to_owned()), ..Default::default() };
        let listed: SessionListResponse = ask(&bus, "list", &request).await.unwrap();
        assert_eq!(listed.total, nonces as u64, "{name}");
    }
    recorder.check(&bus).await;
    events_tell_the_bucket(&bus).await;
}

/// I1, I2 and I4 between replicas: whoever lost a session is refused by every one of them, at once.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stale_holder_is_refused_by_every_replica_from_the_moment_of_the_takeover() {
    let (server, bus) = server().await;
    let url = server.url();
    let _registries = [Registry::start(&url, impatient()).await, Registry::start(&url, impatient()).await];
    let other = client_at(&url).await;
    let recorder = Recorder::default();
    let take = SessionStartRequest { if_live: IfLive::TakeOver, ..named("shared") };
    let first = recorder.start(&bus, 0, &named("shared"), RequestOptions::timeout(DEADLINE)).await.unwrap();
    let mut epochs = vec![first.epoch];
    for _ in 0..40 {
        let clients = [&bus, &other];
        // Everybody who ever held it beats on, while somebody takes it over.
        let beats = (0..12).map(|n| {
            let (recorder, epoch) = (recorder.clone(), epochs[epochs.len().saturating_sub(1 + n % 3)].clone());
            let bus = clients[n % 2].clone();
            tokio::spawn(async move { recorder.beat(&bus, n, "shared", &epoch, DEADLINE).await.is_ok() })
        });
        let beats: Vec<_> = beats.collect();
        let taken = recorder.start(&other, 1, &take, RequestOptions::timeout(DEADLINE)).await.unwrap();
        for n in 0..6 {
            let stale = recorder.beat(&bus, 2, "shared", epochs.last().unwrap(), DEADLINE).await;
            assert!(stale.is_err(), "beat {n} of a stale holder was accepted");
            recorder.beat(&bus, 3, "shared", &taken.epoch, DEADLINE).await.unwrap();
        }
        epochs.push(taken.epoch);
        for beat in beats {
            beat.await.unwrap();
        }
    }
    assert!(epochs.is_sorted());
    recorder.check(&bus).await;
    events_tell_the_bucket(&bus).await;
}

/// Scenario 2: replicas are killed in a loop, at any moment, while sessions start, beat, change hands and end.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn registries_killed_in_a_loop_lose_nothing_and_tell_everything_once() {
    let rounds = variable("BAFT_SOAK_ROUNDS").unwrap_or(3);
    let seed = variable("BAFT_SOAK_SEED").unwrap_or_else(|| u64::from(std::process::id()));
    println!("BAFT_SOAK_SEED={seed} BAFT_SOAK_ROUNDS={rounds}");
    let mut luck = Luck::new(seed);
    let (server, bus) = server().await;
    let url = server.url();
    let mut programs = [Program::ready(&url, &IMPATIENT).await, Program::ready(&url, &IMPATIENT).await];
    let recorder = Recorder::default();
    for round in 0..rounds {
        let workers: Vec<_> =
            (0..4_usize).map(|n| tokio::spawn(busy(bus.clone(), recorder.clone(), round, n))).collect();
        for _ in 0..3 {
            tokio::time::sleep(Duration::from_millis(luck.below(400))).await;
            let victim = &mut programs[luck.below(2) as usize];
            victim.process.kill();
            *victim = Program::start(&url, &IMPATIENT);
        }
        for worker in workers {
            worker.await.unwrap();
        }
    }
    for program in &mut programs {
        program.wait_ready().await;
    }
    // Whatever was left half done is finished or closed.
    baft_tests::wait_until_async("no sequence to be under way", SOON, || async {
        let all = bucket(&bus).await;
        all.iter().all(|(_, stored)| stored.task.is_none()).then_some(())
    })
    .await;
    recorder.check(&bus).await;
    events_tell_the_bucket(&bus).await;
    for program in &mut programs {
        assert!(program.process.terminate(SOON).success(), "{}", program.process.logs());
    }
}

/// One client: starts sessions, beats, takes over, ends; goes on whatever the answers are.
async fn busy(bus: baft_bus::Bus, recorder: Recorder, round: u64, client: usize) {
    let limit = Duration::from_secs(2);
    for turn in 0..3 {
        let id = format!("s-{round}-{client}-{turn}");
        let mut epoch = None;
        for attempt in 0..6 {
            let options = RequestOptions { request_id: Some(format!("r-{id}")), ..RequestOptions::timeout(limit) };
            match recorder.start(&bus, client, &named(&id), options).await {
                Ok(started) => {
                    epoch = Some(started.epoch);
                    break;
                }
                Err(_) if attempt < 5 => tokio::time::sleep(Duration::from_millis(200)).await,
                Err(_) => {}
            }
        }
        let Some(mut epoch) = epoch else { continue };
        for _ in 0..4 {
            let _ = recorder.beat(&bus, client, &id, &epoch, limit).await;
        }
        let take = SessionStartRequest { if_live: IfLive::TakeOver, ..named(&id) };
        if let Ok(taken) = recorder.start(&bus, client, &take, RequestOptions::timeout(limit)).await {
            let stale = recorder.beat(&bus, client, &id, &epoch, limit).await;
            assert!(stale.is_err(), "a stale beat was accepted");
            epoch = taken.epoch;
        }
        if turn < 2 {
            recorder.end(&bus, client, &id, &epoch).await;
        }
    }
}
