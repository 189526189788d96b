//! How commands find and reach a running fleet: `runtime.json` in its workspace, and a register of this user's fleets.
//!
//! Both are readable by this user alone. The password is in neither: `runtime.json` names the file that holds it.

use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io;
use std::net::SocketAddr;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use baft_bus::NatsArgs;
use baft_kit::durable;
use serde::{Deserialize, Serialize};

use crate::workspace::Workspace;

/// What a running `baft up` tells the other commands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Runtime {
    /// The form of this file; another one is not read.
    pub version: u32,
    /// The process of `baft up`.
    pub pid: u32,
    /// When it started, RFC 3339.
    pub started_at: String,
    /// Its workspace, absolute.
    pub workspace: PathBuf,
    /// What it serves.
    pub source: Source,
    /// Where clients reach the private nats-server; absent with `--no-nats`.
    pub nats: Option<Nats>,
    /// Its commit-agent; absent when nobody commits.
    #[serde(default)]
    pub agent: Option<AgentInfo>,
    /// The admin server of each daemon.
    pub admin: BTreeMap<String, SocketAddr>,
    /// The path under which readers open the database.
    pub database: PathBuf,
}

/// The commit-agent of a fleet.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AgentInfo {
    /// Its name in subjects.
    pub name: String,
    /// The clone to edit in.
    pub clone: PathBuf,
}

/// What a fleet serves.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Source {
    /// A remote, followed by git-sync.
    Remote {
        /// Its URL or path, without credentials.
        repo: String,
        /// The ref that is followed.
        #[serde(rename = "ref")]
        reference: String,
    },
    /// The files of somebody's clone.
    Clone {
        /// The clone.
        path: PathBuf,
    },
}

/// Where the private nats-server is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Nats {
    /// Its URL, without credentials.
    pub url: String,
    /// The user.
    pub user: String,
    /// The file with the user's password, mode 0600.
    pub password_file: PathBuf,
}

impl Nats {
    /// How the bus connects to it.
    #[must_use]
    pub fn args(&self) -> NatsArgs {
        NatsArgs {
            nats_url: Some(self.url.clone()),
            nats_user: Some(self.user.clone()),
            nats_password_file: Some(self.password_file.clone()),
            ..NatsArgs::default()
        }
    }
}

/// The form of `runtime.json` this program writes and reads.
pub const VERSION: u32 = 1;

impl Runtime {
    /// Writes it, and tells this user's commands about it.
    ///
    /// # Errors
    /// The workspace cannot be written. Not being able to register is no error: `--workspace` still finds it.
    pub fn publish(&self, workspace: &Workspace, registry: Option<&Registry>) -> io::Result<()> {
        let mut text = serde_json::to_vec_pretty(self)?;
        text.push(b'\n');
        durable::write_private_file(&workspace.runtime_file(), &text)?;
        if let Some(Err(error)) = registry.map(|registry| registry.add(workspace)) {
            tracing::warn!(%error, "cannot register this fleet; commands find it with --workspace only");
        }
        Ok(())
    }

    /// Takes it back at the end.
    pub fn retract(workspace: &Workspace, registry: Option<&Registry>) {
        // What is left behind names a process that has ended, and is ignored for that.
        let _ = std::fs::remove_file(workspace.runtime_file());
        if let Some(registry) = registry {
            registry.remove(workspace);
        }
    }

    /// The fleet running in this workspace, if one is.
    #[must_use]
    pub fn of(workspace: &Workspace) -> Option<Self> {
        Self::read(&workspace.runtime_file())
    }

    fn read(path: &Path) -> Option<Self> {
        let text = std::fs::read(path).ok()?;
        let runtime: Self = serde_json::from_slice(&text).ok()?;
        (runtime.version == VERSION && is_alive(runtime.pid)).then_some(runtime)
    }
}

fn is_alive(pid: u32) -> bool {
    let Some(pid) = i32::try_from(pid).ok().and_then(rustix::process::Pid::from_raw) else { return false };
    // A process of somebody else counts: it is there.
    !matches!(rustix::process::test_kill_process(pid), Err(rustix::io::Errno::SRCH))
}

