//! The life of a session, as its holder sees it.

use std::time::Duration;

use baft_bus::payload::*;
use baft_bus::{Code, NatsArgs, RequestOptions};
use serde_json::{Value, json};

use crate::support::*;

#[tokio::test]
async fn a_session_is_started_seen_kept_alive_and_ended() {
    let (server, bus) = server().await;
    let registry = Registry::start(&server.url(), impatient()).await;
    let started = start(&bus, &SessionStartRequest { objective: Some("Water".into()), ..named("monday") }).await;
    assert_eq!((started.session_id.as_str(), started.state), ("monday", SessionState::Active));
    assert!(started.epoch.revision > 0 && started.epoch.incarnation.len() == 26, "{:?}", started.epoch);
    assert!(started.message.starts_with("Session started."), "{}", started.message);
    let listed: SessionListResponse = ask(&bus, "list", &json!({})).await.unwrap();
    assert_eq!((listed.total, listed.sessions[0].objective.as_str()), (1, "Water"));
    assert_eq!(listed.sessions[0].epoch, started.epoch);

    let request = SessionHeartbeatRequest { operations: Some(7), ..heartbeat("monday", &started.epoch) };
    let answer: SessionHeartbeatResponse = ask(&bus, "heartbeat", &request).await.unwrap();
    assert_eq!(answer.state, SessionState::Active);
    assert_eq!(get(&bus, "monday").await.unwrap().record.operations, 7);

    let ended = end(&bus, "monday", &started.epoch).await.unwrap();
    assert_eq!((ended.state, ended.pushed), (SessionState::Ended, true));
    assert_eq!(beat(&bus, "monday", &started.epoch).await.unwrap_err().code, Code::Gone);
    assert_eq!(end(&bus, "monday", &started.epoch).await.unwrap_err().code, Code::Gone);
    assert_eq!(ask::<_, Value>(&bus, "start", &named("monday")).await.unwrap_err().code, Code::Gone);
    assert_eq!(get(&bus, "tuesday").await.unwrap_err().code, Code::NotFound);
    let none: SessionListResponse = ask(&bus, "list", &json!({})).await.unwrap();
    assert_eq!(none.total, 0);
    let over: SessionListResponse = ask(&bus, "list", &json!({ "state": ["ended"] })).await.unwrap();
    assert_eq!(over.total, 1);

    events_tell_the_bucket(&bus).await;
    let history: SessionHistoryResponse = ask(&bus, "history", &json!({ "session_id": "monday" })).await.unwrap();
    let steps: Vec<_> = history.transitions.iter().map(|step| (step.number, step.to)).collect();
    use SessionState::{Active, Ended, Ending, Starting};
    assert_eq!(steps, [(1, Starting), (2, Active), (3, Ending), (4, Ended)]);
    registry.stop().await;
}

#[tokio::test]
async fn a_live_session_is_not_started_twice_but_can_be_taken_over() {
    let (server, bus) = server().await;
    let _registry = Registry::start(&server.url(), impatient()).await;
    let first = start(&bus, &named("monday")).await;
    let error = ask::<_, Value>(&bus, "start", &named("monday")).await.unwrap_err();
    assert_eq!(error.code, Code::Conflict);
    assert!(error.hint.unwrap().contains("take_over"));
    let client = SessionClient { host: "laptop".into(), ..SessionClient::default() };
    let second = start(&bus, &SessionStartRequest { if_live: IfLive::TakeOver, client, ..named("monday") }).await;
    assert!(second.epoch > first.epoch);
    let stale = beat(&bus, "monday", &first.epoch).await.unwrap_err();
    assert_eq!((stale.code, stale.retryable), (Code::Conflict, false));
    assert!(stale.message.contains("taken over by ann on laptop"), "{}", stale.message);
    assert_eq!(end(&bus, "monday", &first.epoch).await.unwrap_err().code, Code::Conflict);
    beat(&bus, "monday", &second.epoch).await.unwrap();
    end(&bus, "monday", &second.epoch).await.unwrap();
    events_tell_the_bucket(&bus).await;
}

