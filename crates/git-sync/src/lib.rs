//! git-sync: follows a git remote and publishes every commit as a complete, immutable checkout behind one link that flips in one step.
//!
//! It owns `<root>/mirror.git`, `<root>/checkouts/` and the link, all of which are caches that cost a clone to lose, and `published.json`, which
//! says what was published and announced. It never writes to the remote, never changes a file that a reader may have open, never wipes what
//! readers are shown, and never exits because a remote fails (unless told to). It is a drop-in for kubernetes/git-sync; `docs/git-sync.md` says
//! what differs.
//!
//! One thread ([`worker`]) does everything with git and the disk, when the [`agenda`] says so. The rest only rings: timers, signals, requests,
//! events and webhooks all mean "look now", and a burst is one look.

#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used))]

pub mod agenda;
pub mod args;
pub mod compat;
mod config;
mod daemon;
mod error;
mod files;
mod hooks;
mod http;
pub mod journal;
mod ledger;
mod link;
mod metrics;
mod mirror;
mod program;
mod status;
pub mod wanted;
pub mod webhook;
mod worker;

pub use config::{CallHook, Config, ExecHook, Runs, Target};
pub use daemon::{Context, Daemon, run};
pub use error::{Failure, SyncError};
pub use metrics::metric_inventory;
pub use program::main;
pub use status::{Handle, Status, Synced};

/// Which program this is.
pub(crate) const BUILD: baft_kit::BuildInfo = baft_kit::build_info!("git-sync");

/// The command line, for documents and completions.
#[must_use]
pub fn command() -> clap::Command {
    <args::Cli as clap::CommandFactory>::command()
}
