//! preflight-probe: checks whether everything a fleet or a workstation needs is there, and says how to fix what is not.
//!
//! It owns nothing and changes nothing. The checks stand in one [`table`]; the [`engine`] runs them a few at a time, each with
//! a deadline; [`render`] prints the report. `baft preflight`, the session registry and the daemon all use the same engine.
//! What could not be found out is never reported as well: the answer is then that it is not known.

#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used))]

pub mod args;
mod checks;
mod config;
pub mod custom;
mod daemon;
pub mod engine;
mod error;
mod finding;
mod metrics;
mod program;
pub mod render;
mod requests;
mod run;
pub mod scene;
pub mod steady;
pub mod table;
mod words;

pub use baft_bus::Context;
pub use config::Config;
pub use daemon::{Daemon, Handle, Status};
pub use engine::{Good, NoSuchCheck, Order, run, run_and_tell};
pub use error::ProbeError;
pub use finding::Finding;
pub use metrics::metric_inventory;
pub use program::main;
pub use render::Output;
pub use run::Run;
pub use scene::{Actors, Broker, Fleet, Profile, Scene, Sql};

/// Which program this is.
pub(crate) const BUILD: baft_kit::BuildInfo = baft_kit::build_info!("preflight-probe");

/// The command line, for documents and completions.
#[must_use]
pub fn command() -> clap::Command {
    <args::Cli as clap::CommandFactory>::command()
}
