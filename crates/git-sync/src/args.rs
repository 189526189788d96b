//! The command line: kubernetes/git-sync's flags under their names and variables, then ours.
//!
//! `compat` says for every flag of theirs whether it means the same here; `config` turns the values into a [`Config`](crate::Config).

use std::path::PathBuf;
use std::time::Duration;

use baft_bus::NatsArgs;
use baft_kit::config::{CommonArgs, DaemonCommand, duration, switch};
use baft_repo::access::AccessArgs;

/// Publishes every commit of a git remote as a complete, read-only folder behind one link that flips in one step
///
/// Works wherever kubernetes/git-sync does: same flags, same GITSYNC_* variables, same link. docs/git-sync.md says what differs.
#[derive(Debug, Clone, clap::Parser)]
#[command(
    name = "git-sync",
    version,
    mut_arg("admin_addr", |arg| arg.default_value("127.0.0.1:9101"))
)]
pub struct Cli {
    /// What is followed.
    #[command(flatten)]
    pub source: SourceArgs,
    /// Where it is published.
    #[command(flatten)]
    pub publish: PublishArgs,
    /// When the remote is looked at.
    #[command(flatten)]
    pub schedule: ScheduleArgs,
    /// Who is told.
    #[command(flatten)]
    pub notify: NotifyArgs,
    /// What is shown to the remote.
    #[command(flatten)]
    pub auth: AccessArgs,
    /// HTTP for others.
    #[command(flatten)]
    pub http: HttpArgs,
    /// Accepted or refused, never used.
    #[command(flatten)]
    pub other: OtherArgs,
    /// The broker.
    #[command(flatten)]
    pub nats: NatsArgs,
    /// Options every Baft daemon has.
    #[command(flatten)]
    pub common: CommonArgs,
    /// What to do instead of syncing.
    #[command(subcommand)]
    pub command: Option<DaemonCommand>,
}

/// What is followed.
#[derive(Debug, Clone, clap::Args)]
#[command(next_help_heading = "What to follow")]
pub struct SourceArgs {
    /// The repository: https://…, ssh://…, user@host:path, file://… or a path (required)
    #[arg(long, env = "GITSYNC_REPO", value_name = "URL")]
    pub repo: Option<String>,

    /// Branch, tag, full ref or commit
    #[arg(long = "ref", env = "GITSYNC_REF", value_name = "REF", default_value = "HEAD")]
    pub reference: String,
}

/// Where it is published.
#[derive(Debug, Clone, clap::Args)]
#[command(next_help_heading = "Where to publish")]
pub struct PublishArgs {
    /// Folder for the mirror, the checkouts and the link (required)
    #[arg(long, env = "GITSYNC_ROOT", value_name = "DIR")]
    pub root: Option<PathBuf>,

    /// The link to the newest checkout, absolute or relative to --root; default: last part of --repo
    #[arg(long, env = "GITSYNC_LINK", value_name = "PATH")]
    pub link: Option<PathBuf>,

    /// Let our group write to everything; every checkout then has its own files
    #[arg(long, env = "GITSYNC_GROUP_WRITE", value_name = "BOOL", value_parser = switch, num_args = 0..=1, require_equals = true, default_value = "false", default_missing_value = "true", action = clap::ArgAction::Set)]
    pub group_write: bool,

    /// How long checkouts that were replaced stay, whatever their number
    #[arg(long, env = "GITSYNC_STALE_WORKTREE_TIMEOUT", value_name = "DURATION", default_value = "0s", value_parser = duration)]
    pub stale_worktree_timeout: Duration,

    /// How many of the newest checkouts stay, the current one included
    #[arg(long, env = "BAFT_KEEP_CHECKOUTS", value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(u16).range(1..))]
    pub keep_checkouts: u16,

