//! Where the bytes come from: commits of a repository, or the files of a working tree on top of one.
//!
//! Both give the same thing: which file has which content now ([`Target`]), and which versions it had before
//! ([`History`]), newest first, along first parents. Events only say "look again"; what is true is read here.

mod follow;
mod history;
mod worktree;

pub use follow::{Target, follow};
pub use history::{Filter, History, Origin, Range, Version, WORKTREE};
pub use worktree::{Saved, Scanner};
