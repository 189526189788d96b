//! The daemons, as processes.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result};
use baft_bus::{Bus, Identity, NatsArgs};
use baft_tests::{NatsServer, Port, Process, bin, wait_until};

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

/// A client's connection, with the streams in place.
pub struct Client {
    runtime: tokio::runtime::Runtime,
    bus: Bus,
}

impl Client {
    pub fn connect(nats: &NatsServer) -> Result<Self> {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
        let identity = Identity {
            name: "bench".to_owned(),
            instance: "bench".to_owned(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
        };
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

    /// Asks the importer to look now.
    pub fn import(&self) -> Result<baft_bus::payload::ImportRunResponse> {
        let request = baft_bus::payload::ImportRunRequest::default();
        let answer = self.bus.request("import.run", &request, Duration::from_secs(300));
        self.runtime.block_on(answer).context("request import.run")
    }
}
