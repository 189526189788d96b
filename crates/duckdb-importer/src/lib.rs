//! Baft's importer: keeps a DuckDB file in step with a git repository of YAML, JSON and Markdown.
//!
//! It owns the database generations and nothing else: it never writes the repository and never
//! changes a published file. What files mean is read by `baft_dataset`, which knows no database; this
//! crate knows no YAML. They meet in [`baft_dataset::rows`].

#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used))]

mod apply;
pub mod check;
pub mod config;
pub mod daemon;
mod db;
pub mod engine;
mod error;
pub mod generation;
mod program;
pub mod search;
pub mod source;
pub mod tables;

pub use config::Settings;
pub use daemon::{Context, Daemon, Handle, Outcome, Report, Request, Ring, Status, metric_inventory, run};
pub use error::ImporterError;
pub use program::{command, main};

/// Which program this is.
pub(crate) const BUILD: baft_kit::BuildInfo = baft_kit::build_info!("duckdb-importer");
