//! Events and requests, with a real nats-server.

use std::collections::BTreeSet;
use std::time::Duration;

use baft_bus::payload::{Empty, ImportRunRequest, ImportRunResponse, ImportStatus};
use baft_tests::{NatsServer, wait_until_async};
use serde_json::Value;

use crate::support::{Place, SOON, gaps, remote};

/// Every stored event of the importer: kind, id and payload, in order.
pub async fn stored(nats: &NatsServer, stream: &str) -> Vec<(String, String, Value)> {
    let user = baft_tests::nats::USER.to_owned();
    let options = async_nats::ConnectOptions::with_user_and_password(user, baft_tests::nats::PASSWORD.to_owned());
    let client = options.connect(nats.bare_url()).await.unwrap();
    let stream = async_nats::jetstream::new(client).get_stream(stream).await.unwrap();
    let state = stream.cached_info().state.clone();
    let mut found = Vec::new();
    for sequence in state.first_sequence..=state.last_sequence {
        let Ok(message) = stream.get_raw_message(sequence).await else { continue };
        let Some(kind) = message.subject.as_str().strip_prefix("baft.event.") else { continue };
        if kind.starts_with("import.") || kind.starts_with("entity.") {
            let id = message.headers.get("Nats-Msg-Id").map(ToString::to_string).unwrap();
            found.push((kind.to_owned(), id, serde_json::from_slice(&message.payload).unwrap()));
        }
    }
    found
}

/// The numbers of the announced generations, in order; ids must be unique.
pub async fn announced(nats: &NatsServer) -> Vec<u64> {
    let events = stored(nats, "BAFT_EVENTS").await;
    let ids: BTreeSet<_> = events.iter().map(|(_, id, _)| id).collect();
    assert_eq!(ids.len(), events.len(), "an id was used twice");
    let published = events.iter().filter(|(kind, _, _)| kind == "import.published");
    published.map(|(_, _, event)| event["generation"]["number"].as_u64().unwrap()).collect()
}

pub async fn wait_for_announced(nats: &NatsServer, last: u64) -> Vec<u64> {
    wait_until_async(&format!("generation {last} to be announced"), SOON, || async {
        let numbers = announced(nats).await;
        (numbers.last() == Some(&last)).then_some(numbers)
    })
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn requests_import_now_and_tell_how_things_are() {
    let nats = NatsServer::start();
    let bus = nats.client().await;
    let remote = remote("one");
    let place = Place::new();
    let url = nats.url();
    let _process = place.follow(&remote.bare(), &["--poll", "1h"], &[("NATS_URL", &url)]);
    place.wait_for("one");
    let commit = remote.commit(&[("data/gaps.yaml", &gaps("two"))]);
    let run = ImportRunRequest { full: false, commit: Some(commit.clone()) };
    let answer: ImportRunResponse = wait_until_async("the importer to answer", SOON, || async {
        bus.request::<_, ImportRunResponse>("import.run", &run, Duration::from_secs(10)).await.ok()
    })
    .await;
    assert_eq!(answer.commit.as_deref(), Some(commit.as_str()));
    place.wait_for("two");
    let status: ImportStatus = bus.request("import.status", &Empty {}, Duration::from_secs(10)).await.unwrap();
    assert_eq!((status.commit.as_deref(), status.rows["gaps"]), (Some(commit.as_str()), 40));
    let missing = ImportRunRequest { full: false, commit: Some("f".repeat(40)) };
    let refused = bus.request::<_, ImportRunResponse>("import.run", &missing, Duration::from_secs(10)).await;
    assert_eq!(refused.unwrap_err().code, baft_bus::Code::NotFound);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_published_without_a_broker_is_announced_when_there_is_one() {
    let mut nats = NatsServer::start();
    let bus = nats.client().await;
    let remote = remote("one");
    let place = Place::new();
    let url = nats.url();
    let args = ["--poll", "1h", "--keep-for", "0s", "--entity-events"];
    let mut process = place.follow(&remote.bare(), &args, &[("NATS_URL", &url)]);
    place.wait_for("one");
    wait_for_announced(&nats, 1).await;
    drop(bus);
    nats.stop();
    for round in 0..6 {
        let text = format!("alone {round}");
        remote.commit(&[("data/gaps.yaml", &gaps(&text))]);
        place.wait_for(&text);
    }
    // A broken file meanwhile, and a restart of the importer.
    remote.commit(&[("data/traps.yaml", "entries: [")]);
    process.kill();
    let _process = place.follow(&remote.bare(), &args, &[("NATS_URL", &url)]);
    nats.restart();
    let numbers = wait_for_announced(&nats, 8).await;
    assert_eq!(numbers, (1..=8).collect::<Vec<_>>(), "each generation once, in order");
    let events = stored(&nats, "BAFT_EVENTS").await;
    let quarantined: Vec<_> = events.iter().filter(|(kind, _, _)| kind == "import.quarantined").collect();
    assert_eq!(quarantined.len(), 1);
    assert_eq!(quarantined[0].2["path"], "data/traps.yaml");
    let entities = stored(&nats, "BAFT_ENTITY_EVENTS").await;
    assert_eq!(entities.len(), 6 * 40, "each changed row once");
    assert_eq!(entities[0].2["fields"], serde_json::json!(["description"]));
}
