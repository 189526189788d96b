//! What the tests of the bus share.
#![allow(dead_code)] // Each test file uses a part of this.

use std::time::Duration;

use baft_bus::{Bus, Identity, NatsArgs, topology};
use baft_tests::NatsServer;
use serde_json::Value;

pub const SOON: Duration = Duration::from_secs(10);

pub fn identity(name: &str) -> Identity {
    Identity { name: name.to_owned(), instance: "test-1".to_owned(), version: "0.1.0".to_owned() }
}

/// A connected bus under the name of a daemon.
pub async fn connect(server: &NatsServer, name: &str) -> Bus {
    Bus::connect_now(&NatsArgs::for_url(&server.url()), identity(name)).await.expect("a connection")
}

/// A running server with all streams, and a bus.
pub async fn ready() -> (NatsServer, Bus) {
    let server = NatsServer::start();
    let bus = connect(&server, "git-sync").await;
    topology::ensure(&bus).await.expect("streams");
    (server, bus)
}

/// A plain client beside the bus: what somebody with the stock tools would see.
pub async fn plain(server: &NatsServer) -> async_nats::Client {
    async_nats::ConnectOptions::with_user_and_password(
        baft_tests::nats::USER.to_owned(),
        baft_tests::nats::PASSWORD.to_owned(),
    )
    .connect(server.bare_url())
    .await
    .expect("a plain connection")
}

/// Calls the JetStream API.
pub async fn api(client: &async_nats::Client, call: &str, body: Value) -> Value {
    let body = if body.is_null() { String::new() } else { body.to_string() };
    let answer = client.request(format!("$JS.API.{call}"), body.into()).await.expect("an answer of the API");
    serde_json::from_slice(&answer.payload).expect("JSON")
}

/// Every message of a stream: subject, message id, body.
pub async fn stored(client: &async_nats::Client, stream: &str) -> Vec<(String, String, Value)> {
    use base64::Engine;
    let info = api(client, &format!("STREAM.INFO.{stream}"), Value::Null).await;
    let (first, last) = (info["state"]["first_seq"].as_u64().unwrap(), info["state"]["last_seq"].as_u64().unwrap());
    let mut all = Vec::new();
    for sequence in first.max(1)..=last {
        let answer = api(client, &format!("STREAM.MSG.GET.{stream}"), serde_json::json!({ "seq": sequence })).await;
        let decode = |name: &str| {
            let bytes =
                answer["message"][name].as_str().map(|text| base64::engine::general_purpose::STANDARD.decode(text));
            bytes.transpose().expect("base64").unwrap_or_default()
        };
        let headers = String::from_utf8(decode("hdrs")).expect("headers");
        let id = headers.lines().find_map(|line| line.strip_prefix("Nats-Msg-Id:")).unwrap_or_default().trim();
        let body = serde_json::from_slice(&decode("data")).unwrap_or(Value::Null);
        all.push((answer["message"]["subject"].as_str().unwrap().to_owned(), id.to_owned(), body));
    }
    all
}

/// Prints what the libraries log, when `BAFT_TEST_LOG` is set.
pub fn log() {
    if std::env::var_os("BAFT_TEST_LOG").is_some() {
        let _ = tracing_subscriber::fmt().with_max_level(tracing::Level::DEBUG).with_test_writer().try_init();
    }
}
