//! The running daemon: metrics, requests, events, and a broker that goes away.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod place;

use std::time::Duration;

use baft_bus::payload::{CheckStatus, PreflightReport, PreflightRunRequest};
use baft_bus::{Bus, Code, Identity, NatsArgs, topology};
use baft_tests::{Clock, NatsServer, Port, Process, wait_until, wait_until_async};
use serde_json::{Value, json};

const SOON: Duration = Duration::from_secs(30);

async fn client(server: &NatsServer) -> Bus {
    let me = Identity { name: "test".into(), instance: "t".into(), version: "0.1.0".into() };
    Bus::connect_now(&NatsArgs::for_url(&server.url()), me).await.unwrap()
}

fn probe(server: &NatsServer, admin: &Port, extra: &[&str]) -> Process {
    let address = admin.address().to_string();
    let mut args = vec!["--admin-addr", &address, "--schedule", "1s", "--expect", "git-sync"];
    args.extend(extra);
    let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_preflight-probe"));
    command.args(args).env("NATS_URL", server.url()).env_remove("BAFT_WORKSPACE").env_remove("ITP_ROOT");
    Process::spawn("preflight-probe", command)
}

fn scrape(admin: &Port, path: &str) -> String {
    baft_tests::web::get(admin.address(), path).1
}

#[tokio::test]
async fn it_answers_counts_and_says_what_lasts_and_survives_the_broker() {
    let mut server = NatsServer::start();
    let admin = Port::lease();
    let mut probe = probe(&server, &admin, &["--failure-threshold", "2", "--success-threshold", "1"]);
    wait_until("the first round", SOON, || scrape(&admin, "/readyz").contains("\"ready\":true").then_some(()));
    let bus = client(&server).await;

    // Asked for one check, it answers with that and what it needs.
    let one = PreflightRunRequest { profile: None, only: vec!["BAFT-N005".into()] };
    // It is ready before it is connected: what it checks may be away.
    let report = wait_until_async("an answer", SOON, || async {
        bus.request::<_, PreflightReport>("preflight.run", &one, SOON).await.ok()
    })
    .await;
    let ids: Vec<&str> = report.checks.iter().map(|check| check.id.as_str()).collect();
    assert_eq!(ids, ["BAFT-N002", "BAFT-N001", "BAFT-N004", "BAFT-N005"]);
    assert_eq!((report.schema.as_str(), report.summary.passed), ("baft.preflight/1", 4), "{report:#?}");

    // Whatever is asked, there is an answer, and the next request is served.
    for bad in [
        json!({ "profile": "moon" }),
        json!({ "profile": 7 }),
        json!({ "only": ["BAFT-X999\r\n"] }),
        json!({ "only": "BAFT-N001" }),
        json!({ "only": vec!["x"; 200] }),
        json!([1]),
        json!(null),
    ] {
        let error = bus.request::<_, Value>("preflight.run", &bad, SOON).await;
        if let Err(error) = error {
            assert_eq!(error.code, Code::InvalidArgument, "{bad}: {error:?}");
        }
    }
    let last: PreflightReport = bus.request("preflight.status", &json!({}), SOON).await.unwrap();
    let status = |report: &PreflightReport, id: &str| {
        report.checks.iter().find(|check| check.id == id).map(|check| check.status).unwrap()
    };
    assert_eq!(status(&last, "BAFT-N006"), CheckStatus::Fail, "there are no streams yet");
    let shown = scrape(&admin, "/metrics");
    assert!(shown.contains("baft_preflight_probe_check_status{check=\"BAFT-N006\"} 2"), "{shown}");

    // With the streams there, it says that this check came right, and later that a daemon is missing for good.
    let failed = "baft_preflight_probe_runs_total{result=\"failed\"}";
    wait_until("the failure to last", SOON, || (baft_tests::web::metric(admin.address(), failed) >= 3.0).then_some(()));
    topology::ensure(&bus).await.unwrap();
    wait_until_async("the event", SOON, || async {
        let changed = server.stored("preflight.changed").await;
        let found = changed.iter().any(|(_, event)| event["check"] == "BAFT-N006" && event["to"] == "pass");
        found.then_some(())
    })
    .await;

    // The broker goes and comes back: the probe says so and goes on.
    server.kill();
    wait_until("the failure", SOON, || {
        scrape(&admin, "/metrics").contains("check_status{check=\"BAFT-N001\"} 2").then_some(())
    });
    server.restart();
    wait_until("the recovery", SOON, || {
        scrape(&admin, "/metrics").contains("check_status{check=\"BAFT-N001\"} 0").then_some(())
    });
    let bus = client(&server).await;
    wait_until_async("an answer", SOON, || async {
        bus.request::<_, PreflightReport>("preflight.status", &json!({}), SOON).await.ok()
    })
    .await;
    assert!(probe.terminate(SOON).success(), "{}", probe.logs());
}

