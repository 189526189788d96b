//! Reports as programs read them, and rows as people see them come.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod place;

use std::io::Write;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use baft_bus::payload::{CheckReport, CheckStatus, PreflightReport, PreflightTool};
use baft_preflight_probe::render::{plain, render};
use baft_preflight_probe::{Order, Output, Profile, custom, engine, run_and_tell};
use place::{Place, write};
use serde_json::{Value, json};

const HOSTILE: &str = "a <b> & \"c\" 'd' ]]> --> \u{1b}[31m \u{0} \u{fffe} آب\tend";

fn check(id: &str, status: CheckStatus) -> CheckReport {
    CheckReport {
        id: id.to_owned(),
        category: "nats".to_owned(),
        title: format!("{id} {HOSTILE}"),
        status,
        blocking: true,
        message: format!("{id}: {HOSTILE}"),
        because: None,
        hint: Some(format!("first {HOSTILE}\nsecond")),
        doc: "docs/preflight.md".to_owned(),
        evidence: serde_json::Map::from_iter([("what".to_owned(), json!(HOSTILE))]),
        started_at: "2026-03-01T09:30:00Z".to_owned(),
        duration_ms: 1234,
        attempts: 1,
    }
}

/// One check of each status.
fn report() -> PreflightReport {
    use CheckStatus::{Error, Fail, Pass, Skip, Unknown, Warn};
    let checks: Vec<CheckReport> =
        [Pass, Warn, Fail, Skip, Unknown, Error].iter().map(|status| check(status.name(), *status)).collect();
    PreflightReport {
        schema: engine::SCHEMA.to_owned(),
        run_id: "01J".to_owned(),
        profile: "cluster".to_owned(),
        tool: PreflightTool { name: "baft".to_owned(), version: "1".to_owned(), revision: "r".to_owned() },
        started_at: "2026-03-01T09:30:00Z".to_owned(),
        duration_ms: 5000,
        summary: engine::summary(&checks),
        checks,
    }
}

#[test]
fn json_reads_back_as_the_same_report() {
    let report = report();
    let text = render(&report, Output::Json, &plain);
    assert_eq!(serde_json::from_str::<PreflightReport>(&text).unwrap(), report);
    let value: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(value["schema"], "baft.preflight/1");
    let summary = json!({ "total": 6, "passed": 1, "warnings": 1, "failed": 1, "skipped": 1, "undecided": 2 });
    for (name, count) in summary.as_object().unwrap() {
        assert_eq!(&value["summary"][name], count, "{name}");
    }
    assert_eq!(value["checks"][2]["evidence"]["what"], HOSTILE);
}

/// What Python's parser makes of a document: tag, attributes, text, children.
fn parsed(xml: &str) -> Value {
    const READ: &str = "import json, sys, xml.etree.ElementTree as tree\n\
        node = lambda e: dict(tag=e.tag, has=e.attrib, text=e.text, children=[node(c) for c in e])\n\
        print(json.dumps(node(tree.fromstring(sys.stdin.buffer.read()))))";
    let named = std::env::var_os("BAFT_PYTHON").map(PathBuf::from).filter(|path| path.is_file());
    let mut python = Command::new(named.unwrap_or_else(|| "python3".into()));
    let mut child =
        python.args(["-c", READ]).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(xml.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{}\n{xml}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

#[test]
fn junit_is_understood_by_a_parser_whatever_the_checks_say() {
    let suite = parsed(&render(&report(), Output::Junit, &plain));
    assert_eq!(suite["tag"], "testsuite");
    let expected = json!({
        "name": "baft preflight", "tests": "6", "failures": "1", "errors": "2", "skipped": "1", "time": "5.000",
        "timestamp": "2026-03-01T09:30:00Z",
    });
    assert_eq!(suite["has"], expected);
    let cases = suite["children"].as_array().unwrap();
    let inside: Vec<Option<&str>> = cases.iter().map(|case| case["children"][0]["tag"].as_str()).collect();
    let tags = [None, Some("system-out"), Some("failure"), Some("skipped"), Some("error"), Some("error")];
    assert_eq!(inside, tags);
    // What no document may hold is a space; everything else is as it was said.
    let shown = HOSTILE.replace(['\u{1b}', '\u{0}', '\u{fffe}', '\t'], " ");
    for case in cases {
        assert_eq!((&case["tag"], &case["has"]["classname"]), (&"testcase".into(), &"preflight.nats".into()));
        assert!(case["has"]["name"].as_str().unwrap().ends_with(&shown), "{case}");
        assert_eq!(case["has"]["time"], "1.234");
    }
    let failure = &cases[2]["children"][0];
    assert_eq!(failure["has"]["message"], format!("fail: {shown}"));
    assert_eq!(failure["text"], format!("first {shown}\nsecond"));
}

/// A scene with these checks of one's own: a name and a shell command.
fn scene(place: &mut Place, checks: &[(&str, &str)]) -> Order {
    let mut text = String::new();
    for (name, command) in checks {
        text += &format!(
            "[[check]]\nname = \"{name}\"\ntitle = \"{name}\"\nhint = \"fix it\"\ntimeout = \"20s\"\nkind = \"command\"\n\
             command = [\"sh\", \"-c\", {}]\n\n",
            json!(command)
        );
    }
    write(&place.path("checks.toml"), &text);
    place.scene.custom = custom::read(&place.path("checks.toml")).unwrap();
    Order { only: checks.iter().map(|(name, _)| format!("BAFT-C-{name}")).collect(), ..Order::default() }
}

#[tokio::test]
async fn each_check_is_told_as_soon_as_it_and_those_before_it_are_known_in_the_order_of_the_report() {
    let mut place = Place::new(Profile::Cluster);
    let order = scene(&mut place, &[("one", "true"), ("slow", "sleep 1"), ("three", "true")]);
    let began = Instant::now();
    let mut told = Vec::new();
    let tell = |check: &CheckReport| told.push((check.id.clone(), began.elapsed()));
    let report = run_and_tell(&Arc::new(place.scene.clone()), &order, tell).await.unwrap();
    let ids: Vec<&str> = told.iter().map(|(id, _)| id.as_str()).collect();
    assert_eq!(ids, report.checks.iter().map(|check| check.id.as_str()).collect::<Vec<_>>());
    let second = Duration::from_secs(1);
    assert!(told[0].1 < second && told[1].1 >= second, "{told:?}");
}

#[tokio::test]
async fn what_is_tried_again_is_told_once_when_it_is_settled() {
    let mut place = Place::new(Profile::Cluster);
    // Fails once.
    let flaky = format!("mkdir {} && exit 1; true", place.path("tried").display());
    let order = scene(&mut place, &[("good", "true"), ("flaky", &flaky), ("bad", "false")]);
    let order = Order { wait: Duration::from_secs(2), ..order };
    let mut told = Vec::new();
    let tell = |check: &CheckReport| told.push((check.id.clone(), check.status));
    let report = run_and_tell(&Arc::new(place.scene.clone()), &order, tell).await.unwrap();
    let expected = [
        ("BAFT-C-good".to_owned(), CheckStatus::Pass),
        ("BAFT-C-flaky".to_owned(), CheckStatus::Pass),
        ("BAFT-C-bad".to_owned(), CheckStatus::Fail),
    ];
    assert_eq!(told, expected);
    assert_eq!(report.checks.len(), 3);
}
