//! From the command line to what will run, everything checked before anything is started.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::{Path, PathBuf};
use std::time::Duration;

use baft_duckdb_importer::Settings as ImportSettings;
use baft_duckdb_importer::config::{Follow, Source as ImportSource};
use baft_git_sync::Config as SyncConfig;
use baft_kit::Exit;
use baft_kit::config::ConfigError;
use baft_kit::log::redact_url;
use baft_repo::access::AccessArgs;
use baft_repo::transport::{KnownHosts, SshAgent};

use super::sample::{self, Whose};
use crate::cli::UpArgs;
use crate::failure::Failure;
use crate::output::count;
use crate::runtime::Source;
use crate::workspace::{DATABASE, Workspace};

/// How often a path is looked at: asking costs next to nothing there.
const LOCAL_PERIOD: Duration = Duration::from_secs(1);

/// How often a remote behind a network is looked at.
const REMOTE_PERIOD: Duration = Duration::from_secs(10);

/// git-sync's link, named as in the cluster.
const LINK: &str = "framework";

/// What will run.
#[derive(Debug, Clone)]
pub struct Plan {
    /// What is served.
    pub source: Source,
    /// How somebody changes what is served.
    pub origin: Origin,
    /// git-sync, when there is a remote to follow.
    pub sync: Option<SyncConfig>,
    /// The importer.
    pub import: ImportSettings,
}

/// Where the data comes from, as the person sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// The sample repository in the workspace.
    Sample(PathBuf),
    /// A repository on this machine with files to edit.
    Folder(PathBuf),
    /// A repository without files on this machine.
    Remote,
    /// The files of a clone.
    Clone(PathBuf),
}

impl Plan {
    /// Checks what was asked for; makes the sample repository when that is what is served.
    ///
    /// # Errors
    /// Something given cannot work.
    pub fn make(args: &UpArgs, workspace: &Workspace) -> Result<Self, Failure> {
        match (&args.clone, &args.repo) {
            (Some(clone), _) => Self::of_clone(clone, workspace),
            (None, Some(repo)) => Self::of_repo(repo, args, workspace),
            (None, None) => {
                let folder = workspace.sample();
                sample::make(&folder)?;
                let repo = folder.to_string_lossy().into_owned();
                let mut plan = Self::of_repo(&repo, args, workspace)?;
                plan.origin = Origin::Sample(folder);
                Ok(plan)
            }
        }
    }

    fn of_clone(clone: &Path, workspace: &Workspace) -> Result<Self, Failure> {
        let wrong = |allowed: &str| config(&ConfigError::new("--clone", clone.display(), allowed));
        let path = clone.canonicalize().map_err(|_| wrong("an existing folder"))?;
        if !path.join(".git").exists() {
            return Err(wrong("the top folder of a git clone, the one with .git in it"));
        }
        Ok(Self {
            source: Source::Clone { path: path.clone() },
            import: ImportSettings::new(ImportSource::Worktree { clone: path.clone() }, workspace.publish()),
            origin: Origin::Clone(path),
            sync: None,
        })
    }

    fn of_repo(repo: &str, args: &UpArgs, workspace: &Workspace) -> Result<Self, Failure> {
        let (url, origin) = match local(repo)? {
            Some(path) => {
                let origin = if path.join(".git").exists() { Origin::Folder(path.clone()) } else { Origin::Remote };
                (path.to_string_lossy().into_owned(), Some(origin))
            }
            None => (repo.to_owned(), None),
        };
        let root = workspace.git().join(folder_name(&url));
        let reference = args.reference.as_deref().unwrap_or("HEAD");
        let mut sync = SyncConfig::new(&url, &root)
            .and_then(|config| config.with_link(Path::new(LINK)))
            .and_then(|config| config.with_ref(reference).with_auth(&args.auth))
            .map_err(|error| config(&error))?;
        use_own_keys(&mut sync, &args.auth);
        sync.period = args.period.unwrap_or(if origin.is_some() { LOCAL_PERIOD } else { REMOTE_PERIOD });
        sync.init_period = sync.period;
        let follow = ImportSource::Git { repo: sync.mirror(), follow: Follow::Link(sync.link.clone()) };
        Ok(Self {
            source: Source::Remote { repo: redact_url(&url), reference: reference.to_owned() },
            import: ImportSettings::new(follow, workspace.publish()),
            origin: origin.unwrap_or(Origin::Remote),
            sync: Some(sync),
        })
    }

    /// Which database this is: another source means another database, not a change of this one.
    #[must_use]
    pub fn identity(&self) -> String {
        match &self.source {
            Source::Remote { repo, .. } => format!("remote {repo}"),
            Source::Clone { path } => format!("clone {}", path.display()),
        }
    }