#[tokio::test]
async fn a_clock_that_is_set_while_it_runs_is_a_warning_and_nothing_else() {
    let Some(clock) = Clock::right() else { return };
    let server = NatsServer::start();
    let bus = client(&server).await;
    topology::ensure(&bus).await.unwrap();
    let admin = Port::lease();
    let address = admin.address().to_string();
    let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_preflight-probe"));
    command.args(["--admin-addr", &address, "--schedule", "1s", "--expect", ""]);
    command.args(["--failure-threshold", "1", "--success-threshold", "1"]);
    command.env("NATS_URL", server.url()).env_remove("BAFT_WORKSPACE").env_remove("ITP_ROOT");
    clock.give(&mut command);
    let mut probe = Process::spawn("preflight-probe", command);
    let status = |check: &str| {
        baft_tests::web::metric(admin.address(), &format!("baft_preflight_probe_check_status{{check=\"{check}\"}}"))
    };
    let becomes = |what: &str, number: f64| {
        wait_until(what, SOON, || {
            (scrape(&admin, "/metrics").contains("BAFT-H002") && status("BAFT-H002") == number).then_some(())
        });
    };
    becomes("a right clock", 0.0);
    for hours in [2, -2] {
        clock.set_to(hours * 3600);
        becomes("a wrong clock", 1.0);
        for check in ["BAFT-N001", "BAFT-N004", "BAFT-N006", "BAFT-N007"] {
            assert_eq!(status(check), 0.0, "{check} at {hours} h");
        }
        // Whoever asks is right, whoever answers is not: no request is late for that.
        let one = PreflightRunRequest { profile: None, only: vec!["BAFT-H002".into()] };
        let report: PreflightReport = bus.request("preflight.run", &one, SOON).await.unwrap();
        let check = report.checks.iter().find(|check| check.id == "BAFT-H002").unwrap();
        assert!(check.status == CheckStatus::Warn && check.hint.is_some(), "{check:?}");
        clock.set_to(0);
        becomes("a right clock again", 0.0);
    }
    assert!(probe.terminate(SOON).success(), "{}", probe.logs());
}

#[test]
fn wrong_settings_end_it_with_one_line_that_names_the_flag() {
    for (args, flag) in [
        (&["--schedule", "soon"][..], "--schedule"),
        (&["--schedule", "10ms"], "--schedule"),
        (&["--expect", "git-sink"], "--expect"),
        (&["--checks-file", "/no/such/file"], "--checks-file"),
        (&["--agent", "a.b"], "--agent"),
        (&["--nats-url", "http://x"], "--nats-url"),
    ] {
        let output = std::process::Command::new(env!("CARGO_BIN_EXE_preflight-probe")).args(args).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(78), "{args:?}: {said}");
        assert!(said.contains(flag) && said.trim_end().lines().count() == 1, "{args:?}: {said}");
    }
}
