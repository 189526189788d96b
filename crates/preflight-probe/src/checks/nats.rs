//! NATS, layer by layer, so that a failure names the one that is broken.

use std::sync::Arc;
use std::time::{Duration, Instant};

use baft_bus::kv::{Bucket, WriteError};
use baft_bus::{BusError, topology};
use bytes::Bytes;
use serde_json::Value;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::net::TcpStream;

use super::http_get;
use crate::finding::Finding;
use crate::run::Run;
use crate::scene::{Broker, Profile};
use crate::words::{count, first_line};

const CONNECT: Duration = Duration::from_secs(3);

fn addresses(run: &Run) -> Result<Vec<(String, u16)>, Box<Finding>> {
    run.nats().addresses().map_err(|error| Box::new(Finding::fail(format!("NATS: {error}"), "correct NATS_URL")))
}

fn shown(addresses: &[(String, u16)]) -> String {
    addresses.iter().map(|(host, port)| format!("{host}:{port}")).collect::<Vec<_>>().join(", ")
}

pub(crate) async fn resolves(run: Arc<Run>) -> Finding {
    let addresses = match addresses(&run) {
        Ok(addresses) => addresses,
        Err(finding) => return *finding,
    };
    for (host, port) in &addresses {
        if let Err(error) = tokio::net::lookup_host((host.as_str(), *port)).await {
            return Finding::fail(
                format!("NATS: the name {host} does not resolve: {error}"),
                "correct the host in NATS_URL, or look at DNS: getent hosts (in a cluster: kubectl get service, and the namespace)",
            );
        }
    }
    Finding::pass(format!("NATS name resolves ({})", shown(&addresses)))
}

/// Connects and waits for the server's greeting.
async fn greet(host: &str, port: u16) -> Result<Value, String> {
    let work = async {
        let stream = TcpStream::connect((host, port)).await.map_err(|error| match error.kind() {
            std::io::ErrorKind::ConnectionRefused => "connection refused".to_owned(),
            _ => error.to_string(),
        })?;
        let mut line = String::new();
        BufReader::new(stream).read_line(&mut line).await.map_err(|error| error.to_string())?;
        let info = line.trim().strip_prefix("INFO ").ok_or("it answers, but it is no NATS server")?;
        serde_json::from_str(info).map_err(|_| "its greeting cannot be understood".to_owned())
    };
    tokio::time::timeout(CONNECT, work)
        .await
        .unwrap_or_else(|_| Err(format!("no answer within {} s", CONNECT.as_secs())))
}

pub(crate) async fn reachable(run: Arc<Run>) -> Finding {
    if !run.scene.nats.enabled() && run.scene.fleet.as_ref().is_some_and(|fleet| fleet.broker == Broker::None) {
        return Finding::skip("NATS: the fleet was started without");
    }
    let addresses = match addresses(&run) {
        Ok(addresses) => addresses,
        Err(finding) => return *finding,
    };
    let mut greeting = None;
    let mut why = String::new();
    for (host, port) in &addresses {
        match greet(host, *port).await {
            Ok(info) => {
                greeting = Some(info);
                break;
            }
            Err(error) => why = error,
        }
    }
    let Some(info) = greeting else {
        let hint = if run.scene.nats.enabled() {
            let port = addresses.first().map_or(4222, |(_, port)| *port);
            format!("start it: nats-server -js -p {port} (or correct NATS_URL)")
        } else {
            "start a fleet with its own: baft up (or a server: docker start nats-itp, or name one in NATS_URL)"
                .to_owned()
        };
        return Finding::fail(format!("NATS is not reachable ({}): {why}", shown(&addresses)), hint);
    };
    // The local profile has one line for all of NATS, so it must not say OK to a server that refuses us.
    if run.profile == Profile::Local
        && let Err(error) = run.bus().await
    {
        return Finding::fail(
            format!("NATS answers, but is of no use ({}): {error}", shown(&addresses)),
            hint_of(error),
        );
    }
    let version = info.get("version").cloned().unwrap_or_default();
    Finding::pass(format!("NATS reachable ({})", shown(&addresses))).with("version", version)
}

