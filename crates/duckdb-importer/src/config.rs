//! The command line and the environment, and what they come to: [`Settings`].

use std::path::{Path, PathBuf};
use std::time::Duration;

use baft_bus::NatsArgs;
use baft_kit::config::{CommonArgs, ConfigError, duration};

use crate::check::Format;

/// git-sync's mirror in its folder.
const MIRROR: &str = "mirror.git";
/// Its link, and the usual name of a clone.
const LINK: &str = "framework";

/// Keeps a DuckDB file in step with a git repository of YAML, JSON and Markdown
#[derive(Debug, clap::Parser)]
#[command(name = "duckdb-importer", version)]
pub struct Cli {
    /// Options every Baft daemon has.
    #[command(flatten)]
    pub common: CommonArgs,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What the importer can be told to do.
#[derive(Debug, clap::Subcommand)]
pub enum Command {
    /// Follow the source and publish every change, until told to stop
    Run(Box<RunArgs>),
    /// Import once and exit
    Import(ImportArgs),
    /// Read, validate and lint the files as they are saved, without a database; for editors, pre-commit hooks and CI
    Check(CheckArgs),
    /// Show what is published
    Stats(PublishArgs),
    /// Rebuild from the source beside the published database and compare every table
    Verify(VerifyArgs),
    /// Ask a running importer's admin server whether it is ready
    Healthcheck,
}

/// Where the data comes from.
#[derive(Debug, Clone, clap::Args)]
#[command(next_help_heading = "Source")]
pub struct SourceArgs {
    /// Folder with the repository: git-sync's folder, or a clone
    #[arg(long, env = "ITP_ROOT", value_name = "DIR", default_value = ".")]
    pub root: PathBuf,

    /// Read commits out of git, or the files of a working tree; auto takes git where git-sync's mirror is
    #[arg(long, env = "BAFT_IMPORT_SOURCE", value_name = "KIND", default_value = "auto")]
    pub source: SourceKind,

    /// The repository itself, when it is not found under the folder: a bare mirror or a clone
    #[arg(long, env = "BAFT_IMPORT_REPO", value_name = "PATH")]
    pub repo: Option<PathBuf>,

    /// git-sync's link, relative to the folder: its target's name is the commit to import; `framework` when git-sync's
    /// mirror is found
    #[arg(long, env = "BAFT_IMPORT_LINK", value_name = "NAME")]
    pub link: Option<PathBuf>,

    /// What to import where there is no link: a branch, tag or commit
    #[arg(long = "ref", env = "BAFT_IMPORT_REF", value_name = "REF", default_value = "HEAD")]
    pub reference: String,

    /// Keep the last good version of a row that violates its JSON Schema, instead of importing it marked invalid
    #[arg(long, env = "BAFT_IMPORT_STRICT")]
    pub strict: bool,

    /// How many first-parent commits to look through for the date a row last changed; older rows get the oldest date seen
    #[arg(long, env = "BAFT_IMPORT_HISTORY", value_name = "COMMITS", default_value_t = 10_000)]
    pub history: usize,
}

/// What kind of source.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum SourceKind {
    /// git where a mirror is found, else the working tree.
    Auto,
    /// Commits, out of the object database.
    Git,
    /// The files as they are, saved but not yet committed edits included.
    Worktree,
}

/// What to check.
#[derive(Debug, Clone, clap::Args)]
pub struct CheckArgs {
    /// Files and folders to report on; all when none is named
    #[arg(value_name = "PATH")]
    pub paths: Vec<PathBuf>,

    /// Folder with the repository
    #[arg(long, env = "ITP_ROOT", value_name = "DIR", default_value = ".")]
    pub root: PathBuf,

    /// How the report is written
    #[arg(long, value_name = "FORMAT", default_value = "text")]
    pub format: Format,

    /// Exit 1 on warnings too
    #[arg(long)]
    pub deny_warnings: bool,
}

/// Where the database is published.
#[derive(Debug, Clone, clap::Args)]
#[command(next_help_heading = "Publishing")]
pub struct PublishArgs {
    /// Folder to publish the database in
    #[arg(long = "workspace", env = "BAFT_WORKSPACE", value_name = "DIR", default_value = "workspace")]
    pub dir: PathBuf,

    /// Name of the database file
    #[arg(long, env = "BAFT_DB_NAME", value_name = "NAME", default_value = "itp.duckdb")]
    pub db_name: String,

    /// How many generations to keep, at least 3
    #[arg(long, env = "BAFT_IMPORT_KEEP", value_name = "N", default_value_t = 3)]
    pub keep: usize,

    /// How long a generation is kept after it was replaced, whatever their number
    #[arg(long, env = "BAFT_IMPORT_KEEP_FOR", value_name = "DURATION", default_value = "2m", value_parser = duration)]
    pub keep_for: Duration,

