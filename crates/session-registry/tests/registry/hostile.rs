//! Whatever comes in, the answer is JSON and the next request is served; and the stock tools can ask.

use std::process::Command;
use std::time::Duration;

use baft_bus::payload::{SessionHeartbeatRequest, SessionStartRequest};
use baft_tests::{NatsServer, Process};
use serde_json::{Value, json};

use crate::support::*;

const REQUESTS: [&str; 9] = ["start", "heartbeat", "end", "sync", "list", "get", "status", "sync_check", "history"];

async fn plain(server: &NatsServer) -> async_nats::Client {
    let options = async_nats::ConnectOptions::with_user_and_password(
        baft_tests::nats::USER.into(),
        baft_tests::nats::PASSWORD.into(),
    );
    options.connect(server.bare_url()).await.unwrap()
}

/// Asks as a stranger would; checks that the answer is JSON, and that errors are told in body and headers alike.
async fn raw(client: &async_nats::Client, what: &str, body: &[u8]) -> Value {
    let subject = format!("baft.session.{what}");
    let shown = String::from_utf8_lossy(&body[..body.len().min(80)]).into_owned();
    let answer = tokio::time::timeout(Duration::from_secs(30), client.request(subject, body.to_vec().into()));
    let answer = answer.await.unwrap_or_else(|_| panic!("{what} {shown}: no answer")).unwrap();
    let body: Value = serde_json::from_slice(&answer.payload).unwrap_or_else(|_| panic!("{what} {shown}: no JSON"));
    let code = answer.headers.as_ref().and_then(|headers| headers.get("Nats-Service-Error-Code"));
    assert_eq!(code.is_some(), body.get("error").is_some(), "{what} {shown}: {body}");
    if let Some(code) = code {
        let number: u16 = code.as_str().parse().unwrap();
        assert!((400..500).contains(&number), "{what} {shown}: {number} {body}");
        let error = &body["error"];
        assert!(error["message"].as_str().is_some_and(|text| !text.is_empty()), "{what} {shown}: {body}");
    }
    body
}

/// Scenario 12.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_request_survives_every_body() {
    let (server, bus) = server().await;
    let _registry = Registry::start(&server.url(), impatient()).await;
    let client = plain(&server).await;
    let started = start(&bus, &named("s")).await;
    let epoch = serde_json::to_value(&started.epoch).unwrap();
    let evil =
        ["", " ", "*", ">", "a b", "a.b", "../evil", "a\r\nNats-Rollup: all\r\n", "a\0b", "é", &"x".repeat(5000)];
    let mut bodies: Vec<Vec<u8>> = vec![
        b"".to_vec(),
        b"{}".to_vec(),
        b"  \n".to_vec(),
        b"null".to_vec(),
        b"[]".to_vec(),
        b"1e999".to_vec(),
        b"{\"limit\": NaN}".to_vec(),
        b"{\"limit\": -1, \"tier\": -1, \"operations\": -1, \"ttl_s\": -1}".to_vec(),
        b"{\"limit\": 99999999999999999999999999, \"tier\": 99999999999999999999}".to_vec(),
        b"{\"session_id\": \"s\", \"session_id\": \"t\"}".to_vec(),
        b"{\"session_id\": 7, \"agent\": [], \"state\": {}}".to_vec(),
        b"\xff\xfe\x00{".to_vec(),
        b"{\"session_id\": \"\xff\"}".to_vec(),
        "[".repeat(100_000).into_bytes(),
        format!("{{\"session_id\":{}", "{\"a\":".repeat(50_000)).into_bytes(),
        vec![b' '; 1_000_000],
        format!("{{\"objective\": \"{}\"}}", "x".repeat(1_000_000)).into_bytes(),
        json!({ "session_id": "s", "epoch": { "incarnation": "x", "revision": u64::MAX } }).to_string().into_bytes(),
        json!({ "session_id": "s", "epoch": { "incarnation": started.epoch.incarnation, "revision": 0 } })
            .to_string()
            .into_bytes(),
        json!({ "cursor": "a/b/../c", "state": ["dreaming"], "liveness": "telepathy" }).to_string().into_bytes(),
    ];
    for text in evil {
        for field in ["session_id", "analyst", "agent", "parent", "cursor", "objective", "message"] {
            bodies.push(json!({ field: text, "epoch": epoch.clone() }).to_string().into_bytes());
        }
        for nested in [
            json!({ "client": { "kind": text, "host": text } }),
            json!({ "author": { "name": text, "email": text } }),
            json!({ "claims": [text] }),
            json!({ "transcript": { "uri": text, "sha256": text } }),
        ] {
            bodies.push(nested.to_string().into_bytes());
        }
    }
    for what in REQUESTS {
        for body in &bodies {
            raw(&client, what, body).await;
        }
        // And the handler serves the next one.
        assert!(raw(&client, "list", b"{\"limit\": 1}").await["sessions"].is_array(), "after {what}");
    }
    assert_eq!(get(&bus, "s").await.unwrap().record.epoch, started.epoch, "nobody took or ended it");
    // One byte more than the server takes is refused by the client's own library or the server, and nothing breaks.
    let too_large = client.request("baft.session.list", vec![b' '; 1_048_577].into()).await;
    assert!(too_large.is_err());
    assert!(raw(&client, "list", b"").await["sessions"].is_array());
    events_tell_the_bucket(&bus).await;
}

