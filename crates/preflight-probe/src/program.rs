//! The binary: from the command line to an exit code.

use std::process::ExitCode;
use std::time::Duration;

use baft_bus::{Bus, Context, Identity};
use baft_kit::admin::Admin;
use baft_kit::config::ConfigError;
use baft_kit::metrics::Metrics as Registry;
use baft_kit::ready::Readiness;
use baft_kit::shutdown::Shutdown;
use baft_kit::{Exit, health, log, runtime};

use crate::args::{Cli, Command};
use crate::config::Config;
use crate::daemon::Daemon;
use crate::error::ProbeError;

/// The whole program.
#[must_use]
pub fn main() -> ExitCode {
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
    runtime::run("preflight-probe", 1, async move {
        match run(cli, config).await {
            Ok(exit) => exit,
            Err(error) => {
                tracing::error!("{error}");
                error.exit()
            }
        }
    })
}

async fn run(cli: Cli, config: Config) -> Result<Exit, ProbeError> {
    let log = log::init(&cli.common)
        .map_err(|error| ConfigError::new("--log-level", &cli.common.log_level, error.to_string()))?;
    let shutdown = Shutdown::install(cli.common.shutdown_grace).map_err(ProbeError::Signals)?;
    tracing::info!(build = %crate::BUILD, profile = config.scene.profile.name(), "starting");
    let registry = Registry::new("preflight_probe", crate::BUILD);
    let readiness = Readiness::new();
    let me = Identity::of_this_host("preflight-probe", env!("CARGO_PKG_VERSION"));
    // Looking at a broker that refuses us is the work, so that is no reason to end.
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
    let daemon = Daemon::start(config, context);
    let admin = Admin { metrics: registry, readiness, pulses: vec![daemon.pulse()], build: crate::BUILD, log };
    let _admin = admin
        .serve(cli.common.admin_addr, None, shutdown.token())
        .await
        .map_err(|error| ConfigError::new("--admin-addr", cli.common.admin_addr, error.to_string()))?;
    let result = daemon.finished().await;
    let exit = shutdown
        .finish(async {
            if let Some(bus) = bus {
                bus.drain(Duration::from_secs(2)).await;
            }
        })
        .await;
    result.map(|()| exit)
}
