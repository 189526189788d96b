//! Full text search inside the published file: BM25 over plain tables, through a macro with the stock extension's call.
//!
//! Words are cut by [`tokenize`], here for documents and by a SQL macro for queries; a test holds the two together. The
//! index keeps words as written, each with its stem beside it, so that a query matches every form of a word and the
//! tables can be kept in step one document at a time. Nothing needs an extension, in any DuckDB from 1.1 on.

mod postings;
mod sql;
mod tokenize;

pub use postings::{Document, Posting, document};
pub use sql::{SCHEMA_ENTITIES, SCHEMA_SECTIONS, schema_ddl};
pub use tokenize::{fold, stem, tokenize};
