//! What was once sent can always be read.
//!
//! `goldens/` holds an example of every event (`<type>-<major>.<minor>.json`) and of every request and answer. A file
//! is never changed once it was released: a new field means a new minor version and a new file beside the old one.
//! `BAFT_UPDATE_GOLDENS=1 cargo test -p baft-bus --test goldens` writes the ones that are missing.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod golden;

use std::collections::BTreeMap;

use baft_bus::payload::*;
use baft_bus::{Outgoing, event::DecodeError};
use golden::{event, message, raw};
use serde_json::json;

fn oid(digit: char) -> String {
    digit.to_string().repeat(40)
}

fn generation() -> Generation {
    Generation { lineage: "01J9Z3W5Q6M8T7R2K4N1B0V9XC".into(), number: 7 }
}

fn counts() -> Counts {
    Counts { inserted: 3, updated: 2, deleted: 1, unchanged: 400, errors: 0 }
}

#[test]
fn events_of_git_keep_their_form() {
    event(GitSynced {
        repo: "https://git.example.org/team/framework.git".into(),
        reference: "refs/heads/main".into(),
        old: Some(oid('a')),
        new: oid('b'),
        forced: false,
        changed: vec![
            ChangedFile { path: "data/obs.yaml".into(), status: ChangeStatus::Modified },
            ChangedFile { path: "data/ä\n.yaml".into(), status: ChangeStatus::TypeChanged },
        ],
        truncated: true,
        trigger: Trigger::Webhook,
    });
    event(GitSyncFailed {
        repo: "https://git.example.org/team/framework.git".into(),
        reference: "refs/heads/main".into(),
        class: FailureClass::NotFound,
        message: "the remote has no branch main".into(),
        attempt: 3,
        next_retry_at: Some("2026-03-01T09:30:00.000Z".into()),
    });
    event(GitCommitted {
        repo: "https://git.example.org/team/framework.git".into(),
        reference: "refs/heads/main".into(),
        commit: oid('c'),
        parent: Some(oid('b')),
        files: vec!["data/obs.yaml".into()],
        truncated: true,
        session_id: Some("01J9Z3W5Q6M8T7R2K4N1B0V9XC".into()),
        author: "Ann <ann@example.org>".into(),
        takes_back: vec!["data/obs.yaml".into()],
    });
    event(GitPushed {
        repo: "https://git.example.org/team/framework.git".into(),
        reference: "refs/heads/main".into(),
        commit: oid('c'),
        parent: None,
        files: vec![],
        truncated: false,
        session_id: None,
        author: "Ann <ann@example.org>".into(),
    });
    event(GitConflict {
        repo: "https://git.example.org/team/framework.git".into(),
        reference: "refs/heads/main".into(),
        agent: "desk-1".into(),
        rescue_branch: "refs/heads/rescue/desk-1/cccccccccccc".into(),
        paths: vec!["data/obs.yaml".into()],
        truncated: false,
        base: Some(oid('a')),
        ours: oid('c'),
        theirs: Some(oid('b')),
    });
    event(GitHeld {
        repo: "https://git.example.org/team/framework.git".into(),
        reference: "refs/heads/main".into(),
        agent: "desk-1".into(),
        paths: vec!["data/obs.yaml".into()],
        truncated: false,
        reason: HeldReason::Unparsable,
        message: "line 12: did not find expected key".into(),
    });
}

#[test]
fn events_of_the_importer_keep_their_form() {
    event(ImportPublished {
        generation: generation(),
        commit: Some(oid('b')),
        counts: counts(),
        digest: "b3:0011".into(),
        bytes: 12_345_678,
        duration_ms: 250,
    });
    event(ImportQuarantined {
        path: "data/obs.yaml".into(),
        line: 12,
        column: 3,
        message: "did not find expected key".into(),
        kept_generation: Some(generation()),
    });
    event(EntityChanged {
        entity_type: "observation".into(),
        id: "Obs-51".into(),
        op: EntityOp::Updated,
        fields: vec!["title".into()],
        generation: generation(),
    });
}

