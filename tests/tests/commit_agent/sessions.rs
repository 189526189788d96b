//! Sessions as commit-agent sees them: records that the registry writes into its bucket, and whose name commits carry.

use baft_bus::kv::Bucket;
use baft_bus::payload::{CommitRunResponse, Epoch, SessionState, StoredSession};
use baft_bus::{Bus, Code, RequestOptions};
use baft_tests::git::git;
use baft_tests::{GitRemote, NatsServer, wait_until_async};
use serde_json::{Value, json};

use crate::support::{Desk, SOON, answering, ask, newest, on_remote, wait_for_remote};

/// Writes a record as the registry does; its epoch.
async fn record(bus: &Bus, id: &str, state: SessionState, claims: &[&str]) -> Epoch {
    let bucket = Bucket::open(bus, "SESSIONS");
    let key = StoredSession::key(id);
    let before = bucket.get(&key).await.unwrap();
    let live = before.as_ref().map(|entry| StoredSession::read(entry).unwrap().record);
    // A state alone is no change of hands.
    let kept = live.as_ref().filter(|_| state != SessionState::Starting).map(|record| record.epoch.clone());
    let epoch = kept.unwrap_or(Epoch { incarnation: "01J0000000000000000000000A".to_owned(), revision: 0 });
    let stored: StoredSession = serde_json::from_value(json!({ "steps": 1, "record": {
        "session_id": id, "epoch": epoch, "state": state, "analyst": id, "principal": id, "tier": 2,
        "author": { "name": format!("Analyst {id}"), "email": format!("{id}@example.org") },
        "agent": "desk", "claims": claims, "started_at": "2026-03-01T09:00:00Z", "last_active_at": "2026-03-01T09:00:00Z",
    } }))
    .unwrap();
    let bytes = serde_json::to_vec(&stored).unwrap();
    let revision = match before {
        Some(entry) => bucket.update(&key, bytes.into(), entry.revision).await.unwrap(),
        None => bucket.create(&key, bytes.into()).await.unwrap(),
    };
    Epoch { revision: if epoch.revision == 0 { revision } else { epoch.revision }, ..epoch }
}

/// Waits until the agent has heard of so many live sessions on its clone.
async fn knows(desk: &Desk, sessions: f64) {
    wait_until_async(&format!("{sessions} sessions to be known"), SOON, || async {
        (desk.metric("live_sessions") == sessions).then_some(())
    })
    .await;
}

