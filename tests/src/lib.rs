//! The harness of Baft's tests: real processes, a real nats-server, real ports. No mocks.
//!
//! Everything started here dies with the test: each child has its own process group, which is killed when its guard is
//! dropped, and the kernel kills the child should the test process itself die. Everything lives in temporary folders
//! and on leased ports, so tests run in parallel.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

pub mod browser;
pub mod clock;
pub mod git;
pub mod luck;
pub mod model;
pub mod nats;
pub mod ports;
pub mod process;
pub mod web;
pub mod wire;

pub use clock::Clock;
pub use git::GitRemote;
pub use model::Model;
pub use nats::NatsServer;
pub use ports::Port;
pub use process::{Process, bin, wait_until, wait_until_async};
pub use wire::Wire;
