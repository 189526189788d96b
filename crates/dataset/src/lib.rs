//! What the files of a repository mean: the datasets it declares, the entities in them, and where in
//! the text each of them stands.
//!
//! It is pure: it is given bytes and returns values, and knows no clock, no file system, no git and
//! no database. Everything that reads the team's YAML, JSON and Markdown reads it through this crate,
//! so that the importer, the writer and the checks agree about every file.

#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used))]

pub mod dataset;
pub mod edit;
mod entries;
pub mod extract;
mod lint;
pub mod merge;
pub mod pyjson;
pub mod rows;
pub mod schema;
pub mod validate;
mod value;
pub mod yaml;
