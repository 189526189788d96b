//! `baft up`.
pub mod sample;
pub mod server;

use std::path::Path;

use baft_kit::Exit;

use crate::cli::UpArgs;
use crate::failure::Failure;
use crate::workspace::Surroundings;

/// Runs the fleet.
///
/// # Errors
/// What keeps it from running.
pub fn run(_args: &UpArgs, _named: Option<&Path>, _around: &Surroundings) -> Result<Exit, Failure> {
    Err(Failure::new("not built yet"))
}
