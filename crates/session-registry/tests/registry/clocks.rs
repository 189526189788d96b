//! Wall clocks that are set while a registry runs.

use std::time::{Duration, Instant};

use baft_bus::RequestOptions;
use baft_bus::payload::*;
use baft_tests::Clock;
use chrono::{DateTime, Utc};

use crate::record::Recorder;
use crate::support::*;

const HOURS: i64 = 2;

/// Scenario 8: two hours forward, two hours back. Only what is written down shows it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_registry_whose_clock_is_set_judges_nobody_for_it_and_answers_as_before() {
    let Some(clock) = Clock::right() else { return };
    let (server, bus) = server().await;
    let mut program = Program::start_by(&clock, &server.url(), &PATIENT);
    program.wait_ready().await;
    let recorder = Recorder::default();
    let begin = async |request: &SessionStartRequest| {
        recorder.start(&bus, 0, request, RequestOptions::timeout(SOON)).await.unwrap()
    };
    let beating_one = begin(&beating("beats")).await;
    // Suspect after half an hour: two hours by the wall clock would be far too long.
    let quiet = begin(&named("quiet")).await;
    let ahead = |text: &str| DateTime::parse_from_rfc3339(text).unwrap().with_timezone(&Utc) - Utc::now();
    for (n, hours) in [HOURS, -HOURS, 0].into_iter().enumerate() {
        clock.set_to(hours * 3600);
        let began = Instant::now();
        while began.elapsed() < Duration::from_secs(3) {
            // Asked by a clock that is right, answered by one that is not, and neither late.
            let answer = recorder.beat(&bus, 1, "beats", &beating_one.epoch, Duration::from_secs(5)).await.unwrap();
            assert_eq!(answer.state, SessionState::Active, "{hours} h");
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
        assert_eq!(get(&bus, "quiet").await.unwrap().record.state, SessionState::Active, "{hours} h");
        let id = format!("set-{n}");
        let started = begin(&named(&id)).await;
        let written = get(&bus, &id).await.unwrap().record.started_at;
        assert!((ahead(&written).num_minutes() - hours * 60).abs() <= 2, "the clock was set: {written}");
        recorder.end(&bus, 0, &id, &started.epoch).await;
        wait_for_state(&bus, &id, SessionState::Ended).await;
    }
    // And who falls silent is still noticed, in its own time.
    clock.set_to(-HOURS * 3600);
    wait_for_state(&bus, "beats", SessionState::Lost).await;
    recorder.end(&bus, 0, "quiet", &quiet.epoch).await;
    wait_for_state(&bus, "quiet", SessionState::Ended).await;
    recorder.check(&bus).await;
    events_tell_the_bucket(&bus).await;
    assert!(program.process.terminate(SOON).success(), "{}", program.process.logs());
}
