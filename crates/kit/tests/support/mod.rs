//! Starts the example daemon as a real process.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::PathBuf;
use std::process::{Child, ChildStderr, Command, Output, Stdio};
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::time::Duration;

use serde_json::Value;

/// Nothing here takes a second; a loaded machine may take some.
const PATIENCE: Duration = Duration::from_secs(30);

/// A command for the example daemon, with none of our own environment.
pub fn command() -> Command {
    let exe = std::env::current_exe().expect("a test knows its own path");
    let example: PathBuf =
        exe.parent().and_then(|deps| deps.parent()).expect("in target/…/deps").join("examples/daemon");
    assert!(example.exists(), "{} is missing: `cargo test -p baft-kit` builds it", example.display());
    let mut command = Command::new(example);
    command.env_clear().stdin(Stdio::null());
    command
}

/// Kills a process that is still there when patience ends, so that no test waits for it for ever.
fn watch(pid: rustix::process::Pid) -> Sender<()> {
    let (sender, receiver) = channel::<()>();
    std::thread::spawn(move || {
        if receiver.recv_timeout(PATIENCE) == Err(RecvTimeoutError::Timeout) {
            // Gone by itself in this very moment is as good.
            let _ = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
        }
    });
    sender
}

/// Runs the program to its end.
pub fn run(command: &mut Command) -> Output {
    command.output().expect("the example runs")
}

/// A running example daemon; killed when dropped.
pub struct Daemon {
    child: Child,
    log: BufReader<ChildStderr>,
    _watchdog: Sender<()>,
    /// Where its admin server listens.
    pub addr: SocketAddr,
}

impl Daemon {
    /// Starts it on a free port and waits until the admin server listens.
    pub fn start(arguments: &[&str]) -> Self {
        let mut child = command()
            .args(["--admin-addr", "127.0.0.1:0"])
            .args(arguments)
            .stderr(Stdio::piped())
            .spawn()
            .expect("the example starts");
        let log = BufReader::new(child.stderr.take().expect("standard error is piped"));
        let watchdog = watch(rustix::process::Pid::from_child(&child));
        let mut daemon = Self { child, log, _watchdog: watchdog, addr: SocketAddr::from(([127, 0, 0, 1], 0)) };
        let line = daemon.logged("admin server listening");
        daemon.addr = line["addr"].as_str().and_then(|addr| addr.parse().ok()).expect("the log names the address");
        daemon
    }

    /// Reads the log up to a line with this message.
    pub fn logged(&mut self, message: &str) -> Value {
        let mut seen = String::new();
        loop {
            let mut line = String::new();
            let count = self.log.read_line(&mut line).expect("the log is text");
            assert!(count > 0, "the log ended without '{message}': {seen}");
            let parsed: Value = serde_json::from_str(&line).unwrap_or_else(|_| panic!("no JSON: {line}"));
            if parsed["message"] == message {
                return parsed;
            }
            seen.push_str(&line);
        }
    }

    /// Sends a signal.
    pub fn signal(&self, signal: rustix::process::Signal) {
        let pid = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(pid, signal).expect("the process is there");
    }

    /// Waits for the end: exit code and the rest of the log.
    pub fn ended(mut self) -> (Option<i32>, String) {
        let mut rest = String::new();
        self.log.read_to_string(&mut rest).expect("the log is text");
        let status = self.child.wait().expect("the child is ours");
        (status.code(), rest)
    }

    /// The process id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// One request: status and body.
    pub fn ask(&self, method: &str, path: &str, body: &str) -> (u16, String) {
        let mut stream = TcpStream::connect(self.addr).expect("the admin server listens");
        stream.set_read_timeout(Some(PATIENCE)).expect("a timeout can be set");
        let length = body.len();
        let request = format!("{method} {path} HTTP/1.0\r\nhost: x\r\ncontent-length: {length}\r\n\r\n{body}");
        stream.write_all(request.as_bytes()).expect("the request is sent");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("an answer comes");
        let (head, body) = answer.split_once("\r\n\r\n").expect("the answer is HTTP");
        (head[9..12].parse().expect("a status"), body.to_owned())
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        // Gone already when the test waited for its end.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
