//! git-sync as its users meet it: the real program, real remotes over paths, HTTP and SSH, a real nats-server.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stderr)]

mod auth;
mod events;
mod faults;
mod flags;
mod follow;
mod hooks;
mod kill;
mod support;
mod triggers;
