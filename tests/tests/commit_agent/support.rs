//! A commit-agent under test, and what is around it.

use std::path::PathBuf;
use std::time::Duration;

use baft_bus::{Bus, RequestError};
use baft_tests::git::{command, git};
use baft_tests::{GitRemote, Port, Process, wait_until, wait_until_async, web};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use tempfile::TempDir;

/// Debug builds on a busy machine are slow.
pub const SOON: Duration = Duration::from_secs(40);

/// A folder for a clone, with the port of the agent's admin server.
pub struct Desk {
    folder: TempDir,
    pub admin: Port,
    pub name: &'static str,
}

impl Desk {
    pub fn new() -> Self {
        Self::named("desk")
    }

    pub fn named(name: &'static str) -> Self {
        let folder = tempfile::Builder::new().prefix("baft-commit-agent-").tempdir().unwrap();
        Self { folder, admin: Port::lease(), name }
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub fn clone(&self) -> PathBuf {
        self.path("clone")
    }

    /// Starts commit-agent on a remote: it watches, with short pauses, unless the arguments say otherwise.
    pub fn start(&self, url: &str, args: &[&str]) -> Process {
        self.start_with(url, args, &[])
    }

    pub fn start_with(&self, url: &str, args: &[&str], env: &[(&str, &str)]) -> Process {
        Process::spawn_bin("commit-agent", self.arguments(url, args), env)
    }

    pub fn arguments(&self, url: &str, args: &[&str]) -> Vec<String> {
        let mut all = vec![format!("--clone={}", self.clone().display())];
        let admin = self.admin.address().to_string();
        let defaults = [
            ("--repo", url),
            ("--agent", self.name),
            ("--admin-addr", admin.as_str()),
            ("--schedule", "1h"),
            ("--watch", "true"),
            ("--quiet", "200ms"),
            ("--max-wait", "2s"),
            ("--max-backoff", "1s"),
        ];
        for (flag, value) in defaults {
            if !args.iter().any(|arg| arg.split('=').next() == Some(flag)) && !value.is_empty() {
                all.push(format!("{flag}={value}"));
            }
        }
        all.extend(args.iter().map(|arg| (*arg).to_owned()));
        all
    }

    /// Starts it and waits until it is ready.
    pub fn ready(&self, url: &str, args: &[&str]) -> Process {
        let mut process = self.start(url, args);
        self.wait_ready(&mut process);
        process
    }

    pub fn wait_ready(&self, process: &mut Process) {
        wait_until("the agent to be ready", SOON, || {
            assert!(process.is_running(), "it ended: {}", process.logs());
            (self.get("/readyz").0 == 200).then_some(())
        });
    }

    /// Runs it to its end; gives its exit code and its log.
    pub fn once(&self, url: &str, args: &[&str]) -> (i32, String) {
        let mut process = self.start(url, &[&["--one-time"], args].concat());
        let status = process.wait(SOON);
        (status.code().unwrap_or(-1), process.logs())
    }

    pub fn get(&self, path: &str) -> (u16, String) {
        web::get(self.admin.address(), path)
    }

    pub fn metric(&self, name: &str) -> f64 {
        web::metric(self.admin.address(), &format!("baft_commit_agent_{name}"))
    }

    /// Saves a file in the clone, as an editor does that writes in place.
    pub fn save(&self, file: &str, text: &str) {
        let path = self.clone().join(file);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }

    pub fn read(&self, file: &str) -> Option<String> {
        std::fs::read_to_string(self.clone().join(file)).ok()
    }

    /// Runs git in the clone, again while the agent holds the index.
    pub fn git(&self, args: &[&str]) -> String {
        wait_until(&format!("git {args:?}"), SOON, || {
            let output = command(&self.clone()).args(args).output().unwrap();
            let error = String::from_utf8_lossy(&output.stderr);
            if output.status.success() {
                return Some(String::from_utf8_lossy(&output.stdout).trim_end().to_owned());
            }
            assert!(error.contains("index.lock"), "git {args:?}: {error}");
            None
        })
    }

    /// Makes the clone before the agent does, as a person would.
    pub fn clone_by_hand(&self, url: &str) {
        git(self.folder.path(), &["clone", "-q", url, "clone"]);
    }
}

/// What the remote's branch has in a file.
pub fn on_remote(remote: &GitRemote, file: &str) -> Option<String> {
    at_remote(remote, "main", file)
}

/// What a branch or ref of the remote has in a file.
pub fn at_remote(remote: &GitRemote, reference: &str, file: &str) -> Option<String> {
    let output = command(&remote.bare()).args(["cat-file", "blob", &format!("{reference}:{file}")]).output().unwrap();
    output.status.success().then(|| String::from_utf8_lossy(&output.stdout).into_owned())
}

pub fn wait_for_remote(remote: &GitRemote, file: &str, text: &str) {
    wait_until(&format!("{file} on the remote to be {text:?}"), SOON, || {
        (on_remote(remote, file).as_deref() == Some(text)).then_some(())
    });
}

pub fn wait_for_file(desk: &Desk, file: &str, text: &str) {
    wait_until(&format!("{file} in the clone to be {text:?}"), SOON, || {
        (desk.read(file).as_deref() == Some(text)).then_some(())
    });
}

/// The remote's newest commit, by a format of `git log`.
pub fn newest(remote: &GitRemote, format: &str) -> String {
    git(&remote.bare(), &["log", "-1", &format!("--format={format}"), "main"])
}

/// Waits until the agent called `desk` answers.
pub async fn answering(bus: &Bus) {
    wait_until_async("the agent to answer", SOON, || async {
        ask::<_, Value>(bus, "status", &serde_json::json!({})).await.ok().map(drop)
    })
    .await;
}

/// Asks the agent called `desk`.
pub async fn ask<Req: Serialize + Sync, Resp: DeserializeOwned>(
    bus: &Bus,
    what: &str,
    request: &Req,
) -> Result<Resp, RequestError> {
    bus.request(&format!("commit.desk.{what}"), request, SOON).await
}