fn last_of(remote: &GitRemote, path: &str, format: &str) -> String {
    git(&remote.bare(), &["log", "-1", &format!("--format={format}"), "main", "--", path])
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_saved_belongs_to_the_only_session_there_is_and_after_its_end_to_nobody() {
    let nats = NatsServer::start();
    let bus = nats.client().await;
    let (remote, _) = GitRemote::with_files(&[("a.yaml", "a: 1\n")]);
    let (desk, url) = (Desk::new(), format!("--nats-url={}", nats.url()));
    let _agent = desk.ready(&remote.url(), &[&url]);
    answering(&bus).await;
    desk.save("a.yaml", "a: 2\n");
    wait_for_remote(&remote, "a.yaml", "a: 2\n");
    assert!(newest(&remote, "%s").starts_with("Auto-commit: a.yaml — "));
    let epoch = record(&bus, "ann", SessionState::Active, &[]).await;
    knows(&desk, 1.0).await;
    desk.save("a.yaml", "a: 3\n");
    wait_for_remote(&remote, "a.yaml", "a: 3\n");
    assert_eq!(newest(&remote, "%an <%ae>"), "Analyst ann <ann@example.org>");
    assert!(newest(&remote, "%s").starts_with("Session ann: a.yaml — "), "{}", newest(&remote, "%s"));
    let shown = format!("{}.{}", epoch.incarnation, epoch.revision);
    assert_eq!(newest(&remote, "%(trailers:key=Session-Epoch,valueonly)").trim(), shown);
    record(&bus, "ann", SessionState::Ended, &[]).await;
    knows(&desk, 0.0).await;
    desk.save("a.yaml", "a: 4\n");
    wait_for_remote(&remote, "a.yaml", "a: 4\n");
    assert_eq!(newest(&remote, "%an"), "baft commit-agent");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_analysts_on_one_clone_get_exactly_their_edits_under_their_own_names() {
    let nats = NatsServer::start();
    let bus = nats.client().await;
    let (remote, _) =
        GitRemote::with_files(&[("ann/x.yaml", "x: 1\n"), ("bob/x.yaml", "x: 1\n"), ("both.yaml", "b: 1\n")]);
    let (desk, url) = (Desk::new(), format!("--nats-url={}", nats.url()));
    // Nothing is taken by itself: what is committed is what somebody asks for.
    let _agent = desk.ready(&remote.url(), &[&url, "--quiet=30s", "--max-wait=300s"]);
    answering(&bus).await;
    let ann = record(&bus, "ann", SessionState::Active, &["ann"]).await;
    let bob = record(&bus, "bob", SessionState::Active, &["bob/"]).await;
    knows(&desk, 2.0).await;
    for (path, text) in
        [("ann/x.yaml", "x: ann\n"), ("bob/x.yaml", "x: bob\n"), ("ann/new.yaml", "n: 1\n"), ("both.yaml", "b: 2\n")]
    {
        desk.save(path, text);
    }
    let run =
        |session: &str, epoch: &Epoch| json!({ "session_id": session, "epoch": epoch, "message": "a day's work" });
    let done: CommitRunResponse = ask(&bus, "run", &run("ann", &ann)).await.unwrap();
    assert_eq!(done.files, ["ann/new.yaml", "ann/x.yaml"], "{done:#?}");
    assert_eq!(
        last_of(&remote, "ann/x.yaml", "%an: %s").split(" — ").next(),
        Some("Analyst ann: Session ann: a day's work")
    );
    // Bob's is neither hers nor hurried by her; what nobody claimed is nobody's.
    assert_eq!(on_remote(&remote, "bob/x.yaml").as_deref(), Some("x: 1\n"));
    assert_eq!(last_of(&remote, "both.yaml", "%an|%(trailers:key=Session,valueonly)").trim(), "baft commit-agent|");
    let done: CommitRunResponse = ask(&bus, "run", &run("bob", &bob)).await.unwrap();
    assert_eq!((done.files.as_slice(), done.pushed), (&["bob/x.yaml".to_owned()][..], true), "{done:#?}");
    assert_eq!(last_of(&remote, "bob/x.yaml", "%an|%(trailers:key=Session,valueonly)").trim(), "Analyst bob|bob");
    let none: CommitRunResponse = ask(&bus, "run", &run("bob", &bob)).await.unwrap();
    assert_eq!((none.commit, none.files.len()), (None, 0));
    // One commit each, and one of nobody.
    assert_eq!(git(&remote.bare(), &["rev-list", "--count", "main"]), "4");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_session_that_went_on_elsewhere_or_is_over_or_is_somebody_elses_changes_nothing() {
    let nats = NatsServer::start();
    let bus = nats.client().await;
    let (remote, first) = GitRemote::with_files(&[("a.yaml", "a: 1\n")]);
    let (desk, url) = (Desk::new(), format!("--nats-url={}", nats.url()));
    let _agent = desk.ready(&remote.url(), &[&url, "--watch=false"]);
    answering(&bus).await;
    let old = record(&bus, "ann", SessionState::Active, &[]).await;
    // Taken over: the record has another epoch, of which the agent was never told by a request.
    let new = record(&bus, "ann", SessionState::Starting, &[]).await;
    assert!(new > old);
    let edit = |epoch: &Epoch| json!({ "session_id": "ann", "epoch": epoch, "changes": [{ "file": "a.yaml", "content": "a: 2\n" }] });
    for what in ["apply", "run"] {
        let error = ask::<_, Value>(&bus, what, &edit(&old)).await.unwrap_err();
        assert_eq!(error.code, Code::Conflict, "{what}: {error:?}");
    }
    let as_bob = RequestOptions { principal: Some("bob".to_owned()), ..RequestOptions::timeout(SOON) };
    let error = bus.request_with::<_, Value>("commit.desk.apply", &edit(&new), as_bob).await.unwrap_err();
    assert_eq!(error.code, Code::Forbidden, "{error:?}");
    assert_eq!(newest(&remote, "%H"), first);
    let as_ann = RequestOptions { principal: Some("ann".to_owned()), ..RequestOptions::timeout(SOON) };
    let _: Value = bus.request_with("commit.desk.apply", &edit(&new), as_ann).await.unwrap();
    assert_eq!(newest(&remote, "%an"), "Analyst ann");
    record(&bus, "ann", SessionState::Ended, &[]).await;
    let error = ask::<_, Value>(&bus, "run", &edit(&new)).await.unwrap_err();
    assert_eq!(error.code, Code::Gone, "{error:?}");
    // Whoever may do what: a saved file is committed.
    desk.save("a.yaml", "a: 3\n");
    let _: CommitRunResponse = ask(&bus, "run", &json!({})).await.unwrap();
    assert_eq!(on_remote(&remote, "a.yaml").as_deref(), Some("a: 3\n"));
}
