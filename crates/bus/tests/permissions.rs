//! Every user against every subject: what the server lets through is what this table says, written down a second time and in other words.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader, Write};
use std::net::TcpStream;
use std::time::Duration;

use baft_bus::Prefix;
use baft_bus::permissions::{Proof, Role, User, authorization};
use baft_tests::NatsServer;

const PASSWORD: &str = "open sesame";

fn users() -> Vec<User> {
    let user = |name: &str, role: Role| User::new(name, role).unwrap();
    vec![
        user("git-sync", Role::GitSync),
        user("agent-main", Role::CommitAgent("main".to_owned())),
        user("agent-desk", Role::CommitAgent("desk".to_owned())),
        user("importer", Role::Importer),
        user("probe", Role::Probe),
        user("registry", Role::Registry),
        user("gateway", Role::Gateway),
        user("provisioner", Role::Provisioner),
        user("rita", Role::Reader),
        user("ann", Role::Analyst),
        user("bob", Role::Analyst),
        user("de", Role::Editor),
        user("olga", Role::Operator),
    ]
}

fn server() -> NatsServer {
    let all: Vec<(User, Proof)> =
        users().into_iter().map(|user| (user, Proof::Password(PASSWORD.to_owned()))).collect();
    let rules = authorization(&Prefix::default(), &all);
    NatsServer::start_with(|port, store| {
        format!("listen: \"127.0.0.1:{port}\"\njetstream {{ store_dir: {:?} }}\n{rules}", store.display())
    })
}

/// A connection that speaks the protocol itself: what the server refuses is heard before the answer to a ping.
struct Line {
    reader: BufReader<TcpStream>,
    writer: TcpStream,
}

impl Line {
    fn of(server: &NatsServer, user: &str) -> Self {
        let writer = TcpStream::connect(("127.0.0.1", server.port())).unwrap();
        writer.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        let mut line = Self { reader: BufReader::new(writer.try_clone().unwrap()), writer };
        line.read();
        let connect = serde_json::json!({ "verbose": false, "user": user, "pass": PASSWORD, "headers": true });
        assert_eq!(line.say(&format!("CONNECT {connect}\r\n")), Vec::<String>::new(), "{user}");
        line
    }

    fn read(&mut self) -> String {
        let mut text = String::new();
        self.reader.read_line(&mut text).unwrap();
        text.trim_end().to_owned()
    }

    /// Says something; the server's complaints about it.
    fn say(&mut self, text: &str) -> Vec<String> {
        self.writer.write_all(format!("{text}PING\r\n").as_bytes()).unwrap();
        let mut complaints = Vec::new();
        loop {
            match self.read().as_str() {
                "PONG" => return complaints,
                "PING" => self.writer.write_all(b"PONG\r\n").unwrap(),
                complaint if complaint.starts_with("-ERR") => complaints.push(complaint.to_owned()),
                _ => {}
            }
        }
    }

    fn may_publish(&mut self, subject: &str) -> bool {
        self.say(&format!("PUB {subject} 0\r\n\r\n")).is_empty()
    }

    fn may_subscribe(&mut self, subject: &str) -> bool {
        let refused = !self.say(&format!("SUB {subject} 1\r\n")).is_empty();
        self.say("UNSUB 1\r\n");
        !refused
    }
}

const EVERYBODY: &[&str] = &[
    "git-sync",
    "agent-main",
    "agent-desk",
    "importer",
    "probe",
    "registry",
    "gateway",
    "provisioner",
    "rita",
    "ann",
    "bob",
    "de",
    "olga",
];
const PEOPLE: &[&str] = &["rita", "ann", "bob", "de", "olga"];
const DAEMONS: &[&str] = &["git-sync", "agent-main", "agent-desk", "importer", "probe", "registry"];
const ONLOOKERS: &[&str] = &["gateway", "rita", "ann", "bob", "de", "olga"];

fn any<'a>(groups: &[&[&'a str]]) -> BTreeSet<&'a str> {
    groups.concat().into_iter().collect()
}

