//! Streams are created, checked and put right.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod common;

use baft_bus::topology::{Change, ensure, ensure_with, verify};
use baft_bus::{Bus, BusError, NatsArgs};
use baft_tests::NatsServer;
use common::{api, connect, identity, plain};
use serde_json::{Value, json};

#[tokio::test]
async fn what_is_missing_is_named_and_created_and_then_nothing_is_left_to_do() {
    let server = NatsServer::start();
    let bus = connect(&server, "admin").await;
    let missing: Vec<String> = verify(&bus).await.unwrap().into_iter().map(|drift| drift.to_string()).collect();
    assert_eq!(missing.len(), 7);
    assert!(missing.contains(&"KV_BAFT_SESSIONS does not exist".to_owned()), "{missing:?}");
    let changes = ensure(&bus).await.unwrap();
    assert_eq!(changes.len(), 7);
    assert!(changes.contains(&Change::Created { stream: "BAFT_EVENTS".into() }));
    assert_eq!(verify(&bus).await.unwrap(), []);
    assert_eq!(ensure(&bus).await.unwrap(), []);
}

#[tokio::test]
async fn a_setting_that_was_changed_is_noticed_and_put_right_without_touching_the_rest() {
    let server = NatsServer::start();
    let bus = connect(&server, "admin").await;
    ensure(&bus).await.unwrap();
    let client = plain(&server).await;
    let mut config = api(&client, "STREAM.INFO.BAFT_EVENTS", Value::Null).await["config"].clone();
    config["duplicate_window"] = json!(1_000_000_000_u64);
    config["subjects"] = json!(["baft.event.git.>", "baft.event.import.>", "somebody.elses.>"]);
    config["max_bytes"] = json!(4_u64 << 30);
    assert_eq!(api(&client, "STREAM.UPDATE.BAFT_EVENTS", config).await["error"], Value::Null);
    let drift = verify(&bus).await.unwrap();
    let fields: Vec<&str> = drift.iter().map(|drift| drift.field.as_str()).collect();
    assert_eq!(fields, ["subjects", "duplicate_window"]);
    assert!(drift[1].to_string().contains("duplicate_window is 1000000000"), "{}", drift[1]);
    assert!(matches!(&ensure(&bus).await.unwrap()[..], [Change::Updated { stream, .. }] if stream == "BAFT_EVENTS"));
    assert_eq!(verify(&bus).await.unwrap(), []);
    let config = api(&client, "STREAM.INFO.BAFT_EVENTS", Value::Null).await["config"].clone();
    assert_eq!(config["max_bytes"], json!(4_u64 << 30), "a larger limit is the operator's choice");
    assert!(config["subjects"].as_array().unwrap().contains(&json!("somebody.elses.>")));
}

#[tokio::test]
async fn a_setting_the_server_cannot_change_is_an_error_that_names_the_stream() {
    let server = NatsServer::start();
    let bus = connect(&server, "admin").await;
    let wrong = json!({ "name": "BAFT_DLQ", "subjects": ["baft.dlq.>"], "storage": "memory" });
    assert_eq!(api(&plain(&server).await, "STREAM.CREATE.BAFT_DLQ", wrong).await["error"], Value::Null);
    assert!(verify(&bus).await.unwrap().iter().any(|drift| drift.stream == "BAFT_DLQ" && drift.field == "storage"));
    let error = ensure(&bus).await.unwrap_err();
    assert!(matches!(error, BusError::JetStream { .. }) && error.to_string().contains("BAFT_DLQ"), "{error}");
}

#[tokio::test]
async fn two_fleets_share_a_server_without_meeting() {
    let server = NatsServer::start();
    ensure(&connect(&server, "admin").await).await.unwrap();
    let args = NatsArgs { nats_subject_prefix: "team-b".parse().unwrap(), ..NatsArgs::for_url(&server.url()) };
    let other = Bus::connect_now(&args, identity("admin")).await.unwrap();
    assert_eq!(ensure_with(&other, 1).await.unwrap().len(), 7);
    assert_eq!(verify(&other).await.unwrap(), []);
}
