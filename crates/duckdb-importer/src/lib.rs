//! Baft's importer: keeps a DuckDB file in step with a git repository of YAML, JSON and Markdown.
//!
//! It owns the database generations and nothing else: it never writes the repository and never
//! changes a published file. The reading side (`yaml`, `dataset`, `extract`, `schema`, `lint`,
//! `check`) is pure and knows no database; the database side knows no YAML. They meet in [`rows`].

#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used))]

// Reading side.
pub mod check;
pub mod dataset;
pub mod extract;
mod lint;
pub mod pyjson;
pub mod rows;
pub mod schema;
pub mod yaml;

// Database side.
mod apply;
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