#[tokio::test]
async fn who_is_silent_is_suspect_then_lost_and_comes_back_with_a_beat() {
    let (server, bus) = server().await;
    let _registry = Registry::start(&server.url(), impatient()).await;
    let idle = start(&bus, &beating("idle")).await;
    let person = start(&bus, &named("person")).await;
    let lost = wait_for_state(&bus, "idle", SessionState::Lost).await;
    assert!(lost.record.reason.contains("nothing heard"), "{}", lost.record.reason);
    assert_eq!(get(&bus, "person").await.unwrap().record.state, SessionState::Active);
    assert_eq!(beat(&bus, "idle", &idle.epoch).await.unwrap().state, SessionState::Active);
    end(&bus, "person", &person.epoch).await.unwrap();
    events_tell_the_bucket(&bus).await;
    let history: SessionHistoryResponse = ask(&bus, "history", &json!({ "session_id": "idle" })).await.unwrap();
    let states: Vec<_> = history.transitions.iter().map(|step| step.to).take(5).collect();
    use SessionState::{Active, Lost, Starting, Suspect};
    assert_eq!(states, [Starting, Active, Suspect, Lost, Active]);
}

#[tokio::test]
async fn a_request_that_is_repeated_with_its_id_is_done_once() {
    let (server, bus) = server().await;
    let _registry = Registry::start(&server.url(), impatient()).await;
    let options = || RequestOptions { request_id: Some("once".into()), ..RequestOptions::timeout(SOON) };
    let first: SessionStartResponse = ask_with(&bus, "start", &json!({}), options()).await.unwrap();
    let again: SessionStartResponse = ask_with(&bus, "start", &json!({}), options()).await.unwrap();
    assert_eq!(first, again);
    let other: SessionStartResponse = ask(&bus, "start", &json!({})).await.unwrap();
    assert_ne!(other.session_id, first.session_id);
}

#[tokio::test]
async fn the_progress_of_a_start_can_be_watched() {
    let (server, bus) = server().await;
    let _registry = Registry::start(&server.url(), impatient()).await;
    let plain = async_nats::ConnectOptions::with_user_and_password(
        baft_tests::nats::USER.into(),
        baft_tests::nats::PASSWORD.into(),
    );
    let plain = plain.connect(server.bare_url()).await.unwrap();
    let mut progress = plain.subscribe("baft.progress.watched").await.unwrap();
    plain.flush().await.unwrap();
    let options = RequestOptions { request_id: Some("watched".into()), ..RequestOptions::timeout(SOON) };
    let started: SessionStartResponse = ask_with(&bus, "start", &named("monday"), options).await.unwrap();
    let mut told = Vec::new();
    while told.last() != Some(&("preflight".to_owned(), StepState::Warning)) {
        let message = tokio::time::timeout(SOON, futures_util::StreamExt::next(&mut progress)).await.unwrap().unwrap();
        let step: SessionStep = serde_json::from_slice(&message.payload).unwrap();
        told.push((step.step, step.state));
    }
    for step in ["register", "pull", "publish", "import", "preflight"] {
        assert!(told.iter().any(|(name, _)| name == step), "{step} is missing in {told:?}");
        assert!(started.steps.iter().any(|done| done.step == step));
    }
}

