//! Promises of the connection, kept against a real nats-server.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout)]

mod common;

use std::time::{Duration, Instant};

use baft_bus::{Bus, BusError, Link, NatsArgs, RequestError};
use baft_tests::NatsServer;
use common::{SOON, connect, identity};
use serde_json::{Value, json};

#[tokio::test]
async fn a_daemon_starts_without_a_broker_and_is_connected_when_one_comes() {
    let mut server = NatsServer::prepare();
    let bus = Bus::connect(&NatsArgs::for_url(&server.url()), identity("git-sync"), None).await.unwrap();
    assert!(!bus.is_up());
    let asked = Instant::now();
    let error = bus.request::<Value, Value>("git.status", &json!({}), SOON).await.unwrap_err();
    assert_eq!(error.code.name(), "unavailable");
    assert!(asked.elapsed() < Duration::from_secs(3), "work is shed at once, not queued");
    server.restart();
    bus.wait_connected(Duration::from_secs(15)).await.unwrap();
    assert!(bus.server_version().unwrap().starts_with("2."));
}

#[tokio::test]
async fn the_command_line_fails_fast_and_says_what_to_do() {
    let server = NatsServer::prepare();
    let asked = Instant::now();
    let error = Bus::connect_now(&NatsArgs::for_url(&server.url()), identity("baft")).await.unwrap_err();
    assert!(asked.elapsed() < SOON);
    let text = error.to_string();
    assert!(text.contains("is nats-server running") && !text.contains(baft_tests::nats::PASSWORD), "{text}");
}

#[tokio::test]
async fn credentials_that_are_refused_again_and_again_are_a_failure_and_not_an_endless_loop() {
    let server = NatsServer::start();
    let url = server.url().replace(baft_tests::nats::PASSWORD, "wrong");
    assert!(matches!(
        Bus::connect_now(&NatsArgs::for_url(&url), identity("baft")).await.unwrap_err(),
        BusError::Unauthorized { .. }
    ));
    let bus = Bus::connect(&NatsArgs::for_url(&url), identity("git-sync"), None).await.unwrap();
    let error = tokio::time::timeout(Duration::from_secs(60), bus.failed()).await.expect("it gives up");
    assert!(matches!(error, BusError::Unauthorized { attempts, .. } if attempts > 1), "{error}");
    assert!(!error.to_string().contains("wrong"));
}

#[tokio::test]
async fn a_password_that_is_rotated_is_read_again_at_the_next_connect() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("password");
    std::fs::write(&file, "first").unwrap();
    let config = |password: &'static str| {
        move |port: u16, store: &std::path::Path| baft_bus::private_server_config(port, store, "u", password)
    };
    let mut server = NatsServer::start_with(config("first"));
    let args = NatsArgs {
        nats_user: Some("u".into()),
        nats_password_file: Some(file.clone()),
        ..NatsArgs::for_url(&server.bare_url())
    };
    let bus = Bus::connect(&args, identity("git-sync"), None).await.unwrap();
    bus.wait_connected(SOON).await.unwrap();
    server.stop();
    std::fs::write(&file, "second").unwrap();
    std::fs::write(server.config_file(), config("second")(server.port(), &server.store())).unwrap();
    server.restart();
    let mut link = bus.connected();
    tokio::time::timeout(Duration::from_secs(20), link.wait_for(|link| *link == Link::Up)).await.unwrap().unwrap();
}

#[tokio::test]
async fn an_old_server_is_refused_with_one_clear_line() {
    let Some(server) = NatsServer::start_old() else {
        println!("skipped: no nats-server 2.10 (`make tools` fetches it, or set BAFT_NATS_SERVER_OLD)");
        return;
    };
    let args = NatsArgs::for_url(&server.url());
    let error = Bus::connect_now(&args, identity("baft")).await.unwrap_err();
    assert!(matches!(&error, BusError::ServerTooOld { found, .. } if found.starts_with("2.10")), "{error}");
    assert!(!error.to_string().contains('\n') && error.to_string().contains("2.11"));
    let bus = Bus::connect(&args, identity("git-sync"), None).await.unwrap();
    let error = tokio::time::timeout(SOON, bus.failed()).await.expect("a daemon gives up");
    assert!(matches!(error, BusError::ServerTooOld { .. }));
    assert!(!bus.is_up());
}

