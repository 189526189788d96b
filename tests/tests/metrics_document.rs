//! docs/metrics.md says what the running programs serve.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

use std::collections::{BTreeMap, BTreeSet};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use baft_tests::{GitRemote, NatsServer, Port, Process, wait_until};

/// A row of the document: what kind of metric, and whether it has labels (then it is served only once it has a value).
#[derive(Debug, Clone, PartialEq)]
struct Row {
    kind: String,
    labelled: bool,
}

type Section = BTreeMap<String, Row>;

fn documented() -> BTreeMap<String, Section> {
    let text = std::fs::read_to_string(baft_tests::process::workspace().join("docs/metrics.md")).unwrap();
    let mut sections: BTreeMap<String, Section> = BTreeMap::new();
    let mut title = String::new();
    for line in text.lines() {
        if let Some(name) = line.strip_prefix("## ") {
            title = name.to_owned();
        }
        let cells: Vec<_> = line.split('|').map(str::trim).collect();
        if let ["", name, kind, labels, _, ""] = cells[..]
            && let Some(name) = name.strip_prefix('`').and_then(|name| name.strip_suffix('`'))
        {
            let row = Row { kind: kind.to_owned(), labelled: !labels.is_empty() };
            sections.entry(title.clone()).or_default().insert(name.to_owned(), row);
        }
    }
    sections
}

fn scrape(address: SocketAddr) -> Option<String> {
    let mut stream = TcpStream::connect(address).ok()?;
    stream.write_all(b"GET /metrics HTTP/1.0\r\n\r\n").ok()?;
    let mut text = String::new();
    stream.read_to_string(&mut text).ok()?;
    text.starts_with("HTTP/1.0 200").then_some(text).or_else(|| panic!("/metrics was refused"))
}

/// Names and kinds a program serves, once it is connected.
fn served(address: SocketAddr) -> BTreeMap<String, String> {
    let text = wait_until("metrics of a connected daemon", Duration::from_secs(30), || {
        scrape(address).filter(|text| text.contains("\nbaft_nats_connected 1"))
    });
    let types = text.lines().filter_map(|line| line.strip_prefix("# TYPE "));
    types.filter_map(|line| line.split_once(' ')).map(|(name, kind)| (name.to_owned(), kind.to_owned())).collect()
}

fn compare(name: &str, address: SocketAddr, documented: &BTreeMap<String, Section>) {
    let served = served(address);
    let mut rows = documented["Every daemon"].clone();
    rows.extend(documented.get(name).unwrap_or_else(|| panic!("docs/metrics.md has no section on {name}")).clone());
    for (metric, kind) in &served {
        assert_eq!(rows.get(metric).map(|row| &row.kind), Some(kind), "{name} serves {metric}");
    }
    let always: BTreeSet<_> = rows.iter().filter(|(_, row)| !row.labelled).map(|(metric, _)| metric).collect();
    let missing: Vec<_> = always.into_iter().filter(|metric| !served.contains_key(*metric)).collect();
    assert!(missing.is_empty(), "{name} does not serve {missing:?}, which docs/metrics.md lists");
}

#[test]
fn every_daemon_serves_what_the_document_lists_and_nothing_else() {
    let documented = documented();
    let nats = NatsServer::start();
    let (remote, _) = GitRemote::with_files(&[("data/gaps.yaml", "entries:\n- id: G01-01\n  description: Wells\n")]);
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).display().to_string();
    let repo = remote.bare().display().to_string();
    let (root, clone, workspace, url) = (path("root"), path("clone"), path("workspace"), nats.url());

    let programs: [(&str, Vec<&str>); 5] = [
        ("git-sync", vec!["--repo", &repo, "--root", &root]),
        ("commit-agent", vec!["--repo", &repo, "--clone", &clone]),
        (
            "duckdb-importer",
            vec!["run", "--root", &repo, "--repo", &repo, "--source", "git", "--workspace", &workspace],
        ),
        ("preflight-probe", vec!["--workspace", &workspace]),
        ("session-registry", vec![]),
    ];
    for (name, mut args) in programs {
        let port = Port::lease();
        let admin = port.address().to_string();
        args.extend(["--admin-addr", &admin]);
        let _daemon = Process::spawn_bin(name, args, &[("NATS_URL", &url)]);
        compare(name, port.address(), &documented);
    }
}
