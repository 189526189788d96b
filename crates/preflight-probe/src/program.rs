//! The binary: from the command line to an exit code.

use std::process::ExitCode;

use baft_bus::{Context, Identity};
use baft_kit::admin::Admin;
use baft_kit::config::{ConfigError, DaemonCommand};
use baft_kit::metrics::Metrics as Registry;
use baft_kit::ready::Readiness;
use baft_kit::shutdown::Shutdown;
use baft_kit::{Exit, health, log, runtime};

use crate::args::Cli;
use crate::config::Config;
use crate::daemon::Daemon;
use crate::error::ProbeError;

/// The whole program.
#[must_use]
pub fn main() -> ExitCode {
    let cli: Cli = baft_kit::config::parse();
    if let Some(DaemonCommand::Healthcheck) = cli.command {
        return health::healthcheck(cli.common.admin_addr, "/readyz").into();
    }
    let checked = Config::from_cli(&cli).and_then(|config| cli.nats.checked().map(|()| config));
    let config = match checked {
        Ok(config) => config,
        Err(error) => return error.report().into(),
    };
    runtime::run_or_say("preflight-probe", 1, run(cli, config), ProbeError::exit)
}

async fn run(cli: Cli, config: Config) -> Result<Exit, ProbeError> {
    let log = log::init(&cli.common)?;
    let shutdown = Shutdown::install(cli.common.shutdown_grace).map_err(ProbeError::Signals)?;
    tracing::info!(build = %crate::BUILD, profile = config.scene.profile.name(), "starting");
    let registry = Registry::new("preflight_probe", crate::BUILD);
    let readiness = Readiness::new();
    let me = Identity::of_this_host("preflight-probe", env!("CARGO_PKG_VERSION"));
    // Looking at a broker that refuses us is the work, so that is no reason to end.
    let bus = baft_bus::connect_if_named(&cli.nats, me, &registry).await?;
    let context = Context {
        metrics: registry.clone(),
        readiness: readiness.clone(),
        bus: bus.clone(),
        shutdown: shutdown.token(),
    };
    let daemon = Daemon::start(config, context);
    let admin = Admin { metrics: registry, readiness, pulses: vec![daemon.pulse()], build: crate::BUILD, log };
    let _admin = admin
        .serve(cli.common.admin_addr, None, shutdown.token())
        .await
        .map_err(|error| ConfigError::new("--admin-addr", cli.common.admin_addr, error.to_string()))?;
    let result = daemon.finished().await;
    let exit = shutdown.finish(baft_bus::drain(bus)).await;
    result.map(|()| exit)
}
