//! Baft's importer: keeps a DuckDB file in step with a git repository of YAML, JSON and Markdown.
//!
//! It owns the database generations and nothing else: it never writes the repository and never
//! changes a published file. The reading side (`yaml`, `dataset`, `extract`, `schema`, `lint`,
//! `check`) is pure and knows no database; the database side knows no YAML. They meet in [`rows`].

#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used))]

// Reading side.
pub mod dataset;
pub mod extract;
pub mod rows;
pub mod schema;

// Database side.