/// A subject, and who may publish to it.
fn publishers() -> Vec<(&'static str, BTreeSet<&'static str>)> {
    let mut table = vec![
        // How everything is, for everybody who looks on.
        ("baft.git.status", any(&[ONLOOKERS, &["probe", "registry"]])),
        ("baft.import.status", any(&[ONLOOKERS, &["probe", "registry"]])),
        ("baft.preflight.status", any(&[ONLOOKERS, &["registry"]])),
        ("baft.commit.main.status", any(&[ONLOOKERS, &["probe", "registry"]])),
        ("baft.commit.desk.check", any(&[ONLOOKERS, &["probe", "registry"]])),
        ("baft.session.list", any(&[ONLOOKERS, &["probe"]])),
        ("baft.session.get", any(&[ONLOOKERS])),
        ("baft.session.history", any(&[ONLOOKERS])),
        ("baft.session.sync_check", any(&[ONLOOKERS])),
        // What changes something, in nobody's name: operators, and the registry for its sequences.
        ("baft.git.sync", any(&[&["olga", "registry"]])),
        ("baft.import.run", any(&[&["olga", "registry"]])),
        ("baft.preflight.run", any(&[&["olga", "registry", "gateway"]])),
        ("baft.commit.main.run", any(&[&["olga", "registry"]])),
        ("baft.commit.main.pull", any(&[&["olga", "registry"]])),
        ("baft.commit.main.apply", any(&[&["olga"]])),
        ("baft.commit.main.confirm", any(&[&["olga"]])),
        ("baft.commit.main.release", any(&[&["olga"]])),
        ("baft.session.start", any(&[&["olga"]])),
        ("baft.session.end", any(&[&["olga"]])),
        // In ann's name: herself, and who acts for everybody.
        ("baft.session.start.as.ann", any(&[&["ann", "gateway", "olga"]])),
        ("baft.session.heartbeat.as.ann", any(&[&["ann", "gateway", "olga"]])),
        ("baft.session.end.as.ann", any(&[&["ann", "gateway", "olga"]])),
        ("baft.session.sync.as.ann", any(&[&["ann", "gateway", "olga"]])),
        ("baft.commit.main.run.as.ann", any(&[&["ann", "gateway", "olga", "registry"]])),
        ("baft.commit.main.pull.as.ann", any(&[&["ann", "gateway", "olga", "registry"]])),
        ("baft.commit.main.confirm.as.ann", any(&[&["ann", "gateway", "olga"]])),
        ("baft.commit.main.apply.as.ann", any(&[&["gateway", "olga"]])),
        ("baft.commit.main.release.as.ann", any(&[&["olga"]])),
        ("baft.commit.main.apply.as.de", any(&[&["de", "gateway", "olga"]])),
        ("baft.import.run.as.ann", any(&[&["gateway", "olga", "registry"]])),
        ("baft.git.sync.as.ann", any(&[&["gateway", "olga", "registry"]])),
        ("baft.commit.main.run.as.ann.bob", any(&[&["olga"]])),
        // Events: each by its owner.
        ("baft.event.git.synced", any(&[&["git-sync"]])),
        ("baft.event.git.committed", any(&[&["agent-main", "agent-desk"]])),
        ("baft.event.git.pushed", any(&[&["agent-main", "agent-desk"]])),
        ("baft.event.git.held", any(&[&["agent-main", "agent-desk"]])),
        ("baft.event.import.published", any(&[&["importer"]])),
        ("baft.event.entity.changed", any(&[&["importer"]])),
        ("baft.event.session.started", any(&[&["registry"]])),
        ("baft.event.preflight.changed", any(&[&["probe"]])),
        ("baft.event.daemon.started", any(&[DAEMONS, &["gateway"]])),
        ("baft.dlq.importer", any(&[&["olga"]])),
        ("baft.progress.01J", any(&[DAEMONS])),
        // State.
        ("$KV.BAFT_SESSIONS.s.x", any(&[&["registry"]])),
        ("$KV.BAFT_REQUESTS.commit-agent.run.x", any(&[&["agent-main", "agent-desk"]])),
        ("$KV.BAFT_REQUESTS.session-registry.start.x", any(&[&["registry"]])),
        ("$KV.BAFT_REQUESTS.preflight-01J", any(&[&["probe"]])),
        ("$JS.API.STREAM.MSG.GET.KV_BAFT_SESSIONS", any(&[&["registry", "agent-main", "agent-desk"]])),
        (
            "$JS.API.DIRECT.GET.KV_BAFT_SESSIONS.$KV.BAFT_SESSIONS.s.x",
            any(&[&["registry", "agent-main", "agent-desk"]]),
        ),
        (
            "$JS.API.DIRECT.GET.KV_BAFT_REQUESTS.$KV.BAFT_REQUESTS.commit-agent.run.x",
            any(&[&["agent-main", "agent-desk"]]),
        ),
        ("$JS.API.DIRECT.GET.BAFT_SESSION_EVENTS", any(&[ONLOOKERS, &["registry"]])),
        ("$JS.API.DIRECT.GET.BAFT_EVENTS.baft.event.git.pushed", any(&[&["agent-main", "agent-desk"]])),
        // The server.
        ("$JS.API.INFO", any(&[EVERYBODY])),
        ("$JS.API.STREAM.CREATE.BAFT_EVENTS", any(&[&["provisioner", "olga"]])),
        ("$JS.API.STREAM.INFO.BAFT_EVENTS", any(&[ONLOOKERS, &["provisioner", "probe", "registry"]])),
        ("$JS.API.CONSUMER.LIST.BAFT_EVENTS", any(&[&["probe"]])),
        ("$SRV.PING", any(&[ONLOOKERS, &["probe"]])),
        ("_INBOX_ann.x", any(&[])),
    ];
    for nobody in [
        "$JS.API.STREAM.DELETE.BAFT_EVENTS",
        "$JS.API.STREAM.PURGE.BAFT_EVENTS",
        "$JS.API.STREAM.MSG.DELETE.BAFT_EVENTS",
        "$JS.API.CONSUMER.CREATE.BAFT_EVENTS",
        "$KV.BAFT_SESSIONS",
        "$SYS.REQ.SERVER.PING",
        "baft",
        "other.session.start.as.ann",
    ] {
        table.push((nobody, any(&[])));
    }
    table
}

