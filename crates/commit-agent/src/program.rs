//! The binary: from the command line to an exit code.

use std::process::ExitCode;

use baft_bus::Identity;
use baft_kit::admin::Admin;
use baft_kit::config::{ConfigError, DaemonCommand};
use baft_kit::metrics::Metrics as Registry;
use baft_kit::ready::Readiness;
use baft_kit::shutdown::Shutdown;
use baft_kit::{Exit, health, log, runtime};
use tokio::signal::unix::{SignalKind, signal};

use crate::args::Cli;
use crate::config::{Config, Runs};
use crate::daemon::{Context, Daemon};
use crate::engine::Trigger;
use crate::error::AgentError;
use crate::status::Handle;

/// The whole program.
#[must_use]
pub fn main() -> ExitCode {
    baft_repo::one_heap();
    let cli: Cli = baft_kit::config::parse();
    if let Some(DaemonCommand::Healthcheck) = cli.command {
        return health::healthcheck(cli.common.admin_addr, "/readyz").into();
    }
    let checked = Config::from_cli(&cli).and_then(|config| cli.nats.checked().map(|()| config));
    let config = match checked {
        Ok(config) => config,
        Err(error) => return error.report().into(),
    };
    // One worker beside the main thread and the engine's: there is little to do at once.
    runtime::run_or_say("commit-agent", 1, run(cli, config), AgentError::exit)
}

async fn run(cli: Cli, config: Config) -> Result<Exit, AgentError> {
    let log = log::init(&cli.common)?;
    let shutdown = Shutdown::install(cli.common.shutdown_grace)
        .map_err(|error| AgentError::io("installing the signal handlers for", "SIGTERM", error))?;
    let settings = &config.settings;
    tracing::info!(build = %crate::BUILD, agent = %settings.agent, repo = config.shown_repo(), branch = settings.branch, clone = %settings.clone.display(), "starting");
    let registry = Registry::new("commit_agent", crate::BUILD);
    let readiness = Readiness::new();
    let me = Identity {
        name: "commit-agent".to_owned(),
        instance: settings.agent.to_string(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
    };
    let bus = baft_bus::connect_if_named(&cli.nats, me, &registry).await?;
    let context = Context {
        metrics: registry.clone(),
        readiness: readiness.clone(),
        bus: bus.clone(),
        shutdown: shutdown.token(),
    };
    let runs = config.runs;
    let daemon = Daemon::start(config, context)?;
    ring_on_hangup(daemon.handle())?;
    let admin = Admin { metrics: registry, readiness, pulses: vec![daemon.pulse()], build: crate::BUILD, log };
    let _admin = match admin.serve(cli.common.admin_addr, None, shutdown.token()).await {
        Ok(admin) => Some(admin),
        // Several at once on one machine: the work matters more.
        Err(error) if runs == Runs::Once => {
            tracing::debug!(%error, "no admin server");
            None
        }
        Err(error) => return Err(ConfigError::new("--admin-addr", cli.common.admin_addr, error.to_string()).into()),
    };
    let result = tokio::select! {
        result = daemon.finished() => result,
        error = baft_bus::unusable(bus.as_ref()) => Err(error.into()),
    };
    let exit = shutdown.finish(baft_bus::drain(bus)).await;
    result.map(|()| exit)
}

/// SIGHUP means "have a look now".
fn ring_on_hangup(handle: Handle) -> Result<(), AgentError> {
    let mut hangups = signal(SignalKind::hangup())
        .map_err(|error| AgentError::io("installing a signal handler for", "SIGHUP", error))?;
    tokio::spawn(async move {
        while hangups.recv().await.is_some() {
            handle.ring(Trigger::Request);
        }
    });
    Ok(())
}
