//! What can be said on the command line.

mod commit;
mod preflight;
mod session;

use std::path::PathBuf;
use std::time::Duration;

use baft_bus::NatsArgs;
use baft_kit::config::duration;
use clap::{Args, Subcommand, ValueEnum};

pub use commit::{
    AgentArgs, CommitArgs, CommitCommand, CommitStatusArgs, ConfirmArgs, EntityArgs, EntityCommand, NowArgs,
    ReleaseArgs, SetArgs, Shape,
};
pub use preflight::PreflightArgs;
pub use session::{
    EndArgs, FleetArgs, HistoryArgs, ListArgs, SessionArgs, SessionCommand, SessionStatusArgs, StartArgs,
    SyncCheckArgs, SyncNowArgs, WatchArgs,
};

/// Keeps a team's git repository of YAML, the database built from it and the people working on it in step
#[derive(Debug, clap::Parser)]
#[command(name = "baft", version = crate::version_text(), max_term_width = 100)]
#[command(
    after_help = "Start with `baft up`: it runs everything on this machine, on a sample repository or on yours.\n\
    Exit codes: 0 ok, 1 failed, 2 wrong usage, 75 try again later, 78 wrong configuration;\n\
    of preflight also 3 undecided, 4 warnings with --strict."
)]
pub struct Cli {
    /// Folder of the fleet; without it the nearest .baft, then the fleet that is running, then ~/.local/share/baft
    #[arg(long, global = true, env = "BAFT_WORKSPACE", value_name = "DIR")]
    pub workspace: Option<PathBuf>,

    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run the whole fleet on this machine: git-sync, commit-agent, importer and a private NATS server
    Up(UpArgs),
    /// Find entities and sections by words or ids
    Search(SearchArgs),
    /// Run one SQL query on the published database, read-only
    Query(QueryArgs),
    /// Show what happened, and with --follow what happens
    Events(EventsArgs),
    /// Ask the importer to import now
    Import(ImportArgs),
    /// Ask git-sync to look at the remote now
    Sync(SyncArgs),
    /// Commit and push what was saved, and see what is held back
    Commit(CommitArgs),
    /// Work in a session: start, see what others pushed, bring it in, end
    Session(SessionArgs),
    /// Change single entities
    Entity(EntityArgs),
    /// Show how the fleet is doing
    Status(StatusArgs),
    /// Check whether everything that is needed is there, and say how to fix what is not
    Preflight(PreflightArgs),
    /// Set up the NATS server a fleet uses
    Admin(AdminArgs),
    /// Print completions for a shell
    #[command(after_help = "bash: baft completions bash > ~/.local/share/bash-completion/completions/baft\n\
        zsh:  baft completions zsh > \"${fpath[1]}/_baft\"\n\
        fish: baft completions fish > ~/.config/fish/completions/baft.fish")]
    Completions {
        /// The shell
        shell: clap_complete::Shell,
    },
    /// Becomes another program that the kernel ends together with its parent
    #[command(hide = true)]
    RunBound(crate::bound::RunBoundArgs),
}

/// Options of `up`.
#[derive(Debug, Args)]
#[command(after_help = "Without --repo and --clone it makes a sample repository in the workspace and follows that.\n\
    Edit in the working clone it makes (its path is printed): what you save is committed and pushed.\n\
    A path given to --repo is treated as a remote; the files of a repository that is no bare one are never touched.")]
pub struct UpArgs {
    /// Repository to follow: a path or a URL
    #[arg(long, env = "GITSYNC_REPO", value_name = "PATH|URL", conflicts_with = "clone")]
    pub repo: Option<String>,

    /// Branch, tag or commit to follow; the remote's default branch without it
    #[arg(long = "ref", env = "GITSYNC_REF", value_name = "REF", conflicts_with = "clone")]
    pub reference: Option<String>,

    /// Read the files of this clone as they are, uncommitted edits included; commit and push them too if you agree when asked
    #[arg(long, env = "BAFT_CLONE", value_name = "DIR")]
    pub clone: Option<PathBuf>,

