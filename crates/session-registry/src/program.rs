//! The binary: from the command line to an exit code.

use std::process::ExitCode;

use baft_bus::{Bus, Identity};
use baft_kit::admin::Admin;
use baft_kit::config::{ConfigError, DaemonCommand};
use baft_kit::metrics::Metrics as Registry;
use baft_kit::ready::Readiness;
use baft_kit::shutdown::Shutdown;
use baft_kit::{Exit, health, log, runtime};

use crate::args::Cli;
use crate::daemon::{Context, Daemon};
use crate::error::RegistryError;
use crate::page::{Page, PageSettings};
use crate::settings::Settings;

/// The whole program.
#[must_use]
pub fn main() -> ExitCode {
    let cli: Cli = baft_kit::config::parse();
    if let Some(DaemonCommand::Healthcheck) = cli.command {
        return health::healthcheck(cli.common.admin_addr, "/readyz").into();
    }
    let checked = cli.settings().and_then(|settings| {
        if !cli.nats.enabled() {
            return Err(ConfigError::new("--nats-url", "", RegistryError::NoNats.to_string()));
        }
        cli.nats.checked()?;
        Ok((settings, cli.sessions.page()?))
    });
    let (settings, page) = match checked {
        Ok(checked) => checked,
        Err(error) => return error.report().into(),
    };
    runtime::run_or_say("session-registry", 2, run(cli, settings, page), RegistryError::exit)
}

async fn run(cli: Cli, settings: Settings, page: Option<PageSettings>) -> Result<Exit, RegistryError> {
    let log = log::init(&cli.common)?;
    let shutdown = Shutdown::install(cli.common.shutdown_grace)
        .map_err(|source| RegistryError::Io { what: "installing the signal handlers", source })?;
    tracing::info!(build = %crate::BUILD, "starting");
    let registry = Registry::new("session_registry", crate::BUILD);
    let readiness = Readiness::new();
    let me = Identity::of_this_host("session-registry", env!("CARGO_PKG_VERSION"));
    let bus = Bus::connect(&cli.nats, me, Some(&registry)).await?;
    let context = Context {
        metrics: registry.clone(),
        readiness: readiness.clone(),
        bus: Some(bus.clone()),
        shutdown: shutdown.token(),
    };
    let page = match page {
        Some(page) => Some(Page::bind(page).await?),
        None => None,
    };
    let mut daemon = Daemon::start(settings, context)?;
    if let Some(page) = page {
        daemon.show(page);
    }
    let admin = Admin { metrics: registry, readiness, pulses: vec![daemon.pulse()], build: crate::BUILD, log };
    let _admin = admin
        .serve(cli.common.admin_addr, None, shutdown.token())
        .await
        .map_err(|error| ConfigError::new("--admin-addr", cli.common.admin_addr, error.to_string()))?;
    let result = tokio::select! {
        result = daemon.finished() => result,
        error = bus.failed() => Err(error.into()),
    };
    let exit = shutdown.finish(baft_bus::drain(Some(bus))).await;
    result.map(|()| exit)
}
