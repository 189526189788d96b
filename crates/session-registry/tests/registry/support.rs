//! A server, registries on it, and somebody who asks.

use std::process::Command;
use std::time::Duration;

use baft_bus::history::{From, History};
use baft_bus::kv::{Bucket, Entry};
use baft_bus::payload::*;
use baft_bus::{Bus, Identity, NatsArgs, RequestError, RequestOptions, topology};
use baft_kit::metrics::Metrics;
use baft_kit::ready::Readiness;
use baft_session_registry::settings::{Limits, Patience};
use baft_session_registry::{Context, Daemon, Settings, life};
use baft_tests::{Clock, NatsServer, Port, Process, wait_until_async};
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

/// Debug builds on a busy machine are slow.
pub const SOON: Duration = Duration::from_secs(40);
/// A request that went down with a connection is never answered: whoever waits for something asks again after this.
const PROMPT: Duration = Duration::from_secs(5);

/// Short patience with programs that beat, the usual one with people.
pub fn impatient() -> Settings {
    let second = Duration::from_secs(1);
    Settings {
        patience: Patience {
            heartbeat: Limits { suspect: second, lost: second * 2 },
            reap: second * 3600,
            ..Patience::default()
        },
        adopt_after: second,
        sync_check: Duration::ZERO,
        ..Settings::default()
    }
}

/// Three seconds more: for tests in which nobody may be taken for silent, on a machine that is slow.
pub fn patient() -> Settings {
    let second = Duration::from_secs(1);
    let usual = impatient();
    let heartbeat = Limits { suspect: second * 4, lost: second * 5 };
    Settings { patience: Patience { heartbeat, ..usual.patience }, ..usual }
}

/// The same as flags.
pub const PATIENT: [&str; 4] =
    ["--heartbeat-suspect-after=4s", "--heartbeat-lost-after=5s", "--adopt-after=1s", "--sync-check=0s"];

/// [`impatient`] as flags.
pub const IMPATIENT: [&str; 4] =
    ["--heartbeat-suspect-after=1s", "--heartbeat-lost-after=2s", "--adopt-after=1s", "--sync-check=0s"];

pub fn identity(name: &str) -> Identity {
    Identity { name: name.to_owned(), instance: "test-1".to_owned(), version: "0.1.0".to_owned() }
}

pub async fn client_at(url: &str) -> Bus {
    Bus::connect_now(&NatsArgs::for_url(url), identity("test")).await.expect("a connection")
}

/// A server with streams, and a client of it.
pub async fn server() -> (NatsServer, Bus) {
    log();
    let server = NatsServer::start();
    let bus = client_at(&server.url()).await;
    topology::ensure(&bus).await.expect("streams");
    (server, bus)
}

/// A registry in this process.
pub struct Registry {
    pub shutdown: CancellationToken,
    ended: JoinHandle<()>,
    bus: Bus,
}

impl Registry {
    pub async fn start(url: &str, settings: Settings) -> Self {
        let metrics = Metrics::new("session_registry", baft_kit::build_info!("session-registry"));
        let bus = Bus::connect(&NatsArgs::for_url(url), identity("session-registry"), Some(&metrics)).await.unwrap();
        let shutdown = CancellationToken::new();
        let context =
            Context { metrics, readiness: Readiness::new(), bus: Some(bus.clone()), shutdown: shutdown.clone() };
        let daemon = Daemon::start(settings, context).unwrap();
        tokio::time::timeout(SOON, daemon.ready()).await.expect("the registry to answer");
        let ended = tokio::spawn(async move { daemon.finished().await.unwrap() });
        Self { shutdown, ended, bus }
    }

    pub async fn stop(self) {
        self.shutdown.cancel();
        tokio::time::timeout(SOON, self.ended).await.expect("the registry to end").unwrap();
        self.bus.drain(Duration::from_secs(2)).await;
    }
}

/// A registry as a program.
pub struct Program {
    pub process: Process,
    pub admin: Port,
}

impl Program {
    pub fn start(url: &str, args: &[&str]) -> Self {
        Self::start_with(url, args, &[])
    }

    pub fn start_with(url: &str, args: &[&str], env: &[(&str, &str)]) -> Self {
        let admin = Port::lease();
        let mut command = Command::new(env!("CARGO_BIN_EXE_session-registry"));
        command.args(args).arg("--admin-addr").arg(admin.address().to_string());
        command.env("NATS_URL", url).envs(env.iter().copied());
        Self { process: Process::spawn("session-registry", command), admin }
    }

    pub fn start_by(clock: &Clock, url: &str, args: &[&str]) -> Self {
        let admin = Port::lease();
        let mut command = Command::new(env!("CARGO_BIN_EXE_session-registry"));
        command.args(args).arg("--admin-addr").arg(admin.address().to_string()).env("NATS_URL", url);
        clock.give(&mut command);
        Self { process: Process::spawn("session-registry", command), admin }
    }

