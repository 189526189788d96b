//! A remote, a clone, an agent, and the model that watches them.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use baft_commit_agent::engine::{Agent, AgentName, Cycle, Flush, OpenError, Order, Pause, Settings, Touched};
use baft_repo::transport::{Libgit2, Remote};
use baft_tests::{GitRemote, Model};
use tempfile::TempDir;

pub struct Scene {
    pub remote: GitRemote,
    /// Gone when dropped.
    _folder: TempDir,
    pub model: Model,
    pub settings: Settings,
}

/// An order that takes every file nobody is writing to, and looks at everything.
pub fn now() -> Order {
    Order { flush: Flush::Now, pause: Pause::Ignore, ..Order::default() }
}

impl Scene {
    pub fn new(files: &[(&str, &str)]) -> Self {
        let remote = GitRemote::new();
        let mut scene = Self::of(remote, "main");
        if !files.is_empty() {
            let oid = scene.remote.commit(files);
            scene.model.pushed(&oid);
        }
        scene
    }

    pub fn of(remote: GitRemote, agent: &str) -> Self {
        let _ = baft_repo::init(&baft_repo::Settings { io_timeout: Duration::from_secs(5), ..Default::default() });
        let folder = tempfile::Builder::new().prefix("baft-test-clone-").tempdir().unwrap();
        let url = remote.url();
        let settings = settings(folder.path().join("clone"), &url, agent);
        Self { remote, _folder: folder, model: Model::new(), settings }
    }

    pub fn clone_path(&self) -> PathBuf {
        self.settings.clone.clone()
    }

    pub fn open(&self) -> Agent {
        once_unlocked(|| Agent::open(self.settings.clone(), Arc::new(Libgit2::new()))).0
    }

    /// Saves a file in the clone; its content is at rest.
    pub fn save(&mut self, path: &str, content: &str) {
        let file = self.clone_path().join(path);
        std::fs::create_dir_all(file.parent().unwrap()).unwrap();
        std::fs::write(&file, content).unwrap();
        self.model.saw(path, content.as_bytes());
    }

    pub fn read(&self, path: &str) -> String {
        std::fs::read_to_string(self.clone_path().join(path)).unwrap_or_else(|error| format!("({error})"))
    }

    pub fn remove(&self, path: &str) {
        std::fs::remove_file(self.clone_path().join(path)).unwrap();
    }

    /// Somebody else pushes.
    pub fn others_push(&mut self, files: &[(&str, &str)]) -> String {
        self.remote.git(&["pull", "-q", "--rebase", "origin", "main"]);
        let oid = self.remote.commit(files);
        self.model.pushed(&oid);
        oid
    }

    /// Somebody else pushes while everybody does: a lost race is run again.
    pub fn others_race(&mut self, files: &[(&str, &str)]) {
        let files: Vec<(&str, Option<&[u8]>)> =
            files.iter().map(|(path, text)| (*path, Some(text.as_bytes()))).collect();
        for _ in 0..20 {
            self.remote.git(&["fetch", "-q", "origin"]);
            self.remote.git(&["reset", "-q", "--hard", "origin/main"]);
            let oid = self.remote.commit_only(&files);
            let mut push = std::process::Command::new("git");
            push.current_dir(self.remote.work()).args(["push", "-q", "origin", "HEAD:main"]);
            if push.output().unwrap().status.success() {
                self.model.pushed(&oid);
                return;
            }
        }
    }

    /// A file of the remote's branch.
    pub fn on_remote(&self, path: &str) -> Option<String> {
        let commit = baft_tests::git::git(&self.remote.bare(), &["rev-parse", "main"]);
        let tree = baft_tests::git::ls_tree(&self.remote.bare(), &commit);
        let (_, oid) = tree.get(path)?;
        let mut command = std::process::Command::new("git");
        let output = command.current_dir(self.remote.bare()).args(["cat-file", "blob", oid]).output().unwrap();
        Some(String::from_utf8_lossy(&output.stdout).into_owned())
    }

    pub fn remote_branches(&self) -> Vec<String> {
        let refs = baft_tests::git::git(&self.remote.bare(), &["for-each-ref", "--format=%(refname)", "refs/heads"]);
        refs.lines().map(str::to_owned).filter(|name| name != "refs/heads/main").collect()
    }

    pub fn git(&self, args: &[&str]) -> String {
        baft_tests::git::git(&self.clone_path(), args)
    }

    pub fn check(&self) {
        self.model.check(&self.clone_path(), &self.remote.bare(), "main");
    }
}

pub fn settings(clone: PathBuf, url: &str, agent: &str) -> Settings {
    let remote = Remote { url: url.to_owned(), deadline: Some(Duration::from_secs(20)), ..Remote::default() };
    let mut settings = Settings::new(clone, remote, AgentName::new(agent).unwrap());
    settings.push.backoff = (Duration::from_millis(1), Duration::from_millis(20));
    settings
}

/// One cycle that looks at everything; it must not fail.
pub fn cycle(agent: &mut Agent) -> Cycle {
    let cycle = any_cycle(agent);
    assert!(cycle.errors.is_empty(), "{cycle:#?}");
    cycle
}

/// Opens when the agent before has let go. A process that another test starts has our descriptors for the moment between fork and exec, and so
/// the lock.
pub fn once_unlocked<T>(open: impl Fn() -> Result<T, OpenError>) -> T {
    baft_tests::wait_until("the clone's lock", Duration::from_secs(10), || match open() {
        Err(OpenError::Locked(_)) => None,
        opened => Some(opened.unwrap()),
    })
}

/// One cycle that looks at everything.
pub fn any_cycle(agent: &mut Agent) -> Cycle {
    agent.touched(Touched::Rescan);
    agent.cycle(&now())
}