    /// Most memory DuckDB may use for one import, such as 256MiB
    #[arg(long, env = "BAFT_IMPORT_MEMORY", value_name = "SIZE", default_value = "256MiB", value_parser = baft_kit::config::bytes)]
    pub memory: u64,

    /// Threads to read, write and check with
    #[arg(long, env = "BAFT_IMPORT_THREADS", value_name = "N", default_value_t = 2)]
    pub threads: usize,
}

/// Heads what only `run` has in the help.
const FOLLOWING: &str = "Following";

/// Options of `run`.
#[derive(Debug, Clone, clap::Args)]
pub struct RunArgs {
    /// Where the data comes from.
    #[command(flatten)]
    pub source: SourceArgs,
    /// Where the database goes.
    #[command(flatten)]
    pub publish: PublishArgs,
    /// The broker.
    #[command(flatten)]
    pub nats: NatsArgs,

    /// Look at the source this often, whatever the events say
    #[arg(long, help_heading = FOLLOWING, env = "BAFT_IMPORT_POLL", value_name = "DURATION", default_value = "30s", value_parser = duration)]
    pub poll: Duration,

    /// Wait this long after a save for more saves
    #[arg(long, help_heading = FOLLOWING, env = "BAFT_IMPORT_DEBOUNCE", value_name = "DURATION", default_value = "5ms", value_parser = duration)]
    pub debounce: Duration,

    /// Reconcile at these times: an interval such as 30m, or a cron expression such as "*/30 * * * *"
    #[arg(long, help_heading = FOLLOWING, env = "BAFT_IMPORT_RECONCILE", value_name = "WHEN")]
    pub reconcile: Option<String>,

    /// Announce every changed entity (entity.changed), not only the generation
    #[arg(long, help_heading = FOLLOWING, env = "BAFT_IMPORT_ENTITY_EVENTS")]
    pub entity_events: bool,
}

/// Heads what only `import` has in the help.
const IMPORTING: &str = "Importing";

/// Options of `import`.
#[derive(Debug, Clone, clap::Args)]
pub struct ImportArgs {
    /// Where the data comes from.
    #[command(flatten)]
    pub source: SourceArgs,
    /// Where the database goes.
    #[command(flatten)]
    pub publish: PublishArgs,
    /// Rebuild everything instead of applying what changed
    #[arg(long, help_heading = IMPORTING)]
    pub full: bool,
    /// Import this commit
    #[arg(long, help_heading = IMPORTING, value_name = "COMMIT")]
    pub at: Option<String>,
}

/// Options of `verify`.
#[derive(Debug, Clone, clap::Args)]
pub struct VerifyArgs {
    /// Where the data comes from.
    #[command(flatten)]
    pub source: SourceArgs,
    /// Where the database is.
    #[command(flatten)]
    pub publish: PublishArgs,
}

/// The source, found and checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// Commits of a repository.
    Git {
        /// A bare mirror or a clone.
        repo: PathBuf,
        /// Which commit.
        follow: Follow,
    },
    /// The files of a clone.
    Worktree {
        /// The clone.
        clone: PathBuf,
    },
}

/// Which commit of a repository to import.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Follow {
    /// The one that names the target of git-sync's link.
    Link(PathBuf),
    /// The one a branch, tag or commit id leads to.
    Ref(String),
}

/// Everything an importer is told, whoever tells it: the command line or `baft up`.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Where the data comes from.
    pub source: Source,
    /// Rows that violate their schema keep their last good version.
    pub strict: bool,
    /// First-parent commits to look through for dates.
    pub history: usize,
    /// Where the database goes.
    pub publish: PublishArgs,
    /// Look at the source this often.
    pub poll: Duration,
    /// Wait this long for more events.
    pub debounce: Duration,
    /// An interval or a cron expression.
    pub reconcile: Option<String>,
    /// Announce every changed entity.
    pub entity_events: bool,
    /// Accept requests only in the name of a principal.
    pub require_principal: bool,
}

impl Settings {
    /// The defaults of the command line, for this source and publish folder.
    #[must_use]
    pub fn new(source: Source, dir: impl Into<PathBuf>) -> Self {
        Self {
            source,
            strict: false,
            history: 10_000,
            publish: PublishArgs {
                dir: dir.into(),
                db_name: "itp.duckdb".to_owned(),
                keep: 3,
                keep_for: Duration::from_secs(120),
                memory: 256 << 20,
                threads: 2,
            },
            poll: Duration::from_secs(30),
            debounce: Duration::from_millis(5),
            reconcile: None,
            entity_events: false,
            require_principal: false,
        }
    }
}

