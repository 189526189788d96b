//! Everything an agent can be asked.

use baft_bus::payload::*;
use baft_bus::{Code, RequestError, RequestOptions};
use baft_tests::git::git;
use baft_tests::{GitRemote, NatsServer, wait_until};
use serde_json::{Value, json};

use crate::support::{Desk, SOON, answering, ask, newest, on_remote, wait_for_file, wait_for_remote};

/// The watch is off: only what is asked happens.
const ASKED: &[&str] = &["--watch=false"];

fn with<'a>(nats: &'a str, more: &[&'a str]) -> Vec<&'a str> {
    [ASKED, &[nats], more].concat()
}

fn epoch(revision: u64) -> Option<Epoch> {
    Some(Epoch { incarnation: "01J9Z3W5Q6M8T7R2K4N1B0V9XC".to_owned(), revision })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_run_commits_in_the_sessions_name_and_answers_what_it_did() {
    let nats = NatsServer::start();
    let bus = nats.client().await;
    let (remote, _) = GitRemote::with_files(&[("data/a.yaml", "a: 1\n"), ("data/b.yaml", "b: 1\n")]);
    let (desk, url) = (Desk::new(), format!("--nats-url={}", nats.url()));
    let _agent = desk.ready(&remote.url(), &with(&url, &["--quiet=30s", "--max-wait=60s"]));
    answering(&bus).await;
    let nothing: CommitRunResponse = ask(&bus, "run", &json!({})).await.unwrap();
    assert_eq!((nothing.commit, nothing.pushed, nothing.files.len()), (None, true, 0));

    desk.save("data/a.yaml", "a: 2\n");
    desk.save("data/b.yaml", "b: 2\n");
    let request = CommitRunRequest {
        message: Some("Trends of week 12".to_owned()),
        session_id: Some("ses-1".to_owned()),
        epoch: epoch(1),
        paths: Some(vec!["data/a.yaml".to_owned()]),
        author: Some(Person { name: "Ann".to_owned(), email: "ann@example.org".to_owned() }),
    };
    let answer: CommitRunResponse = ask(&bus, "run", &request).await.unwrap();
    assert_eq!((answer.files.as_slice(), answer.pushed), (&["data/a.yaml".to_owned()][..], true), "{answer:#?}");
    assert_eq!(answer.commit.unwrap(), newest(&remote, "%H"));
    let subject = newest(&remote, "%s");
    assert!(subject.starts_with("Session ses-1: Trends of week 12 — "), "{subject}");
    assert_eq!(newest(&remote, "%an"), "Ann");
    assert_eq!(newest(&remote, "%(trailers:key=Session,valueonly)"), "ses-1");
    assert_eq!(on_remote(&remote, "data/b.yaml").as_deref(), Some("b: 1\n"), "only what was named");
    let rest: CommitRunResponse = ask(&bus, "run", &json!({ "message": "the rest" })).await.unwrap();
    assert_eq!(rest.files, ["data/b.yaml"]);
    assert!(newest(&remote, "%s").starts_with("Auto-commit: the rest — "));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nonsense_is_refused_with_what_would_be_right_and_changes_nothing() {
    let nats = NatsServer::start();
    let bus = nats.client().await;
    let (remote, first) = GitRemote::with_files(&[("data/a.yaml", "a: 1\n")]);
    let (desk, url) = (Desk::new(), format!("--nats-url={}", nats.url()));
    let _agent = desk.ready(&remote.url(), &with(&url, &[]));
    answering(&bus).await;
    for (what, body, code, word) in [
        ("run", json!({ "paths": ["../etc/passwd"] }), Code::InvalidArgument, "passwd"),
        ("run", json!({ "paths": [".git/config"] }), Code::InvalidArgument, ".git"),
        ("run", json!({ "session_id": "a b" }), Code::InvalidArgument, "session_id"),
        ("run", json!({ "epoch": { "incarnation": "A", "revision": 1 } }), Code::InvalidArgument, "session_id"),
        ("run", json!({ "message": 7 }), Code::InvalidArgument, "not understood"),
        ("run", json!({ "message": "x".repeat(20_000) }), Code::InvalidArgument, "message"),
        (
            "run",
            json!({ "session_id": "s", "author": { "name": "A <b>", "email": "c" } }),
            Code::InvalidArgument,
            "author",
        ),
        ("apply", json!({}), Code::InvalidArgument, "changes"),
        ("apply", json!({ "changes": [{ "file": "a.yaml" }] }), Code::InvalidArgument, "content"),
        ("apply", json!({ "changes": [{ "file": "/a", "content": "" }] }), Code::InvalidArgument, "/a"),
        (
            "apply",
            json!({ "base": "main", "changes": [{ "file": "a", "content": "" }] }),
            Code::InvalidArgument,
            "base",
        ),
        ("confirm", json!({ "what": "everything" }), Code::InvalidArgument, "what"),
        ("confirm", json!({ "deletions": 3 }), Code::Conflict, "0 deletions"),
        ("release", json!({}), Code::InvalidArgument, "paths"),
        ("release", json!({ "paths": ["data/a.yaml"] }), Code::NotFound, "not held"),
    ] {
        let error = ask::<_, Value>(&bus, what, &body).await.unwrap_err();
        assert_eq!(error.code, code, "{what} {body}: {error:?}");
        assert!(error.message.contains(word), "{what} {body}: {error:?}");
    }
    assert_eq!((newest(&remote, "%H"), desk.git(&["rev-parse", "main"])), (first.clone(), first));
    let missing = bus.request::<_, Value>("commit.elsewhere.run", &json!({}), SOON).await.unwrap_err();
    assert_eq!(missing.code, Code::Unavailable);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_overtaken_epoch_is_refused_also_after_a_restart_and_captured_all_the_same() {
    let nats = NatsServer::start();
    let bus = nats.client().await;
    let (remote, _) = GitRemote::with_files(&[("a.yaml", "a: 1\n")]);
    let (desk, url) = (Desk::new(), format!("--nats-url={}", nats.url()));
    let args = with(&url, &[]);
    let mut agent = desk.ready(&remote.url(), &args);
    answering(&bus).await;
    let run = |revision| CommitRunRequest {
        session_id: Some("ses-1".to_owned()),
        epoch: epoch(revision),
        ..CommitRunRequest::default()
    };
    let _: CommitRunResponse = ask(&bus, "run", &run(7)).await.unwrap();
    desk.save("a.yaml", "a: 2\n");
    let refused = |error: RequestError| assert_eq!((error.code, error.retryable), (Code::Conflict, false), "{error:?}");
    refused(ask::<_, Value>(&bus, "run", &run(6)).await.unwrap_err());
    assert!(agent.terminate(SOON).success(), "{}", agent.logs());
    wait_for_remote(&remote, "a.yaml", "a: 2\n");
    assert!(newest(&remote, "%s").starts_with("Auto-commit: "), "nobody's");
    let _agent = desk.ready(&remote.url(), &args);
    answering(&bus).await;
    refused(ask::<_, Value>(&bus, "run", &run(6)).await.unwrap_err());
    let edit =
        json!({ "session_id": "ses-1", "epoch": epoch(6), "changes": [{ "file": "a.yaml", "content": "a: 3\n" }] });
    refused(ask::<_, Value>(&bus, "apply", &edit).await.unwrap_err());
    assert_eq!(desk.read("a.yaml").as_deref(), Some("a: 2\n"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pull_check_and_status_tell_how_clone_and_remote_compare() {
    let nats = NatsServer::start();
    let bus = nats.client().await;
    let (remote, first) = GitRemote::with_files(&[("a.yaml", "a: 1\n")]);
    let (desk, url) = (Desk::new(), format!("--nats-url={}", nats.url()));
    let _agent = desk.ready(&remote.url(), &with(&url, &[]));
    answering(&bus).await;
    let check: CommitCheck = ask(&bus, "check", &json!({})).await.unwrap();
    assert_eq!((check.state, check.ahead, check.behind, check.dirty_files), (Standing::Current, 0, 0, 0), "{check:?}");
    let second = remote.commit(&[("b.yaml", "b: 1\n")]);
    desk.save("a.yaml", "a: 2\n");
    let check: CommitCheck = ask(&bus, "check", &json!({})).await.unwrap();
    assert_eq!((check.state, check.behind, check.dirty_files), (Standing::Behind, 1, 1), "{check:?}");
    let pull: CommitPullResponse = ask(&bus, "pull", &json!({})).await.unwrap();
    assert_eq!(desk.read("b.yaml").as_deref(), Some("b: 1\n"), "{pull:?}");
    assert_eq!(desk.read("a.yaml").as_deref(), Some("a: 2\n"), "the edit stays");
    assert_eq!((newest(&remote, "%H"), pull.changed_files), (second, 1), "a pull pushes nothing");
    let status: CommitStatus = ask(&bus, "status", &json!({})).await.unwrap();
    assert_eq!((status.agent.as_str(), status.repo_state.as_str()), ("desk", "normal"));
    assert_eq!(status.clone, desk.clone().display().to_string());
    assert_eq!(status.head, Some(desk.git(&["rev-parse", "main"])));
    assert_ne!(status.head, Some(first));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pull_with_a_real_conflict_says_where_the_local_version_is() {
    let nats = NatsServer::start();
    let bus = nats.client().await;
    let (remote, _) = GitRemote::with_files(&[("notes.txt", "one\n")]);
    let (desk, url) = (Desk::new(), format!("--nats-url={}", nats.url()));
    let _agent = desk.ready(&remote.url(), &with(&url, &["--quiet=0s"]));
    answering(&bus).await;
    remote.commit(&[("notes.txt", "upstream\n")]);
    desk.save("notes.txt", "local\n");
    let error = ask::<_, Value>(&bus, "pull", &json!({})).await.unwrap_err();
    assert_eq!(error.code, Code::Conflict, "{error:?}");
    assert!(error.message.contains("notes.txt") && error.message.contains("rescue/desk/"), "{error:?}");
    assert_eq!(desk.read("notes.txt").as_deref(), Some("upstream\n"));
    let status: CommitStatus = ask(&bus, "status", &json!({})).await.unwrap();
    let parked = &status.parked[0];
    assert!(parked.pushed && parked.kind == "conflict", "{parked:?}");
    assert_eq!(crate::support::at_remote(&remote, &parked.branch, "notes.txt").as_deref(), Some("local\n"));
    wait_until("the event", SOON, || (desk.metric("events_unannounced") == 0.0).then_some(()));
    let events = nats.stored("git.conflict").await;
    assert_eq!((events.len(), &events[0].1["rescue_branch"]), (1, &json!(parked.branch)));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn deleted_files_wait_for_a_word_and_held_ones_go_when_released() {
    let nats = NatsServer::start();
    let bus = nats.client().await;
    let names: Vec<String> = (0..20).map(|n| format!("data/{n}.yaml")).collect();
    let files: Vec<(&str, &str)> = names.iter().map(|name| (name.as_str(), "a: 1\n")).collect();
    let (remote, first) = GitRemote::with_files(&files);
    let (desk, url) = (Desk::new(), format!("--nats-url={}", nats.url()));
    let _agent = desk.ready(&remote.url(), &with(&url, &["--quiet=0s"]));
    answering(&bus).await;
    for name in &names[..15] {
        std::fs::remove_file(desk.clone().join(name)).unwrap();
    }
    let run: CommitRunResponse = ask(&bus, "run", &json!({})).await.unwrap();
    assert!(run.held.iter().all(|held| held.reason == HeldReason::MassDelete) && !run.held.is_empty(), "{run:#?}");
    assert_eq!(newest(&remote, "%H"), first);
    let wrong = ask::<_, Value>(&bus, "confirm", &json!({ "deletions": 3 })).await.unwrap_err();
    assert_eq!(wrong.code, Code::Conflict);
    let confirmed: CommitConfirmResponse = ask(&bus, "confirm", &json!({ "deletions": run.held.len() })).await.unwrap();
    assert!(confirmed.run.pushed && confirmed.run.held.is_empty(), "{confirmed:#?}");
    assert_eq!(git(&remote.bare(), &["ls-tree", "-r", "--name-only", "main"]).lines().count(), 5);

    desk.save("data/18.yaml", "a: [\n");
    desk.save("data/17.yaml", "a: 2\n");
    let run: CommitRunResponse = ask(&bus, "run", &json!({})).await.unwrap();
    assert_eq!((run.files.as_slice(), run.held.len()), (&["data/17.yaml".to_owned()][..], 1), "{run:#?}");
    assert_eq!((run.held[0].path.as_str(), run.held[0].reason), ("data/18.yaml", HeldReason::Unparsable));
    wait_until("the event", SOON, || (desk.metric("events_unannounced") == 0.0).then_some(()));
    let held = nats.stored("git.held").await;
    assert!(
        held.iter().any(|(_, event)| event["reason"] == "unparsable" && event["paths"] == json!(["data/18.yaml"])),
        "{held:#?}"
    );
    let released: CommitReleaseResponse = ask(&bus, "release", &json!({ "paths": ["data/18.yaml"] })).await.unwrap();
    assert_eq!((released.released.as_slice(), released.run.pushed), (&["data/18.yaml".to_owned()][..], true));
    assert_eq!(on_remote(&remote, "data/18.yaml").as_deref(), Some("a: [\n"));
}

const GAPS: &str = "# The open questions.\nentries:\n- id: G01-01   # first\n  description: 'One'\n  priority: 1\n  status: OPEN\n\n- id: G01-02\n  description: Two\n  priority: 2\n  status: OPEN\n";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_edit_by_request_changes_what_it_names_and_no_other_byte() {
    let nats = NatsServer::start();
    let bus = nats.client().await;
    let (remote, first) = GitRemote::with_files(&[("data/gaps.yaml", GAPS)]);
    let (desk, url) = (Desk::new(), format!("--nats-url={}", nats.url()));
    let _agent = desk.ready(&remote.url(), &with(&url, &[]));
    answering(&bus).await;
    let set = |id: &str, field: &str, value: Value| {
        json!({ "session_id": "ses-1", "base": first, "message": "a change",
                "changes": [{ "type": "gaps", "id": id, "set": { field: value } }] })
    };
    let answer: CommitApplyResponse = ask(&bus, "apply", &set("G01-01", "priority", json!(3))).await.unwrap();
    assert_eq!((answer.paths.as_slice(), answer.pushed), (&["data/gaps.yaml".to_owned()][..], true), "{answer:#?}");
    let expected = GAPS.replacen("priority: 1", "priority: 3", 1);
    assert_eq!(on_remote(&remote, "data/gaps.yaml"), Some(expected.clone()));
    assert_eq!(desk.read("data/gaps.yaml"), Some(expected));
    assert!(newest(&remote, "%s").starts_with("Session ses-1: a change — "));
    // Of the same base, another entity: no conflict. The same one: one.
    let _: CommitApplyResponse = ask(&bus, "apply", &set("G01-02", "priority", json!(4))).await.unwrap();
    let error = ask::<_, Value>(&bus, "apply", &set("G01-01", "priority", json!(5))).await.unwrap_err();
    assert_eq!(error.code, Code::Conflict, "{error:?}");
    let error = ask::<_, Value>(&bus, "apply", &set("G99-99", "priority", json!(5))).await.unwrap_err();
    assert_eq!(error.code, Code::NotFound, "{error:?}");
    let whole = json!({ "changes": [{ "file": "notes/new.md", "content": "# New\n" }, { "file": "data/gaps.yaml", "content": null }] });
    let answer: CommitApplyResponse = ask(&bus, "apply", &whole).await.unwrap();
    assert_eq!(answer.paths.len(), 2);
    wait_for_file(&desk, "notes/new.md", "# New\n");
    assert_eq!((on_remote(&remote, "data/gaps.yaml"), desk.read("data/gaps.yaml")), (None, None));
    let broken = json!({ "changes": [{ "file": "data/gaps.yaml", "content": "entries: [\n" }] });
    let error = ask::<_, Value>(&bus, "apply", &broken).await.unwrap_err();
    assert_eq!(error.code, Code::Unprocessable, "{error:?}");
    assert_eq!(desk.read("data/gaps.yaml"), None);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn with_require_principal_only_those_who_say_who_they_are_change_anything() {
    let nats = NatsServer::start();
    let bus = nats.client().await;
    let (remote, _) = GitRemote::with_files(&[("a.yaml", "a: 1\n")]);
    let (desk, url) = (Desk::new(), format!("--nats-url={}", nats.url()));
    let _agent = desk.ready(&remote.url(), &with(&url, &["--require-principal"]));
    answering(&bus).await;
    let error = ask::<_, Value>(&bus, "run", &json!({})).await.unwrap_err();
    assert_eq!(error.code, Code::Forbidden, "{error:?}");
    let options = RequestOptions { principal: Some("ann".to_owned()), ..RequestOptions::timeout(SOON) };
    let _: CommitRunResponse = bus.request_with("commit.desk.run", &json!({}), options).await.unwrap();
    let _: CommitStatus = ask(&bus, "status", &json!({})).await.unwrap();
}