    /// link: unchanged files are hard links to the previous checkout; copy: every checkout has its own files
    #[arg(long, env = "BAFT_CHECKOUT", value_name = "MODE", default_value = "link")]
    pub checkout: CheckoutMode,
}

/// How checkouts are made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum CheckoutMode {
    /// Unchanged files are hard links.
    Link,
    /// Every checkout has its own files.
    Copy,
}

/// When the remote is looked at.
#[derive(Debug, Clone, clap::Args)]
#[command(next_help_heading = "When to look")]
pub struct ScheduleArgs {
    /// Look at the remote this often, at least every 10ms (give or take a tenth, so that many do not look at once)
    #[arg(long, env = "GITSYNC_PERIOD", value_name = "DURATION", default_value = "10s", value_parser = duration)]
    pub period: Duration,

    /// The same until the first sync has succeeded; default: --period
    #[arg(long, env = "GITSYNC_INIT_PERIOD", value_name = "DURATION", value_parser = duration)]
    pub init_period: Option<Duration>,

    /// Longest time one sync may take
    #[arg(long, env = "GITSYNC_SYNC_TIMEOUT", value_name = "DURATION", default_value = "120s", value_parser = duration)]
    pub sync_timeout: Duration,

    /// Sync once, run the hooks once, and exit
    #[arg(long, env = "GITSYNC_ONE_TIME", value_name = "BOOL", value_parser = switch, num_args = 0..=1, require_equals = true, default_value = "false", default_missing_value = "true", action = clap::ArgAction::Set)]
    pub one_time: bool,

    /// Exit after more than this many failures in a row, -1 = never; default: -1, with --one-time 0
    #[arg(long, env = "GITSYNC_MAX_FAILURES", value_name = "N", allow_hyphen_values = true)]
    pub max_failures: Option<i64>,

    /// The same until the first sync has succeeded; default: --max-failures
    #[arg(long, env = "GITSYNC_INIT_MAX_FAILURES", value_name = "N", allow_hyphen_values = true)]
    pub init_max_failures: Option<i64>,

    /// Sync on this signal besides SIGHUP: a name (SIGUSR1, USR1) or a number
    #[arg(long, env = "GITSYNC_SYNC_ON_SIGNAL", value_name = "SIGNAL")]
    pub sync_on_signal: Option<String>,

    /// Longest pause between attempts while the remote fails
    #[arg(long, env = "BAFT_MAX_BACKOFF", value_name = "DURATION", default_value = "60s", value_parser = duration)]
    pub max_backoff: Duration,
}

/// Who is told.
#[derive(Debug, Clone, clap::Args)]
#[command(next_help_heading = "Whom to tell")]
pub struct NotifyArgs {
    /// Program to run after a commit was published: in the checkout, with GITSYNC_HASH; must be idempotent
    #[arg(long, env = "GITSYNC_EXECHOOK_COMMAND", value_name = "PROGRAM")]
    pub exechook_command: Option<PathBuf>,

    /// Longest run of the program
    #[arg(long, env = "GITSYNC_EXECHOOK_TIMEOUT", value_name = "DURATION", default_value = "30s", value_parser = duration)]
    pub exechook_timeout: Duration,

    /// Pause before the program is run again after a failure
    #[arg(long, env = "GITSYNC_EXECHOOK_BACKOFF", value_name = "DURATION", default_value = "3s", value_parser = duration)]
    pub exechook_backoff: Duration,

    /// Program to run before the link moves; when it fails, the commit is not published
    #[arg(long, env = "GITSYNC_PRE_PUBLISH_EXECHOOK_COMMAND", value_name = "PROGRAM")]
    pub pre_publish_exechook_command: Option<PathBuf>,

    /// Longest run of that program
    #[arg(long, env = "GITSYNC_PRE_PUBLISH_EXECHOOK_TIMEOUT", value_name = "DURATION", default_value = "30s", value_parser = duration)]
    pub pre_publish_exechook_timeout: Duration,

