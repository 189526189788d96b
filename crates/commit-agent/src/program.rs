//! The binary: from the command line to an exit code.

use std::process::ExitCode;
use std::time::Duration;

use baft_bus::{Bus, Identity};
use baft_kit::admin::Admin;
use baft_kit::config::ConfigError;
use baft_kit::metrics::Metrics as Registry;
use baft_kit::ready::Readiness;
use baft_kit::shutdown::Shutdown;
use baft_kit::{Exit, health, log, runtime};
use tokio::signal::unix::{SignalKind, signal};

use crate::args::{Cli, Command};
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
    if let Some(Command::Healthcheck) = cli.command {
        return health::healthcheck(cli.common.admin_addr, "/readyz").into();
    }
    let config = match Config::from_cli(&cli) {
        Ok(config) => config,
        Err(error) => return error.report().into(),
    };
    if let Err(error) = cli.nats.check() {
        return ConfigError::new("--nats-url", cli.nats.nats_url.as_deref().unwrap_or_default(), error.to_string())
            .report()
            .into();
    }
    // One worker beside the main thread and the engine's: there is little to do at once.
    runtime::run("commit-agent", 1, async move {
        match run(cli, config).await {
            Ok(exit) => exit,
            Err(error) => {
                tracing::error!("{error}");
                error.exit()
            }
        }
    })
}

async fn run(cli: Cli, config: Config) -> Result<Exit, AgentError> {
    let log = log::init(&cli.common)
        .map_err(|error| ConfigError::new("--log-level", &cli.common.log_level, error.to_string()))?;
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
    let bus = match cli.nats.enabled() {
        true => Some(Bus::connect(&cli.nats, me, Some(&registry)).await?),
        false => None,
    };
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
    let exit = shutdown
        .finish(async {
            if let Some(bus) = bus {
                bus.drain(Duration::from_secs(2)).await;
            }
        })
        .await;
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
