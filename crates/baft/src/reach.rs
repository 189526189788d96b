//! Reaching the fleet's NATS server.

use std::time::Duration;

use baft_bus::{Bus, Identity, NatsArgs};

use crate::failure::Failure;
use crate::runtime::Runtime;
use crate::workspace::Workspace;

/// How long closing the connection may take at the end of a command.
const DRAIN: Duration = Duration::from_secs(2);

/// Connects to the server named on the command line, else to that of the running fleet.
///
/// # Errors
/// No fleet is running and no server is named, or there is no connection.
pub async fn connect(named: &NatsArgs, workspace: &Workspace) -> Result<Bus, Failure> {
    let args = settings(named, workspace)?;
    let identity = Identity {
        name: "baft".to_owned(),
        instance: format!("cli-{}", std::process::id()),
        version: crate::BUILD.version.to_owned(),
    };
    Ok(Bus::connect_now(&args, identity).await?)
}

/// Closes the connection once everything is sent.
pub async fn disconnect(bus: Bus) {
    bus.drain(DRAIN).await;
}

fn settings(named: &NatsArgs, workspace: &Workspace) -> Result<NatsArgs, Failure> {
    if named.enabled() {
        return Ok(named.clone());
    }
    match Runtime::of(workspace) {
        Some(Runtime { nats: Some(nats), .. }) => {
            Ok(NatsArgs { nats_subject_prefix: named.nats_subject_prefix.clone(), ..nats.args() })
        }
        Some(runtime) => {
            Err(Failure::try_again(format!("the fleet in {} runs without NATS", runtime.workspace.display()))
                .hint("start it without --no-nats to use this command"))
        }
        None => Err(no_fleet(workspace)),
    }
}

/// Nothing is running, and what would help.
pub(crate) fn no_fleet(workspace: &Workspace) -> Failure {
    Failure::try_again(format!("no fleet is running in {}", workspace.root().display()))
        .hint("start one with `baft up`, name its folder with --workspace, or name a server with --nats-url")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::runtime::tests::example;

    #[test]
    fn a_server_that_is_named_beats_the_fleets_own() {
        let folder = tempfile::tempdir().unwrap();
        let workspace = Workspace::at(folder.path());
        let none = NatsArgs::default();
        let failure = settings(&none, &workspace).unwrap_err();
        assert_eq!(failure.exit, baft_kit::Exit::TryAgain);
        assert!(failure.hint.unwrap().contains("baft up"));
        example().publish(&workspace, None).unwrap();
        assert_eq!(settings(&none, &workspace).unwrap().nats_url.as_deref(), Some("nats://127.0.0.1:4222"));
        let named = NatsArgs::for_url("nats://elsewhere:4222");
        assert_eq!(settings(&named, &workspace).unwrap().nats_url.as_deref(), Some("nats://elsewhere:4222"));
        crate::runtime::Runtime { nats: None, ..example() }.publish(&workspace, None).unwrap();
        assert!(settings(&none, &workspace).unwrap_err().message.contains("without NATS"));
    }
}
