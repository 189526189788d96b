//! Generations: complete database files that never change, and the link that says which one is read.
//!
//! ```text
//! <workspace>/publish.lock
//! <workspace>/gens/000041/itp.duckdb      sealed, read-only
//! <workspace>/gens/000041/manifest.json   what it is, and its digest
//! <workspace>/current -> gens/000041      flipped by rename
//! <workspace>/itp.duckdb -> current/itp.duckdb
//! ```
//!
//! A generation is made under a temporary name, and gets its number only when it is whole, read back and on disk; then
//! the link moves. So a reader sees the old file or the new one, whatever happens in between.

mod attempt;
mod copy;
mod manifest;
mod workspace;

pub use attempt::{Attempt, sync_early};
pub use copy::{FileId, copy_checked, copy_trusted, digest_file};
pub use manifest::{MANIFEST, Manifest, Quarantined};
pub use workspace::{Published, Workspace, forget_up_to, manifests_after};
pub(crate) use workspace::{check_alone, check_digest};
