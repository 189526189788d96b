//! The folder everything of one fleet lives in, and how a command finds it.

use std::path::{Path, PathBuf};

use crate::failure::Failure;
use crate::runtime::{Registry, Runtime};

/// The folder's name in a project, as `make up` makes it.
pub const PROJECT_FOLDER: &str = ".baft";

/// The folder of one fleet.
///
/// | Path | Holds |
/// |---|---|
/// | `itp.duckdb` | link to the published database |
/// | `db/` | what the importer publishes in |
/// | `git/<repository>/` | git-sync's mirror and checkouts |
/// | `nats/` | the private nats-server: configuration, password, JetStream |
/// | `work/<repository>/` | the working clone to edit in; commit-agent commits and pushes |
/// | `sample.git/`, `sample/` | the sample's remote and the working clone of it, when no other repository was given |
/// | `runtime.json` | how to reach the running fleet, for this user only |
/// | `up.lock`, `up.log` | one `baft up` at a time, and what it logged |
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Workspace {
    root: PathBuf,
}

/// The database's file name.
pub const DATABASE: &str = "itp.duckdb";

impl Workspace {
    /// Names the folder; nothing is read or made.
    #[must_use]
    pub fn at(root: impl Into<PathBuf>) -> Self {
        Self { root: root.into() }
    }

    /// The folder.
    #[must_use]
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The path under which readers open the database. A publish folder of a lone importer has it too, so that
    /// `BAFT_WORKSPACE` may name either.
    #[must_use]
    pub fn database(&self) -> PathBuf {
        self.root.join(DATABASE)
    }

    /// What the importer publishes in.
    #[must_use]
    pub fn publish(&self) -> PathBuf {
        self.root.join("db")
    }

    /// git-sync's roots, one for each repository.
    #[must_use]
    pub fn git(&self) -> PathBuf {
        self.root.join("git")
    }

    /// The private nats-server's folder.
    #[must_use]
    pub fn nats(&self) -> PathBuf {
        self.root.join("nats")
    }

    /// The working clones that commit-agent looks after, one for each repository.
    #[must_use]
    pub fn work(&self) -> PathBuf {
        self.root.join("work")
    }

    /// The sample's remote.
    #[must_use]
    pub fn sample_remote(&self) -> PathBuf {
        self.root.join("sample.git")
    }

    /// The working clone of the sample.
    #[must_use]
    pub fn sample(&self) -> PathBuf {
        self.root.join("sample")
    }

    /// Live sessions as files, for programs that read them there.
    #[must_use]
    pub fn markers(&self) -> PathBuf {
        self.root.join("sessions")
    }

    /// How to reach the running fleet.
    #[must_use]
    pub fn runtime_file(&self) -> PathBuf {
        self.root.join("runtime.json")
    }

    /// Held by the running `baft up`.
    #[must_use]
    pub fn lock_file(&self) -> PathBuf {
        self.root.join("up.lock")
    }

    /// What `baft up` logs while it draws on the terminal.
    #[must_use]
    pub fn log_file(&self) -> PathBuf {
        self.root.join("up.log")
    }

    /// Whether `baft up` was ever run here, or an importer publishes here.
    #[must_use]
    pub fn exists(&self) -> bool {
        self.lock_file().exists() || self.database().symlink_metadata().is_ok()
    }
}

/// Where this process is, and where this user's files are: what finding a workspace depends on.
#[derive(Debug, Clone, Default)]
pub struct Surroundings {
    /// The current folder.
    pub current: PathBuf,
    /// The folder for this user's data, `~/.local/share` by default.
    pub data_home: Option<PathBuf>,
    /// The folder for what this user's programs remember, `~/.local/state` by default.
    pub state_home: Option<PathBuf>,
    /// Where running fleets register.
    pub registry: Option<Registry>,
}

impl Surroundings {
    /// As they are, by the XDG base directory rules.
    #[must_use]
    pub fn real() -> Self {
        let variable = |name: &str| std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
        let home = variable("HOME");
        let below_home = |path: &str| home.as_ref().map(|home| home.join(path));
        let runtime = variable("XDG_RUNTIME_DIR")
            .filter(|path| path.is_dir())
            .or_else(|| variable("XDG_STATE_HOME"))
            .or_else(|| below_home(".local/state"));
        Self {
            current: std::env::current_dir().unwrap_or_default(),
            data_home: variable("XDG_DATA_HOME").or_else(|| below_home(".local/share")),
            state_home: variable("XDG_STATE_HOME").or_else(|| below_home(".local/state")),
            registry: runtime.map(|folder| Registry::at(folder.join("baft"))),
        }
    }

