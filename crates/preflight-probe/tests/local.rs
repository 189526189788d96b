//! The checks of a workstation: each fails for its reason, and what its hint says puts it right.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod place;

use std::time::Duration;

use baft_bus::payload::CheckStatus::{Fail, Pass, Skip, Unknown, Warn};
use baft_preflight_probe::render::{exit, plain, render};
use baft_preflight_probe::{Good, Output, Profile};
use baft_tests::git::git;
use baft_tests::{NatsServer, Port, Process};
use place::{Ollama, Place, write};

const HOUR: Duration = Duration::from_secs(3600);

fn workstation() -> Place {
    let place = Place::new(Profile::Local);
    place.repositories(&["loom", "baft"]);
    place.program("python3", "echo Python 3.12.4");
    place.program("uv", "[ \"$1\" = --version ] && echo 'uv 0.6.3 (a0f5c7250 2025-02-24)'; exit 0");
    place
}

#[tokio::test]
async fn a_whole_workstation_reads_exactly_as_in_the_specification() {
    let (server, ollama) = (NatsServer::start(), Ollama::start());
    let mut place = workstation();
    let _remote = place.data("framework");
    for name in ["a", "b", "c"] {
        write(&place.path("root/framework/data").join(name), "new");
    }
    place.nats(&server);
    place.scene.nats.nats_url = Some(server.url().replace("127.0.0.1", "localhost"));
    ollama.models.lock().unwrap().push("llama3.2:3b".to_owned());
    place.scene.ollama = Some(ollama.url());
    place.database(14_200_000, 2 * HOUR);
    place.set(&["ITP_ROOT", "BAFT_WORKSPACE", "ANTHROPIC_API_KEY"]);
    let report = place.all().await;
    let printed = render(&report, Output::Table, &plain)
        .replace(&server.port().to_string(), "4222")
        .replace(&ollama.address.port().to_string(), "11434");
    assert_eq!(printed, include_str!("goldens/specification.txt"));
    assert_eq!(exit(&report, Good::WithWarnings).code(), 0);
    assert_eq!(exit(&report, Good::Strictly).code(), 4);
    let document = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/preflight.md")).unwrap();
    assert!(document.contains(include_str!("goldens/specification.txt")), "docs/preflight.md shows another output");
}

#[tokio::test]
async fn where_no_python_actors_are_nothing_of_theirs_is_asked_for() {
    let mut place = Place::new(Profile::Local);
    let _remote = place.data("baseline");
    place.set(&["ITP_ROOT", "BAFT_WORKSPACE"]);
    let report = place.all().await;
    let status = |id: &str| report.checks.iter().find(|check| check.id == id).unwrap().status;
    for id in ["BAFT-E001", "BAFT-E002", "BAFT-E004", "BAFT-L001", "BAFT-L002"] {
        assert_eq!(status(id), Skip, "{id}");
    }
    place.passes("BAFT-E003", "Repos: baseline").await;
    place.passes("BAFT-E005", "Environment variables set").await;
    place.passes("BAFT-G001", "Baseline has no uncommitted changes").await;
}

#[tokio::test]
async fn an_old_or_missing_python_is_named() {
    let place = workstation();
    place.program("python3", "echo Python 3.9.18");
    let hint = place.hint("BAFT-E001", Fail, "Python 3.9.18 is too old: 3.11 or later is needed").await;
    assert!(hint.contains("uv python install 3.12"), "{hint}");
    place.program("python3", "echo Python 3.12.4");
    place.passes("BAFT-E001", "Python 3.12.4").await;
    place.program("python3", "echo no such thing >&2; exit 1");
    place.hint("BAFT-E001", Fail, "Python does not run: no such thing").await;
}

#[tokio::test]
async fn without_uv_nothing_is_said_about_the_packages() {
    let mut place = workstation();
    place.scene.path = Some(place.path("nowhere").into_os_string());
    let hint = place.hint("BAFT-E002", Fail, "uv is not installed").await;
    assert!(hint.contains("pip install uv"), "{hint}");
    let packages = place.check("BAFT-E004").await;
    assert_eq!(packages.status, Skip);
    assert!(matches!(packages.because.as_deref(), Some("BAFT-E001" | "BAFT-E002")), "{packages:?}");
}

