//! The same for sessions: their events, their requests, and what is written into their bucket.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod golden;

use baft_bus::kv::Entry;
use baft_bus::payload::*;
use golden::{event, message};
use serde_json::json;

fn oid(digit: char) -> String {
    digit.to_string().repeat(40)
}

fn epoch() -> Epoch {
    Epoch { incarnation: "01J9Z3W5Q6M8T7R2K4N1B0V9XC".into(), revision: 41 }
}

fn ann() -> Person {
    Person { name: "Ann".into(), email: "ann@example.org".into() }
}

fn record() -> SessionRecord {
    SessionRecord {
        session_id: "session-20260301-093000-x7f2".into(),
        epoch: epoch(),
        state: SessionState::Active,
        analyst: "ann".into(),
        principal: Some("ann".into()),
        author: Some(ann()),
        client: SessionClient { kind: "cli".into(), name: "baft".into(), version: "0.1.0".into(), host: "desk".into() },
        objective: "Water shortages".into(),
        tier: 2,
        liveness: Liveness::Activity,
        agent: Some("main".into()),
        claims: vec!["data/gaps.yaml".into()],
        repo: Some("https://git.example.org/team/framework.git".into()),
        branch: Some("refs/heads/main".into()),
        base_commit: Some(oid('a')),
        head_commit: Some(oid('b')),
        operations: 7,
        started_at: "2026-03-01T09:30:00.000Z".into(),
        last_active_at: "2026-03-01T09:45:00.000Z".into(),
        ended_at: None,
        reason: "a sign of life came".into(),
        transcript: Some(Transcript { uri: "file:///t.jsonl".into(), sha256: Some("00ff".into()) }),
        parent: Some("session-parent".into()),
    }
}

fn transition() -> SessionTransition {
    SessionTransition {
        number: 3,
        from: Some(SessionState::Suspect),
        to: SessionState::Active,
        reason: "a sign of life came".into(),
        at: "2026-03-01T09:45:00.000Z".into(),
        record: record(),
    }
}

fn step(step: &str, state: StepState) -> SessionStep {
    SessionStep { step: step.into(), state, message: "at commit aaaaaaa".into(), duration_ms: Some(12) }
}

fn check() -> SessionSyncCheckResponse {
    SessionSyncCheckResponse {
        agent: "main".into(),
        state: Standing::Behind,
        ahead: 0,
        behind: 3,
        dirty_files: 1,
        as_of: Some("2026-03-01T09:45:00.000Z".into()),
        message: "Framework has 3 new commits from remote. Run `baft session sync` to pull and re-import.".into(),
    }
}

fn imported() -> ImportRunResponse {
    ImportRunResponse {
        generation: Generation { lineage: "01J9Z3W5Q6M8T7R2K4N1B0V9XC".into(), number: 7 },
        commit: Some(oid('a')),
        counts: Counts { inserted: 3, updated: 2, deleted: 1, unchanged: 400, errors: 0 },
        duration_ms: 40,
    }
}

#[test]
fn events_of_sessions_keep_their_form() {
    event(SessionStarted(transition()));
    event(SessionChanged(transition()));
    event(SessionEnded(SessionTransition {
        from: None,
        record: SessionRecord { ended_at: Some("2026-03-01T18:00:00.000Z".into()), ..record() },
        ..transition()
    }));
    event(SessionSyncChecked { check: check(), sessions: vec!["session-20260301-093000-x7f2".into()] });
}

#[test]
fn starting_and_ending_keep_their_form() {
    message(
        "session.start.request",
        SessionStartRequest {
            session_id: Some("session-20260301-093000-x7f2".into()),
            analyst: Some("ann".into()),
            author: Some(ann()),
            objective: Some("Water shortages".into()),
            tier: Some(1),
            client: record().client,
            liveness: Liveness::Heartbeat,
            agent: Some("main".into()),
            claims: vec!["data/".into()],
            transcript: record().transcript,
            parent: None,
            if_live: IfLive::TakeOver,
        },
    );
    message(
        "session.start.response",
        SessionStartResponse {
            session_id: "session-20260301-093000-x7f2".into(),
            epoch: epoch(),
            state: SessionState::Active,
            commit: Some(oid('a')),
            import: Some(imported()),
            preflight: Some(SessionChecks {
                passed: 11,
                warnings: 1,
                failed: 0,
                total: 12,
                problems: vec!["Framework has uncommitted changes (3 files)".into()],
            }),
            warnings: vec!["git-sync is not running".into()],
            steps: vec![step("pull", StepState::Done), step("publish", StepState::Warning)],
            heartbeat_every_s: 30,
            message: "Session session-20260301-093000-x7f2 is active.".into(),
        },
    );
    message(
        "session.end.request",
        SessionEndRequest {
            session_id: "session-20260301-093000-x7f2".into(),
            epoch: Some(epoch()),
            message: Some("Water shortages".into()),
            force: true,
        },
    );
    message(
        "session.end.response",
        SessionEndResponse {
            session_id: "session-20260301-093000-x7f2".into(),
            state: SessionState::EndedUnpushed,
            commit: Some(oid('b')),
            files: vec!["data/gaps.yaml".into()],
            pushed: false,
            held: vec![HeldFile {
                path: "data/x.yaml".into(),
                reason: HeldReason::Unparsable,
                message: "line 1".into(),
            }],
            warnings: vec!["the remote does not answer".into()],
            steps: vec![step("commit", StepState::Done), step("push", StepState::Failed)],
            message: "Committed, but not pushed yet.".into(),
        },
    );
}