#[tokio::test]
async fn with_principals_nobody_acts_as_another() {
    let (server, bus) = server().await;
    let settings = baft_session_registry::Settings { require_principal: true, ..impatient() };
    let _registry = Registry::start(&server.url(), settings).await;
    let acting =
        |principal: &str| RequestOptions { principal: Some(principal.into()), ..RequestOptions::timeout(SOON) };
    let error = ask::<_, Value>(&bus, "start", &named("monday")).await.unwrap_err();
    assert_eq!(error.code, Code::Forbidden);
    let started: SessionStartResponse = ask_with(&bus, "start", &named("monday"), acting("ann")).await.unwrap();
    let request = heartbeat("monday", &started.epoch);
    let take = SessionStartRequest { if_live: IfLive::TakeOver, ..named("monday") };
    let finish = SessionEndRequest { session_id: "monday".into(), epoch: None, message: None, force: true };
    for (what, body) in [
        ("heartbeat", serde_json::to_value(&request).unwrap()),
        ("start", serde_json::to_value(&take).unwrap()),
        ("end", serde_json::to_value(&finish).unwrap()),
        ("sync", json!({ "session_id": "monday" })),
    ] {
        let error = ask_with::<_, Value>(&bus, what, &body, acting("bob")).await.unwrap_err();
        assert_eq!(error.code, Code::Forbidden, "{what}: {error}");
    }
    let record = get(&bus, "monday").await.unwrap().record;
    assert_eq!((record.principal.as_deref(), record.epoch.clone()), (Some("ann"), started.epoch));
    ask_with::<_, Value>(&bus, "heartbeat", &request, acting("ann")).await.unwrap();
    ask_with::<_, Value>(&bus, "end", &finish, acting("ann")).await.unwrap();
}

#[tokio::test]
async fn a_long_list_comes_in_pages_that_miss_and_repeat_nothing() {
    let (server, bus) = server().await;
    let _registry = Registry::start(&server.url(), impatient()).await;
    for n in 0..25 {
        start(&bus, &named(&format!("s-{n:02}"))).await;
    }
    let (mut seen, mut cursor) = (Vec::new(), None::<String>);
    loop {
        let request = SessionListRequest { limit: Some(10), cursor, ..SessionListRequest::default() };
        let page: SessionListResponse = ask(&bus, "list", &request).await.unwrap();
        assert_eq!(page.total, 25);
        seen.extend(page.sessions.into_iter().map(|record| record.session_id));
        cursor = page.next_cursor;
        if cursor.is_none() {
            break;
        }
    }
    let newest_first: Vec<String> = (0..25).rev().map(|n| format!("s-{n:02}")).collect();
    assert_eq!(seen, newest_first);
}

#[tokio::test]
async fn what_is_long_over_is_forgotten_and_stays_in_the_history() {
    let (server, bus) = server().await;
    let settings = baft_session_registry::Settings { keep_ended: Duration::from_millis(1), ..impatient() };
    let _registry = Registry::start(&server.url(), settings).await;
    let started = start(&bus, &named("monday")).await;
    end(&bus, "monday", &started.epoch).await.unwrap();
    baft_tests::wait_until_async("the record to be gone", SOON, || async {
        bucket(&bus).await.is_empty().then_some(())
    })
    .await;
    assert_eq!(get(&bus, "monday").await.unwrap_err().code, Code::NotFound);
    let history: SessionHistoryResponse = ask(&bus, "history", &json!({})).await.unwrap();
    assert_eq!(history.transitions.last().unwrap().to, SessionState::Ended);
}

#[tokio::test]
async fn without_nats_it_says_what_is_missing() {
    let mut program = Program::start_with("", &[], &[]);
    let status = program.process.wait(SOON);
    assert_eq!(status.code(), Some(78), "{}", program.process.logs());
    assert!(program.process.logs().contains("NATS_URL"), "{}", program.process.logs());
    assert!(!NatsArgs::for_url("").enabled());
}

/// Scenario 11.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_is_too_old_is_refused_with_one_clear_line() {
    let Some(server) = baft_tests::NatsServer::start_old() else {
        println!("skipped: no old nats-server (`make tools-test`)");
        return;
    };
    let mut program = Program::start(&server.url(), &[]);
    let status = program.process.wait(SOON);
    assert_eq!(status.code(), Some(78), "{}", program.process.logs());
    assert!(program.process.logs().contains("Baft needs 2.11 or later"), "{}", program.process.logs());
}
