//! The daemons, as processes.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use baft_bus::{Bus, Identity, NatsArgs};
use baft_tests::{NatsServer, Port, Process, bin, wait_until};

use crate::scrape::Metrics;

/// How long anything may take to start.
const START: Duration = Duration::from_secs(120);

/// A daemon and the address of its admin server.
pub struct Daemon {
    pub process: Process,
    pub admin: Port,
}

impl Daemon {
    fn start(name: &str, mut command: Command) -> Self {
        let admin = Port::lease();
        command.arg("--admin-addr").arg(admin.address().to_string()).env("BAFT_LOG_LEVEL", "warn");
        // As in an image; with them OpenSSL reads every certificate at the start, needed or not.
        command.env_remove("SSL_CERT_FILE").env_remove("SSL_CERT_DIR");
        Self { process: Process::spawn(name, command), admin }
    }

    /// For commit-agent: until it has nothing more to push or to look at.
    pub fn wait_until_pushed(&self) -> Result<()> {
        let until = Instant::now() + START;
        loop {
            let metrics = Metrics::of(self.admin.address())?;
            let waiting = ["unpushed_commits", "oldest_uncaptured_change_seconds"];
            let left: f64 = waiting.iter().map(|name| metrics.sum(&format!("baft_commit_agent_{name}"))).sum();
            if left == 0.0 && metrics.sum("baft_commit_agent_cycles_total") > 0.0 {
                return Ok(());
            }
            ensure!(Instant::now() < until, "commit-agent does not come to rest:\n{}", self.process.logs());
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

/// git-sync, told not to look by itself more often than `period`.
pub fn git_sync(repo: &str, root: &Path, period: &str, nats: Option<&NatsServer>) -> Daemon {
    let mut command = Command::new(bin("git-sync"));
    command.arg("--repo").arg(repo).args(["--ref", "main", "--link", "framework", "--period", period]);
    command.arg("--root").arg(root);
    tell_of(nats, &mut command);
    let mut daemon = Daemon::start("git-sync", command);
    let link = root.join("framework");
    wait_until("git-sync's first checkout", START, || {
        assert!(daemon.process.is_running(), "git-sync ended:\n{}", daemon.process.logs());
        link.exists().then_some(())
    });
    daemon
}

/// What the measured commit-agent is called.
pub const AGENT: &str = "bench";

/// When commit-agent looks at the files.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Looks {
    /// When one is saved.
    Watching,
    /// When asked.
    WhenAsked,
}

/// commit-agent on a clone that it makes or made, ready, without a quiet period.
pub fn commit_agent(clone: &Path, repo: &str, looks: Looks, nats: Option<&NatsServer>) -> Result<Daemon> {
    let mut command = Command::new(bin("commit-agent"));
    command.arg("--clone").arg(clone).arg("--repo").arg(repo).args(["--agent", AGENT, "--schedule", "1h"]);
    command.args(["--quiet", "0s", "--max-wait", "60s"]);
    command.arg(format!("--watch={}", looks == Looks::Watching));
    tell_of(nats, &mut command);
    let mut daemon = Daemon::start("commit-agent", command);
    let address = daemon.admin.address();
    wait_until("commit-agent to be ready", START, || {
        assert!(daemon.process.is_running(), "commit-agent ended:\n{}", daemon.process.logs());
        (baft_tests::web::get(address, "/readyz").0 == 200).then_some(())
    });
    daemon.wait_until_pushed()?;
    Ok(daemon)
}

/// Where the importer reads.
#[derive(Clone, Copy)]
pub enum From<'a> {
    /// git-sync's root.
    GitSync(&'a Path),
    /// A repository's commits.
    Commits(&'a Path),
    /// A clone's files.
    Files(&'a Path),
}

impl From<'_> {
    fn arguments(self, command: &mut Command) {
        match self {
            Self::GitSync(root) => command.arg("--root").arg(root).args(["--source", "git"]),
            Self::Commits(repo) => command.arg("--root").arg(repo).arg("--repo").arg(repo).args(["--source", "git"]),
            Self::Files(clone) => command.arg("--root").arg(clone).args(["--source", "worktree"]),
        };
    }
}

/// The importer as a daemon, after its first generation.
pub fn importer(from: From<'_>, workspace: &Path, nats: Option<&NatsServer>) -> Daemon {
    let mut command = Command::new(bin("duckdb-importer"));
    command.arg("run");
    from.arguments(&mut command);
    command.arg("--workspace").arg(workspace);
    tell_of(nats, &mut command);
    let mut daemon = Daemon::start("duckdb-importer", command);
    let database = database(workspace);
    wait_until("the importer's first generation", START, || {
        assert!(daemon.process.is_running(), "duckdb-importer ended:\n{}", daemon.process.logs());
        database.exists().then_some(())
    });
    daemon
}

/// The importer, once.
pub fn import_once(from: From<'_>, workspace: &Path) -> Command {
    let mut command = Command::new(bin("duckdb-importer"));
    command.arg("import");
    from.arguments(&mut command);
    command.arg("--workspace").arg(workspace).env("BAFT_LOG_LEVEL", "warn");
    command
}

/// The published file.
pub fn database(workspace: &Path) -> PathBuf {
    workspace.join("itp.duckdb")
}

fn tell_of(nats: Option<&NatsServer>, command: &mut Command) {
    command.env_remove("NATS_URL");
    if let Some(nats) = nats {
        command.env("NATS_URL", nats.url());
    }
}

/// session-registry, answering.
pub fn session_registry(nats: &NatsServer) -> Daemon {
    let mut command = Command::new(bin("session-registry"));
    command.args(["--sync-check", "0s"]);
    tell_of(Some(nats), &mut command);
    let mut daemon = Daemon::start("session-registry", command);
    let address = daemon.admin.address();
    wait_until("session-registry to be ready", START, || {
        assert!(daemon.process.is_running(), "session-registry ended:\n{}", daemon.process.logs());
        (baft_tests::web::get(address, "/readyz").0 == 200).then_some(())
    });
    daemon
}

/// Who measures.
pub fn identity() -> Identity {
    Identity { name: "bench".to_owned(), instance: "bench".to_owned(), version: env!("CARGO_PKG_VERSION").to_owned() }
}

/// A client's connection, with the streams in place.
pub struct Client {
    runtime: tokio::runtime::Runtime,
    bus: Bus,
}

impl Client {
    pub fn connect(nats: &NatsServer) -> Result<Self> {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
        let identity = identity();
        let bus = runtime.block_on(async {
            let bus = Bus::connect_now(&NatsArgs::for_url(&nats.url()), identity).await?;
            baft_bus::topology::ensure(&bus).await?;
            anyhow::Ok(bus)
        })?;
        Ok(Self { runtime, bus })
    }

    /// Announces a push, as commit-agent does.
    pub fn pushed(&self, repo: &str, commit: &str) {
        let payload = baft_bus::payload::GitPushed {
            repo: repo.to_owned(),
            reference: "refs/heads/main".to_owned(),
            commit: commit.to_owned(),
            parent: None,
            files: Vec::new(),
            truncated: false,
            session_id: None,
            author: "Bench <bench@example.org>".to_owned(),
        };
        self.runtime.block_on(self.bus.emit_best_effort(&payload));
    }

    /// Asks git-sync to look now.
    pub fn sync(&self) -> Result<baft_bus::payload::GitSyncResponse> {
        let request = baft_bus::payload::GitSyncRequest::default();
        let answer = self.bus.request("git.sync", &request, Duration::from_secs(60));
        self.runtime.block_on(answer).context("request git.sync")
    }

    /// Asks commit-agent to look now, without waiting for the answer yet.
    pub fn commit_in_background(&self) -> Asking<'_> {
        let bus = self.bus.clone();
        let answer = self.runtime.spawn(async move {
            let request = baft_bus::payload::CommitRunRequest::default();
            let subject = format!("commit.{AGENT}.run");
            bus.request::<_, baft_bus::payload::CommitRunResponse>(&subject, &request, START).await
        });
        Asking { client: self, answer }
    }

    /// Asks the importer to look now.
    pub fn import(&self) -> Result<baft_bus::payload::ImportRunResponse> {
        let request = baft_bus::payload::ImportRunRequest::default();
        let answer = self.bus.request("import.run", &request, Duration::from_secs(300));
        self.runtime.block_on(answer).context("request import.run")
    }
}

/// A request under way.
pub struct Asking<'a> {
    client: &'a Client,
    answer: tokio::task::JoinHandle<Result<baft_bus::payload::CommitRunResponse, baft_bus::RequestError>>,
}

impl Asking<'_> {
    pub fn wait(self) -> Result<()> {
        let answer = self.client.runtime.block_on(self.answer)?;
        answer.map(drop).context("request commit.run")
    }
}
