//! session-registry: who works on what, told to everybody, fenced, and never forgotten by accident.
//!
//! It owns the bucket `SESSIONS` and the events `session.…`, and runs the sequences that starting, ending and
//! synchronising a session mean by asking the other daemons. Several registries share the work; any may answer.
//!
//! It never touches a clone, a checkout or a database itself, never takes a session away because NATS or itself was
//! away, never lets an older epoch pass, and never says that a session is over before its edits are committed.

#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used))]

pub mod args;
mod book;
mod daemon;
mod error;
mod fleet;
pub mod life;
mod markers;
mod metrics;
mod outbox;
mod page;
mod program;
mod queries;
mod registry;
mod requests;
mod sequence;
pub mod settings;
mod store;
mod sweep;

pub use daemon::{Context, Daemon, Status, run};
pub use error::RegistryError;
pub use metrics::metric_inventory;
pub use page::{Page, PageSettings};
pub use program::main;
pub use settings::Settings;

/// Which program this is.
pub(crate) const BUILD: baft_kit::BuildInfo = baft_kit::build_info!("session-registry");

/// The command line, for documents and completions.
#[must_use]
pub fn command() -> clap::Command {
    <args::Cli as clap::CommandFactory>::command()
}
