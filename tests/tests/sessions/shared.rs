//! Two analysts on one clone, from start to end.

use baft_bus::Code;
use baft_bus::payload::*;
use baft_tests::git::git;
use serde_json::json;

use crate::support::{Fleet, SOON};

async fn begin(fleet: &Fleet, name: &str, if_live: IfLive) -> SessionStartResponse {
    let request = SessionStartRequest {
        session_id: Some(format!("{name}-1")),
        analyst: Some(name.to_owned()),
        author: Some(Person { name: name.to_owned(), email: format!("{name}@example.org") }),
        claims: vec![format!("data/{name}")],
        if_live,
        ..SessionStartRequest::default()
    };
    fleet.ask("start", &request).await.unwrap()
}

fn last_of(fleet: &Fleet, path: &str) -> String {
    let format = "--format=%an|%(trailers:key=Session,valueonly,separator=)";
    git(&fleet.remote.bare(), &["log", "-1", format, "main", "--", path])
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_ends_with_exactly_their_own_edits_under_their_own_name() {
    let fleet = Fleet::start().await;
    let ann = begin(&fleet, "ann", IfLive::Refuse).await;
    let bob = begin(&fleet, "bob", IfLive::Refuse).await;
    for name in ["ann", "bob"] {
        std::fs::create_dir(fleet.path("clone").join("data").join(name)).unwrap();
        fleet.save(&format!("data/{name}/notes.md"), &format!("# Of {name}\n"));
    }
    fleet.save("data/gaps.yaml", "entries:\n- id: G01-01\n  description: Deep wells\n");
    let end = json!({ "session_id": ann.session_id, "epoch": ann.epoch, "message": "notes" });
    let ended: SessionEndResponse = fleet.ask("end", &end).await.unwrap();
    assert_eq!((ended.state, ended.pushed), (SessionState::Ended, true), "{ended:#?}");
    assert_eq!(ended.files, ["data/ann/notes.md"], "{ended:#?}");
    assert_eq!(last_of(&fleet, "data/ann/notes.md"), "ann|ann-1");
    // What nobody claimed is bob's as soon as he is the only one left, and nobody's as long as there were two.
    assert_ne!(last_of(&fleet, "data/gaps.yaml"), "ann|ann-1");
    // Bob's session went on in another place: who held it before changes nothing any more.
    let again = begin(&fleet, "bob", IfLive::TakeOver).await;
    assert!(again.epoch > bob.epoch);
    let run = |epoch: &Epoch| json!({ "session_id": "bob-1", "epoch": epoch, "message": "notes" });
    let late = fleet.bus.request::<_, CommitRunResponse>("commit.main.run", &run(&bob.epoch), SOON).await.unwrap_err();
    assert_eq!(late.code, Code::Conflict, "{late:?}");
    let end = json!({ "session_id": "bob-1", "epoch": again.epoch });
    let ended: SessionEndResponse = fleet.ask("end", &end).await.unwrap();
    assert_eq!((ended.state, ended.pushed), (SessionState::Ended, true), "{ended:#?}");
    assert_eq!(last_of(&fleet, "data/bob/notes.md"), "bob|bob-1");
    assert_eq!(fleet.on_remote("data/gaps.yaml"), "entries:\n- id: G01-01\n  description: Deep wells");
    let over =
        fleet.bus.request::<_, CommitRunResponse>("commit.main.run", &run(&again.epoch), SOON).await.unwrap_err();
    assert_eq!(over.code, Code::Gone, "{over:?}");
}