#[test]
fn events_of_every_daemon_keep_their_form() {
    let (name, instance, version) = ("git-sync".to_owned(), "pod-0".to_owned(), "0.1.0".to_owned());
    event(DaemonStarted { name: name.clone(), instance: instance.clone(), version: version.clone() });
    event(DaemonStopping { name, instance, version });
}

#[test]
fn requests_and_answers_keep_their_form() {
    message("git.sync.request", GitSyncRequest { wait_for: Some(oid('b')) });
    message(
        "git.sync.response",
        GitSyncResponse { old: Some(oid('a')), new: oid('b'), changed_files: 2, duration_ms: 80 },
    );
    message(
        "git.status.response",
        GitStatus {
            repo: "https://git.example.org/team/framework.git".into(),
            reference: "refs/heads/main".into(),
            head: Some(oid('b')),
            remote_head: Some(oid('c')),
            behind: Some(1),
            last_success_at: Some("2026-03-01T09:30:00.000Z".into()),
            failures: 0,
        },
    );
    message("import.run.request", ImportRunRequest { full: true, commit: Some(oid('b')) });
    message(
        "import.run.response",
        ImportRunResponse { generation: generation(), commit: Some(oid('b')), counts: counts(), duration_ms: 250 },
    );
    message(
        "import.status.response",
        ImportStatus {
            generation: Some(generation()),
            commit: Some(oid('b')),
            rows: BTreeMap::from([("observation".to_owned(), 51)]),
            quarantined: vec![QuarantinedFile { path: "data/a.yaml".into(), line: 12, message: "tab".into() }],
            published_at: Some("2026-03-01T09:30:00.000Z".into()),
            bytes: 12_345_678,
            reconciled_at: None,
        },
    );
    // What a person types with `nats req`.
    assert_eq!(serde_json::from_str::<CommitRunRequest>("{}").unwrap(), CommitRunRequest::default());
    assert_eq!(serde_json::from_str::<CommitConfirmRequest>("{}").unwrap(), CommitConfirmRequest::default());
    assert_eq!(serde_json::from_str::<GitSyncRequest>("{}").unwrap(), GitSyncRequest::default());
    assert_eq!(serde_json::from_str::<ImportRunRequest>("{}").unwrap(), ImportRunRequest::default());
    assert_eq!(serde_json::from_str::<Empty>("{}").unwrap(), Empty {});
}

fn run_response() -> CommitRunResponse {
    CommitRunResponse {
        commit: Some(oid('c')),
        files: vec!["data/obs.yaml".into()],
        held: vec![HeldFile { path: "notes/.env".into(), reason: HeldReason::Secret, message: "a token".into() }],
        pushed: true,
        parked: Some("refs/heads/rescue/desk-1/cccccccccccc".into()),
        problems: vec!["the remote cannot be reached".into()],
    }
}

