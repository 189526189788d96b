//! The binary: from the command line to an exit code.

use std::process::ExitCode;

use baft_bus::Identity;
use baft_bus::payload::Trigger;
use baft_kit::admin::Admin;
use baft_kit::config::{ConfigError, DaemonCommand};
use baft_kit::metrics::Metrics as Registry;
use baft_kit::ready::Readiness;
use baft_kit::shutdown::Shutdown;
use baft_kit::{Exit, health, log, runtime};
use clap::CommandFactory;
use tokio::signal::unix::{SignalKind, signal};

use crate::args::Cli;
use crate::config::Config;
use crate::daemon::{Context, Daemon};
use crate::error::SyncError;
use crate::status::Handle;
use crate::{compat, http};

/// The whole program.
#[must_use]
pub fn main() -> ExitCode {
    baft_repo::one_heap();
    let mut cli: Cli = baft_kit::config::parse();
    if let Some(DaemonCommand::Healthcheck) = cli.command {
        return health::healthcheck(cli.common.admin_addr, "/readyz").into();
    }
    if cli.other.man {
        // Nobody is left to tell when standard output is closed.
        let _ = Cli::command().print_long_help();
        return Exit::Ok.into();
    }
    if let Some(level) = cli.other.verbose.filter(|level| *level > 0 && cli.common.log_level == "info") {
        let own = if level < 5 { "debug" } else { "trace" };
        cli.common.log_level = format!("info,baft_git_sync={own},baft_repo={own}");
    }
    let checked = compat::check(&cli.other).and_then(|notices| Ok((notices, Config::from_cli(&cli)?)));
    let checked = checked.and_then(|checked| cli.nats.checked().map(|()| checked));
    let (notices, config) = match checked {
        Ok(checked) => checked,
        Err(error) => return error.report().into(),
    };
    if cli.publish.group_write {
        rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o002));
    }
    // One worker beside the main thread and the git thread: there is little to do at once.
    runtime::run_or_say("git-sync", 1, run(cli, config, &notices), SyncError::exit)
}

async fn run(cli: Cli, config: Config, notices: &[String]) -> Result<Exit, SyncError> {
    let log = log::init(&cli.common)?;
    let shutdown = Shutdown::install(cli.common.shutdown_grace)
        .map_err(|error| SyncError::io("installing the signal handlers for", "SIGTERM", error))?;
    tracing::info!(build = %crate::BUILD, repo = config.shown_repo(), reference = %config.target, root = %config.root.display(), "starting");
    for notice in notices.iter().cloned().chain(compat::outdated_variables(std::env::vars().map(|(name, _)| name))) {
        tracing::warn!("{notice}");
    }
    let signals = sync_signals(cli.schedule.sync_on_signal.as_deref())?;
    let registry = Registry::new("git_sync", crate::BUILD);
    let readiness = Readiness::new();
    let me = Identity::of_this_host("git-sync", env!("CARGO_PKG_VERSION"));
    let bus = baft_bus::connect_if_named(&cli.nats, me, &registry).await?;
    let context = Context {
        metrics: registry.clone(),
        readiness: readiness.clone(),
        bus: bus.clone(),
        shutdown: shutdown.token(),
    };
    let secret = config.webhook_secret.clone();
    let daemon = Daemon::start(config, context)?;
    for kind in signals {
        ring_on(kind, daemon.handle())?;
    }
    let webhook = || secret.clone().map(|secret| http::webhook_routes(secret, daemon.handle(), daemon.metrics()));
    let admin = Admin { metrics: registry.clone(), readiness, pulses: vec![daemon.pulse()], build: crate::BUILD, log };
    let _admin = match admin.serve(cli.common.admin_addr, webhook(), shutdown.token()).await {
        Ok(admin) => Some(admin),
        // Several at once on one machine: the sync matters more.
        Err(error) if cli.schedule.one_time => {
            tracing::debug!(%error, "no admin server");
            None
        }
        Err(error) => return Err(ConfigError::new("--admin-addr", cli.common.admin_addr, error.to_string()).into()),
    };
    http::serve(&cli.http, registry, daemon.handle(), webhook(), shutdown.token()).await?;

    let result = tokio::select! {
        result = daemon.finished() => result,
        error = baft_bus::unusable(bus.as_ref()) => Err(error.into()),
    };
    let exit = shutdown.finish(baft_bus::drain(bus)).await;
    result.map(|()| exit)
}

/// SIGHUP always, and what `--sync-on-signal` names.
fn sync_signals(named: Option<&str>) -> Result<Vec<SignalKind>, ConfigError> {
    let mut kinds = vec![SignalKind::hangup()];
    if let Some(name) = named {
        let kind = signal_named(name)
            .ok_or_else(|| ConfigError::new("--sync-on-signal", name, "SIGHUP, SIGUSR1, SIGUSR2 or their numbers"))?;
        if kind != SignalKind::hangup() {
            kinds.push(kind);
        }
    }
    Ok(kinds)
}

fn signal_named(name: &str) -> Option<SignalKind> {
    let upper = name.to_ascii_uppercase();
    match upper.strip_prefix("SIG").unwrap_or(&upper) {
        "HUP" | "1" => Some(SignalKind::hangup()),
        "USR1" | "10" => Some(SignalKind::user_defined1()),
        "USR2" | "12" => Some(SignalKind::user_defined2()),
        _ => None,
    }
}

fn ring_on(kind: SignalKind, handle: Handle) -> Result<(), SyncError> {
    let mut signals =
        signal(kind).map_err(|error| SyncError::io("installing a signal handler for", "--sync-on-signal", error))?;
    tokio::spawn(async move {
        while signals.recv().await.is_some() {
            handle.ring(Trigger::Request);
        }
    });
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signals_go_by_name_or_number() {
        for name in ["SIGHUP", "hup", "1"] {
            assert_eq!(sync_signals(Some(name)).unwrap(), [SignalKind::hangup()]);
        }
        assert_eq!(sync_signals(Some("USR1")).unwrap().len(), 2);
        assert!(sync_signals(Some("SIGKILL")).is_err());
    }
}