    /// Accepted; the pause after a failure is that of any failed look
    #[arg(long, env = "GITSYNC_PRE_PUBLISH_EXECHOOK_BACKOFF", value_name = "DURATION", default_value = "3s", value_parser = duration)]
    pub pre_publish_exechook_backoff: Duration,

    /// URL to call after a commit was published, with the header Gitsync-Hash; must be idempotent
    #[arg(long, env = "GITSYNC_WEBHOOK_URL", value_name = "URL")]
    pub webhook_url: Option<String>,

    /// Method of the call
    #[arg(long, env = "GITSYNC_WEBHOOK_METHOD", value_name = "METHOD", default_value = "POST")]
    pub webhook_method: String,

    /// Status that means success; 0 takes any answer, or none
    #[arg(
        long,
        env = "GITSYNC_WEBHOOK_SUCCESS_STATUS",
        value_name = "STATUS",
        default_value_t = 200,
        allow_hyphen_values = true
    )]
    pub webhook_success_status: i32,

    /// Longest time one call may take
    #[arg(long, env = "GITSYNC_WEBHOOK_TIMEOUT", value_name = "DURATION", default_value = "1s", value_parser = duration)]
    pub webhook_timeout: Duration,

    /// Pause before the next call after a failure
    #[arg(long, env = "GITSYNC_WEBHOOK_BACKOFF", value_name = "DURATION", default_value = "3s", value_parser = duration)]
    pub webhook_backoff: Duration,

    /// File to touch whenever a sync succeeded, absolute or relative to --root
    #[arg(long, env = "GITSYNC_TOUCH_FILE", value_name = "PATH")]
    pub touch_file: Option<PathBuf>,

    /// File to write a failure to, removed on success, absolute or relative to --root
    #[arg(long, env = "GITSYNC_ERROR_FILE", value_name = "PATH")]
    pub error_file: Option<PathBuf>,
}

/// HTTP for others.
#[derive(Debug, Clone, clap::Args)]
#[command(next_help_heading = "HTTP")]
pub struct HttpArgs {
    /// Serve / here (503 until the first sync, then 200), and POST /webhook when a secret is given
    #[arg(long, env = "GITSYNC_HTTP_BIND", value_name = "ADDR:PORT")]
    pub http_bind: Option<String>,

    /// Serve /metrics there too (the admin server always does)
    #[arg(long, env = "GITSYNC_HTTP_METRICS", value_name = "BOOL", value_parser = switch, num_args = 0..=1, require_equals = true, default_value = "false", default_missing_value = "true", action = clap::ArgAction::Set)]
    pub http_metrics: bool,

    /// File with the secret of the forge's webhook; makes POST /webhook sync at once. Read on every call
    #[arg(long, env = "BAFT_WEBHOOK_SECRET_FILE", value_name = "FILE")]
    pub webhook_secret_file: Option<PathBuf>,
}

