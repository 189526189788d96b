//! `baft status`.
use crate::cli::StatusArgs;
use crate::failure::Failure;
use crate::workspace::Workspace;

pub async fn run(_args: &StatusArgs, _workspace: &Workspace) -> Result<(), Failure> {
    Err(Failure::new("not built yet"))
}