    /// What it will do, in lines for a person.
    #[must_use]
    pub fn announcement(&self) -> Vec<String> {
        match (&self.source, &self.origin) {
            (Source::Clone { path }, _) => of_clone(path),
            (Source::Remote { repo, .. }, Origin::Sample(_)) => vec![format!("Following the sample repository {repo}")],
            (Source::Remote { repo, reference }, _) if reference == "HEAD" => vec![format!("Following {repo}")],
            (Source::Remote { repo, reference }, _) => vec![format!("Following {repo} ({reference})")],
        }
    }
}

/// What is known about a clone without touching it.
fn of_clone(path: &Path) -> Vec<String> {
    let git = |arguments: &[&str]| sample::git(path, Whose::Theirs, arguments).ok();
    let branch = git(&["symbolic-ref", "--short", "HEAD"]);
    let changed = git(&["status", "--porcelain"]).map(|text| text.lines().count() as u64);
    let state = match (branch, changed) {
        (Some(branch), Some(0)) => format!(" (branch {branch}, nothing uncommitted)"),
        (Some(branch), Some(files)) => format!(" (branch {branch}, {} with uncommitted changes)", count(files, "file")),
        _ => String::new(),
    };
    vec![
        format!("Reading the files of {}{state}", path.display()),
        "Every save becomes a row, marked WORKTREE until it is committed. Nothing is written to the clone, nothing"
            .to_owned(),
        "is committed, pulled or pushed.".to_owned(),
    ]
}

/// The repository behind a path, absolute; nothing when it is a URL.
fn local(repo: &str) -> Result<Option<PathBuf>, Failure> {
    let wrong = |allowed: &str| config(&ConfigError::new("--repo", repo, allowed));
    let path = Path::new(repo.strip_prefix("file://").unwrap_or(repo));
    let Ok(path) = path.canonicalize() else {
        let is_url = repo.contains("://") || repo.split('/').next().is_some_and(|first| first.contains(':'));
        return if is_url && !repo.starts_with("file://") {
            Ok(None)
        } else {
            Err(wrong("the path of an existing repository, or a URL"))
        };
    };
    let bare = path.join("HEAD").is_file() && path.join("objects").is_dir();
    if bare || path.join(".git").exists() {
        return Ok(Some(path));
    }
    Err(match path.ancestors().skip(1).find(|folder| folder.join(".git").exists()) {
        Some(above) => wrong(&format!("the top folder of the repository: {}", above.display())),
        None => wrong("a git repository (`git init` makes one of a folder)"),
    })
}

/// The folder of git-sync's root: readable, and different for every remote.
fn folder_name(url: &str) -> String {
    let mut hasher = DefaultHasher::new();
    url.hash(&mut hasher);
    let last = url.trim_end_matches('/').rsplit(['/', ':']).next().unwrap_or_default();
    let name: String = last
        .trim_end_matches(".git")
        .chars()
        .map(|c| if c.is_alphanumeric() || matches!(c, '-' | '_') { c } else { '-' })
        .take(40)
        .collect();
    format!("{name}-{:08x}", hasher.finish() >> 32)
}

/// On somebody's own machine the remote is shown what git itself would show: the keys of the SSH agent and of `~/.ssh`.
fn use_own_keys(sync: &mut SyncConfig, auth: &AccessArgs) {
    let Some(ssh) = std::env::var_os("HOME").map(|home| PathBuf::from(home).join(".ssh")) else { return };
    let remote = &mut sync.remote;
    remote.credentials.ssh_agent = SshAgent::Use;
    if auth.ssh_key_file.iter().all(|file| !file.exists()) {
        let own = ["id_ed25519", "id_ecdsa", "id_rsa"].map(|name| ssh.join(name));
        remote.credentials.ssh_keys = own.into_iter().filter(|file| file.exists()).collect();
    }
    if auth.ssh_known_hosts && !auth.ssh_known_hosts_file.exists() {
        remote.known_hosts = KnownHosts::File(ssh.join("known_hosts"));
    }
}

fn config(error: &ConfigError) -> Failure {
    Failure { exit: Exit::Config, message: error.to_string(), hint: None }
}

