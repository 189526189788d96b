//! Everything git-sync is told, checked: [`Config`], from the command line or from whoever embeds it.

mod layout;

use std::path::{Path, PathBuf};
use std::time::Duration;

use baft_kit::SecretFile;
use baft_kit::config::ConfigError;
use baft_repo::Oid;
use baft_repo::access::{AccessArgs, LoginConfig, Variables};
use baft_repo::checkout::{Access, Keep, Mode};
use baft_repo::transport::{Credentials, KnownHosts, Remote};

use crate::args::{CheckoutMode, Cli};
use layout::{CHECKOUTS, MIRROR, OURS, absolute, leaf};

pub(crate) use layout::{HOME, JOURNAL, LOCK, relative};

/// What is followed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Target {
    /// One commit that never changes.
    Commit(Oid),
    /// A branch, a tag or a full ref, by the name that was given.
    Ref(String),
}

impl std::fmt::Display for Target {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Commit(oid) => write!(f, "{oid}"),
            Self::Ref(name) => f.write_str(name),
        }
    }
}

/// How long it runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Runs {
    /// Until told to stop.
    Forever,
    /// Until the first sync has succeeded and the hooks have run once.
    Once,
}

/// A program to run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExecHook {
    /// The program; it gets no arguments.
    pub command: PathBuf,
    /// Longest run.
    pub timeout: Duration,
    /// Pause after a failure.
    pub backoff: Duration,
}

/// A URL to call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CallHook {
    /// The URL.
    pub url: String,
    /// The method.
    pub method: String,
    /// The status that means success; nothing takes any answer, or none.
    pub success: Option<u16>,
    /// Longest call.
    pub timeout: Duration,
    /// Pause after a failure.
    pub backoff: Duration,
}

/// Everything git-sync is told.
#[derive(Debug, Clone)]
pub struct Config {
    /// The remote and what is shown to it. Its deadline is set for each sync.
    pub remote: Remote,
    /// What is followed.
    pub target: Target,
    /// Folder for mirror and checkouts, absolute.
    pub root: PathBuf,
    /// The link, absolute.
    pub link: PathBuf,
    /// Whether checkouts share files.
    pub mode: Mode,
    /// Who may write to them.
    pub access: Access,
    /// Which checkouts stay.
    pub keep: Keep,
    /// Look at the remote this often.
    pub period: Duration,
    /// The same before the first success.
    pub init_period: Duration,
    /// Longest pause while the remote fails.
    pub max_backoff: Duration,
    /// Longest time of one sync.
    pub sync_timeout: Duration,
    /// Failures in a row that are tolerated; nothing means any number.
    pub max_failures: Option<u32>,
    /// The same before the first success.
    pub init_max_failures: Option<u32>,
    /// How long it runs.
    pub runs: Runs,
    /// Program to run after publishing.
    pub exechook: Option<ExecHook>,
    /// Program to run before publishing.
    pub pre_publish: Option<ExecHook>,
    /// URL to call after publishing.
    pub webhook: Option<CallHook>,
    /// Touched after every success, absolute.
    pub touch_file: Option<PathBuf>,
    /// Holds the last failure, absolute.
    pub error_file: Option<PathBuf>,
    /// The secret of incoming webhooks; without it there are none.
    pub webhook_secret: Option<SecretFile>,
    /// Accept changing requests only in the name of a principal.
    pub require_principal: bool,
    /// Certificate authorities (PEM) to trust instead of the system's; the first git-sync of a process decides for all.
    pub ca_file: Option<PathBuf>,
    /// Who makes logins when the remote asks for one.
    pub login: Option<LoginConfig>,
}

impl Config {
    /// The defaults of the command line: HEAD of `repo`, published under `root`.
    ///
    /// # Errors
    /// Something given cannot work.
    pub fn new(repo: &str, root: impl Into<PathBuf>) -> Result<Self, ConfigError> {
        let remote = Remote {
            url: repo.to_owned(),
            credentials: Credentials::default(),
            known_hosts: KnownHosts::None,
            ..Remote::default()
        };
        let root = absolute(&root.into())?;
        let link = root.join(leaf(repo)?);
        Ok(Self {
            remote,
            target: Target::Ref("HEAD".to_owned()),
            root,
            link,
            mode: Mode::Link,
            access: Access::ReadOnly,
            keep: Keep { newest: 3, younger_than: Duration::ZERO },
            period: Duration::from_secs(10),
            init_period: Duration::from_secs(10),
            max_backoff: Duration::from_secs(60),
            sync_timeout: Duration::from_secs(120),
            max_failures: None,
            init_max_failures: None,
            runs: Runs::Forever,
            exechook: None,
            pre_publish: None,
            webhook: None,
            touch_file: None,
            error_file: None,
            webhook_secret: None,
            require_principal: false,
            ca_file: None,
            login: None,
        })
    }

