//! A workstation in a temporary folder: programs, repositories, a database, Ollama.
#![allow(dead_code)] // Each test file uses a part of this.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use baft_bus::NatsArgs;
use baft_bus::payload::{CheckReport, CheckStatus, PreflightReport};
use baft_preflight_probe::{Order, Profile, Scene, run};
use baft_tests::NatsServer;
use baft_tests::git::{GitRemote, git};
use tempfile::TempDir;

/// A workstation.
pub struct Place {
    pub folder: TempDir,
    pub scene: Scene,
}

impl Place {
    /// With programs and folders, and nothing else.
    pub fn new(profile: Profile) -> Self {
        let folder = tempfile::Builder::new().prefix("baft-test-place-").tempdir().unwrap();
        let mut scene = Scene::new(profile);
        std::fs::create_dir(folder.path().join("root")).unwrap();
        scene.root = Some(folder.path().join("root"));
        let mut path = folder.path().join("bin").into_os_string();
        std::fs::create_dir(&path).unwrap();
        path.push(":/usr/bin:/bin");
        scene.path = Some(path);
        // Nobody listens there.
        scene.nats = NatsArgs::for_url("nats://127.0.0.1:1");
        Self { folder, scene }
    }

    pub fn path(&self, path: &str) -> PathBuf {
        self.folder.path().join(path)
    }

    /// Installs a program.
    pub fn program(&self, name: &str, script: &str) {
        let path = self.path("bin").join(name);
        std::fs::write(&path, format!("#!/bin/sh\n{script}\n")).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
    }

    /// Repositories of the Python actors, empty.
    pub fn repositories(&self, names: &[&str]) {
        for name in names {
            std::fs::create_dir_all(self.path("root").join(name)).unwrap();
        }
    }

    /// The data, as a clone of a remote with one commit.
    pub fn data(&self, name: &str) -> GitRemote {
        let (remote, _) = GitRemote::with_files(&[("data/gaps.yaml", "entries: []\n")]);
        git(&self.path("root"), &["clone", "-q", &remote.url(), name]);
        remote
    }

    /// A database of this size, written this long ago.
    pub fn database(&mut self, bytes: u64, age: Duration) {
        let path = self.path("itp.duckdb");
        let mut file = std::fs::File::create(&path).unwrap();
        file.write_all(b"checksumDUCK").unwrap();
        file.set_len(bytes).unwrap();
        file.set_modified(SystemTime::now() - age).unwrap();
        self.scene.database = Some(path);
    }

    pub fn set(&mut self, names: &[&str]) {
        self.scene.variables.extend(names.iter().map(|name| (*name).to_owned()));
    }

    pub fn nats(&mut self, server: &NatsServer) {
        self.scene.nats = NatsArgs::for_url(&server.url());
    }

    /// Runs a command that a hint named, in a shell.
    pub fn shell(&self, command: &str) {
        let mut shell = Command::new("sh");
        shell.args(["-c", command]).current_dir(self.folder.path()).env("PATH", self.scene.path.as_ref().unwrap());
        let output = shell.output().unwrap();
        assert!(output.status.success(), "{command}: {}", String::from_utf8_lossy(&output.stderr));
    }

    /// Everything of the profile.
    pub async fn all(&self) -> PreflightReport {
        run(&Arc::new(self.scene.clone()), &Order::default()).await.unwrap()
    }

    /// One check and what it needs.
    pub async fn check(&self, id: &str) -> CheckReport {
        let order = Order { only: vec![id.to_owned()], ..Order::default() };
        let report = run(&Arc::new(self.scene.clone()), &order).await.unwrap();
        report.checks.into_iter().find(|check| check.id == id).unwrap()
    }

    /// It passes, and says this.
    pub async fn passes(&self, id: &str, message: &str) {
        let check = self.check(id).await;
        assert_eq!((check.status, check.message.as_str(), &check.hint), (CheckStatus::Pass, message, &None), "{id}");
    }

    /// It is not asked of a fleet that has no such daemon.
    pub async fn passes_not_expected(&self, id: &str, name: &str) {
        let check = self.check(id).await;
        let expected = format!("{name}: not part of this fleet");
        assert_eq!((check.status, check.message, check.because), (CheckStatus::Skip, expected, None));
    }

    /// It does not, and says this; gives the hint.
    pub async fn hint(&self, id: &str, status: CheckStatus, message: &str) -> String {
        let check = self.check(id).await;
        assert_eq!((check.status, check.message.as_str()), (status, message), "{id}");
        check.hint.unwrap_or_else(|| panic!("{id} has no hint"))
    }
}

/// A stand-in for Ollama: it knows models by name.
pub struct Ollama {
    pub address: SocketAddr,
    pub models: Arc<Mutex<Vec<String>>>,
}

impl Ollama {
    pub fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let models: Arc<Mutex<Vec<String>>> = Arc::default();
        let shown = models.clone();
        // Ends with the test process.
        std::thread::spawn(move || {
            for mut stream in listener.incoming().flatten() {
                let mut request = [0; 2048];
                let _ = stream.read(&mut request);
                let names: Vec<String> =
                    shown.lock().unwrap().iter().map(|name| format!("{{\"name\":\"{name}\"}}")).collect();
                let body = format!("{{\"models\":[{}]}}", names.join(","));
                let head = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\nconnection: close";
                let _ = write!(stream, "{head}\r\ncontent-length: {}\r\n\r\n{body}", body.len());
            }
        });
        Self { address, models }
    }

    pub fn url(&self) -> String {
        format!("http://localhost:{}", self.address.port())
    }
}

/// Writes a file.
pub fn write(path: &Path, text: &str) {
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(path, text).unwrap();
}