    pub async fn ready(url: &str, args: &[&str]) -> Self {
        let mut program = Self::start(url, args);
        program.wait_ready().await;
        program
    }

    pub async fn wait_ready(&mut self) {
        let address = self.admin.address();
        wait_until_async("the registry to be ready", SOON, || {
            assert!(self.process.is_running(), "it ended: {}", self.process.logs());
            let ready = baft_tests::web::get(address, "/readyz").0 == 200;
            async move { ready.then_some(()) }
        })
        .await;
    }
}

pub async fn ask<Req: Serialize + Sync, Resp: DeserializeOwned>(
    bus: &Bus,
    what: &str,
    request: &Req,
) -> Result<Resp, RequestError> {
    bus.request(&format!("session.{what}"), request, SOON).await
}

pub async fn ask_with<Req: Serialize + Sync, Resp: DeserializeOwned>(
    bus: &Bus,
    what: &str,
    request: &Req,
    options: RequestOptions,
) -> Result<Resp, RequestError> {
    bus.request_with(&format!("session.{what}"), request, options).await
}

pub fn named(id: &str) -> SessionStartRequest {
    SessionStartRequest {
        session_id: Some(id.to_owned()),
        analyst: Some("ann".to_owned()),
        ..SessionStartRequest::default()
    }
}

pub fn beating(id: &str) -> SessionStartRequest {
    SessionStartRequest { liveness: Liveness::Heartbeat, ..named(id) }
}

pub async fn start(bus: &Bus, request: &SessionStartRequest) -> SessionStartResponse {
    ask(bus, "start", request).await.unwrap()
}

pub async fn beat(bus: &Bus, id: &str, epoch: &Epoch) -> Result<SessionHeartbeatResponse, RequestError> {
    ask_with(bus, "heartbeat", &heartbeat(id, epoch), RequestOptions::timeout(PROMPT)).await
}

pub fn heartbeat(id: &str, epoch: &Epoch) -> SessionHeartbeatRequest {
    SessionHeartbeatRequest { session_id: id.to_owned(), epoch: epoch.clone(), operations: None, transcript: None }
}

pub async fn end(bus: &Bus, id: &str, epoch: &Epoch) -> Result<SessionEndResponse, RequestError> {
    let request =
        SessionEndRequest { session_id: id.to_owned(), epoch: Some(epoch.clone()), message: None, force: false };
    ask(bus, "end", &request).await
}

pub async fn get(bus: &Bus, id: &str) -> Result<SessionGetResponse, RequestError> {
    ask_with(bus, "get", &SessionGetRequest { session_id: id.to_owned() }, RequestOptions::timeout(PROMPT)).await
}

pub async fn wait_for_state(bus: &Bus, id: &str, state: SessionState) -> SessionGetResponse {
    wait_until_async(&format!("{id} to be {}", state.name()), SOON, || async {
        get(bus, id).await.ok().filter(|session| session.record.state == state)
    })
    .await
}

/// What the bucket has.
pub async fn bucket(bus: &Bus) -> Vec<(Entry, StoredSession)> {
    let bucket = Bucket::open(bus, "SESSIONS");
    let mut all = Vec::new();
    for key in bucket.keys().await.unwrap() {
        if StoredSession::id_of(&key).is_some()
            && let Some(entry) = bucket.newest(&key).await.unwrap()
        {
            let stored = StoredSession::read(&entry).unwrap();
            all.push((entry, stored));
        }
    }
    all
}

/// Every event of a session's life, with its id, as stored.
pub async fn events(bus: &Bus) -> Vec<(String, SessionTransition)> {
    let mut history = History::open(bus, "session.*", From::Newest(100_000)).await.unwrap();
    let mut all = Vec::new();
    while let Some(event) = history.next().await.unwrap() {
        let event = event.unwrap();
        all.push((event.id, serde_json::from_slice(&event.data).unwrap()));
    }
    all
}

/// I5: the events tell what the bucket holds, each once; waits until everything is announced.
pub async fn events_tell_the_bucket(bus: &Bus) {
    wait_until_async("the events to tell what the bucket holds", SOON, || async {
        let mut now: Vec<SessionRecord> =
            bucket(bus).await.into_iter().map(|(_, stored)| life::settled(stored.record)).collect();
        now.sort_by(|one, other| one.session_id.cmp(&other.session_id));
        let steps: Vec<SessionTransition> = events(bus).await.into_iter().map(|(_, step)| step).collect();
        (life::rebuilt(&steps) == now).then_some(())
    })
    .await;
    let mut ids: Vec<String> = events(bus).await.into_iter().map(|(id, _)| id).collect();
    let all = ids.len();
    ids.sort();
    ids.dedup();
    assert_eq!(ids.len(), all, "an event was stored twice");
}

/// Prints what the registries log, when `BAFT_TEST_LOG` is set.
fn log() {
    if std::env::var_os("BAFT_TEST_LOG").is_some() {
        let _ = tracing_subscriber::fmt().with_max_level(tracing::Level::DEBUG).with_test_writer().try_init();
    }
}