/// What `nats req baft.session.list ''` sends, and what `nats micro ls` asks.
#[tokio::test]
async fn the_stock_tools_find_the_service_and_get_records_for_an_empty_body() {
    let (server, bus) = server().await;
    let _registry = Registry::start(&server.url(), impatient()).await;
    start(&bus, &named("monday")).await;
    let client = plain(&server).await;
    let listed = raw(&client, "list", b"").await;
    assert_eq!(listed["sessions"][0]["session_id"], "monday");
    let info = client.request("$SRV.INFO.session-registry", "".into()).await.unwrap();
    let info: Value = serde_json::from_slice(&info.payload).unwrap();
    let names: Vec<&str> =
        info["endpoints"].as_array().unwrap().iter().filter_map(|endpoint| endpoint["name"].as_str()).collect();
    for what in REQUESTS {
        assert!(names.contains(&what), "{what} is not among {names:?}");
    }
}

/// `python/baft`: the same three functions, over NATS and over files, also within a running loop.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_python_package_starts_lists_and_ends_sessions() {
    let Some(python) = std::env::var_os("BAFT_PYTHON").filter(|path| std::path::Path::new(path).is_file()) else {
        println!("skipped: no Python with nats-py (`make tools-test`, BAFT_PYTHON)");
        return;
    };
    let (server, bus) = server().await;
    let _registry = Registry::start(&server.url(), impatient()).await;
    let script = "
import asyncio
from baft import sessions
def names():
    return [one['session_monitor_request']['session_id'] for one in sessions.get_active_sessions()]
async def within_a_loop():
    sessions.register_session('monday', analyst='ann', session_objective='Water')
asyncio.run(within_a_loop())
sessions.register_session('monday', operation_count=7)
assert names() == ['monday'], names()
for bad in ('../evil', ''):
    try:
        sessions.register_session(bad)
        raise SystemExit('it was accepted')
    except sessions.SessionError as error:
        assert error.code == 'invalid_argument'
ended = sessions.unregister_session('monday')
assert ended['state'] == 'ended' and names() == [], names()
";
    let folder = tempfile::tempdir().unwrap();
    let package = baft_tests::process::workspace().join("python");
    for (kind, url) in [("nats", server.url()), ("files", String::new())] {
        let mut command = Command::new(&python);
        command.args(["-c", script]);
        command.env("PYTHONPATH", &package).env("NATS_URL", url).env("BAFT_MARKERS", folder.path());
        command.env("PYTHONDONTWRITEBYTECODE", "1");
        let mut process = Process::spawn("python", command);
        assert!(process.wait(SOON).success(), "{kind}: {}", process.logs());
    }
    let record = get(&bus, "monday").await.unwrap().record;
    assert_eq!((record.operations, record.objective.as_str(), record.client.kind.as_str()), (7, "Water", "python"));
}