/// Flags of kubernetes/git-sync that change nothing here, or that cannot be honoured.
#[derive(Debug, Clone, Default, clap::Args)]
#[command(next_help_heading = "Accepted for kubernetes/git-sync's sake")]
pub struct OtherArgs {
    /// Changes nothing: the mirror has the whole history
    #[arg(long, env = "GITSYNC_DEPTH", value_name = "N", allow_hyphen_values = true)]
    pub depth: Option<i64>,
    /// Changes nothing: the mirror has all objects
    #[arg(long, env = "GITSYNC_FILTER", value_name = "SPEC")]
    pub filter: Option<String>,
    /// Only off is possible
    #[arg(long, env = "GITSYNC_SUBMODULES", value_name = "MODE")]
    pub submodules: Option<String>,
    /// Not possible: checkouts are complete
    #[arg(long, env = "GITSYNC_SPARSE_CHECKOUT_FILE", value_name = "FILE")]
    pub sparse_checkout_file: Option<String>,
    /// Changes nothing: SSH needs no passwd entry here
    #[arg(long, env = "GITSYNC_ADD_USER", value_name = "BOOL", value_parser = switch, num_args = 0..=1, require_equals = true, default_missing_value = "true", action = clap::ArgAction::Set)]
    pub add_user: Option<bool>,
    /// Changes nothing: no git command is run
    #[arg(long, env = "GITSYNC_GIT", value_name = "PROGRAM")]
    pub git: Option<String>,
    /// Not possible: no git command is run
    #[arg(long, env = "GITSYNC_GIT_CONFIG", value_name = "CONFIG")]
    pub git_config: Option<String>,
    /// Not possible: no git command is run
    #[arg(long, env = "GITSYNC_GIT_CONFIG_ADD", value_name = "CONFIG")]
    pub git_config_add: Option<String>,
    /// Changes nothing: nothing is collected while readers may need it
    #[arg(long, env = "GITSYNC_GIT_GC", value_name = "MODE")]
    pub git_gc: Option<String>,
    /// Only false is possible
    #[arg(long, env = "GITSYNC_HTTP_PPROF", value_name = "BOOL", value_parser = switch, num_args = 0..=1, require_equals = true, default_missing_value = "true", action = clap::ArgAction::Set)]
    pub http_pprof: Option<bool>,
    /// Log more: 1 to 4 is debug, 5 to 9 is trace, for this program; --log-level says it better
    #[arg(short, long, env = "GITSYNC_VERBOSE", value_name = "LEVEL")]
    pub verbose: Option<u8>,
    /// Print the long help and exit
    #[arg(long)]
    pub man: bool,

    #[arg(long, hide = true, num_args = 0..=1, default_missing_value = "")]
    pub(crate) branch: Option<String>,
    #[arg(long, hide = true, num_args = 0..=1, default_missing_value = "")]
    pub(crate) rev: Option<String>,
    #[arg(long, hide = true, num_args = 0..=1, default_missing_value = "")]
    pub(crate) dest: Option<String>,
    #[arg(long, hide = true, num_args = 0..=1, default_missing_value = "")]
    pub(crate) wait: Option<String>,
    #[arg(long, hide = true, num_args = 0..=1, default_missing_value = "")]
    pub(crate) timeout: Option<String>,
    #[arg(long, hide = true, num_args = 0..=1, default_missing_value = "", allow_hyphen_values = true)]
    pub(crate) max_sync_failures: Option<String>,
    #[arg(long, hide = true, num_args = 0..=1, default_missing_value = "")]
    pub(crate) change_permissions: Option<String>,
    #[arg(long, hide = true, num_args = 0..=1, default_missing_value = "")]
    pub(crate) password: Option<String>,
    #[arg(long, hide = true, num_args = 0..=1, require_equals = true, default_missing_value = "")]
    pub(crate) ssh: Option<String>,
    #[arg(long, hide = true, num_args = 0..=1, default_missing_value = "")]
    pub(crate) sync_hook_command: Option<String>,
}

#[cfg(test)]
mod tests {
    use clap::{CommandFactory, Parser};

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn switches_are_written_as_in_go() {
        let parse =
            |args: &[&str]| Cli::try_parse_from([&["git-sync"], args].concat()).map(|cli| cli.schedule.one_time);
        assert!(parse(&["--one-time"]).unwrap());
        assert!(parse(&["--one-time=true"]).unwrap());
        assert!(!parse(&["--one-time=false"]).unwrap());
        assert!(!parse(&[]).unwrap());
        assert!(parse(&["--one-time=maybe"]).is_err());
        assert!(parse(&["--no-such-flag"]).is_err());
    }

    #[test]
    fn negative_numbers_mean_for_ever() {
        let cli = Cli::try_parse_from(["git-sync", "--max-failures", "-1", "--depth=-1"]).unwrap();
        assert_eq!(cli.schedule.max_failures, Some(-1));
    }
}
