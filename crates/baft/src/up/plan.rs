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
use baft_repo::access::{AccessArgs, Variables};
use baft_repo::transport::{KnownHosts, Remote, SshAgent};

use super::agent::{self, AgentPlan, Consent};
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
    /// commit-agent, when there is somewhere to commit to.
    pub agent: Option<AgentPlan>,
    /// Why a clone is only read.
    pub read_only: Option<String>,
    /// The importer.
    pub import: ImportSettings,
}

/// Where the data comes from, as the person sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// The sample repository in the workspace.
    Sample,
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
            (Some(clone), _) => Self::of_clone(clone, args, workspace),
            (None, Some(repo)) => Self::of_repo(repo, args, workspace),
            (None, None) => {
                let (remote, clone) = (workspace.sample_remote(), workspace.sample());
                sample::make(&remote, &clone)?;
                let repo = remote.to_string_lossy().into_owned();
                let mut plan = Self::of_repo(&repo, args, workspace)?;
                plan.origin = Origin::Sample;
                if let (Some(agent), Some(sync)) = (&mut plan.agent, &plan.sync) {
                    *agent =
                        AgentPlan::of_remote(clone.clone(), sync.remote.clone(), None, &plan_reference(args), args)?;
                    if clone.join(".git").exists() {
                        // Made by an earlier version in this workspace, so ours.
                        agent.adopt();
                    }
                }
                Ok(plan)
            }
        }
    }

    fn of_clone(clone: &Path, args: &UpArgs, workspace: &Workspace) -> Result<Self, Failure> {
        let wrong = |allowed: &str| config(&ConfigError::new("--clone", clone.display(), allowed));
        let path = clone.canonicalize().map_err(|_| wrong("an existing folder"))?;
        if !path.join(".git").exists() {
            return Err(wrong("the top folder of a git clone, the one with .git in it"));
        }
        let url = sample::git(&path, Whose::Theirs, &["config", "remote.origin.url"]).unwrap_or_default();
        // A path in a clone's configuration is meant from there.
        let url = if url.starts_with("./") || url.starts_with("../") {
            path.join(&url).canonicalize().map_or(url, |absolute| absolute.to_string_lossy().into_owned())
        } else {
            url
        };
        let (mut remote, login) =
            baft_repo::access::remote(&url, &args.auth, Variables::GitSync).map_err(|error| config(&error))?;
        use_own_keys(&mut remote, &args.auth);
        let (agent, read_only) = match agent::consent(&path, remote, args)? {
            Consent::Given(mut agent) => {
                agent.log_in_with(login);
                (Some(*agent), None)
            }
            Consent::ReadOnly(why) => (None, Some(why)),
        };
        Ok(Self {
            source: Source::Clone { path: path.clone() },
            import: ImportSettings::new(ImportSource::Worktree { clone: path.clone() }, workspace.publish()),
            origin: Origin::Clone(path),
            sync: None,
            agent,
            read_only,
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
        use_own_keys(&mut sync.remote, &args.auth);
        sync.period = args.period.unwrap_or(if origin.is_some() { LOCAL_PERIOD } else { REMOTE_PERIOD });
        sync.init_period = sync.period;
        // A repository with files checked out takes no pushes to them: its owner commits there.
        let folder = matches!(origin, Some(Origin::Folder(_)));
        let agent = match !folder && !args.no_commit && !args.once && agent::can_commit_to(reference) {
            true => {
                let clone = agent::clone_in(workspace, &folder_name(&url));
                Some(AgentPlan::of_remote(clone, sync.remote.clone(), sync.login.clone(), reference, args)?)
            }
            false => None,
        };
        let follow = ImportSource::Git { repo: sync.mirror(), follow: Follow::Link(sync.link.clone()) };
        Ok(Self {
            source: Source::Remote { repo: redact_url(&url), reference: reference.to_owned() },
            import: ImportSettings::new(follow, workspace.publish()),
            origin: origin.unwrap_or(Origin::Remote),
            sync: Some(sync),
            agent,
            read_only: None,
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
            (Source::Clone { path }, _) => of_clone(path, self.agent.as_ref(), self.read_only.as_deref()),
            (Source::Remote { repo, .. }, Origin::Sample) => vec![format!("Following the sample repository {repo}")],
            (Source::Remote { repo, reference }, _) if reference == "HEAD" => vec![format!("Following {repo}")],
            (Source::Remote { repo, reference }, _) => vec![format!("Following {repo} ({reference})")],
        }
    }
}

/// What `--ref` says, or HEAD.
fn plan_reference(args: &UpArgs) -> String {
    args.reference.clone().unwrap_or_else(|| "HEAD".to_owned())
}

/// What is known about a clone without touching it.
fn of_clone(path: &Path, agent: Option<&AgentPlan>, read_only: Option<&str>) -> Vec<String> {
    let git = |arguments: &[&str]| sample::git(path, Whose::Theirs, arguments).ok();
    let branch = git(&["symbolic-ref", "--short", "HEAD"]);
    let changed = git(&["status", "--porcelain"]).map(|text| text.lines().count() as u64);
    let state = match (branch, changed) {
        (Some(branch), Some(0)) => format!(" (branch {branch}, nothing uncommitted)"),
        (Some(branch), Some(files)) => format!(" (branch {branch}, {} with uncommitted changes)", count(files, "file")),
        _ => String::new(),
    };
    let first = format!("Reading the files of {}{state}", path.display());
    if agent.is_some() {
        return vec![
            first,
            "Every save becomes a row, marked WORKTREE until it is committed; two seconds after the last save it is"
                .to_owned(),
            "committed and pushed, and what others pushed is brought in.".to_owned(),
        ];
    }
    let why = read_only.map(|why| format!(" ({why})")).unwrap_or_default();
    vec![
        first,
        "Every save becomes a row, marked WORKTREE until it is committed. Nothing is written to the clone, nothing"
            .to_owned(),
        format!("is committed, pulled or pushed{why}."),
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
fn use_own_keys(remote: &mut Remote, auth: &AccessArgs) {
    let Some(ssh) = std::env::var_os("HOME").map(|home| PathBuf::from(home).join(".ssh")) else { return };
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
        let bare = folder.with_extension("git");
        sample::make(&bare, folder).unwrap();
        let parent = folder.parent().unwrap();
        let names = [bare.to_str().unwrap(), folder.to_str().unwrap()];
        sample::git(parent, Whose::Ours, &["clone", "--quiet", names[0], names[1]]).unwrap();
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
        assert!(plan.agent.is_none(), "nobody commits into files that are checked out");
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