fn hint_of(error: &BusError) -> String {
    match error {
        BusError::Unauthorized { .. } | BusError::Credentials { .. } | BusError::Config(_) => {
            "check the user and the password or key file: BAFT_NATS_USER, BAFT_NATS_PASSWORD_FILE, BAFT_NATS_CREDS_FILE"
        }
        BusError::Tls { hint, .. } => hint,
        BusError::NotPermitted { .. } => "give the probe's user what `baft admin nats-users` prints for it",
        BusError::ServerTooOld { .. } => "replace it by nats-server 2.11 or later",
        BusError::NoJetStream { .. } => "start it with JetStream: nats-server -js",
        _ => "look at the server's log",
    }
    .to_owned()
}

/// Durable consumers are of programs that must miss nothing; one that nobody works for any more only grows.
pub(crate) async fn consumers(run: Arc<Run>) -> Finding {
    let bus = match run.bus().await {
        Ok(bus) => bus,
        Err(error) => return Finding::fail(error.to_string(), hint_of(error)),
    };
    let lags = match baft_bus::lag::lags(bus).await {
        Ok(lags) => lags,
        Err(error) => return Finding::unknown(format!("NATS consumers: {error}"), hint_of(&error)),
    };
    let limit = run.scene.lag_limit;
    let behind: Vec<_> = lags.iter().filter(|lag| lag.total() > limit).collect();
    let worst = lags.iter().max_by_key(|lag| lag.total());
    let (Some(worst), false) = (worst, behind.is_empty()) else {
        let most = worst.map_or(0, baft_bus::lag::Lag::total);
        let message = format!("No NATS consumer lags behind ({})", count(lags.len() as u64, "consumer"));
        return Finding::pass(message).with("consumers", lags.len()).with("most", most);
    };
    let (stream, name) = (&worst.stream, &worst.consumer);
    let others = match behind.len() {
        1 => String::new(),
        many => format!("; {} more", many - 1),
    };
    let message = format!(
        "NATS consumer {name} of {stream} is behind: {} not delivered, {} not acknowledged{others}",
        count(worst.pending, "event"),
        worst.unacknowledged
    );
    let hint = format!(
        "start the program that reads with it, or look at its log; when it is gone for good: nats consumer rm -f {stream} {name}"
    );
    Finding::warn(message, hint)
        .with("stream", stream.as_str())
        .with("consumer", name.as_str())
        .with("pending", worst.pending)
        .with("unacknowledged", worst.unacknowledged)
        .with("behind", behind.len())
}

/// A certificate that is good for fewer days should be renewed.
const FEW_DAYS: u64 = 14;

pub(crate) async fn certificate(run: Arc<Run>) -> Finding {
    let args = run.nats();
    if !args.wants_tls() {
        return Finding::skip("NATS certificate: NATS_URL says nats://, not tls://");
    }
    let addresses = match addresses(&run) {
        Ok(addresses) => addresses,
        Err(finding) => return *finding,
    };
    let ca_file = args.nats_ca_file.clone();
    let looks = tokio::task::spawn_blocking(move || {
        let look = |(host, port): &(String, u16)| {
            let days = baft_bus::certificate::days_left(host, *port, ca_file.as_deref(), CONNECT);
            (format!("{host}:{port}"), days)
        };
        addresses.iter().map(look).collect::<Vec<_>>()
    });
    let looks = match looks.await {
        Ok(looks) => looks,
        Err(error) => return Finding::error(format!("NATS certificate: {error}")),
    };
    let mut fewest = u64::MAX;
    for (server, days) in looks {
        match days {
            Ok(days) => fewest = fewest.min(days),
            Err(why) => {
                return Finding::fail(
                    format!("NATS certificate of {server} is not trusted: {why}"),
                    "name the authority that signed it in BAFT_NATS_CA_FILE, or have it renewed: openssl s_client -starttls nats shows it",
                );
            }
        }
    }
    if fewest < FEW_DAYS {
        let left = count(fewest, "day");
        return Finding::warn(format!("NATS certificate is good for {left} only"), "have it renewed before it expires");
    }
    Finding::pass("NATS certificate is good").with("days", fewest)
}

pub(crate) async fn accepts(run: Arc<Run>) -> Finding {
    match run.bus().await {
        Ok(bus) => Finding::pass(format!("NATS accepts the user ({})", bus.servers())),
        // Whoever is told that has been let in.
        Err(BusError::ServerTooOld { .. } | BusError::NoJetStream { .. }) => Finding::pass("NATS accepts the user"),
        Err(error) => Finding::fail(format!("NATS does not accept us: {error}"), hint_of(error)),
    }
}

