//! commit-agent as a process: real remotes, a real nats-server, real people's git.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod adoption;
mod agents;
mod broker;
mod kill;
mod recovery;
mod remotes;
mod requests;
mod sessions;
mod shutdown;
mod signing;
mod support;
