//! What every Baft daemon is made of: configuration, logs, metrics, the admin server, readiness and liveness, schedules, shutdown,
//! build information, exit codes, secrets, backoff and durable file operations.
//!
//! This crate owns how a Baft process *behaves* from the outside and nothing about what it *does*: it never speaks to
//! NATS, git or DuckDB, and keeps no state on disk of its own. A daemon's `main` is then short: parse the configuration,
//! start the logs, run its work on [`runtime::run`], and end through [`shutdown::Shutdown::finish`].

#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used))]

pub mod admin;
pub mod backoff;
pub mod build;
pub mod config;
pub mod docs;
pub mod durable;
pub mod exit;
pub mod health;
pub mod live;
pub mod log;
pub mod metrics;
pub mod ready;
mod redact;
pub mod rest;
pub mod runtime;
pub mod schedule;
pub mod secret;
pub mod shutdown;
pub mod time;

pub use build::BuildInfo;
pub use exit::Exit;
pub use secret::{Secret, SecretFile};
