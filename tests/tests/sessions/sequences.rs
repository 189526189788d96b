//! A day's work.

use baft_bus::Code;
use baft_bus::payload::*;
use baft_tests::git::git;
use baft_tests::wait_until_async;
use serde_json::{Value, json};

use crate::support::{Fleet, SOON, gaps};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_day_from_start_over_somebody_elses_push_to_the_end() {
    let fleet = Fleet::start().await;
    let started = fleet.begin("monday").await;
    let head = fleet.newest("%H");
    assert_eq!(started.commit.as_deref(), Some(head.as_str()));
    assert!(started.import.is_some(), "{:?}", started.warnings);
    let done = |name: &str| started.steps.iter().any(|step| step.step == name && step.state == StepState::Done);
    assert!(done("pull") && done("publish") && done("import"), "{:?}", started.steps);
    assert!(started.message.contains(&format!("Framework at commit {}", &head[..7])), "{}", started.message);

    let check: SessionSyncCheckResponse = fleet.ask("sync_check", &json!({ "session_id": "monday" })).await.unwrap();
    assert_eq!(check.message, "Framework is current.");
    let pushed = fleet.remote.commit(&[("data/more.yaml", "entries:\n- id: G02-01\n  description: Rivers\n")]);
    let check: SessionSyncCheckResponse = fleet.ask("sync_check", &json!({})).await.unwrap();
    assert_eq!((check.state, check.behind), (Standing::Behind, 1), "{check:?}");
    assert!(check.message.contains("1 new commit from remote"), "{}", check.message);
    let synced: SessionSyncResponse = fleet.ask("sync", &json!({ "session_id": "monday" })).await.unwrap();
    assert_eq!(synced.message, format!("Synced to {}. DuckDB updated.", &pushed[..7]), "{synced:?}");
    assert_eq!(synced.import.unwrap().commit.as_deref(), Some(pushed.as_str()));

    fleet.save("data/gaps.yaml", &gaps("Dams"));
    let ended = fleet.end(&started, "about dams").await.unwrap();
    assert_eq!((ended.state, ended.pushed), (SessionState::Ended, true), "{ended:?}");
    assert_eq!(ended.message, "Framework changes committed and pushed.");
    assert_eq!(ended.files, ["data/gaps.yaml"]);
    assert_eq!(fleet.on_remote("data/gaps.yaml"), gaps("Dams").trim_end());
    let said = fleet.newest("%an|%s|%b");
    assert!(said.starts_with("Ann|Session monday: about dams") && said.contains("monday"), "{said}");

    let second = fleet.begin("tuesday").await;
    let ended = fleet.end(&second, "nothing").await.unwrap();
    assert_eq!((ended.message.as_str(), ended.commit), ("No framework changes to commit.", None));
}