/// A folder with one link for each running fleet of this user.
#[derive(Debug, Clone)]
pub struct Registry {
    folder: PathBuf,
}

impl Registry {
    /// Names the folder; nothing is read or made.
    #[must_use]
    pub fn at(folder: impl Into<PathBuf>) -> Self {
        Self { folder: folder.into() }
    }

    fn add(&self, workspace: &Workspace) -> io::Result<()> {
        std::fs::DirBuilder::new().recursive(true).mode(0o700).create(&self.folder)?;
        self.forget_the_dead();
        durable::flip_link(&self.link(workspace), &workspace.runtime_file())
    }

    fn remove(&self, workspace: &Workspace) {
        let _ = std::fs::remove_file(self.link(workspace));
    }

    fn link(&self, workspace: &Workspace) -> PathBuf {
        let mut hasher = DefaultHasher::new();
        workspace.root().hash(&mut hasher);
        self.folder.join(format!("{:016x}.json", hasher.finish()))
    }

    fn links(&self) -> Vec<PathBuf> {
        let entries = std::fs::read_dir(&self.folder).into_iter().flatten().flatten();
        let mut links: Vec<PathBuf> = entries
            .map(|entry| entry.path())
            .filter(|path| path.extension().is_some_and(|end| end == "json"))
            .collect();
        links.sort();
        links
    }

    fn forget_the_dead(&self) {
        for link in self.links() {
            if Runtime::read(&link).is_none() {
                let _ = std::fs::remove_file(link);
            }
        }
    }

    /// The fleets of this user that are running.
    #[must_use]
    pub fn running(&self) -> Vec<Runtime> {
        self.links().iter().filter_map(|link| Runtime::read(link)).collect()
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    pub(crate) fn example() -> Runtime {
        Runtime {
            version: VERSION,
            pid: std::process::id(),
            started_at: "2026-11-21T10:00:00Z".to_owned(),
            workspace: PathBuf::from("/w"),
            source: Source::Remote { repo: "/srv/git/framework.git".to_owned(), reference: "HEAD".to_owned() },
            nats: Some(Nats {
                url: "nats://127.0.0.1:4222".to_owned(),
                user: "baft".to_owned(),
                password_file: PathBuf::from("/w/nats/password"),
            }),
            agent: None,
            admin: BTreeMap::from([("git-sync".to_owned(), ([127, 0, 0, 1], 1).into())]),
            database: PathBuf::from("/w/itp.duckdb"),
        }
    }

    #[test]
    fn a_fleet_that_ended_without_saying_so_is_not_found() {
        let folder = tempfile::tempdir().unwrap();
        let registry = Registry::at(folder.path().join("run"));
        let workspace = Workspace::at(folder.path().join("w"));
        std::fs::create_dir(workspace.root()).unwrap();
        let mut runtime = example();
        runtime.publish(&workspace, Some(&registry)).unwrap();
        assert_eq!(Runtime::of(&workspace), Some(runtime.clone()));
        assert_eq!(registry.running(), [runtime.clone()]);
        let mut ended = std::process::Command::new("true").spawn().unwrap();
        ended.wait().unwrap();
        runtime.pid = ended.id();
        runtime.publish(&workspace, None).unwrap();
        assert_eq!((Runtime::of(&workspace), registry.running()), (None, vec![]));
    }

    #[test]
    fn nobody_else_can_read_how_to_reach_the_fleet() {
        let folder = tempfile::tempdir().unwrap();
        let registry = Registry::at(folder.path().join("run"));
        let workspace = Workspace::at(folder.path().join("w"));
        std::fs::create_dir(workspace.root()).unwrap();
        example().publish(&workspace, Some(&registry)).unwrap();
        let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!((mode(&workspace.runtime_file()), mode(&registry.folder)), (0o600, 0o700));
        Runtime::retract(&workspace, Some(&registry));
        assert!(!workspace.runtime_file().exists() && registry.links().is_empty());
    }
}
