//! session-registry with many sessions: lists, beats, memory.

use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use baft_bus::kv::Bucket;
use baft_bus::payload::{
    Epoch, Liveness, SessionClient, SessionHeartbeatRequest, SessionHeartbeatResponse, SessionListRequest,
    SessionListResponse, SessionRecord, SessionState, StoredSession,
};
use baft_bus::{Bus, NatsArgs, topology};
use baft_tests::NatsServer;
use serde_json::json;

use super::Setting;
use crate::child::{memory_of, run as run_child};
use crate::data::python;
use crate::fleet::{identity, session_registry};
use crate::report::{Goal, Section};
use crate::scrape::Metrics;
use crate::stats::{Samples, show_mib, show_seconds};

/// Records of one page.
const PAGE: u64 = 500;
/// Connections that beat, and beats under way on each.
const CONNECTIONS: usize = 4;
const UNDER_WAY: usize = 64;
const PATIENCE: Duration = Duration::from_secs(30);

/// What Python programs of the fleet do to list sessions: every marker file read, stale ones left out, newest first.
const MARKER_READER: &str = "
import json, sys, time
from pathlib import Path
began = time.perf_counter()
now, active = time.time(), []
for path in Path(sys.argv[1]).glob('*.json'):
    marker = json.loads(path.read_text())
    if now - marker.get('last_active', 0) < 1800:
        active.append(marker)
active.sort(key=lambda marker: marker['last_active'], reverse=True)
print(time.perf_counter() - began, len(active))
";

pub fn run(setting: &Setting) -> Result<Section> {
    let many = if setting.quick { 1_000 } else { 10_000 };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let nats = NatsServer::start();
    let url = nats.url();
    let mut section = Section::new(
        "session-registry with many sessions",
        "Requests over NATS on the same two cores as the server and the registry. The baseline is what the Python programs do:\n\
         read every marker file.",
    );
    let bus = runtime.block_on(async {
        let bus = Bus::connect_now(&NatsArgs::for_url(&url), identity()).await?;
        topology::ensure(&bus).await?;
        anyhow::Ok(bus)
    })?;
    let daemon = session_registry(&nats);
    std::thread::sleep(Duration::from_secs(if setting.quick { 2 } else { 10 }));
    let idle = memory_of(daemon.process.id())?;
    let reached = Goal::when(idle.resident <= 15 * 1024);
    section.alone("memory without sessions, resident", show_mib(idle.resident), "at most 15 MiB", Some(reached));

    let sessions = Arc::new(runtime.block_on(fill(&bus, many))?);
    runtime.block_on(known(&bus, many as u64))?;
    let full = memory_of(daemon.process.id())?;
    let each = full.anonymous.saturating_sub(idle.anonymous) as f64 * 1024.0 / many as f64;
    section.alone("memory per session", format!("{:.1} KiB", each / 1024.0), "", None);

    lists(setting, &runtime, &bus, many, &mut section)?;
    let seconds = if setting.quick { 2 } else { 10 };
    let before = Metrics::of(daemon.admin.address())?;
    let (beats, latency) = runtime_for_beats(&url, &sessions, Duration::from_secs(seconds))?;
    let after = Metrics::of(daemon.admin.address())?;
    let rate = beats as f64 / seconds as f64;
    let reached = Goal::when(rate >= 10_000.0);
    section.alone("beats acknowledged per second", format!("{rate:.0}"), "at least 10,000", Some(reached));
    section.alone("a beat, p99", show_seconds(latency.percentile(0.99)), "", None);
    let grown = |name: &str| after.sum(name) - before.sum(name);
    let written = grown("baft_session_registry_beats_written_total") / seconds as f64;
    section.alone("beats persisted per second", format!("{written:.0}"), "", None);
    section.note(format!(
        "{many} sessions beat in turn over {CONNECTIONS} connections with {UNDER_WAY} beats under way on each, for {seconds} s. A beat is\n  \
         acknowledged in memory and written down when the last write of its session is half a minute old.",
    ));
    Ok(section)
}

