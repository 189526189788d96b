//! The command line.

use std::path::PathBuf;
use std::time::Duration;

use baft_bus::NatsArgs;
use baft_kit::config::{CommonArgs, DaemonCommand, bytes, duration, switch};
use baft_repo::access::{AccessArgs, with_own_variables};

/// Keeps one working clone and its remote in step: captures every finished edit, commits it, brings upstream in, and pushes
///
/// Nothing that was saved is ever lost: docs/commit-agent.md says how, docs/recovery.md how to get things back.
#[derive(Debug, Clone, clap::Parser)]
#[command(
    name = "commit-agent",
    version,
    mut_arg("admin_addr", |arg| arg.default_value("127.0.0.1:9102")),
    mut_args(with_own_variables)
)]
pub struct Cli {
    /// What it looks after.
    #[command(flatten)]
    pub place: PlaceArgs,
    /// When it works.
    #[command(flatten)]
    pub schedule: ScheduleArgs,
    /// What commits say.
    #[command(flatten)]
    pub words: WordsArgs,
    /// What is held back.
    #[command(flatten)]
    pub gates: GateArgs,
    /// What is shown to the remote.
    #[command(flatten)]
    pub access: AccessArgs,
    /// The broker.
    #[command(flatten)]
    pub nats: NatsArgs,
    /// Options every Baft daemon has.
    #[command(flatten)]
    pub common: CommonArgs,
    /// What to do instead of working.
    #[command(subcommand)]
    pub command: Option<DaemonCommand>,
}

/// What it looks after.
#[derive(Debug, Clone, clap::Args)]
#[command(next_help_heading = "What to look after")]
pub struct PlaceArgs {
    /// The working clone (required); made from --repo when there is nothing yet
    #[arg(long, env = "BAFT_CLONE", value_name = "DIR")]
    pub clone: Option<PathBuf>,

    /// The remote: https://…, ssh://…, user@host:path, file://… or a path; default: the one the clone came from
    #[arg(long, env = "BAFT_GIT_REPO", value_name = "URL")]
    pub repo: Option<String>,

    /// The branch that is committed to and pushed
    #[arg(long, env = "BAFT_GIT_BRANCH", value_name = "BRANCH", default_value = "main")]
    pub branch: String,

    /// What the remote is called in the clone
    #[arg(long, env = "BAFT_GIT_REMOTE", value_name = "NAME", default_value = "origin")]
    pub remote: String,

    /// This agent's name, in subjects, refs and rescue branches: a-z, 0-9, - and _; default: the host's name
    #[arg(long, env = "BAFT_AGENT", value_name = "NAME")]
    pub agent: Option<String>,

    /// Take over a clone that somebody else made. Look first: what differs from the remote will be committed and pushed
    #[arg(long, env = "BAFT_ADOPT", value_name = "BOOL", value_parser = switch, num_args = 0..=1, require_equals = true, default_value = "false", default_missing_value = "true", action = clap::ArgAction::Set)]
    pub adopt: bool,

    /// New files that match one of these are captured (files git knows always are)
    #[arg(
        long,
        env = "BAFT_INCLUDE",
        value_name = "GLOB",
        value_delimiter = ',',
        default_value = "**/*.yaml,**/*.yml,**/*.json,**/*.md,**/*.txt,**/*.csv,**/*.toml,**/.gitignore"
    )]
    pub include: Vec<String>,

    /// New files that match one of these are not
    #[arg(long, env = "BAFT_EXCLUDE", value_name = "GLOB", value_delimiter = ',')]
    pub exclude: Vec<String>,

    /// Where work goes that cannot be merged or pushed where it belongs: <prefix>/<agent>/<commit>
    #[arg(long, env = "BAFT_RESCUE_PREFIX", value_name = "REF", default_value = "refs/heads/rescue")]
    pub rescue_prefix: String,
}

/// When it works.
#[derive(Debug, Clone, clap::Args)]
#[command(next_help_heading = "When to work")]
pub struct ScheduleArgs {
    /// Work at these times, whatever else rings: an interval such as 15m, or a cron expression such as "*/15 * * * *" (UTC)
    #[arg(long, env = "BAFT_COMMIT_SCHEDULE", value_name = "WHEN", default_value = "900s")]
    pub schedule: String,