#[test]
fn what_the_holder_of_a_session_asks_keeps_its_form() {
    message(
        "session.heartbeat.request",
        SessionHeartbeatRequest {
            session_id: "session-20260301-093000-x7f2".into(),
            epoch: epoch(),
            operations: Some(8),
            transcript: record().transcript,
        },
    );
    message(
        "session.heartbeat.response",
        SessionHeartbeatResponse { state: SessionState::Active, orders: vec![SessionOrder::Sync, SessionOrder::Stop] },
    );
    message("session.sync_check.request", SessionSyncCheckRequest { session_id: None, agent: Some("main".into()) });
    message("session.sync_check.response", check());
    message(
        "session.sync.request",
        SessionSyncRequest {
            session_id: Some("session-20260301-093000-x7f2".into()),
            epoch: Some(epoch()),
            agent: None,
        },
    );
    message(
        "session.sync.response",
        SessionSyncResponse {
            commit: Some(oid('c')),
            pull: Some(CommitPullResponse {
                old: Some(oid('a')),
                new: Some(oid('c')),
                changed_files: 2,
                parked: None,
                problems: vec![],
            }),
            import: Some(imported()),
            warnings: vec![],
            steps: vec![step("pull", StepState::Done)],
            message: "Synced to ccccccc. DuckDB updated.".into(),
        },
    );
}

#[test]
fn looking_at_sessions_keeps_its_form() {
    message(
        "session.list.request",
        SessionListRequest {
            state: vec![SessionState::Active, SessionState::Lost],
            analyst: Some("ann".into()),
            agent: Some("main".into()),
            limit: Some(10),
            cursor: Some("c".into()),
        },
    );
    message(
        "session.list.response",
        SessionListResponse { sessions: vec![record()], total: 12, next_cursor: Some("c".into()), as_of_revision: 99 },
    );
    message("session.get.request", SessionGetRequest { session_id: "s".into() });
    message("session.get.response", SessionGetResponse { record: record(), idle_s: 60 });
    message("session.status.request", SessionStatusRequest { session_id: Some("s".into()), agent: None });
    message(
        "session.status.response",
        SessionStatusResponse {
            sessions: vec![record()],
            total: 1,
            clone: None,
            published: None,
            database: None,
            preflight: Some(SessionChecks::default()),
            services: vec![ServiceState { name: "git-sync".into(), up: false, message: "is not running".into() }],
        },
    );
    message("session.history.request", SessionHistoryRequest { session_id: Some("s".into()), limit: Some(5) });
    message("session.history.response", SessionHistoryResponse { transitions: vec![transition()] });
}

#[test]
fn what_is_written_into_the_bucket_keeps_its_form() {
    message(
        "session.stored",
        StoredSession {
            record: record(),
            steps: 3,
            opened: true,
            request_id: Some("r-1".into()),
            task: Some(Task {
                kind: TaskKind::End,
                owner: "01J9Z3W5Q6M8T7R2K4N1B0V9XC".into(),
                turn: 2,
                message: Some("Water".into()),
                force: true,
            }),
            pending: vec![transition()],
        },
    );
}

#[test]
fn an_epoch_that_its_own_write_gave_is_that_of_the_entry() {
    let fresh = SessionRecord { epoch: Epoch { revision: 0, ..epoch() }, ..record() };
    let stored = StoredSession {
        record: fresh.clone(),
        steps: 1,
        opened: false,
        request_id: None,
        task: None,
        pending: vec![transition(), SessionTransition { record: fresh, ..transition() }],
    };
    let entry = Entry { value: serde_json::to_vec(&stored).unwrap().into(), revision: 77, created: String::new() };
    let read = StoredSession::read(&entry).unwrap();
    let seen =
        (read.record.epoch.revision, read.pending[0].record.epoch.revision, read.pending[1].record.epoch.revision);
    assert_eq!(seen, (77, 41, 77));
}

#[test]
fn an_empty_request_is_a_request() {
    assert_eq!(serde_json::from_value::<SessionStartRequest>(json!({})).unwrap(), SessionStartRequest::default());
    assert_eq!(serde_json::from_value::<SessionListRequest>(json!({})).unwrap(), SessionListRequest::default());
    assert_eq!(serde_json::from_value::<SessionState>(json!("dreaming")).unwrap(), SessionState::Unknown);
    assert_eq!(serde_json::from_value::<Liveness>(json!("telepathy")).unwrap(), Liveness::Unknown);
}