#[tokio::test]
async fn missing_repositories_are_cloned_by_the_commands_of_the_hint() {
    let place = Place::new(Profile::Local);
    place.repositories(&["loom"]);
    let root = place.path("root");
    let message = format!("Repos missing in {}: framework, baft", root.display());
    let hint = place.hint("BAFT-E003", Fail, &message).await;
    // The forge, as far as this test is concerned.
    let forge = place.path("forge");
    for name in ["framework", "baft"] {
        let work = place.path("made").join(name);
        write(&work.join("data/x.yaml"), "a: 1\n");
        git(&work, &["init", "-q"]);
        git(&work, &["add", "-A"]);
        git(&work, &["commit", "-q", "-m", "first"]);
        git(&place.path("made"), &["clone", "-q", "--bare", name, &format!("{}/{name}.git", forge.display())]);
    }
    for command in hint.lines() {
        assert!(command.starts_with("git clone https://github.com/IranTransitionProject/"), "{command}");
        let instead = format!("git -c url.{}/.insteadOf=https://github.com/IranTransitionProject/", forge.display());
        place.shell(&command.replacen("git", &instead, 1));
    }
    place.passes("BAFT-E003", "Repos: framework, loom, baft").await;
}

#[tokio::test]
async fn packages_that_cannot_be_imported_are_installed_by_the_command_of_the_hint() {
    let place = workstation();
    let marker = place.path("synced");
    let script = format!(
        "case $1 in --version) echo uv 0.6.3;; sync) : > {m};; run) [ -e {m} ] || {{ echo ModuleNotFoundError >&2; exit 1; }};; esac",
        m = marker.display()
    );
    place.program("uv", &script);
    let message = "Dependencies are not installed: loom (or heddle) and baft cannot be imported";
    let hint = place.hint("BAFT-E004", Fail, message).await;
    place.shell(&hint);
    place.passes("BAFT-E004", "Dependencies installed").await;
}

#[tokio::test]
async fn variables_that_are_not_set_are_named_one_export_each() {
    let mut place = workstation();
    place.set(&["ITP_ROOT"]);
    let hint = place.hint("BAFT-E005", Fail, "Environment variables not set: BAFT_WORKSPACE, ANTHROPIC_API_KEY").await;
    let named: Vec<&str> = hint.lines().filter_map(|line| line.strip_prefix("export ")?.split('=').next()).collect();
    place.set(&named);
    place.passes("BAFT-E005", "Environment variables set").await;
}

#[tokio::test]
async fn a_nats_server_that_is_not_running_is_started_by_the_command_of_the_hint() {
    let mut place = Place::new(Profile::Local);
    let port = Port::lease();
    place.scene.nats.nats_url = Some(format!("nats://127.0.0.1:{}", port.number()));
    let shown = port.address();
    let hint = place.hint("BAFT-N001", Fail, &format!("NATS is not reachable ({shown}): connection refused")).await;
    let arguments = hint.strip_prefix("start it: nats-server ").unwrap().split(" (").next().unwrap();
    let mut command = std::process::Command::new(baft_tests::nats::find_server());
    command.args(arguments.split(' ')).args(["-a", "127.0.0.1", "-sd"]).arg(place.path("store"));
    let _server = Process::spawn("nats-server", command);
    let order = baft_preflight_probe::Order {
        only: vec!["BAFT-N001".to_owned()],
        wait: Duration::from_secs(30),
        ..baft_preflight_probe::Order::default()
    };
    // It turns green while it is waited for.
    let report = baft_preflight_probe::run(&std::sync::Arc::new(place.scene.clone()), &order).await.unwrap();
    assert_eq!((report.checks[0].status, report.summary.passed), (Pass, 1), "{report:#?}");
    place.passes("BAFT-N001", &format!("NATS reachable ({shown})")).await;
}

#[tokio::test]
async fn a_server_that_is_no_nats_or_does_not_let_us_in_is_not_called_reachable() {
    let (server, ollama) = (NatsServer::start(), Ollama::start());
    let mut place = Place::new(Profile::Local);
    place.scene.nats.nats_url = Some(server.bare_url());
    let check = place.check("BAFT-N001").await;
    assert_eq!(check.status, Fail);
    assert!(check.message.contains("refused the credentials"), "{}", check.message);
    assert!(check.hint.unwrap().contains("BAFT_NATS_PASSWORD_FILE"));
    place.scene.nats.nats_url = Some(format!("nats://{}", ollama.address));
    let check = place.check("BAFT-N001").await;
    assert_eq!(check.status, Fail, "{check:?}");
}