    /// Points the link elsewhere: a path, relative to the root unless absolute.
    ///
    /// # Errors
    /// The link would replace something of ours.
    pub fn with_link(mut self, link: &Path) -> Result<Self, ConfigError> {
        self.link = absolute(&self.root.join(link))?;
        let inside = self.link.strip_prefix(&self.root).ok().and_then(|rest| rest.components().next());
        let ours = inside.is_some_and(|first| OURS.iter().any(|name| first.as_os_str() == *name));
        if ours || self.link == self.root || self.link.file_name().is_none() {
            let allowed = format!("a path whose first part is none of {}", OURS.join(", "));
            return Err(ConfigError::new("--link", link.display(), allowed));
        }
        Ok(self)
    }

    /// Follows something else than HEAD: a branch, tag, full ref or commit.
    #[must_use]
    pub fn with_ref(mut self, reference: &str) -> Self {
        self.target = match reference.parse::<Oid>() {
            Ok(oid) => Target::Commit(oid),
            Err(_) => Target::Ref(reference.to_owned()),
        };
        self
    }

    /// Shows this to the remote.
    ///
    /// # Errors
    /// Settings that contradict each other.
    pub fn with_auth(mut self, auth: &AccessArgs) -> Result<Self, ConfigError> {
        (self.remote, self.login) = baft_repo::access::remote(&self.remote.url, auth, Variables::GitSync)?;
        self.ca_file = auth.git_ca_file.clone();
        Ok(self)
    }

    /// What the command line says.
    ///
    /// # Errors
    /// The first setting that cannot work.
    pub fn from_cli(cli: &Cli) -> Result<Self, ConfigError> {
        let required = |flag: &str, what: &str| ConfigError::new(flag, "", what);
        let repo = cli.source.repo.as_deref().ok_or_else(|| required("--repo (GITSYNC_REPO)", "a repository's URL"))?;
        let root = cli.publish.root.clone().ok_or_else(|| required("--root (GITSYNC_ROOT)", "a folder"))?;
        let mut config = Self::new(repo, root)?.with_ref(&cli.source.reference);
        if cli.source.reference.is_empty() {
            return Err(ConfigError::new("--ref", "", "a branch, tag, full ref or commit"));
        }
        if let Some(link) = &cli.publish.link {
            config = config.with_link(link)?;
        }
        let schedule = &cli.schedule;
        for (flag, value) in [
            ("--period", schedule.period),
            ("--init-period", schedule.init_period.unwrap_or(schedule.period)),
            ("--sync-timeout", schedule.sync_timeout),
        ] {
            if value < Duration::from_millis(10) {
                return Err(ConfigError::new(flag, format!("{value:?}"), "at least 10ms"));
            }
        }
        config.period = schedule.period;
        config.init_period = schedule.init_period.unwrap_or(schedule.period);
        config.max_backoff = schedule.max_backoff.max(schedule.period);
        config.sync_timeout = schedule.sync_timeout;
        config.runs = if schedule.one_time { Runs::Once } else { Runs::Forever };
        let default = if schedule.one_time { 0 } else { -1 };
        let tolerated = |value: i64| u32::try_from(value).ok();
        config.max_failures = tolerated(schedule.max_failures.unwrap_or(default));
        config.init_max_failures = tolerated(schedule.init_max_failures.or(schedule.max_failures).unwrap_or(default));

        if cli.publish.group_write {
            config.access = Access::GroupWrite;
        }
        if cli.publish.group_write || cli.publish.checkout == CheckoutMode::Copy {
            config.mode = Mode::Copy;
        }
        config.keep =
            Keep { newest: usize::from(cli.publish.keep_checkouts), younger_than: cli.publish.stale_worktree_timeout };
        config.set_notifications(cli)?;
        config = config.with_auth(&cli.auth)?;
        config.webhook_secret = cli.http.webhook_secret_file.clone().map(SecretFile::new);
        config.require_principal = cli.nats.require_principal;
        Ok(config)
    }