impl SourceArgs {
    /// Finds the repository and the way to follow it.
    ///
    /// # Errors
    /// Nothing usable is where the options point.
    pub fn find(&self) -> Result<Source, ConfigError> {
        let link = |name: &Path| Follow::Link(self.root.join(name));
        let reference = || Follow::Ref(self.reference.clone());
        let mirror = self.root.join(MIRROR);
        let mirror = mirror.is_dir().then_some(mirror);
        if let Some(repo) = &self.repo {
            let bare = !repo.join(".git").exists();
            let git =
                self.source == SourceKind::Git || self.link.is_some() || (self.source == SourceKind::Auto && bare);
            let follow = self.link.as_deref().map_or_else(reference, link);
            return match repo.is_dir() {
                true if git => Ok(Source::Git { repo: repo.clone(), follow }),
                true => Ok(Source::Worktree { clone: repo.clone() }),
                false => {
                    Err(ConfigError::new("--repo (BAFT_IMPORT_REPO)", repo.display(), "the folder of a repository"))
                }
            };
        }
        match (self.source, mirror) {
            (SourceKind::Auto | SourceKind::Git, Some(repo)) => {
                Ok(Source::Git { repo, follow: link(self.link.as_deref().unwrap_or(Path::new(LINK))) })
            }
            (SourceKind::Git, None) => match self.clone() {
                Some(repo) => Ok(Source::Git { repo, follow: self.link.as_deref().map_or_else(reference, link) }),
                // git-sync may not have made it yet.
                None if self.root.is_dir() => Ok(Source::Git {
                    repo: self.root.join(MIRROR),
                    follow: link(self.link.as_deref().unwrap_or(Path::new(LINK))),
                }),
                None => Err(self.nothing()),
            },
            (SourceKind::Auto | SourceKind::Worktree, _) => {
                self.clone().map(|clone| Source::Worktree { clone }).ok_or_else(|| self.nothing())
            }
        }
    }

    /// The folder with the data, in the order the specification names: `framework`, `baseline`, the folder itself.
    fn clone(&self) -> Option<PathBuf> {
        let candidates = [self.root.join(LINK), self.root.join("baseline"), self.root.clone()];
        let usable = |folder: &&PathBuf| {
            [".git", "data", baft_dataset::dataset::CONFIG_FILE].iter().any(|name| folder.join(name).exists())
                || is_bare(folder)
        };
        candidates.iter().find(usable).cloned()
    }

    fn nothing(&self) -> ConfigError {
        let allowed = "a folder with a repository, or with git-sync's mirror.git";
        ConfigError::new("--root (ITP_ROOT)", self.root.display(), allowed)
    }
}

fn is_bare(folder: &Path) -> bool {
    folder.join("HEAD").is_file() && folder.join("objects").is_dir()
}

impl RunArgs {
    /// What they come to.
    ///
    /// # Errors
    /// Nothing usable is where the options point.
    pub fn settings(&self) -> Result<Settings, ConfigError> {
        Ok(Settings {
            poll: self.poll,
            debounce: self.debounce,
            reconcile: self.reconcile.clone(),
            entity_events: self.entity_events,
            require_principal: self.nats.require_principal,
            ..settings(&self.source, &self.publish)?
        })
    }
}

/// The settings that all commands share.
pub(crate) fn settings(source: &SourceArgs, publish: &PublishArgs) -> Result<Settings, ConfigError> {
    Ok(Settings {
        strict: source.strict,
        history: source.history,
        publish: publish.clone(),
        ..Settings::new(source.find()?, &publish.dir)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn args(root: &Path, more: &[&str]) -> SourceArgs {
        #[derive(clap::Parser)]
        struct Only {
            #[command(flatten)]
            source: SourceArgs,
        }
        let root = root.to_string_lossy().into_owned();
        let line = ["x", "--root", root.as_str()].into_iter().chain(more.iter().copied());
        <Only as clap::Parser>::parse_from(line).source
    }

    #[test]
    fn git_syncs_mirror_is_taken_before_a_clone() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path();
        assert!(args(root, &[]).find().is_err());
        std::fs::create_dir_all(root.join("framework/data")).unwrap();
        assert_eq!(args(root, &[]).find().unwrap(), Source::Worktree { clone: root.join("framework") });
        std::fs::create_dir(root.join("mirror.git")).unwrap();
        let follow = Follow::Link(root.join("framework"));
        assert_eq!(args(root, &[]).find().unwrap(), Source::Git { repo: root.join("mirror.git"), follow });
        let worktree = args(root, &["--source", "worktree"]).find().unwrap();
        assert_eq!(worktree, Source::Worktree { clone: root.join("framework") });
    }

    #[test]
    fn a_repository_that_is_named_is_followed_by_ref() {
        let dir = tempfile::tempdir().unwrap();
        let repo = dir.path().to_string_lossy().into_owned();
        let found = args(dir.path(), &["--repo", &repo, "--ref", "main"]).find().unwrap();
        assert_eq!(found, Source::Git { repo: dir.path().into(), follow: Follow::Ref("main".into()) });
        std::fs::create_dir(dir.path().join(".git")).unwrap();
        assert_eq!(args(dir.path(), &["--repo", &repo]).find().unwrap(), Source::Worktree { clone: dir.path().into() });
    }
}
