//! What starting, synchronising and ending a session mean, with every daemon as the program it is.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout, missing_docs)]

mod disk;
mod sequences;
mod shared;
mod support;
