//! A real SSH server (asyncssh) that runs git's own `git-upload-pack` and `git-receive-pack`.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use tempfile::TempDir;

use crate::process::{Process, python_with, wait_until};

const SERVER: &str = include_str!("ssh_server.py");

/// Which keys the server has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HostKey {
    /// An Ed25519 key only.
    Ed25519,
    /// An ECDSA and an Ed25519 key; `known_hosts` knows only the ECDSA one, which a client does not prefer by itself.
    EcdsaKnownOfTwo,
}

/// A running SSH server for the repositories of a folder. Stops when dropped.
#[derive(Debug)]
pub struct GitSsh {
    folder: TempDir,
    port: u16,
    root: PathBuf,
    _process: Process,
}

impl GitSsh {
    /// Serves every repository of a folder; nothing, with the reason printed, when no SSH server can be run here.
    ///
    /// # Panics
    /// When the server starts and then fails.
    #[must_use]
    pub fn start(root: &Path, host_key: HostKey) -> Option<Self> {
        let python = python_with("asyncssh", "SSH server")?;
        let folder = tempfile::Builder::new().prefix("baft-test-ssh-").tempdir().expect("a temporary folder");
        let script = folder.path().join("server.py");
        std::fs::write(&script, SERVER).expect("a script");
        let mut command = Command::new(python);
        let keys = match host_key {
            HostKey::Ed25519 => "ed25519",
            HostKey::EcdsaKnownOfTwo => "two",
        };
        command.arg(script).arg(folder.path()).arg(keys).current_dir(root);
        let process = Process::spawn("ssh server", command);
        let ready = folder.path().join("port");
        wait_until("the SSH server listens", Duration::from_secs(30), || ready.exists().then_some(()));
        let port = std::fs::read_to_string(&ready).expect("the port").trim().parse().expect("a number");
        Some(Self { folder, port, root: root.to_owned(), _process: process })
    }

    /// The URL of the harness's remote.
    #[must_use]
    pub fn url(&self) -> String {
        format!("ssh://git@127.0.0.1:{}{}/remote.git", self.port, self.root.display())
    }

    /// The port.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// A private key the server accepts.
    #[must_use]
    pub fn key(&self) -> PathBuf {
        self.folder.path().join("client")
    }

    /// A private key the server does not accept.
    #[must_use]
    pub fn stranger_key(&self) -> PathBuf {
        self.folder.path().join("stranger")
    }

    /// A file that knows the server's key.
    #[must_use]
    pub fn known_hosts(&self) -> PathBuf {
        self.folder.path().join("known_hosts")
    }

    /// A file that knows another key for this server.
    #[must_use]
    pub fn wrong_known_hosts(&self) -> PathBuf {
        self.folder.path().join("wrong_known_hosts")
    }

    /// How many keys were offered so far.
    #[must_use]
    pub fn offers(&self) -> usize {
        std::fs::read_to_string(self.folder.path().join("offers")).unwrap_or_default().lines().count()
    }
}
