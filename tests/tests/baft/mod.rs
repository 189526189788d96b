//! One person's machine: a home folder of its own, and the programs as that person runs them.
#![allow(dead_code)] // Each test file uses a part of this.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use baft_tests::{Process, bin, nats, wait_until};
use serde_json::Value;
use tempfile::TempDir;

/// Debug builds on a busy machine are slow.
pub const SOON: Duration = Duration::from_secs(60);

/// A home folder, and nothing of the real person's environment.
#[derive(Debug)]
pub struct Machine {
    home: TempDir,
}

/// How a command ended.
#[derive(Debug)]
pub struct Answer {
    pub code: i32,
    pub stdout: String,
    pub stderr: String,
}

impl Machine {
    pub fn new() -> Self {
        let home = tempfile::Builder::new().prefix("baft-test-home-").tempdir().unwrap();
        for folder in ["run", "project"] {
            std::fs::create_dir(home.path().join(folder)).unwrap();
        }
        Self { home }
    }

    /// Below the home folder.
    pub fn path(&self, path: &str) -> PathBuf {
        self.home.path().canonicalize().unwrap().join(path)
    }

    /// The folder that `--workspace w` names.
    pub fn workspace(&self) -> PathBuf {
        self.path("project/w")
    }

    /// A command in the folder `project`.
    pub fn command(&self, program: &str, args: &[&str]) -> Command {
        let mut command = Command::new(bin(program));
        let named =
            |name: &str| ["BAFT_", "GITSYNC_", "NATS_", "XDG_", "ITP_"].iter().any(|start| name.starts_with(start));
        for (name, _) in std::env::vars().filter(|(name, _)| named(name)) {
            command.env_remove(name);
        }
        command
            .env("HOME", self.home.path())
            .env("XDG_RUNTIME_DIR", self.path("run"))
            .env("BAFT_NATS_SERVER", nats::find_server())
            .env("GIT_CONFIG_NOSYSTEM", "1")
            .current_dir(self.path("project"))
            .args(args);
        command
    }

    /// Runs `baft` to its end.
    pub fn baft(&self, args: &[&str]) -> Answer {
        finish(self.command("baft", args))
    }

    /// Runs `baft` to its end, which must be a good one, and gives what it printed.
    pub fn ok(&self, args: &[&str]) -> String {
        let answer = self.baft(args);
        assert_eq!(answer.code, 0, "baft {args:?}: {answer:#?}");
        answer.stdout
    }

    /// The same for JSON.
    pub fn json(&self, args: &[&str]) -> Value {
        serde_json::from_str(&self.ok(args)).unwrap()
    }

    /// The rows of a query in the workspace `w`.
    pub fn rows(&self, sql: &str) -> Value {
        self.json(&["query", "--workspace", "w", "--output", "json", sql])
    }

    /// The same while there may be no database yet.
    pub fn rows_if_any(&self, sql: &str) -> Option<Value> {
        let answer = self.baft(&["query", "--workspace", "w", "--output", "json", sql]);
        (answer.code == 0).then(|| serde_json::from_str(&answer.stdout).unwrap())
    }

    /// Starts `baft up` in the workspace `w`.
    pub fn up(&self, args: &[&str]) -> Process {
        Process::spawn("baft up", self.command("baft", &[&["up", "--workspace", "w"], args].concat()))
    }

    /// Starts it and waits until everything is served.
    pub fn up_ready(&self, args: &[&str]) -> Process {
        let mut process = self.up(args);
        ready(&mut process);
        process
    }
}

/// Waits until it says that everything is served.
pub fn ready(process: &mut Process) {
    wait_until("the fleet to be ready", SOON, || {
        assert!(process.is_running(), "it ended: {}", process.logs());
        process.stdout().contains("Ready.").then_some(())
    });
}

/// Runs a command to its end.
pub fn finish(mut command: Command) -> Answer {
    let child = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let began = Instant::now();
    let Output { status, stdout, stderr } = child.wait_with_output().unwrap();
    assert!(began.elapsed() < SOON, "{command:?} took {:?}", began.elapsed());
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    Answer { code: status.code().unwrap_or(-1), stdout: text(stdout), stderr: text(stderr) }
}

/// The processes started by this one and by those it started.
pub fn descendants(pid: u32) -> BTreeSet<u32> {
    let mut found = BTreeSet::new();
    let mut open = vec![pid];
    while let Some(pid) = open.pop() {
        for task in std::fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten() {
            let children = std::fs::read_to_string(task.path().join("children")).unwrap_or_default();
            open.extend(
                children.split_whitespace().filter_map(|text| text.parse::<u32>().ok()).filter(|id| found.insert(*id)),
            );
        }
    }
    found
}

/// The nats-server of a `baft up`.
pub fn nats_server_of(pid: u32) -> u32 {
    wait_until("its nats-server", SOON, || {
        descendants(pid)
            .into_iter()
            .find(|id| command_line(*id).starts_with(&nats::find_server().display().to_string()))
    })
}

/// The arguments of a process, separated by spaces.
pub fn command_line(pid: u32) -> String {
    std::fs::read_to_string(format!("/proc/{pid}/cmdline")).unwrap_or_default().replace('\0', " ")
}

/// Whether a process is there and is no zombie.
pub fn alive(pid: u32) -> bool {
    std::fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|stat| !stat.contains(") Z "))
}

/// Every file below a folder with what tells that it was touched.
pub fn fingerprint(folder: &Path) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    let mut open = vec![folder.to_owned()];
    while let Some(folder) = open.pop() {
        for entry in std::fs::read_dir(folder).unwrap().flatten() {
            let meta = entry.metadata().unwrap();
            found.insert(format!("{} {} {:?}", entry.path().display(), meta.len(), meta.modified().unwrap()));
            if meta.is_dir() {
                open.push(entry.path());
            }
        }
    }
    found
}

/// A file of gaps with these ids and descriptions.
pub fn gaps(entries: &[(&str, &str)]) -> String {
    let mut text = String::from("entries:\n");
    for (id, description) in entries {
        text.push_str(&format!("- id: {id}\n  description: {description}\n  priority: 1\n  status: OPEN\n"));
    }
    text
}
