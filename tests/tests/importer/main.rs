//! duckdb-importer as its users meet it: the real program, real repositories, a real nats-server, readers in Rust and
//! Python.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stderr)]

mod events;
mod faults;
mod follow;
mod kill;
mod python;
mod readers;
mod support;