#[tokio::test]
async fn a_server_without_jetstream_is_named_as_the_reason_and_checked_again() {
    let mut server = NatsServer::start_with(|port, _| format!("listen: \"127.0.0.1:{port}\"\n"));
    let bus = Bus::connect(&NatsArgs::for_url(&server.bare_url()), identity("git-sync"), None).await.unwrap();
    let mut link = bus.connected();
    let named = |link: &Link| matches!(link, Link::Down { reason } if reason.contains("JetStream"));
    tokio::time::timeout(SOON, link.wait_for(named)).await.expect("the reason is named").unwrap();
    let config = format!(
        "listen: \"127.0.0.1:{}\"\njetstream {{ store_dir: {:?} }}\n",
        server.port(),
        server.store().to_str().unwrap()
    );
    std::fs::write(server.config_file(), config).unwrap();
    server.restart();
    bus.wait_connected(Duration::from_secs(20)).await.unwrap();
}

#[tokio::test]
async fn a_server_that_hangs_is_noticed_within_twenty_seconds_and_nothing_waits_longer_than_its_deadline() {
    let server = NatsServer::start();
    let bus = connect(&server, "git-sync").await;
    server.freeze();
    // More than the library's queue of 2048 commands takes: without a limit of our own the rest would block for ever.
    let asked = Instant::now();
    let all: Vec<_> = (0..3000)
        .map(|_| {
            let bus = bus.clone();
            tokio::spawn(
                async move { bus.request::<Value, Value>("git.status", &json!({}), Duration::from_secs(3)).await },
            )
        })
        .collect();
    for one in all {
        let error: RequestError = one.await.unwrap().unwrap_err();
        assert!(error.retryable, "{error}");
    }
    assert!(asked.elapsed() < Duration::from_secs(6), "{:?}", asked.elapsed());
    let mut link = bus.connected();
    tokio::time::timeout(Duration::from_secs(20), link.wait_for(|link| *link != Link::Up)).await.unwrap().unwrap();
    server.thaw();
    bus.wait_connected(Duration::from_secs(20)).await.unwrap();
}

/// Two users: one may do what git-sync does, the other next to nothing.
fn restricted(port: u16, store: &std::path::Path) -> String {
    let store = store.to_str().unwrap();
    format!(
        r#"
listen: "127.0.0.1:{port}"
jetstream {{ store_dir: "{store}", sync_interval: always }}
authorization {{
  users = [
    {{ user: admin, password: test-password, permissions: {{ publish: ">", subscribe: ">" }} }}
    {{ user: daemon, password: test-password, permissions: {{
        publish: ["baft.event.git.>", "$JS.API.INFO", "$JS.API.DIRECT.GET.BAFT_EVENTS.baft.event.git.>", "_INBOX_reader.>"],
        subscribe: ["_INBOX_git-sync.>", "baft.git.>", "$SRV.>"] }} }}
    {{ user: reader, password: test-password, permissions: {{
        publish: ["baft.*.status"], subscribe: ["_INBOX_reader.>"] }} }}
  ]
}}
"#
    )
}

async fn connect_as(server: &NatsServer, user: &str, name: &str) -> Bus {
    let url = format!("nats://{user}:test-password@127.0.0.1:{}", server.port());
    Bus::connect_now(&NatsArgs::for_url(&url), identity(name)).await.unwrap()
}

async fn admin_client(server: &NatsServer) -> async_nats::Client {
    async_nats::ConnectOptions::with_user_and_password("admin".into(), "test-password".into())
        .connect(server.bare_url())
        .await
        .unwrap()
}

