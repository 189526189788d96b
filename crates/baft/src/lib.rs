//! Baft's command line: `baft up` runs a whole fleet in one process, every other command is its client.
//!
//! It owns no data. `up` links the daemons, a private nats-server and what they need into one supervised process and
//! writes only into its workspace; `search` and `query` read the published database; `commit`, `entity`, `events`,
//! `import`, `sync`, `status` and `admin` speak NATS. A clone it was given is only read, unless somebody saw what would be
//! committed and pushed, and agreed.

#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used))]

mod admin;
mod ask;
pub mod bound;
pub mod cells;
pub mod cli;
mod commit;
pub mod database;
mod events;
pub mod failure;
pub mod output;
mod preflight;
mod query;
mod reach;
pub mod runtime;
mod search;
mod session;
pub mod snippet;
mod status;
pub mod up;
pub mod workspace;

use std::future::Future;
use std::process::ExitCode;

use baft_kit::{BuildInfo, Exit};
use clap::CommandFactory;

use cli::{AdminCommand, Cli, Command};
use failure::Failure;
use workspace::Surroundings;

/// Which program this is.
pub const BUILD: BuildInfo = baft_kit::build_info!();

/// The command line, for documents and completions.
#[must_use]
pub fn command() -> clap::Command {
    Cli::command()
}

/// What `--version` prints after the name.
pub(crate) fn version_text() -> String {
    format!("{} ({}, {})", BUILD.version, BUILD.revision, BUILD.rustc)
}

/// The whole program.
#[must_use]
pub fn main() -> ExitCode {
    let cli = baft_kit::config::parse::<Cli>();
    let around = Surroundings::real();
    if let Command::Up(args) = &cli.command {
        return up::run(args, cli.workspace.as_deref(), &around);
    }
    let exit = match dispatch(&cli, &around) {
        Ok(()) => Exit::Ok,
        Err(failure) => failure.report(),
    };
    exit.into()
}

fn dispatch(cli: &Cli, around: &Surroundings) -> Result<(), Failure> {
    let workspace = || around.workspace(cli.workspace.as_deref());
    match &cli.command {
        // Has its own runtime, and its own way to end.
        Command::Up(_) => {}
        Command::Search(args) => search::run(args, &workspace()?)?,
        Command::Query(args) => query::run(args, &workspace()?)?,
        Command::Events(args) => client(events::run(args, &workspace()?))?,
        Command::Import(args) => client(ask::import(args, &workspace()?))?,
        Command::Sync(args) => client(ask::sync(args, &workspace()?))?,
        Command::Commit(args) => client(commit::run(args, &workspace()?, around))?,
        Command::Entity(args) => client(commit::entity(args, &workspace()?, around))?,
        Command::Session(args) => client(session::run(args, &workspace()?, around))?,
        Command::Status(args) => client(status::run(args, &workspace()?))?,
        Command::Preflight(args) => client(preflight::run(args, &workspace()?))?,
        Command::Admin(args) => match &args.command {
            AdminCommand::Init(args) => client(admin::init(args, &workspace()?))?,
            AdminCommand::NatsUsers(args) => admin::nats_users(args)?,
        },
        Command::Completions { shell } => completions(*shell)?,
        Command::RunBound(args) => return Err(bound::become_program(args)),
    }
    Ok(())
}

/// Runs a command that speaks NATS.
fn client(work: impl Future<Output = Result<(), Failure>>) -> Result<(), Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::new(format!("cannot start: {error}")))?;
    let result = runtime.block_on(work);
    // A connection that does not close in time must not keep the command from ending.
    runtime.shutdown_background();
    result
}

fn completions(shell: clap_complete::Shell) -> Result<(), Failure> {
    // clap cannot leave hidden commands out of a script, so they are left out of the command.
    let full = command();
    let shown = full.get_subcommands().filter(|command| !command.is_hide_set()).cloned();
    let mut command = clap::Command::new("baft").args(full.get_arguments().cloned()).subcommands(shown);
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut command, "baft", &mut script);
    output::print(String::from_utf8_lossy(&script).trim_end())
}