    /// Agree beforehand to commit and push what is in --clone, for scripts
    #[arg(long, requires = "clone")]
    pub yes: bool,

    /// Commit and push nothing
    #[arg(long, env = "BAFT_NO_COMMIT", conflicts_with = "yes")]
    pub no_commit: bool,

    /// Sync, import, print a summary and exit
    #[arg(long)]
    pub once: bool,

    /// Run without a NATS server: no events, no requests, everything else as usual
    #[arg(long)]
    pub no_nats: bool,

    /// How often to look for new commits; 1s for a path and 10s for a URL without it
    #[arg(long, env = "GITSYNC_PERIOD", value_name = "DURATION", value_parser = duration)]
    pub period: Option<Duration>,

    /// How to show what happens; auto redraws on a terminal and prints lines elsewhere
    #[arg(long, value_name = "HOW", default_value = "auto")]
    pub progress: Progress,

    /// What to log: a level, or target=level pairs separated by commas
    #[arg(long, env = "BAFT_LOG_LEVEL", value_name = "FILTER", default_value = "info")]
    pub log_level: String,

    /// How long finishing the work in flight may take after Ctrl-C
    #[arg(long, env = "BAFT_SHUTDOWN_GRACE", value_name = "DURATION", default_value = "10s", value_parser = duration)]
    pub shutdown_grace: Duration,

    /// What is shown to the remote.
    #[command(flatten)]
    pub auth: baft_repo::access::AccessArgs,
}

/// How `up` shows what happens.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Progress {
    /// Redraw on a terminal, lines elsewhere.
    Auto,
    /// A few lines that are redrawn.
    Live,
    /// One line for each change.
    Plain,
}

/// Options of `search`.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples: baft search G28-01    baft search 'water price' --type gaps    baft search 'آب انبار' --json"
)]
pub struct SearchArgs {
    /// Words, or an id
    #[arg(required = true, num_args = 1.., value_name = "QUERY")]
    pub query: Vec<String>,

    /// Only this type of entity (see `baft status`), or `section`
    #[arg(long = "type", short = 't', value_name = "TYPE")]
    pub kind: Option<String>,

    /// Show at most this many
    #[arg(long, short = 'n', value_name = "N", default_value_t = 10)]
    pub limit: usize,

    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

/// Options of `query`.
#[derive(Debug, Args)]
#[command(after_help = "The query sees the published database and nothing else: no files, no network, no writing.\n\
    Examples: baft query 'SELECT type, count(*) FROM entities GROUP BY ALL ORDER BY 2 DESC'\n\
    \x20         baft query 'FROM _errors' --output json    baft query - < report.sql")]
pub struct QueryArgs {
    /// The SQL; `-` reads it from standard input
    #[arg(value_name = "SQL")]
    pub sql: String,

    /// How to print the rows
    #[arg(long, short = 'o', value_name = "FORMAT", default_value = "table")]
    pub output: Format,

    /// Print at most this many rows; 0 prints all
    #[arg(long, short = 'n', value_name = "N", default_value_t = 1000)]
    pub limit: usize,

    /// Give up after this long
    #[arg(long, value_name = "DURATION", default_value = "30s", value_parser = duration)]
    pub timeout: Duration,

    /// Do not shorten long values in the table
    #[arg(long)]
    pub full: bool,
}

/// How rows are printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// For people.
    Table,
    /// One array with an object for each row.
    Json,
    /// RFC 4180, with a header.
    Csv,
}

/// Options of `events`.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples: baft events --since 1h    baft events --follow --type 'git.*'    baft events --type import.published --json"
)]
pub struct EventsArgs {
    /// Go on with what happens from now on
    #[arg(long, short = 'f')]
    pub follow: bool,

    /// How far back: a duration (10m, 2h, 1d) or a time (2026-11-21T10:00:00Z); the newest --limit events without it
    #[arg(long, value_name = "WHEN")]
    pub since: Option<String>,

