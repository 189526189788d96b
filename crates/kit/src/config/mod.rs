//! Configuration: every flag is also an environment variable, an empty variable counts as unset, and
//! `--print-config` shows what holds and where it came from, without secrets.

mod error;
mod values;

use std::ffi::OsString;
use std::net::SocketAddr;
use std::time::Duration;

use clap::{Command, Parser};

pub use error::ConfigError;
pub use values::{bytes, duration, show_duration};

/// What every daemon can be told. Flatten it into the daemon's own arguments.
#[derive(Debug, Clone, clap::Args)]
#[command(next_help_heading = "Common options")]
pub struct CommonArgs {
    /// Where the admin server listens (/livez, /readyz, /metrics, /buildz, /loglevel); port 0 takes a free one
    #[arg(long, env = "BAFT_ADMIN_ADDR", value_name = "ADDR:PORT", default_value = "127.0.0.1:9100")]
    pub admin_addr: SocketAddr,

    /// What to log: a level, or target=level pairs separated by commas
    #[arg(long, env = "BAFT_LOG_LEVEL", value_name = "FILTER", default_value = "info")]
    pub log_level: String,

    /// How to log; auto is text on a terminal and JSON elsewhere
    #[arg(long, env = "BAFT_LOG_FORMAT", value_name = "FORMAT", default_value = "auto")]
    pub log_format: LogFormat,

    /// How long finishing the work in flight may take after SIGTERM
    #[arg(long, env = "BAFT_SHUTDOWN_GRACE", value_name = "DURATION", default_value = "25s", value_parser = duration)]
    pub shutdown_grace: Duration,

    /// Print every effective value and where it came from, without secrets, and exit
    #[arg(long)]
    pub print_config: bool,
}

/// How log lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum LogFormat {
    /// Text on a terminal, JSON elsewhere.
    Auto,
    /// For people.
    Text,
    /// One JSON object per line.
    Json,
}

/// Parses the command line and the environment of this process; see [`parse_command`].
#[must_use]
pub fn parse<A: Parser>() -> A {
    parse_command(A::command(), std::env::args_os())
}

/// The same with the arguments given (the first is the program's name).
#[must_use]
pub fn parse_from<A: Parser>(args: impl IntoIterator<Item = impl Into<OsString> + Clone>) -> A {
    parse_command(A::command(), args)
}

/// Parses `args` and the environment as `command` says, and ends the process when there is nothing to run: help,
/// `--print-config`, wrong usage (code 2) or a value that is not allowed (code 78).
#[must_use]
pub fn parse_command<A: Parser>(command: Command, args: impl IntoIterator<Item = impl Into<OsString> + Clone>) -> A {
    let matches = command.get_matches_from(args);
    match A::from_arg_matches(&matches) {
        Ok(parsed) => parsed,
        Err(error) => error.exit(),
    }
}

/// Gives arguments another default, by id, in the command and all its subcommands: each daemon's own admin port, say.
///
/// With `derive`, `#[command(mut_arg("admin_addr", |arg| arg.default_value("127.0.0.1:9101")))]` does the same.
#[must_use]
pub fn with_defaults(command: Command, defaults: &[(&'static str, &'static str)]) -> Command {
    let command = command.mut_args(|arg| {
        let found = defaults.iter().find(|(id, _)| arg.get_id() == *id);
        match found {
            Some((_, value)) => arg.default_value(*value),
            None => arg,
        }
    });
    command.mut_subcommands(|subcommand| with_defaults(subcommand, defaults))
}
