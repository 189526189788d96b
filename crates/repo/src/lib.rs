//! Git without a network or a clock, and the one place where the network is.
//!
//! This crate owns what Baft knows about git repositories: object ids and paths as checked types ([`Oid`], [`RepoPath`]), reading commits,
//! trees and blobs ([`Repo`]), what changed between two commits ([`Change`]), immutable checkouts that unchanged files share by hard link
//! ([`checkout::Checkouts`]), the [`transport`] trait with its libgit2 implementation, and the flags that say how
//! to get into a remote ([`access`]). It never decides *when* anything happens, never
//! retries, never uses libgit2's checkout or index on files people look at, and it is the only crate that uses `git2`.
//!
//! Call [`init`] once per process before anything else: libgit2's time-outs, fsync and memory limits are process-global.

#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used))]

pub mod access;
pub mod checkout;
mod diff;
mod error;
mod ffi;
pub mod index;
mod keep;
pub mod live;
pub mod lock;
mod maps;
mod oid;
mod path;
pub mod refs;
mod repo;
mod settings;
pub mod state;
pub mod transport;
mod tree;
pub mod write;

pub use checkout::Checkouts;
pub use diff::{Change, Status};
pub use error::RepoError;
pub use oid::{Oid, OidError};
pub use path::{PathError, RepoPath};
pub use repo::{Author, CommitInfo, RefInfo, Repo};
pub use settings::{Settings, init};
pub use tree::{Entry, FileMode};

/// Keeps the memory of a daemon that does one thing at a time together. Comes before the first thread.
pub fn one_heap() {
    ffi::one_heap();
}

/// Gives freed memory back to the system. For daemons, after a piece of work and before a long wait.
pub fn release_memory() {
    ffi::release_memory();
}

/// [`release_memory`], and of the program itself keeps only what is used from now on. For daemons that have nothing to do for a while: what comes
/// next is a little slower.
pub fn rest() {
    ffi::release_memory();
    ffi::release_program();
}