    /// Also work when a file was saved
    #[arg(long, env = "BAFT_COMMIT_WATCH", value_name = "BOOL", value_parser = switch, num_args = 0..=1, require_equals = true, default_value = "false", default_missing_value = "true", action = clap::ArgAction::Set)]
    pub watch: bool,

    /// A file is finished when it has rested this long
    #[arg(long, env = "BAFT_QUIET", value_name = "DURATION", default_value = "2s", value_parser = duration)]
    pub quiet: Duration,

    /// A file that never rests is taken after this long, between two writes
    #[arg(long, env = "BAFT_MAX_WAIT", value_name = "DURATION", default_value = "60s", value_parser = duration)]
    pub max_wait: Duration,

    /// Longest time of one conversation with the remote
    #[arg(long, env = "BAFT_GIT_TIMEOUT", value_name = "DURATION", default_value = "120s", value_parser = duration)]
    pub git_timeout: Duration,

    /// Longest pause between attempts while the remote fails
    #[arg(long, env = "BAFT_MAX_BACKOFF", value_name = "DURATION", default_value = "5m", value_parser = duration)]
    pub max_backoff: Duration,

    /// How often a push that lost a race is tried again at once
    #[arg(long, env = "BAFT_PUSH_RETRIES", value_name = "N", default_value_t = 5)]
    pub push_retries: u32,

    /// Capture, commit and push what is there, and exit: 0 when the remote has everything
    #[arg(long, env = "BAFT_ONE_TIME", value_name = "BOOL", value_parser = switch, num_args = 0..=1, require_equals = true, default_value = "false", default_missing_value = "true", action = clap::ArgAction::Set)]
    pub one_time: bool,
}

/// What commits say.
#[derive(Debug, Clone, clap::Args)]
#[command(next_help_heading = "What commits say")]
pub struct WordsArgs {
    /// Message of a commit that belongs to a session; {session}, {message}, {date}, {count}, {files} and {agent} are filled in
    #[arg(
        long,
        env = "BAFT_SESSION_MESSAGE",
        value_name = "TEMPLATE",
        default_value = "Session {session}: {message} — {date}"
    )]
    pub session_message: String,

    /// Message of a commit that belongs to nobody
    #[arg(long, env = "BAFT_AUTO_MESSAGE", value_name = "TEMPLATE", default_value = "Auto-commit: {message} — {date}")]
    pub auto_message: String,

    /// Author of what belongs to nobody; default: the committer
    #[arg(long, env = "BAFT_AUTHOR", value_name = "NAME <ADDRESS>")]
    pub author: Option<String>,

    /// Committer of everything
    #[arg(
        long,
        env = "BAFT_COMMITTER",
        value_name = "NAME <ADDRESS>",
        default_value = "baft commit-agent <commit-agent@baft.invalid>"
    )]
    pub committer: String,

    /// Private SSH key (OpenSSH's format, without a passphrase) that signs every commit; read on every use
    #[arg(long, env = "BAFT_SIGNING_KEY_FILE", value_name = "FILE")]
    pub signing_key_file: Option<PathBuf>,
}

/// What is held back.
#[derive(Debug, Clone, clap::Args)]
#[command(next_help_heading = "What to hold back")]
pub struct GateArgs {
    /// A larger file is held back
    #[arg(long, env = "BAFT_MAX_FILE_SIZE", value_name = "SIZE", default_value = "50MiB", value_parser = bytes)]
    pub max_file_size: u64,

    /// More deletions at once than this share of all files wait for `baft commit confirm`
    #[arg(long, env = "BAFT_MAX_DELETIONS", value_name = "PERCENT", default_value_t = 20, value_parser = clap::value_parser!(u8).range(1..=100))]
    pub max_deletions: u8,
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_consistent_and_has_no_variable_of_another_program() {
        Cli::command().debug_assert();
        let mut command = Cli::command();
        command.build();
        for arg in command.get_arguments() {
            let variable = arg.get_env().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
            assert!(!variable.starts_with("GITSYNC_"), "{variable}");
        }
    }
}