#[tokio::test]
async fn ollama_is_started_and_the_model_pulled_as_the_hints_say() {
    let mut place = workstation();
    place.scene.ollama = Some("http://127.0.0.1:1".to_owned());
    let check = place.check("BAFT-L001").await;
    assert_eq!((check.status, check.hint.as_deref()), (Fail, Some("start it: ollama serve (or correct OLLAMA_URL)")));
    let model = place.check("BAFT-L002").await;
    assert_eq!((model.status, model.because.as_deref()), (Skip, Some("BAFT-L001")));
    let ollama = Ollama::start();
    place.scene.ollama = Some(ollama.url());
    place.passes("BAFT-L001", &format!("Ollama reachable (localhost:{})", ollama.address.port())).await;
    let hint = place.hint("BAFT-L002", Fail, "Ollama has no model llama3.2:3b").await;
    ollama.models.lock().unwrap().push(hint.strip_prefix("ollama pull ").unwrap().to_owned());
    place.passes("BAFT-L002", "Ollama model: llama3.2:3b").await;
}

#[tokio::test]
async fn a_database_is_a_duckdb_file_and_not_older_than_a_day() {
    let mut place = Place::new(Profile::Local);
    place.scene.nats.nats_url = None;
    place.scene.database = Some(place.path("itp.duckdb"));
    let missing = format!("DuckDB file not found: {}", place.path("itp.duckdb").display());
    let hint = place.hint("BAFT-D001", Fail, &missing).await;
    assert!(hint.contains("baft up") && hint.contains("baft import --full"), "{hint}");
    write(&place.path("itp.duckdb"), "something else entirely");
    let check = place.check("BAFT-D001").await;
    assert!(check.status == Fail && check.message.ends_with("is no DuckDB database"), "{check:?}");
    place.database(14_200_000, 25 * HOUR);
    place.passes("BAFT-D001", "DuckDB exists (14.2 MB, updated 25h ago)").await;
    let hint = place.hint("BAFT-D002", Warn, "DuckDB is stale (updated 25h ago, more than 24h)").await;
    assert_eq!(hint, "baft import");
    place.database(14_200_000, HOUR);
    place.passes("BAFT-D002", "DuckDB is up to date (updated 1h ago)").await;
}

#[tokio::test]
async fn what_is_uncommitted_is_committed_by_the_command_of_the_hint() {
    let place = Place::new(Profile::Local);
    let _remote = place.data("framework");
    write(&place.path("root/framework/data/new.yaml"), "a: 1\n");
    let hint = place.hint("BAFT-G001", Warn, "Framework has uncommitted changes (1 file)").await;
    let identity = "GIT_AUTHOR_NAME=T GIT_AUTHOR_EMAIL=t@e GIT_COMMITTER_NAME=T GIT_COMMITTER_EMAIL=t@e";
    place.shell(&format!("export {identity}; {hint} -q -m new"));
    place.passes("BAFT-G001", "Framework has no uncommitted changes").await;
    place.passes("BAFT-G002", "Framework up-to-date with remote (1 local commit not yet pushed)").await;
}

#[tokio::test]
async fn what_others_pushed_is_counted_and_pulled_by_the_command_of_the_hint() {
    let place = Place::new(Profile::Local);
    let remote = place.data("framework");
    place.passes("BAFT-G002", "Framework up-to-date with remote").await;
    remote.commit(&[("data/gaps.yaml", "entries: [] # 1\n")]);
    remote.commit(&[("data/gaps.yaml", "entries: [] # 2\n")]);
    let hint = place.hint("BAFT-G002", Warn, "Framework is 2 commits behind remote").await;
    place.shell(&format!("{hint} -q"));
    place.passes("BAFT-G002", "Framework up-to-date with remote").await;
    std::fs::rename(remote.bare(), remote.bare().with_extension("gone")).unwrap();
    let check = place.check("BAFT-G002").await;
    assert_eq!(check.status, Unknown, "what cannot be asked is not up to date: {check:?}");
    assert!(check.hint.is_some());
}
