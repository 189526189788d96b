//! The whole fleet, each daemon with a user of its own that may do nothing but its work, and people with theirs.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::path::Path;
use std::time::Duration;

use baft_bus::kv::{Bucket, WriteError};
use baft_bus::payload::{CommitRunResponse, SessionEndResponse, SessionStartResponse, SessionState};
use baft_bus::permissions::{Proof, Role, User, authorization};
use baft_bus::{Bus, BusError, Code, Identity, NatsArgs, Prefix, RequestOptions};
use baft_tests::git::git;
use baft_tests::{GitRemote, NatsServer, Port, Process, wait_until_async, web};
use serde_json::{Value, json};

const PASSWORD: &str = "open-sesame";
const SOON: Duration = Duration::from_secs(60);

fn server() -> NatsServer {
    let role = |name: &str, role: Role| (User::new(name, role).unwrap(), Proof::Password(PASSWORD.to_owned()));
    let users = [
        role("git-sync", Role::GitSync),
        role("commit-agent", Role::CommitAgent("desk".to_owned())),
        role("importer", Role::Importer),
        role("probe", Role::Probe),
        role("registry", Role::Registry),
        role("provisioner", Role::Provisioner),
        role("ann", Role::Analyst),
        role("bob", Role::Analyst),
        role("rita", Role::Reader),
    ];
    let rules = authorization(&Prefix::default(), &users);
    NatsServer::start_with(|port, store| {
        let store = store.display();
        format!("listen: \"127.0.0.1:{port}\"\njetstream {{ store_dir: \"{store}\", sync_interval: always }}\n{rules}")
    })
}

fn url(nats: &NatsServer, user: &str) -> String {
    format!("nats://{user}:{PASSWORD}@127.0.0.1:{}", nats.port())
}

/// Somebody at the keyboard.
async fn connect(nats: &NatsServer, user: &str) -> Bus {
    let me = Identity { name: "baft".to_owned(), instance: "cli".to_owned(), version: "0.0.0".to_owned() };
    let inbox = Some(format!("_INBOX_{user}"));
    let args = NatsArgs { nats_inbox_prefix: inbox, ..NatsArgs::for_url(&url(nats, user)) };
    Bus::connect_now(&args, me).await.unwrap()
}

struct Fleet {
    processes: Vec<(Port, Process)>,
}

impl Fleet {
    fn start(&mut self, nats: &NatsServer, user: &str, program: &str, args: &[String]) {
        let admin = Port::lease();
        let own = [format!("--admin-addr={}", admin.address()), format!("--nats-url={}", url(nats, user))];
        let process = Process::spawn_bin(program, [args, &own].concat(), &[]);
        self.processes.push((admin, process));
    }

    fn logs(&self) -> String {
        self.processes.iter().map(|(_, process)| process.logs()).collect()
    }

    /// Until every daemon is ready.
    async fn ready(&mut self) {
        for (admin, process) in &mut self.processes {
            wait_until_async("a daemon to be ready", SOON, || {
                assert!(process.is_running(), "{}", process.logs());
                let ready = web::get(admin.address(), "/readyz").0 == 200;
                async move { ready.then_some(()) }
            })
            .await;
        }
    }
}

fn as_whom(principal: &str) -> RequestOptions {
    RequestOptions { principal: Some(principal.to_owned()), ..RequestOptions::timeout(SOON) }
}

