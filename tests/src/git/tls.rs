//! TLS in front of the HTTP server.

use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use tempfile::TempDir;

use super::GitHttp;
use crate::process::{Process, python_with, wait_until};

const FRONT: &str = include_str!("tls_front.py");

/// A running front that takes TLS off, one connection to the server behind for each to it. Stops when dropped.
#[derive(Debug)]
pub struct GitTls {
    folder: TempDir,
    port: u16,
    _process: Process,
}

impl GitTls {
    /// Starts in front of a server; nothing, with the reason printed, when that cannot be done here.
    ///
    /// # Panics
    /// When it starts and then fails.
    #[must_use]
    pub fn start(server: &GitHttp) -> Option<Self> {
        let python = python_with("cryptography", "TLS")?;
        let folder = tempfile::Builder::new().prefix("baft-test-tls-").tempdir().expect("a temporary folder");
        let script = folder.path().join("front.py");
        std::fs::write(&script, FRONT).expect("a script");
        let mut command = Command::new(python);
        command.arg(script).arg(folder.path()).arg(server.port().to_string());
        let process = Process::spawn("TLS front", command);
        let ready = folder.path().join("port");
        wait_until("the TLS front listens", Duration::from_secs(30), || ready.exists().then_some(()));
        let port = std::fs::read_to_string(&ready).expect("the port").trim().parse().expect("a number");
        Some(Self { folder, port, _process: process })
    }

    /// The URL of the harness's remote.
    #[must_use]
    pub fn url(&self) -> String {
        format!("https://localhost:{}/remote.git", self.port)
    }

    /// The authority (PEM) that signed its certificate.
    #[must_use]
    pub fn authority(&self) -> PathBuf {
        self.folder.path().join("ca.pem")
    }
}