/// Loom's scheduler expands its tasks from these files (`heddle-ai` 0.9.2, its own reader).
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn looms_own_reader_sees_the_live_sessions() {
    let tools = std::env::var_os("BAFT_TOOLS").map(std::path::PathBuf::from);
    let reader = tools.map(|tools| tools.join("bin/loom-sessions.py")).filter(|path| path.is_file());
    let python = std::env::var_os("BAFT_PYTHON").filter(|path| std::path::Path::new(path).is_file());
    let (Some(reader), Some(python)) = (reader, python) else {
        println!("skipped: no Python or no reader of Loom's (`make tools-test`, BAFT_TOOLS, BAFT_PYTHON)");
        return;
    };
    let home = tempfile::tempdir().unwrap();
    let markers = home.path().join(".heddle/sessions");
    let (server, bus) = server().await;
    let settings = baft_session_registry::Settings { markers: Some(markers.clone()), ..impatient() };
    let _registry = Registry::start(&server.url(), settings).await;
    let request = SessionStartRequest { objective: Some("Water".into()), tier: Some(1), ..named("monday") };
    let started = start(&bus, &request).await;
    let ended = start(&bus, &named("sunday")).await;
    end(&bus, "sunday", &ended.epoch).await.unwrap();
    let beat = SessionHeartbeatRequest { operations: Some(7), ..heartbeat("monday", &started.epoch) };
    ask::<_, Value>(&bus, "heartbeat", &beat).await.unwrap();
    let script = "
import importlib.util, json, sys
spec = importlib.util.spec_from_file_location('loom', sys.argv[1])
loom = importlib.util.module_from_spec(spec)
spec.loader.exec_module(loom)
print(json.dumps(loom.get_active_sessions()))
";
    let seen = baft_tests::wait_until_async("Loom to see the session as it is", SOON, || {
        let mut command = Command::new(&python);
        command.args(["-c", script]).arg(&reader).env("HOME", home.path());
        let mut process = Process::spawn("python", command);
        assert!(process.wait(SOON).success(), "{}", process.logs());
        let seen: Value = serde_json::from_str(&process.stdout()).unwrap();
        async move { (seen[0]["operation_count"] == 7).then_some(seen) }
    })
    .await;
    assert_eq!(seen.as_array().unwrap().len(), 1, "{seen}");
    let marker = &seen[0];
    assert_eq!((&marker["session_id"], &marker["session_objective"]), (&json!("monday"), &json!("Water")));
    assert_eq!((&marker["current_tier"], &marker["analyst"]), (&json!(1), &json!("ann")));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn python_gets_records_too() {
    let Some(python) = std::env::var_os("BAFT_PYTHON").filter(|path| std::path::Path::new(path).is_file()) else {
        println!("skipped: no Python with nats-py (`make tools`, BAFT_PYTHON)");
        return;
    };
    let (server, bus) = server().await;
    let _registry = Registry::start(&server.url(), impatient()).await;
    start(&bus, &named("monday")).await;
    let script = "
import asyncio, json, sys, nats
async def main():
    nc = await nats.connect(sys.argv[1])
    answer = await nc.request('baft.session.list', b'', timeout=10)
    print(json.loads(answer.data)['sessions'][0]['session_id'])
    try:
        await nc.request('baft.session.get', b'{\"session_id\": \"tuesday\"}', timeout=10)
    finally:
        await nc.close()
asyncio.run(main())
";
    let mut command = Command::new(python);
    command.args(["-c", script, &server.url()]);
    let mut process = Process::spawn("python", command);
    assert!(process.wait(SOON).success(), "{}", process.logs());
    assert_eq!(process.stdout().trim(), "monday");
}