/// Writes the records into the bucket, as registries do.
async fn fill(bus: &Bus, many: usize) -> Result<Vec<(String, Epoch)>> {
    let bucket = Bucket::open(bus, "SESSIONS");
    let entry = loop {
        if let Some(entry) = bucket.newest("incarnation").await? {
            break entry;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    };
    let written: serde_json::Value = serde_json::from_slice(&entry.value)?;
    let incarnation = written["incarnation"].as_str().context("no incarnation")?.to_owned();
    let now = chrono::Utc::now().to_rfc3339_opts(chrono::SecondsFormat::Millis, true);
    let mut sessions = Vec::with_capacity(many);
    for start in (0..many).step_by(256) {
        let writes = (start..many.min(start + 256)).map(|n| {
            let id = format!("session-20260301-093000-{n:05}");
            let stored = StoredSession {
                record: record(&id, &incarnation, &now, n),
                steps: 2,
                opened: true,
                request_id: None,
                task: None,
                pending: Vec::new(),
            };
            let (bucket, value) = (bucket.clone(), serde_json::to_vec(&stored));
            tokio::spawn(async move {
                let revision = bucket.create(&StoredSession::key(&id), value?.into()).await?;
                anyhow::Ok((id, revision))
            })
        });
        for write in writes.collect::<Vec<_>>() {
            let (id, revision) = write.await??;
            sessions.push((id, Epoch { incarnation: incarnation.clone(), revision }));
        }
    }
    Ok(sessions)
}

fn record(id: &str, incarnation: &str, now: &str, n: usize) -> SessionRecord {
    SessionRecord {
        session_id: id.to_owned(),
        epoch: Epoch { incarnation: incarnation.to_owned(), revision: 0 },
        state: SessionState::Active,
        analyst: format!("analyst-{}", n % 40),
        principal: None,
        author: None,
        client: SessionClient { kind: "cli".into(), name: "baft".into(), version: "0.1.0".into(), host: "desk".into() },
        objective: "Follow the water shortages of the southern provinces".to_owned(),
        tier: 2,
        liveness: Liveness::Heartbeat,
        agent: Some("main".to_owned()),
        claims: vec![format!("data/{n}.yaml")],
        repo: Some("https://git.example.org/team/framework.git".to_owned()),
        branch: Some("refs/heads/main".to_owned()),
        base_commit: Some("a".repeat(40)),
        head_commit: None,
        operations: 0,
        started_at: now.to_owned(),
        last_active_at: now.to_owned(),
        ended_at: None,
        reason: String::new(),
        transcript: None,
        parent: None,
    }
}

/// Waits until the registry knows as many.
async fn known(bus: &Bus, many: u64) -> Result<()> {
    let until = Instant::now() + PATIENCE;
    loop {
        let request = SessionListRequest { limit: Some(1), ..SessionListRequest::default() };
        let answer: SessionListResponse = bus.request("session.list", &request, PATIENCE).await?;
        if answer.total >= many {
            return Ok(());
        }
        ensure!(Instant::now() < until, "the registry knows {} of {many} sessions", answer.total);
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

fn lists(
    setting: &Setting,
    runtime: &tokio::runtime::Runtime,
    bus: &Bus,
    many: usize,
    section: &mut Section,
) -> Result<()> {
    let (mut page, mut whole) = (Samples::default(), Samples::default());
    runtime.block_on(async {
        let request = SessionListRequest { limit: Some(PAGE), ..SessionListRequest::default() };
        for _ in 0..setting.rounds(500) {
            let began = Instant::now();
            let answer: SessionListResponse = bus.request("session.list", &request, PATIENCE).await?;
            page.push(began.elapsed());
            ensure!(answer.sessions.len() as u64 == PAGE, "a page has {} records", answer.sessions.len());
        }
        for _ in 0..setting.rounds(10) {
            let began = Instant::now();
            let (mut seen, mut cursor) = (0, None::<String>);
            loop {
                let request = SessionListRequest { cursor, ..request.clone() };
                let answer: SessionListResponse = bus.request("session.list", &request, PATIENCE).await?;
                seen += answer.sessions.len();
                cursor = answer.next_cursor;
                if cursor.is_none() {
                    break;
                }
            }
            whole.push(began.elapsed());
            ensure!(seen == many, "all pages together have {seen} records");
        }
        anyhow::Ok(())
    })?;
    let folder = setting.folder("sessions-markers")?;
    let theirs = marker_reader(setting, &folder, many)?;
    let p99 = page.percentile(0.99);
    section.alone(
        &format!("a list of {PAGE} records, p99"),
        show_seconds(p99),
        "at most 20 ms",
        Some(Goal::when(p99 <= 0.020)),
    );
    let ratio = theirs.p50() / whole.p50();
    section.compare(&format!("all {many} records, page by page"), whole.show(), theirs.show(), ratio, "", None);
    Ok(())
}

fn marker_reader(setting: &Setting, folder: &Path, many: usize) -> Result<Samples> {
    let now = chrono::Utc::now().timestamp() as f64;
    for n in 0..many {
        let id = format!("session-20260301-093000-{n:05}");
        let marker = json!({
            "session_id": id, "last_active": now, "transcript": "", "session_start": "2026-03-01T09:30:00Z",
            "session_objective": "Follow the water shortages of the southern provinces", "current_tier": 2,
            "operation_count": 0, "analyst": format!("analyst-{}", n % 40),
        });
        std::fs::write(folder.join(format!("{id}.json")), marker.to_string())?;
    }
    let mut samples = Samples::default();
    for _ in 0..setting.rounds(10) {
        let done = run_child(Command::new(python()).arg("-c").arg(MARKER_READER).arg(folder))?;
        let mut words = done.stdout.split_whitespace();
        let seconds: f64 = words.next().context("no time")?.parse()?;
        ensure!(words.next() == Some(&many.to_string()), "the marker reader found something else: {}", done.stdout);
        samples.push_seconds(seconds);
    }
    Ok(samples)
}

/// Beats from several connections at once; how many were acknowledged, and how long each took.
fn runtime_for_beats(url: &str, sessions: &Arc<Vec<(String, Epoch)>>, time: Duration) -> Result<(u64, Samples)> {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    runtime.block_on(async {
        let (next, acknowledged) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
        let mut tasks = Vec::new();
        let mut buses = Vec::new();
        for _ in 0..CONNECTIONS {
            buses.push(Bus::connect_now(&NatsArgs::for_url(url), identity()).await?);
        }
        let until = Instant::now() + time;
        for bus in buses.iter().flat_map(|bus| std::iter::repeat_n(bus, UNDER_WAY)) {
            let (bus, sessions, next, acknowledged) =
                (bus.clone(), sessions.clone(), next.clone(), acknowledged.clone());
            tasks.push(tokio::spawn(async move {
                let mut samples = Samples::default();
                while Instant::now() < until {
                    let n = next.fetch_add(1, Ordering::Relaxed) as usize;
                    let (id, epoch) = &sessions[n % sessions.len()];
                    let request = SessionHeartbeatRequest {
                        session_id: id.clone(),
                        epoch: epoch.clone(),
                        operations: Some(n as u64),
                        transcript: None,
                    };
                    let began = Instant::now();
                    let _: SessionHeartbeatResponse = bus.request("session.heartbeat", &request, PATIENCE).await?;
                    samples.push(began.elapsed());
                    acknowledged.fetch_add(1, Ordering::Relaxed);
                }
                anyhow::Ok(samples)
            }));
        }
        let mut all = Samples::default();
        for task in tasks {
            all.add(task.await??);
        }
        Ok((acknowledged.load(Ordering::Relaxed), all))
    })
}