#[test]
fn requests_to_commit_agent_and_its_answers_keep_their_form() {
    let epoch = Epoch { incarnation: "01J9Z3W5Q6M8T7R2K4N1B0V9XC".into(), revision: 7 };
    let ann = Person { name: "Ann".into(), email: "ann@example.org".into() };
    message(
        "commit.run.request",
        CommitRunRequest {
            message: Some("Trends of week 12".into()),
            session_id: Some("ses-20260301-093000-ann".into()),
            epoch: Some(epoch.clone()),
            paths: Some(vec!["data".into()]),
            author: Some(ann.clone()),
        },
    );
    message("commit.run.response", run_response());
    let set = json!({ "trend": "deteriorating", "source.year": 2026 });
    message(
        "commit.apply.request",
        CommitApplyRequest {
            session_id: Some("ses-20260301-093000-ann".into()),
            epoch: Some(epoch),
            base: Some(oid('b')),
            changes: vec![
                Edit::File { file: "data/obs.yaml".into(), content: Some("a: 1\n".into()) },
                Edit::File { file: "data/old.yaml".into(), content: None },
                Edit::Entity {
                    kind: "variables".into(),
                    id: "SV-03".into(),
                    set: set.as_object().unwrap().clone(),
                    unset: vec!["note".into()],
                },
            ],
            message: Some("SV-03 deteriorates".into()),
            author: Some(ann),
        },
    );
    message(
        "commit.apply.response",
        CommitApplyResponse {
            commit: Some(oid('c')),
            paths: vec!["data/obs.yaml".into()],
            pushed: true,
            problems: vec!["the index is locked".into()],
        },
    );
    message(
        "commit.pull.response",
        CommitPullResponse {
            old: Some(oid('a')),
            new: Some(oid('b')),
            changed_files: 2,
            parked: Some("refs/heads/rescue/desk-1/cccccccccccc".into()),
            problems: vec!["data/obs.yaml is open".into()],
        },
    );
    let check = CommitCheck {
        as_of: Some("2026-03-01T09:30:00.000Z".into()),
        state: Standing::Diverged,
        ahead: 1,
        behind: 2,
        dirty_files: 3,
        message: "1 commit to push, 2 to bring in".into(),
    };
    message("commit.check.response", check.clone());
    message(
        "commit.status.response",
        CommitStatus {
            check,
            agent: "desk-1".into(),
            repo: "https://git.example.org/team/framework.git".into(),
            reference: "refs/heads/main".into(),
            clone: "/srv/clone".into(),
            head: Some(oid('c')),
            unpushed: 1,
            parked: vec![ParkedBranch {
                branch: "refs/heads/rescue/desk-1/cccccccccccc".into(),
                commit: oid('c'),
                kind: "conflict".into(),
                pushed: true,
                paths: vec!["data/obs.yaml".into()],
            }],
            held: run_response().held,
            repo_state: "rebase".into(),
            index_lock_age_s: Some(90),
            last_success_at: Some("2026-03-01T09:30:00.000Z".into()),
            last_push_at: Some("2026-03-01T09:29:00.000Z".into()),
            problems: vec!["the remote cannot be reached".into()],
        },
    );
    message("commit.confirm.request", CommitConfirmRequest { what: ConfirmWhat::Rewritten, deletions: Some(40) });
    message("commit.confirm.response", CommitConfirmResponse { confirmed: 40, run: run_response() });
    message("commit.release.request", CommitReleaseRequest { paths: vec!["notes/.env".into()] });
    message(
        "commit.release.response",
        CommitReleaseResponse { released: vec!["notes/.env".into()], run: run_response() },
    );
}