/// Makes room for this plan in the workspace: the stable path of the database, and a new publish folder when the
/// workspace held the database of something else.
///
/// # Errors
/// The workspace cannot be written, or is somebody else's.
pub fn settle(plan: &Plan, workspace: &Workspace) -> Result<(), Failure> {
    let cannot =
        |error: std::io::Error| Failure::new(format!("cannot prepare {}: {error}", workspace.root().display()));
    if workspace.root().join("gens").exists() {
        let message = format!("{} is the publish folder of an importer", workspace.root().display());
        return Err(Failure::config(message).hint("choose another folder with --workspace"));
    }
    let publish = workspace.publish();
    let mark = workspace.root().join("db.source");
    let identity = plan.identity();
    if std::fs::read_to_string(&mark).is_ok_and(|before| before != identity) && publish.exists() {
        // Readers that have the old file open keep it.
        std::fs::remove_dir_all(&publish).map_err(cannot)?;
    }
    std::fs::create_dir_all(&publish).map_err(cannot)?;
    baft_kit::durable::write_file(&mark, identity.as_bytes()).map_err(cannot)?;
    let target = Path::new("db").join(DATABASE);
    baft_kit::durable::flip_link(&workspace.database(), &target).map_err(cannot)
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::cli::{Cli, Command};

    fn args(arguments: &[&str]) -> UpArgs {
        match Cli::try_parse_from([&["baft", "up"], arguments].concat()).unwrap().command {
            Command::Up(args) => args,
            other => panic!("{other:?}"),
        }
    }

    fn repository(folder: &Path) {
        sample::make(folder).unwrap();
    }

    #[test]
    fn a_path_is_a_remote_wherever_the_command_is_run() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().canonicalize().unwrap();
        repository(&root.join("repo"));
        let workspace = Workspace::at(root.join("w"));
        let given = format!("{}/./repo", root.display());
        let plan = Plan::make(&args(&["--repo", &given]), &workspace).unwrap();
        assert_eq!(plan.origin, Origin::Folder(root.join("repo")));
        let sync = plan.sync.unwrap();
        assert_eq!(sync.remote.url, root.join("repo").display().to_string());
        assert_eq!((sync.period, sync.link.file_name().unwrap().to_str()), (LOCAL_PERIOD, Some("framework")));
    }

    #[test]
    fn what_is_no_repository_is_refused_with_what_would_be_one() {
        let folder = tempfile::tempdir().unwrap();
        repository(&folder.path().join("repo"));
        let workspace = Workspace::at(folder.path().join("w"));
        let refused = |flag: &str, path: &Path| {
            let failure = Plan::make(&args(&[flag, path.to_str().unwrap()]), &workspace).unwrap_err();
            assert_eq!(failure.exit, Exit::Config);
            failure.message
        };
        assert!(refused("--repo", folder.path()).contains("git init"));
        assert!(refused("--repo", &folder.path().join("missing")).contains("existing repository"));
        assert!(refused("--repo", &folder.path().join("repo/data")).ends_with("repo"));
        assert!(refused("--clone", folder.path()).contains("with .git in it"));
    }

    #[test]
    fn a_url_is_looked_at_less_often_and_its_password_is_not_shown() {
        let workspace = Workspace::at("/w");
        let plan = Plan::make(&args(&["--repo", "https://me:hunter2@host/team/data.git", "--ref", "dev"]), &workspace)
            .unwrap();
        assert_eq!(plan.sync.as_ref().unwrap().period, REMOTE_PERIOD);
        let said = format!("{:?} {:?} {}", plan.source, plan.announcement(), plan.identity());
        assert!(!said.contains("hunter2") && said.contains("dev"), "{said}");
        for url in ["git@host:team/data.git", "ssh://git@host/data"] {
            assert_eq!(Plan::make(&args(&["--repo", url]), &workspace).unwrap().origin, Origin::Remote, "{url}");
        }
    }

    #[test]
    fn another_repository_gets_another_database_and_the_same_one_keeps_its_own() {
        let folder = tempfile::tempdir().unwrap();
        let workspace = Workspace::at(folder.path());
        let plan = |url: &str| Plan::make(&args(&["--repo", url]), &workspace).unwrap();
        settle(&plan("https://host/a"), &workspace).unwrap();
        let marker = workspace.publish().join("marker");
        std::fs::write(&marker, "").unwrap();
        settle(&plan("https://host/a"), &workspace).unwrap();
        assert!(marker.exists());
        settle(&plan("https://host/b"), &workspace).unwrap();
        assert!(!marker.exists() && workspace.publish().exists());
        assert_eq!(std::fs::read_link(workspace.database()).unwrap(), Path::new("db/itp.duckdb"));
    }

    #[test]
    fn the_publish_folder_of_an_importer_is_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("gens")).unwrap();
        let workspace = Workspace::at(folder.path());
        let plan = Plan::make(&args(&["--repo", "https://host/a"]), &workspace).unwrap();
        assert_eq!(settle(&plan, &workspace).unwrap_err().exit, Exit::Config);
    }
}