/// Issue 4: `session end` with a failing push says so, keeps `ended_unpushed`, and the push happens later by itself.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_end_that_cannot_push_says_so_and_is_through_when_the_push_is() {
    let fleet = Fleet::start().await;
    let started = fleet.begin("monday").await;
    let (bare, away) = (fleet.remote.bare(), fleet.path("away.git"));
    std::fs::rename(&bare, &away).unwrap();
    fleet.save("data/gaps.yaml", &gaps("Dams"));
    let ended = fleet.end(&started, "about dams").await.unwrap();
    assert_eq!((ended.state, ended.pushed), (SessionState::EndedUnpushed, false), "{ended:?}");
    assert!(ended.commit.is_some() && !ended.warnings.is_empty(), "{ended:?}");
    assert!(ended.message.contains("not pushed"), "{}", ended.message);
    let listed: SessionListResponse = fleet.ask("list", &json!({})).await.unwrap();
    assert_eq!(listed.sessions[0].state, SessionState::EndedUnpushed);
    std::fs::rename(&away, &bare).unwrap();
    wait_until_async("the session to be through", SOON, || async {
        (fleet.state("monday").await? == SessionState::Ended).then_some(())
    })
    .await;
    assert_eq!(fleet.on_remote("data/gaps.yaml"), gaps("Dams").trim_end());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn held_files_keep_a_session_from_ending_until_it_is_forced() {
    let fleet = Fleet::start().await;
    let started = fleet.begin("monday").await;
    fleet.save("data/gaps.yaml", "entries: [\n");
    let error = fleet.end(&started, "broken").await.unwrap_err();
    assert_eq!(error.code, Code::Unprocessable, "{error:?}");
    assert!(error.message.contains("data/gaps.yaml (unparsable)"), "{error}");
    assert_eq!(fleet.state("monday").await, Some(SessionState::Active));
    let request = json!({ "session_id": "monday", "epoch": started.epoch, "force": true });
    let ended: SessionEndResponse = fleet.ask("end", &request).await.unwrap();
    assert_eq!((ended.state, ended.held.len()), (SessionState::Ended, 1), "{ended:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_real_conflict_aborts_a_start_with_what_to_do_and_leaves_no_session() {
    let fleet = Fleet::start().await;
    let first = fleet.begin("first").await;
    fleet.remote.commit(&[("data/gaps.yaml", &gaps("Theirs"))]);
    fleet.save("data/gaps.yaml", &gaps("Ours"));
    let error = fleet.ask::<_, Value>("start", &json!({ "session_id": "second" })).await.unwrap_err();
    assert_eq!(error.code, Code::Conflict, "{error:?}");
    assert!(error.message.contains("data/gaps.yaml") && error.hint.is_some(), "{error:?}");
    assert_eq!(fleet.state("second").await, Some(SessionState::Ended));
    // The id is not used up, and nothing is lost.
    let second = fleet.begin("second").await;
    assert!(second.epoch > first.epoch);
    let branches = git(&fleet.remote.bare(), &["branch", "--list", "rescue/*"]);
    assert!(!branches.is_empty(), "the local version is on a rescue branch");
}

/// A session without a commit-agent would be one whose edits nobody commits.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_start_on_a_clone_nobody_looks_after_is_refused() {
    let fleet = Fleet::start().await;
    let error =
        fleet.ask::<_, Value>("start", &json!({ "session_id": "lonely", "agent": "nobody" })).await.unwrap_err();
    assert_eq!((error.code, error.retryable), (Code::Unavailable, true), "{error:?}");
    assert!(error.message.contains("commit-agent `nobody` is not there"), "{error}");
    assert_eq!(fleet.state("lonely").await, Some(SessionState::Ended));
}

/// Python programs of the fleet read the marker files.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn live_sessions_are_files_and_ended_ones_are_not() {
    let fleet = Fleet::start().await;
    let started = fleet.begin("monday").await;
    let marker = fleet.path("markers").join("monday.json");
    let text = wait_until_async("the marker", SOON, || async { std::fs::read_to_string(&marker).ok() }).await;
    let read: Value = serde_json::from_str(&text).unwrap();
    assert_eq!((&read["session_id"], &read["analyst"]), (&json!("monday"), &json!("ann")));
    fleet.end(&started, "").await.unwrap();
    wait_until_async("the marker to be gone", SOON, || async { (!marker.exists()).then_some(()) }).await;
}

/// Whoever works on an end may die: the next one goes on with it, and nothing is committed or lost twice.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_end_whose_registry_was_killed_is_continued_by_the_next() {
    let mut fleet = Fleet::start().await;
    let started = fleet.begin("monday").await;
    fleet.save("data/gaps.yaml", &gaps("Dams"));
    // The commit hangs, and the registry that waits for it is killed.
    fleet.daemons[0].freeze();
    let ending = {
        let bus = fleet.bus.clone();
        let request = json!({ "session_id": "monday", "epoch": started.epoch, "message": "about dams" });
        tokio::spawn(async move {
            bus.request::<_, Value>("session.end", &request, std::time::Duration::from_secs(5)).await
        })
    };
    wait_until_async("the end to begin", SOON, || async {
        (fleet.state("monday").await? == SessionState::Ending).then_some(())
    })
    .await;
    if let Some(mut registry) = fleet.registry.take() {
        registry.kill();
    }
    assert!(ending.await.unwrap().is_err(), "nobody could have answered");
    fleet.start_registry();
    fleet.daemons[0].thaw();
    wait_until_async("the end to be through", SOON, || async {
        (fleet.state("monday").await? == SessionState::Ended).then_some(())
    })
    .await;
    assert_eq!(fleet.on_remote("data/gaps.yaml"), gaps("Dams").trim_end());
    let commits = git(&fleet.remote.bare(), &["rev-list", "--count", "main"]);
    assert_eq!(commits, "2", "one commit for it");
}