async fn refused(bus: &Bus, what: &str, principal: Option<&str>, body: &Value) {
    let options =
        RequestOptions { principal: principal.map(str::to_owned), ..RequestOptions::timeout(Duration::from_secs(5)) };
    let error = bus.request_with::<_, Value>(what, body, options).await.unwrap_err();
    assert_eq!(error.code, Code::Forbidden, "{what} as {principal:?}: {error:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_fleet_whose_users_may_only_do_their_own_work_does_it_all() {
    let nats = server();
    let provisioner = connect(&nats, "provisioner").await;
    baft_bus::topology::ensure(&provisioner).await.unwrap();
    let (remote, _) = GitRemote::with_files(&[(
        "data/gaps.yaml",
        "entries:\n- id: G01-01\n  description: One\n  priority: 1\n  status: OPEN\n",
    )]);
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).display().to_string();
    let clone = folder.path().join("clone");
    let mut fleet = Fleet { processes: Vec::new() };
    let repo = format!("--repo={}", remote.url());
    let own = |args: &[&str]| args.iter().map(|arg| (*arg).to_owned()).collect::<Vec<_>>();
    fleet.start(
        &nats,
        "git-sync",
        "git-sync",
        &own(&[&repo, &format!("--root={}", path("sync")), "--link=link", "--period=2s", "--require-principal"]),
    );
    fleet.start(
        &nats,
        "commit-agent",
        "commit-agent",
        &own(&[
            &repo,
            &format!("--clone={}", path("clone")),
            "--agent=desk",
            "--quiet=200ms",
            "--watch",
            "--require-principal",
        ]),
    );
    fleet.start(&nats, "registry", "session-registry", &own(&["--default-agent=desk", "--require-principal"]));
    fleet.start(&nats, "probe", "preflight-probe", &own(&["--schedule=2s"]));
    let args = [format!("--root={}", remote.bare().display()), format!("--repo={}", remote.bare().display())];
    let import = [
        own(&["run", "--source=git", &format!("--workspace={}", path("workspace")), "--require-principal"]),
        args.to_vec(),
    ]
    .concat();
    fleet.start(&nats, "importer", "duckdb-importer", &import);
    // The probe is ready as soon as it has looked, whatever it finds.
    fleet.ready().await;

    let ann = connect(&nats, "ann").await;
    let start = json!({ "session_id": "anns-day", "author": { "name": "Ann", "email": "ann@example.org" } });
    let started: SessionStartResponse = ann.request_with("session.start", &start, as_whom("ann")).await.unwrap();
    assert_eq!(started.state, SessionState::Active, "{started:#?}");
    assert!(started.import.is_some() && started.preflight.is_some(), "{started:#?}");
    std::fs::write(clone.join("data/notes.md"), "# Ann's\n").unwrap();
    let run = json!({ "session_id": "anns-day", "epoch": started.epoch, "message": "notes" });
    let done: CommitRunResponse = ann.request_with("commit.desk.run", &run, as_whom("ann")).await.unwrap();
    assert!(done.pushed, "{done:#?}");
    let newest = |format: &str| git(&remote.bare(), &["log", "-1", &format!("--format={format}"), "main"]);
    wait_until_async("the commit", SOON, || {
        let found = newest("%an|%(trailers:key=Session,valueonly)");
        async move { (found.trim() == "Ann|anns-day").then_some(()) }
    })
    .await;
    // What is pushed is synced because of the event, and the history is there to be read.
    let rita = connect(&nats, "rita").await;
    wait_until_async("git-sync to have it", SOON, || async {
        let status: Value = rita.request("git.status", &json!({}), SOON).await.unwrap();
        (status["head"] == json!(newest("%H"))).then_some(())
    })
    .await;
    let mut events =
        baft_bus::history::History::open(&rita, "git.pushed", baft_bus::history::From::Newest(5)).await.unwrap();
    assert!(events.next().await.unwrap().is_some());
    let complaints =
        |logs: &str| logs.lines().filter(|line| line.contains("iolation")).map(str::to_owned).collect::<Vec<_>>();
    assert_eq!(complaints(&nats.logs()), Vec::<String>::new());
    assert_eq!(complaints(&fleet.logs()), Vec::<String>::new());

    // Nobody acts for ann, and ann for nobody.
    let bob = connect(&nats, "bob").await;
    refused(&bob, "commit.desk.run", Some("ann"), &run).await;
    refused(&bob, "commit.desk.run", Some("bob"), &run).await;
    refused(&bob, "commit.desk.run", None, &run).await;
    refused(&ann, "commit.desk.release", Some("ann"), &json!({ "paths": ["x"] })).await;
    refused(&rita, "session.start", Some("rita"), &json!({})).await;
    let error = Bucket::open(&rita, "SESSIONS").create("s.forged", "{}".into()).await;
    assert!(matches!(error, Err(WriteError::Bus(BusError::NotPermitted { .. }))), "{error:?}");
    let end = json!({ "session_id": "anns-day", "epoch": started.epoch });
    refused(&bob, "session.end", Some("bob"), &end).await;
    let ended: SessionEndResponse = ann.request_with("session.end", &end, as_whom("ann")).await.unwrap();
    assert_eq!((ended.state, ended.pushed), (SessionState::Ended, true), "{ended:#?}");
    assert!(Path::new(&path("workspace")).join("itp.duckdb").exists());
}
