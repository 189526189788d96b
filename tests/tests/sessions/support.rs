//! A fleet: remote, clone, checkouts, database, registry, all real.

use std::path::PathBuf;
use std::time::Duration;

use baft_bus::payload::*;
use baft_bus::{Bus, RequestError};
use baft_tests::git::git;
use baft_tests::{GitRemote, NatsServer, Port, Process, wait_until_async};
use serde::Serialize;
use serde::de::DeserializeOwned;
use tempfile::TempDir;

/// Debug builds on a busy machine are slow.
pub const SOON: Duration = Duration::from_secs(60);

pub struct Fleet {
    nats: NatsServer,
    pub bus: Bus,
    pub remote: GitRemote,
    folder: TempDir,
    /// commit-agent, git-sync, duckdb-importer.
    pub daemons: Vec<Process>,
    pub registry: Option<Process>,
}

impl Fleet {
    /// Every daemon, ready.
    pub async fn start() -> Self {
        let nats = NatsServer::start();
        let bus = nats.client().await;
        let (remote, _) =
            GitRemote::with_files(&[("data/gaps.yaml", "entries:\n- id: G01-01\n  description: Wells\n")]);
        let folder = tempfile::Builder::new().prefix("baft-sessions-").tempdir().unwrap();
        let path = |name: &str| folder.path().join(name).display().to_string();
        let (repo, url) = (remote.url(), nats.url());
        let (clone, root, workspace) = (path("clone"), path("root"), path("workspace"));
        let link = format!("{root}/framework");
        let programs: [(&str, Vec<&str>); 3] = [
            (
                "commit-agent",
                vec![
                    "--repo",
                    &repo,
                    "--clone",
                    &clone,
                    "--agent",
                    "main",
                    "--schedule",
                    "1h",
                    "--quiet",
                    "0s",
                    "--max-backoff",
                    "1s",
                ],
            ),
            ("git-sync", vec!["--repo", &repo, "--root", &root, "--link", &link, "--period", "1h"]),
            (
                "duckdb-importer",
                vec!["run", "--root", &repo, "--repo", &repo, "--source", "git", "--workspace", &workspace],
            ),
        ];
        let mut daemons = Vec::new();
        for (name, mut args) in programs {
            let admin = Port::lease().address().to_string();
            args.extend(["--admin-addr", &admin]);
            daemons.push(Process::spawn_bin(name, args, &[("NATS_URL", &url)]));
        }
        let mut fleet = Self { nats, bus, remote, folder, daemons, registry: None };
        fleet.start_registry();
        wait_until_async("every daemon to answer", SOON, || async {
            let status: SessionStatusResponse = fleet.ask("status", &serde_json::json!({})).await.ok()?;
            let up = |name: &str| status.services.iter().any(|service| service.name == name && service.up);
            let all = ["commit-agent", "git-sync", "duckdb-importer"].into_iter().all(up);
            let head = status.clone.as_ref().is_some_and(|clone| clone.head.is_some());
            (all && head && status.database?.generation.is_some()).then_some(())
        })
        .await;
        fleet
    }

    /// A session-registry, in the place of the one before.
    pub fn start_registry(&mut self) {
        let (markers, admin) = (self.path("markers").display().to_string(), Port::lease().address().to_string());
        let args = ["--default-agent", "main", "--markers", &markers, "--adopt-after", "2s", "--sync-check", "0s"];
        let args = args.into_iter().chain(["--admin-addr", &admin]);
        self.registry = Some(Process::spawn_bin("session-registry", args, &[("NATS_URL", &self.nats.url())]));
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Saves a file in the clone.
    pub fn save(&self, file: &str, text: &str) {
        std::fs::write(self.path("clone").join(file), text).unwrap();
    }

    /// What the remote's branch has in a file.
    pub fn on_remote(&self, file: &str) -> String {
        git(&self.remote.bare(), &["show", &format!("main:{file}")])
    }

    /// The remote's newest commit, by a format of `git log`.
    pub fn newest(&self, format: &str) -> String {
        git(&self.remote.bare(), &["log", "-1", &format!("--format={format}"), "main"])
    }

    pub async fn ask<Req: Serialize + Sync, Resp: DeserializeOwned>(
        &self,
        what: &str,
        request: &Req,
    ) -> Result<Resp, RequestError> {
        self.bus.request(&format!("session.{what}"), request, SOON).await
    }

    pub async fn begin(&self, id: &str) -> SessionStartResponse {
        let request = SessionStartRequest {
            session_id: Some(id.to_owned()),
            analyst: Some("ann".to_owned()),
            author: Some(Person { name: "Ann".to_owned(), email: "ann@example.org".to_owned() }),
            ..SessionStartRequest::default()
        };
        self.ask("start", &request).await.unwrap()
    }

    pub async fn end(&self, started: &SessionStartResponse, message: &str) -> Result<SessionEndResponse, RequestError> {
        let request = SessionEndRequest {
            session_id: started.session_id.clone(),
            epoch: Some(started.epoch.clone()),
            message: Some(message.to_owned()),
            force: false,
        };
        self.ask("end", &request).await
    }

    pub async fn state(&self, id: &str) -> Option<SessionState> {
        let request = SessionGetRequest { session_id: id.to_owned() };
        self.ask::<_, SessionGetResponse>("get", &request).await.ok().map(|session| session.record.state)
    }
}

pub fn gaps(text: &str) -> String {
    format!("entries:\n- id: G01-01\n  description: {text}\n")
}