#[tokio::test]
async fn what_nats_does_not_permit_is_forbidden_at_once_and_not_a_timeout() {
    let server = NatsServer::start_with(restricted);
    let admin = connect_as(&server, "admin", "admin").await;
    baft_bus::topology::ensure(&admin).await.unwrap();
    let reader = connect_as(&server, "reader", "reader").await;
    let asked = Instant::now();
    let error = reader.request::<Value, Value>("git.sync", &json!({}), SOON).await.unwrap_err();
    assert_eq!(error.code.name(), "forbidden");
    assert!(error.message.contains("baft.git.sync") && !error.retryable, "{error}");
    assert!(matches!(
        baft_bus::topology::ensure(&reader).await.unwrap_err(),
        BusError::NotPermitted { violation } if violation.contains("$JS.API")
    ));
    assert!(matches!(
        baft_bus::consume::subscribe_live(&reader, "git.>").await.unwrap_err(),
        BusError::NotPermitted { .. }
    ));
    assert!(asked.elapsed() < Duration::from_secs(3), "{:?}", asked.elapsed());
    // What is permitted but not answered is something else.
    let error = reader.request::<Value, Value>("git.status", &json!({}), SOON).await.unwrap_err();
    assert_eq!(error.code.name(), "unavailable");
}

#[tokio::test]
async fn a_daemon_works_with_no_more_than_its_own_permissions() {
    let server = NatsServer::start_with(restricted);
    let admin = connect_as(&server, "admin", "admin").await;
    baft_bus::topology::ensure(&admin).await.unwrap();
    let daemon = connect_as(&server, "daemon", "git-sync").await;
    let shutdown = tokio_util::sync::CancellationToken::new();
    let service = baft_bus::Service::new(&daemon, "git-sync", "0.1.0", "test")
        .endpoint(baft_bus::Endpoint::query("status", "git.status"), |_, _: Value| async { Ok(json!({ "ok": true })) })
        .start(shutdown.clone());
    tokio::time::timeout(SOON, service.ready()).await.unwrap();
    let reader = connect_as(&server, "reader", "reader").await;
    assert_eq!(reader.request::<Value, Value>("git.status", &json!({}), SOON).await.unwrap(), json!({ "ok": true }));
    struct One(bool);
    impl baft_bus::Ledger for One {
        fn pending(&mut self) -> Result<Option<baft_bus::Outgoing>, baft_bus::LedgerError> {
            let failed = baft_bus::payload::GitSyncFailed {
                repo: "r".into(),
                reference: "main".into(),
                class: baft_bus::payload::FailureClass::Network,
                message: "away".into(),
                attempt: 1,
                next_retry_at: None,
            };
            Ok(if self.0 { None } else { Some(baft_bus::Outgoing::new("1", &failed)?) })
        }
        fn acknowledged(&mut self, _: &str) -> Result<(), baft_bus::LedgerError> {
            self.0 = true;
            Ok(())
        }
    }
    let announcer = baft_bus::Announcer::spawn(&daemon, One(false), shutdown.clone());
    announcer.flush(SOON).await;
    let info = common::api(&admin_client(&server).await, "STREAM.INFO.BAFT_EVENTS", Value::Null).await;
    assert_eq!(info["state"]["messages"], 1);
    shutdown.cancel();
    service.finished(SOON).await;
}

#[tokio::test]
async fn draining_sends_what_is_buffered_and_ends_within_its_deadline() {
    let server = NatsServer::start();
    let bus = connect(&server, "git-sync").await;
    let started = Instant::now();
    bus.drain(SOON).await;
    assert!(!bus.is_up());
    assert!(started.elapsed() < Duration::from_secs(5));
    let lost = Bus::connect(&NatsArgs::for_url("nats://127.0.0.1:1"), identity("git-sync"), None).await.unwrap();
    let started = Instant::now();
    lost.drain(SOON).await;
    assert!(started.elapsed() < Duration::from_secs(3), "nothing to wait for without a connection");
}