/// A subject, and who may subscribe to it.
fn subscribers() -> Vec<(&'static str, BTreeSet<&'static str>)> {
    let mut table = vec![
        ("baft.git.sync", any(&[&["git-sync"]])),
        ("baft.git.sync.as.*", any(&[&["git-sync"]])),
        ("baft.commit.main.run", any(&[&["agent-main"]])),
        ("baft.commit.main.apply.as.*", any(&[&["agent-main"]])),
        ("baft.commit.desk.status", any(&[&["agent-desk"]])),
        ("baft.commit.*.run", any(&[])),
        ("baft.import.run", any(&[&["importer"]])),
        ("baft.preflight.run", any(&[&["probe"]])),
        ("baft.session.start", any(&[&["registry"]])),
        ("baft.session.start.as.*", any(&[&["registry"]])),
        ("baft.session.list", any(&[&["registry"]])),
        ("baft.event.git.synced", any(&[ONLOOKERS, &["agent-main", "agent-desk", "importer", "registry"]])),
        ("baft.event.entity.changed", any(&[ONLOOKERS])),
        ("baft.event.git.pushed", any(&[ONLOOKERS, &["git-sync", "registry"]])),
        ("baft.event.git.committed", any(&[ONLOOKERS, &["registry"]])),
        ("baft.event.session.ended", any(&[ONLOOKERS, &["agent-main", "agent-desk", "registry"]])),
        ("baft.event.>", any(&[ONLOOKERS])),
        ("baft.progress.01J", any(&[ONLOOKERS])),
        ("baft.dlq.importer", any(&[&["olga"]])),
        ("$KV.BAFT_SESSIONS.>", any(&[&["registry", "agent-main", "agent-desk"]])),
        ("$KV.BAFT_REQUESTS.>", any(&[])),
        ("$SRV.PING", any(&[DAEMONS])),
        ("$SRV.INFO.git-sync", any(&[&["git-sync"]])),
        ("$SRV.STATS.commit-agent.x", any(&[&["agent-main", "agent-desk"]])),
        ("_INBOX_commit-agent.main.x", any(&[&["agent-main"]])),
        ("_INBOX_git-sync.host.x", any(&[&["git-sync"]])),
        ("_INBOX.x", any(&[])),
        ("_INBOX_*.x", any(&[])),
        (">", any(&[])),
        ("baft.>", any(&[])),
        ("$JS.>", any(&[])),
    ];
    for me in PEOPLE {
        table.push((Box::leak(format!("_INBOX_{me}.x").into_boxed_str()), BTreeSet::from([*me])));
    }
    table
}

#[test]
fn every_user_may_do_what_the_table_says_and_nothing_else() {
    let server = server();
    let mut wrong = Vec::new();
    for user in users() {
        let mut line = Line::of(&server, &user.name);
        for (subject, allowed) in publishers() {
            let expected = allowed.contains(user.name.as_str());
            if line.may_publish(subject) != expected {
                wrong.push(format!("{} publishes to {subject}: should be {expected}", user.name));
            }
        }
        for (subject, allowed) in subscribers() {
            let expected = allowed.contains(user.name.as_str());
            if line.may_subscribe(subject) != expected {
                wrong.push(format!("{} subscribes to {subject}: should be {expected}", user.name));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}
