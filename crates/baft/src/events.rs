//! `baft events`.
use crate::cli::EventsArgs;
use crate::failure::Failure;
use crate::workspace::Workspace;

pub async fn run(_args: &EventsArgs, _workspace: &Workspace) -> Result<(), Failure> {
    Err(Failure::new("not built yet"))
}