    /// Only this type; `*` stands for one word: git.synced, import.*
    #[arg(long = "type", short = 't', value_name = "TYPE")]
    pub kind: Option<String>,

    /// Without --since, show at most this many of the past
    #[arg(long, short = 'n', value_name = "N", default_value_t = 20)]
    pub limit: u64,

    /// Print one JSON object per line
    #[arg(long)]
    pub json: bool,

    /// The broker.
    #[command(flatten)]
    pub nats: NatsArgs,
}

/// Options of `import`.
#[derive(Debug, Args)]
pub struct ImportArgs {
    /// Rebuild everything instead of applying what changed
    #[arg(long)]
    pub full: bool,

    /// Wait at most this long
    #[arg(long, value_name = "DURATION", default_value = "10m", value_parser = duration)]
    pub timeout: Duration,

    /// Print JSON
    #[arg(long)]
    pub json: bool,

    /// The broker.
    #[command(flatten)]
    pub nats: NatsArgs,
}

/// Options of `sync`.
#[derive(Debug, Args)]
pub struct SyncArgs {
    /// Wait until this commit is published
    #[arg(long, value_name = "COMMIT")]
    pub wait_for: Option<String>,

    /// Wait at most this long
    #[arg(long, value_name = "DURATION", default_value = "1m", value_parser = duration)]
    pub timeout: Duration,

    /// Print JSON
    #[arg(long)]
    pub json: bool,

    /// The broker.
    #[command(flatten)]
    pub nats: NatsArgs,
}

/// Options of `status`.
#[derive(Debug, Args)]
pub struct StatusArgs {
    /// Print JSON
    #[arg(long)]
    pub json: bool,

    /// The broker.
    #[command(flatten)]
    pub nats: NatsArgs,
}

/// Options of `admin`.
#[derive(Debug, Args)]
pub struct AdminArgs {
    /// What to do.
    #[command(subcommand)]
    pub command: AdminCommand,
}

/// What `admin` can do.
#[derive(Debug, Subcommand)]
#[allow(clippy::large_enum_variant, reason = "there is one, for as long as the command runs")]
pub enum AdminCommand {
    /// Create the streams and buckets, and put right what differs
    Init(InitArgs),
    /// Print the part of nats-server's configuration that gives each daemon and person a user that may do its own work only
    #[command(
        after_help = "Each password comes from the server's environment: BAFT_NATS_PASSWORD_<USER>, upper case, - as _.\n\
        Daemons need --require-principal, people --nats-inbox-prefix _INBOX_<user>."
    )]
    NatsUsers(NatsUsersArgs),
}

/// Options of `admin nats-users`.
#[derive(Debug, Args)]
pub struct NatsUsersArgs {
    /// A user and its role: git-sync, commit-agent:<agent>, duckdb-importer, preflight-probe, session-registry, mcp-gateway,
    /// provisioner, reader, analyst, editor, operator; without any, one for each daemon
    #[arg(value_name = "USER=ROLE")]
    pub users: Vec<String>,

    /// First token of every subject
    #[arg(long, env = "BAFT_SUBJECT_PREFIX", value_name = "TOKEN", default_value = "baft")]
    pub nats_subject_prefix: baft_bus::Prefix,
}

/// Options of `admin init`.
#[derive(Debug, Args)]
pub struct InitArgs {
    /// Change nothing; say what differs and exit with 1 when something does
    #[arg(long)]
    pub check: bool,

    /// Print JSON
    #[arg(long)]
    pub json: bool,

    /// The broker.
    #[command(flatten)]
    pub nats: NatsArgs,
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn a_clone_and_a_repository_exclude_each_other() {
        let parse = |args: &[&str]| <Cli as clap::Parser>::try_parse_from(args);
        assert!(parse(&["baft", "up", "--clone", ".", "--repo", "x"]).is_err());
        assert!(parse(&["baft", "up", "--clone", "."]).is_ok());
    }
}