    fn set_notifications(&mut self, cli: &Cli) -> Result<(), ConfigError> {
        let notify = &cli.notify;
        let program = |command: &Option<PathBuf>, timeout, backoff| {
            command.clone().map(|command| ExecHook { command, timeout, backoff })
        };
        self.exechook = program(&notify.exechook_command, notify.exechook_timeout, notify.exechook_backoff);
        self.pre_publish = program(
            &notify.pre_publish_exechook_command,
            notify.pre_publish_exechook_timeout,
            notify.pre_publish_exechook_backoff,
        );
        if let Some(url) = &notify.webhook_url {
            let usable = url::Url::parse(url).is_ok_and(|url| matches!(url.scheme(), "http" | "https"));
            if !usable {
                return Err(ConfigError::new("--webhook-url", url, "an http:// or https:// URL"));
            }
            let status = notify.webhook_success_status;
            let success = match u16::try_from(status) {
                Ok(0) => None,
                Ok(status) => Some(status),
                Err(_) if status == -1 => None,
                Err(_) => return Err(ConfigError::new("--webhook-success-status", status, "an HTTP status, or 0")),
            };
            self.webhook = Some(CallHook {
                url: url.clone(),
                method: notify.webhook_method.to_uppercase(),
                success,
                timeout: notify.webhook_timeout,
                backoff: notify.webhook_backoff,
            });
        }
        let below_root = |path: &Option<PathBuf>| path.as_ref().map(|path| self.root.join(path));
        (self.touch_file, self.error_file) = (below_root(&notify.touch_file), below_root(&notify.error_file));
        Ok(())
    }

    /// The bare repository.
    #[must_use]
    pub fn mirror(&self) -> PathBuf {
        self.root.join(MIRROR)
    }

    /// The folder with the checkouts.
    #[must_use]
    pub fn checkouts(&self) -> PathBuf {
        self.root.join(CHECKOUTS)
    }

    /// The repository as it may be shown.
    #[must_use]
    pub fn shown_repo(&self) -> String {
        baft_kit::log::redact_url(&self.remote.url)
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    fn config(args: &[&str]) -> Result<Config, ConfigError> {
        let cli = Cli::try_parse_from([&["git-sync", "--root", "/r", "--repo", "https://h/o/docs.git"], args].concat());
        Config::from_cli(&cli.unwrap())
    }

    #[test]
    fn the_link_may_be_anywhere_but_in_our_way() {
        assert_eq!(config(&["--link", "a/b"]).unwrap().link, Path::new("/r/a/b"));
        assert_eq!(config(&["--link", "/x/y"]).unwrap().link, Path::new("/x/y"));
        assert_eq!(config(&["--link", "../y"]).unwrap().link, Path::new("/y"));
        for link in ["mirror.git", "checkouts/x", ".", "published.json"] {
            assert!(config(&["--link", link]).is_err(), "{link}");
        }
    }

    #[test]
    fn failures_are_tolerated_for_ever_unless_it_runs_once() {
        assert_eq!(config(&[]).unwrap().max_failures, None);
        assert_eq!(config(&["--one-time"]).unwrap().max_failures, Some(0));
        let config = config(&["--max-failures=2", "--init-max-failures=-1"]).unwrap();
        assert_eq!((config.max_failures, config.init_max_failures), (Some(2), None));
    }

    #[test]
    fn a_full_hash_is_a_commit_and_everything_else_is_a_name() {
        let hash = "0123456789abcdef0123456789abcdef01234567";
        assert_eq!(config(&["--ref", hash]).unwrap().target, Target::Commit(hash.parse().unwrap()));
        assert_eq!(config(&["--ref", "v1"]).unwrap().target, Target::Ref("v1".to_owned()));
    }

    #[test]
    fn settings_that_cannot_work_are_refused() {
        for args in [
            &["--period=1ms"][..],
            &["--webhook-url=nonsense"],
            &["--webhook-url=http://x", "--webhook-success-status=-7"],
        ] {
            assert!(config(args).is_err(), "{args:?}");
        }
        let cli = Cli::try_parse_from(["git-sync", "--root", "/r"]).unwrap();
        assert!(Config::from_cli(&cli).unwrap_err().to_string().contains("GITSYNC_REPO"));
    }
}