#[test]
fn an_edit_that_says_too_little_or_too_much_is_refused_with_what_it_should_say() {
    let refused = |text: &str| serde_json::from_str::<Edit>(text).unwrap_err().to_string();
    assert!(refused(r#"{"file":"a.yaml"}"#).contains("null to remove"));
    assert!(refused(r#"{"type":"gaps","id":"G1"}"#).contains("changes nothing"));
    for text in ["{}", r#"{"file":"a","content":"","type":"gaps","id":"G1"}"#, r#"{"type":"gaps","set":{"a":1}}"#] {
        assert!(refused(text).contains("either {file, content}"), "{text}");
    }
    assert!(serde_json::from_str::<Edit>(r#"{"file":"a.yaml","content":null}"#).is_ok());
}

#[test]
fn an_epoch_of_a_bucket_made_anew_is_the_newer_one() {
    let epoch = |incarnation: &str, revision| Epoch { incarnation: incarnation.into(), revision };
    assert!(epoch("01A", 7) < epoch("01A", 8));
    assert!(epoch("01A", 900) < epoch("01B", 1));
}

#[test]
fn a_word_of_tomorrow_is_understood_as_unknown() {
    assert_eq!(serde_json::from_str::<Trigger>("\"telepathy\"").unwrap(), Trigger::Unknown);
    assert_eq!(serde_json::from_str::<ChangeStatus>("\"renamed\"").unwrap(), ChangeStatus::Unknown);
    assert_eq!(serde_json::from_str::<FailureClass>("\"quota\"").unwrap(), FailureClass::Other);
    assert_eq!(serde_json::from_str::<EntityOp>("\"merged\"").unwrap(), EntityOp::Unknown);
    assert_eq!(serde_json::from_str::<HeldReason>("\"mood\"").unwrap(), HeldReason::Unknown);
    assert_eq!(serde_json::from_str::<Standing>("\"sideways\"").unwrap(), Standing::Unknown);
}

#[test]
fn another_type_or_a_broken_body_is_refused_with_its_reason() {
    let body = json!({ "name": "a", "instance": "b", "version": "1" });
    let error = raw("daemon.stopping", (1, 0), &body).decode::<DaemonStarted>().unwrap_err();
    assert!(matches!(error, DecodeError::OtherType { .. }), "{error}");
    let error = raw("daemon.started", (1, 0), &json!({ "name": 1 })).decode::<DaemonStarted>().unwrap_err();
    assert!(matches!(&error, DecodeError::BadBody { reason, .. } if reason.contains("string")), "{error}");
}

#[test]
fn a_long_list_of_changes_is_cut_to_what_an_event_takes() {
    let many = (0..100_000).map(|n| ChangedFile { path: format!("data/{n}\u{1}.yaml"), status: ChangeStatus::Added });
    let (changed, truncated) = cap_changes(many.collect());
    assert!(truncated && !changed.is_empty());
    let long = (0..100).map(|_| ChangedFile { path: "\u{1}".repeat(4000), status: ChangeStatus::Added });
    let (changed_long, _) = cap_changes(long.collect());
    for changed in [changed, changed_long] {
        let event = GitSynced {
            repo: String::new(),
            reference: String::new(),
            old: None,
            new: String::new(),
            forced: false,
            changed,
            truncated,
            trigger: Trigger::Poll,
        };
        assert!(Outgoing::new("1", &event).is_ok());
    }
    let few = vec![ChangedFile { path: "a".into(), status: ChangeStatus::Deleted }];
    assert_eq!(cap_changes(few.clone()), (few, false));
}

#[test]
fn preflight_keeps_its_form() {
    event(PreflightChanged {
        check: "BAFT-N001".into(),
        title: "NATS reachable".into(),
        from: CheckStatus::Pass,
        to: CheckStatus::Fail,
        message: "NATS refuses connections (nats:4222)".into(),
        hint: Some("start it: nats-server -js".into()),
    });
    message(
        "preflight.run.request",
        PreflightRunRequest { profile: Some("local".into()), only: vec!["BAFT-N001".into()] },
    );
    message(
        "preflight.run.response",
        PreflightReport {
            schema: "baft.preflight/1".into(),
            run_id: "01J9Z3W5Q6M8T7R2K4N1B0V9XC".into(),
            profile: "local".into(),
            tool: PreflightTool { name: "preflight-probe".into(), version: "0.1.0".into(), revision: "dev".into() },
            started_at: "2026-03-01T09:30:00.000Z".into(),
            duration_ms: 120,
            summary: PreflightSummary { total: 2, passed: 0, warnings: 0, failed: 1, skipped: 1, undecided: 0 },
            checks: vec![
                CheckReport {
                    id: "BAFT-N001".into(),
                    category: "nats".into(),
                    title: "NATS reachable".into(),
                    status: CheckStatus::Fail,
                    blocking: true,
                    message: "NATS refuses connections (nats:4222)".into(),
                    because: None,
                    hint: Some("start it: nats-server -js".into()),
                    doc: "docs/preflight.md#baft-n001".into(),
                    evidence: json!({ "address": "nats:4222" }).as_object().unwrap().clone(),
                    started_at: "2026-03-01T09:30:00.000Z".into(),
                    duration_ms: 7,
                    attempts: 1,
                },
                CheckReport {
                    id: "BAFT-N004".into(),
                    category: "nats".into(),
                    title: "NATS accepts the user".into(),
                    status: CheckStatus::Skip,
                    blocking: true,
                    message: "needs BAFT-N001".into(),
                    because: Some("BAFT-N001".into()),
                    hint: None,
                    doc: "docs/preflight.md#baft-n004".into(),
                    evidence: serde_json::Map::new(),
                    started_at: "2026-03-01T09:30:00.000Z".into(),
                    duration_ms: 0,
                    attempts: 0,
                },
            ],
        },
    );
}
