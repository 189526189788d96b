//! commit-agent: captures what people and tools change in one working clone, commits it, brings upstream in, and pushes.
//!
//! It owns the clone's `refs/baft/…` and `.git/baft/`, moves the clone's branch, index and files by compare-and-swap, and is the only daemon that
//! writes to the remote. It never loses a byte that was at rest in a file, never breaks a file under a reader's hands, never deletes somebody
//! else's lock, never rewrites a branch of the remote, and never takes an empty folder for a fresh start.
//!
//! The [`engine`] is blocking and belongs to one thread; the [`gates`] decide which files are held back. The daemon around them rings, asks and
//! tells.

#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used))]

pub mod agenda;
mod answers;
pub mod args;
mod config;
mod daemon;
pub mod engine;
pub mod epochs;
mod error;
pub mod gates;
mod ledger;
mod metrics;
mod program;
mod requests;
mod sessions;
mod signing;
mod status;
pub mod transport;
mod watch;
mod worker;

pub use baft_kit::schedule::Schedule;
pub use config::{Config, INTERVAL, Runs, Watch, default_name};
pub use daemon::{Context, Daemon, run};
pub use error::AgentError;
pub use metrics::metric_inventory;
pub use program::main;
pub use signing::SshSigner;
pub use status::{Handle, Status};

/// Which program this is.
pub(crate) const BUILD: baft_kit::BuildInfo = baft_kit::build_info!("commit-agent");

/// The command line, for documents and completions.
#[must_use]
pub fn command() -> clap::Command {
    <args::Cli as clap::CommandFactory>::command()
}
