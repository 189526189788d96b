//! A real nats-server with JetStream in a temporary folder.

use std::ffi::OsString;
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use baft_bus::{Bus, Identity, NatsArgs};
use rustix::process::Signal;
use tempfile::TempDir;

use crate::ports::Port;
use crate::process::{Process, wait_until, workspace};

/// The user the plain configuration knows.
pub const USER: &str = "baft";
/// Its password.
pub const PASSWORD: &str = "test-password";

/// A nats-server of its own: a store in a temporary folder, a leased port, JetStream with `sync_interval: always`.
///
/// It can be stopped, killed and started again on the same port and store. Gone when dropped.
#[derive(Debug)]
pub struct NatsServer {
    program: PathBuf,
    port: Port,
    folder: TempDir,
    process: Option<Process>,
}

impl NatsServer {
    /// Starts a server with the configuration that `baft up` uses, and waits until it answers.
    ///
    /// # Panics
    /// When no nats-server is found or it does not start; the message says what to do.
    #[must_use]
    pub fn start() -> Self {
        let mut server = Self::prepare();
        server.restart();
        server
    }

    /// A server that is configured but not running: its port refuses connections until [`Self::restart`].
    #[must_use]
    pub fn prepare() -> Self {
        Self::prepare_with(find_server(), |port, store| baft_bus::private_server_config(port, store, USER, PASSWORD))
    }

    /// Starts a server with another configuration, made from the port and the store's folder.
    #[must_use]
    pub fn start_with(config: impl FnOnce(u16, &Path) -> String) -> Self {
        let mut server = Self::prepare_with(find_server(), config);
        server.restart();
        server
    }

    /// Starts the 2.10 server that Baft must refuse, if one is installed: `$BAFT_NATS_SERVER_OLD` or
    /// `.tools/bin/nats-server-2.10` (`make tools` puts it there).
    #[must_use]
    pub fn start_old() -> Option<Self> {
        let program = std::env::var_os("BAFT_NATS_SERVER_OLD")
            .filter(|value| !value.is_empty())
            .map_or_else(|| workspace().join(".tools/bin/nats-server-2.10"), PathBuf::from);
        if !program.is_file() {
            return None;
        }
        let mut server =
            Self::prepare_with(program, |port, store| baft_bus::private_server_config(port, store, USER, PASSWORD));
        server.restart();
        Some(server)
    }

    fn prepare_with(program: PathBuf, config: impl FnOnce(u16, &Path) -> String) -> Self {
        let port = Port::lease();
        let folder =
            tempfile::Builder::new().prefix("baft-test-nats-").tempdir().expect("a temporary folder for nats-server");
        let text = config(port.number(), &folder.path().join("store"));
        std::fs::write(folder.path().join("server.conf"), text).expect("the server's configuration can be written");
        Self { program, port, folder, process: None }
    }

    /// `nats://baft:…@127.0.0.1:port`.
    #[must_use]
    pub fn url(&self) -> String {
        format!("nats://{USER}:{PASSWORD}@{}", self.port.address())
    }

    /// The same without credentials.
    #[must_use]
    pub fn bare_url(&self) -> String {
        format!("nats://{}", self.port.address())
    }

    /// A client called `test`, after making the streams and buckets.
    ///
    /// # Panics
    /// When the server does not answer.
    pub async fn client(&self) -> Bus {
        let me = Identity { name: "test".to_owned(), instance: "1".to_owned(), version: "0.0.0".to_owned() };
        let bus = Bus::connect_now(&NatsArgs::for_url(&self.url()), me).await.unwrap();
        baft_bus::topology::ensure(&bus).await.unwrap();
        bus
    }

    /// Every stored event of a type: id and payload, in order.
    pub async fn stored(&self, kind: &str) -> Vec<(String, serde_json::Value)> {
        let options = async_nats::ConnectOptions::with_user_and_password(USER.to_owned(), PASSWORD.to_owned());
        let client = options.connect(self.bare_url()).await.unwrap();
        let stream = async_nats::jetstream::new(client).get_stream("BAFT_EVENTS").await.unwrap();
        let state = stream.cached_info().state.clone();
        let mut found = Vec::new();
        for sequence in state.first_sequence..=state.last_sequence {
            let Ok(message) = stream.get_raw_message(sequence).await else { continue };
            if message.subject.as_str() == format!("baft.event.{kind}") {
                let id = message.headers.get("Nats-Msg-Id").map(|id| id.to_string()).unwrap();
                found.push((id, serde_json::from_slice(&message.payload).unwrap()));
            }
        }
        found
    }

    /// The port it listens on.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port.number()
    }

    /// Where JetStream keeps its files.
    #[must_use]
    pub fn store(&self) -> PathBuf {
        self.folder.path().join("store")
    }

    /// The configuration file.
    #[must_use]
    pub fn config_file(&self) -> PathBuf {
        self.folder.path().join("server.conf")
    }

    /// Starts the server again on the same port and store, and waits until it answers.
    ///
    /// # Panics
    /// When it does not.
    pub fn restart(&mut self) {
        self.kill();
        let mut command = Command::new(&self.program);
        command.arg("-c").arg(self.config_file());
        let mut process = Process::spawn("nats-server", command);
        let address = self.port.address();
        wait_until("nats-server to answer", Duration::from_secs(20), || {
            assert!(process.is_running(), "nats-server ended at once:\n{}", process.logs());
            let ready = process.logs().contains("Server is ready");
            (ready && TcpStream::connect(address).is_ok()).then_some(())
        });
        self.process = Some(process);
    }

    /// Stops it in an orderly way.
    pub fn stop(&mut self) {
        if let Some(mut process) = self.process.take() {
            process.terminate(Duration::from_secs(20));
        }
    }

    /// kill -9.
    pub fn kill(&mut self) {
        if let Some(mut process) = self.process.take() {
            process.kill();
        }
    }

    /// Stops it from running without ending it: connections stay open and nothing answers.
    pub fn freeze(&self) {
        self.running().freeze();
    }

    /// Lets it run on after [`Self::freeze`].
    pub fn thaw(&self) {
        self.running().thaw();
    }

    /// Makes it read its configuration file again.
    pub fn reload(&self) {
        self.running().signal(Signal::HUP);
    }

    fn running(&self) -> &Process {
        self.process.as_ref().expect("the server is running")
    }

    /// What the running server has logged.
    #[must_use]
    pub fn logs(&self) -> String {
        self.process.as_ref().map(Process::logs).unwrap_or_default()
    }
}

/// `$BAFT_NATS_SERVER`, else the one `make tools` fetched, else the one on the PATH.
///
/// # Panics
/// When there is none.
#[must_use]
pub fn find_server() -> PathBuf {
    if let Some(named) = std::env::var_os("BAFT_NATS_SERVER").filter(|value| !value.is_empty()) {
        let path = PathBuf::from(named);
        assert!(path.is_file(), "BAFT_NATS_SERVER names {}, which does not exist", path.display());
        return path;
    }
    let fetched = workspace().join(".tools/bin/nats-server");
    if fetched.is_file() {
        return fetched;
    }
    on_path("nats-server").unwrap_or_else(|| {
        panic!("no nats-server: run `make tools`, or set BAFT_NATS_SERVER to the path of one (2.11 or later)")
    })
}

fn on_path(name: &str) -> Option<PathBuf> {
    let path: OsString = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|folder| folder.join(name)).find(|candidate| candidate.is_file())
}
