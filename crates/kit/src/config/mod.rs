//! Configuration: every flag is also an environment variable, an empty variable counts as unset, and
//! `--print-config` shows what holds and where it came from, without secrets.

mod error;
mod print;
mod values;

use std::ffi::OsString;
use std::io::Write;
use std::net::SocketAddr;
use std::time::Duration;

use clap::builder::{BoolishValueParser, Resettable};
use clap::error::ErrorKind;
use clap::{Arg, ArgAction, Command, Parser};

use crate::exit::Exit;
use crate::log::redact_url;
use crate::redact::names_a_secret;
use crate::secret::Secret;

pub use error::ConfigError;
pub use values::{address, bytes, duration, log_filter, show_duration, switch};

/// What else a daemon's program can do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::Subcommand)]
pub enum DaemonCommand {
    /// Ask the admin server of the one that is running (BAFT_ADMIN_ADDR) whether it is ready
    Healthcheck,
}

/// What every daemon can be told. Flatten it into the daemon's own arguments.
#[derive(Debug, Clone, clap::Args)]
#[command(next_help_heading = "Common options")]
pub struct CommonArgs {
    /// Where the admin server listens (/livez, /readyz, /metrics, /buildz, /loglevel); port 0 takes a free one
    #[arg(
        long,
        env = "BAFT_ADMIN_ADDR",
        value_name = "ADDR:PORT",
        default_value = "127.0.0.1:9100",
        value_parser = address
    )]
    pub admin_addr: SocketAddr,

    /// What to log: a level, or target=level pairs separated by commas
    #[arg(long, env = "BAFT_LOG_LEVEL", value_name = "FILTER", default_value = "info", value_parser = log_filter)]
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
    let mut command = prepare(command);
    let parsed = command.try_get_matches_from_mut(args).and_then(|matches| {
        if print::asked_for(&matches) {
            // Nobody reads it when standard output is closed.
            let _ = write!(std::io::stdout(), "{}", print::effective(&command, &matches));
            end(Exit::Ok);
        }
        A::from_arg_matches(&matches)
    });
    parsed.unwrap_or_else(|error| {
        // Subcommands that were not called are not built yet, and cannot be shown.
        command.build();
        refuse(&error, &command)
    })
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

/// What holds for every Baft program: an empty variable is none, help shows no values from the environment (they may
/// be secrets), and switches read from variables understand 1, yes and on.
fn prepare(command: Command) -> Command {
    let command = command.mut_args(|arg| {
        let Some(variable) = arg.get_env().map(ToOwned::to_owned) else { return arg };
        let arg = match arg.get_action() {
            ArgAction::SetTrue | ArgAction::SetFalse => arg.value_parser(BoolishValueParser::new()),
            _ => arg,
        };
        match std::env::var_os(variable) {
            Some(value) if value.is_empty() => arg.env(Resettable::Reset),
            _ => arg.hide_env_values(true),
        }
    });
    command.mut_subcommands(prepare)
}

/// Says what is wrong with the command line or the environment, without secrets, and ends the process.
fn refuse(error: &clap::Error, command: &Command) -> ! {
    if let Some(error) = ConfigError::of_parser(error, command, &holds_a_secret) {
        end(error.report());
    }
    match error.kind() {
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => error.exit(),
        _ => {
            let text = error.render().to_string();
            let redacted = redact_url(&text);
            if redacted == text {
                error.exit();
            }
            error::complain(redacted.trim_end());
            end(Exit::Usage)
        }
    }
}

fn holds_a_secret(arg: &Arg) -> bool {
    arg.get_value_parser().type_id() == std::any::TypeId::of::<Secret>() || names_a_secret(arg.get_id().as_str())
}

fn end(exit: Exit) -> ! {
    std::process::exit(exit.code().into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, Parser)]
    #[command(mut_arg("admin_addr", |arg| arg.default_value("127.0.0.1:9101")))]
    struct Args {
        #[command(flatten)]
        common: CommonArgs,
    }

    #[test]
    fn a_daemon_gives_its_own_admin_port() {
        use clap::CommandFactory;
        assert_eq!(parse_from::<Args>(["x"]).common.admin_addr.port(), 9101);
        let command = with_defaults(Args::command(), &[("admin_addr", "127.0.0.1:9103")]);
        assert_eq!(parse_command::<Args>(command, ["x"]).common.admin_addr.port(), 9103);
    }

    #[test]
    fn defaults_are_those_of_the_documents() {
        let common = parse_from::<Args>(["x"]).common;
        assert_eq!((common.log_level.as_str(), common.log_format), ("info", LogFormat::Auto));
        assert_eq!(common.shutdown_grace, Duration::from_secs(25));
        assert!(!common.print_config);
    }
}