    /// The project's folder: `.baft` here or in a folder above, if there was ever a fleet in it.
    fn nearest(&self) -> Option<Workspace> {
        self.current.ancestors().map(|folder| Workspace::at(folder.join(PROJECT_FOLDER))).find(Workspace::exists)
    }

    fn default(&self) -> Result<Workspace, Failure> {
        let data = self.data_home.as_ref().ok_or_else(|| {
            Failure::config("neither HOME nor XDG_DATA_HOME is set, so there is no default workspace")
                .hint("name a folder with --workspace DIR")
        })?;
        Ok(Workspace::at(data.join("baft")))
    }

    /// Where `baft up` runs: the folder named, else the project's, else the user's.
    ///
    /// # Errors
    /// None of them is known.
    pub fn workspace_for_up(&self, named: Option<&Path>) -> Result<Workspace, Failure> {
        match named {
            Some(named) => Ok(Workspace::at(self.current.join(named))),
            None => self.nearest().map_or_else(|| self.default(), Ok),
        }
    }

    /// Where the other commands look: the folder named, else the project's, else the one running fleet of this user,
    /// else the user's folder.
    ///
    /// # Errors
    /// Several fleets are running and none of them is nearer than the others.
    pub fn workspace(&self, named: Option<&Path>) -> Result<Workspace, Failure> {
        if let Some(named) = named {
            return Ok(Workspace::at(self.current.join(named)));
        }
        if let Some(nearest) = self.nearest() {
            return Ok(nearest);
        }
        let running: Vec<Runtime> = self.registry.as_ref().map(Registry::running).unwrap_or_default();
        match running.as_slice() {
            [] => self.default(),
            [one] => Ok(Workspace::at(&one.workspace)),
            several => {
                let folders: Vec<String> =
                    several.iter().map(|runtime| runtime.workspace.display().to_string()).collect();
                Err(Failure::usage(format!("{} fleets are running", several.len()))
                    .hint(format!("choose one with --workspace: {}", folders.join(", "))))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::runtime::tests::example;

    struct Scene {
        folder: tempfile::TempDir,
        around: Surroundings,
    }

    fn scene() -> Scene {
        let folder = tempfile::tempdir().unwrap();
        let current = folder.path().join("project/deep/inside");
        std::fs::create_dir_all(&current).unwrap();
        let around = Surroundings {
            current,
            data_home: Some(folder.path().join("data")),
            state_home: Some(folder.path().join("state")),
            registry: Some(Registry::at(folder.path().join("run"))),
        };
        Scene { folder, around }
    }

    impl Scene {
        fn running(&self, name: &str) -> PathBuf {
            let root = self.folder.path().join(name);
            std::fs::create_dir_all(&root).unwrap();
            let runtime = Runtime { workspace: root.clone(), ..example() };
            runtime.publish(&Workspace::at(&root), self.around.registry.as_ref()).unwrap();
            root
        }

        fn project(&self) -> PathBuf {
            let root = self.folder.path().join("project/.baft");
            std::fs::create_dir_all(&root).unwrap();
            std::fs::write(root.join("up.lock"), "").unwrap();
            root
        }
    }

    #[test]
    fn a_named_folder_beats_the_project_which_beats_a_running_fleet_which_beats_the_default() {
        let scene = scene();
        let found = |named: Option<&str>| scene.around.workspace(named.map(Path::new)).unwrap().root().to_owned();
        assert_eq!(found(None), scene.folder.path().join("data/baft"));
        let elsewhere = scene.running("elsewhere");
        assert_eq!(found(None), elsewhere);
        let project = scene.project();
        assert_eq!(found(None), project);
        assert_eq!(found(Some("here")), scene.around.current.join("here"));
    }

    #[test]
    fn among_several_running_fleets_none_is_guessed() {
        let scene = scene();
        let (one, two) = (scene.running("one"), scene.running("two"));
        let failure = scene.around.workspace(None).unwrap_err();
        let hint = failure.hint.unwrap();
        assert!(hint.contains(one.to_str().unwrap()) && hint.contains(two.to_str().unwrap()), "{hint}");
        // `up` is not about a fleet that runs elsewhere.
        assert_eq!(scene.around.workspace_for_up(None).unwrap().root(), scene.folder.path().join("data/baft"));
    }

    #[test]
    fn a_folder_that_only_has_the_name_is_not_taken_for_a_workspace() {
        let scene = scene();
        std::fs::create_dir_all(scene.folder.path().join("project/.baft")).unwrap();
        assert_eq!(scene.around.workspace(None).unwrap().root(), scene.folder.path().join("data/baft"));
    }
}
