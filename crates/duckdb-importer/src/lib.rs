//! Baft's importer: keeps a DuckDB file in step with a git repository of YAML, JSON and Markdown.
//!
//! It owns the database generations and nothing else: it never writes the repository and never
//! changes a published file. The reading side (`yaml`, `dataset`, `extract`, `schema`, `lint`,
//! `check`) is pure and knows no database; the database side knows no YAML. They meet in [`rows`].

#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used))]

// Reading side.
pub mod dataset;
pub mod extract;
mod lint;
pub mod pyjson;
pub mod rows;
pub mod schema;
pub mod yaml;

// Database side.
pub mod config;
pub mod daemon;
mod db;
mod error;
pub mod generation;
pub mod search;
pub mod tables;

pub use config::Settings;
pub use daemon::{Context, Daemon, Handle, Outcome, Report, Request, Status};
pub use error::ImporterError;

use std::process::ExitCode;

/// The command line, for documents and completions.
#[must_use]
pub fn command() -> clap::Command {
    <config::Cli as clap::CommandFactory>::command()
}

/// Every metric the daemon exports.
#[must_use]
pub fn metric_inventory() -> Vec<baft_kit::metrics::MetricDoc> {
    Vec::new()
}

/// The whole program.
#[must_use]
pub fn main() -> ExitCode {
    ExitCode::FAILURE
}