pub(crate) async fn jetstream(run: Arc<Run>) -> Finding {
    match run.bus().await {
        Ok(bus) => {
            let version = bus.server_version().unwrap_or_default();
            Finding::pass(format!("NATS {version} with JetStream")).with("version", version)
        }
        Err(error) => Finding::fail(error.to_string(), hint_of(error)),
    }
}

pub(crate) async fn streams(run: Arc<Run>) -> Finding {
    let bus = match run.bus().await {
        Ok(bus) => bus,
        Err(error) => return Finding::fail(error.to_string(), hint_of(error)),
    };
    match topology::verify(bus).await {
        Ok(drift) if drift.is_empty() => Finding::pass("Streams and buckets are as they must be"),
        Ok(drift) => {
            let all: Vec<String> = drift.iter().map(ToString::to_string).collect();
            let first = all.first().map_or("", String::as_str);
            Finding::fail(
                format!("Streams and buckets: {} ({first})", count(all.len() as u64, "difference")),
                "baft admin init",
            )
            .with("differences", all)
        }
        Err(error) => Finding::unknown(format!("Streams and buckets: {error}"), "look at the server's log"),
    }
}

/// One key for each prober, in the bucket whose entries go away by themselves.
const CANARY: &str = "preflight";

pub(crate) async fn canary(run: Arc<Run>) -> Finding {
    let bus = match run.bus().await {
        Ok(bus) => bus,
        Err(error) => return Finding::fail(error.to_string(), hint_of(error)),
    };
    let bucket = Bucket::open(bus, "REQUESTS");
    let key = format!("{CANARY}-{}", ulid::Ulid::new());
    let (began, before) = (Instant::now(), baft_kit::time::unix_millis());
    let written = bucket.create_with_ttl(&key, Bytes::from_static(b"canary"), Duration::from_secs(60)).await;
    let took = began.elapsed();
    if let Err(error) = written {
        let hint = "the server may be out of disk space: free some, then restart it (it does not recover by itself)";
        let error = match error {
            WriteError::Bus(error) => error.to_string(),
            other => other.to_string(),
        };
        return Finding::fail(format!("JetStream does not store: {error}"), hint);
    }
    if let Ok(Some(entry)) = bucket.get(&key).await
        && let Ok(stored) = chrono::DateTime::parse_from_rfc3339(&entry.created)
    {
        let doubt = i64::try_from(took.as_millis()).unwrap_or(i64::MAX);
        let _ = run.clock.set((stored.timestamp_millis() - before - doubt / 2, doubt));
    }
    // It expires anyway.
    let _ = bucket.delete(&key).await;
    Finding::pass(format!("JetStream stores what it is given ({} ms)", took.as_millis()))
        .with("store_ms", u64::try_from(took.as_millis()).unwrap_or(u64::MAX))
}

pub(crate) async fn monitor(run: Arc<Run>) -> Finding {
    let Some(url) = &run.scene.nats_monitor else {
        return Finding::skip("NATS health: no --nats-monitor-url to ask");
    };
    let url = url.trim_end_matches('/');
    let get = async |path: &str| http_get(&format!("{url}{path}"), CONNECT).await;
    match get("/healthz").await {
        Ok((200, _)) => {}
        Ok((status, body)) => {
            return Finding::fail(
                format!("NATS is not healthy: /healthz answers {status}: {}", first_line(&body)),
                "free disk space for its store, then restart nats-server",
            );
        }
        Err(why) => {
            return Finding::unknown(
                format!("NATS health: {why}"),
                "correct --nats-monitor-url, or start nats-server with -m",
            );
        }
    }
    let varz = match get("/varz").await {
        Ok((200, body)) => serde_json::from_str::<Value>(&body).unwrap_or_default(),
        _ => return Finding::unknown("NATS health: /varz does not answer", "correct --nats-monitor-url"),
    };
    match varz.pointer("/jetstream/config/sync_always").and_then(Value::as_bool) {
        Some(true) => Finding::pass("NATS is healthy and writes to disk at once"),
        _ => Finding::warn(
            "NATS acknowledges before it is on disk: a power cut loses up to two minutes of events",
            "set in the server's configuration: jetstream { sync_interval: always }",
        ),
    }
}
