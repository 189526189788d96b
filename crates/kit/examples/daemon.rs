//! The smallest Baft daemon: everything it has from the kit, and work that does nothing.
//!
//! `cargo run -p baft-kit --example daemon -- --repo https://example.com/x.git`, then ask its admin server.

use std::process::ExitCode;
use std::time::Duration;

use baft_kit::admin::Admin;
use baft_kit::config::{self, CommonArgs, ConfigError};
use baft_kit::live::Pulse;
use baft_kit::metrics::Metrics;
use baft_kit::ready::Readiness;
use baft_kit::shutdown::Shutdown;
use baft_kit::{Exit, Secret, build_info, health, log, runtime};
use clap::{Parser, Subcommand};

/// Does nothing, well behaved
#[derive(Debug, Parser)]
#[command(name = "example", mut_arg("admin_addr", |arg| arg.default_value("127.0.0.1:9199")))]
struct Args {
    #[command(subcommand)]
    command: Option<Task>,
    /// What to look at; without it the daemon is never ready
    #[arg(long, env = "EXAMPLE_REPO", value_name = "URL")]
    repo: Option<String>,
    /// The name of the link
    #[arg(long, env = "EXAMPLE_LINK", value_name = "NAME", default_value = "current")]
    link: String,
    /// A secret the platform injects
    #[arg(long, env = "EXAMPLE_PASSWORD", value_name = "PASSWORD")]
    password: Option<Secret>,
    /// Whether to look at all
    #[arg(long, env = "EXAMPLE_PAUSED")]
    paused: bool,
    /// How long the work in flight takes to finish
    #[arg(long, env = "EXAMPLE_DRAIN", value_name = "DURATION", default_value = "0s", value_parser = config::duration)]
    drain: Duration,
    /// Block every thread, to see that a second signal still ends the process
    #[arg(long)]
    stuck: bool,
    #[command(flatten)]
    common: CommonArgs,
}

#[derive(Debug, Subcommand)]
enum Task {
    /// Asks the running daemon whether it is ready
    Healthcheck {
        /// Ask only whether it is alive
        #[arg(long)]
        live: bool,
    },
}

fn main() -> ExitCode {
    let args: Args = config::parse();
    if let Some(Task::Healthcheck { live }) = args.command {
        return health::healthcheck(args.common.admin_addr, if live { "/livez" } else { "/readyz" }).into();
    }
    if args.link.contains('/') {
        return ConfigError::new("--link", &args.link, "a plain name without slashes").report().into();
    }
    runtime::run("example", 2, run(args))
}

async fn run(args: Args) -> Exit {
    match start(args).await {
        Ok(exit) => exit,
        Err(error) => {
            tracing::error!(%error, "cannot start");
            Exit::Failure
        }
    }
}

async fn start(args: Args) -> Result<Exit, Box<dyn std::error::Error>> {
    let log = log::init(&args.common)?;
    let shutdown = Shutdown::install(args.common.shutdown_grace)?;
    let build = build_info!("example");
    let (metrics, readiness) = (Metrics::new("example", build), Readiness::new());
    let turns = metrics.counter("turns_total", "Times the work loop turned");
    let pulse = Pulse::new(Duration::from_secs(30));
    let repo = readiness.condition("repo");

    match args.repo {
        Some(_) => repo.ready(),
        None => repo.not_ready("no repository given; set --repo"),
    }
    let admin = Admin { metrics, readiness, pulses: vec![pulse.clone()], build, log };
    let _admin = admin.serve(args.common.admin_addr, None, shutdown.token()).await?;
    if args.stuck {
        let threads = 8;
        tracing::info!(threads, "blocking");
        (0..threads).for_each(|_| drop(tokio::spawn(async { std::thread::park() })));
    }

    let token = shutdown.token();
    while !token.is_cancelled() {
        pulse.tick();
        turns.inc();
        tracing::debug!(paused = args.paused, "turn");
        tokio::select! {
            () = tokio::time::sleep(Duration::from_secs(1)) => {}
            () = token.cancelled() => {}
        }
    }
    Ok(shutdown.finish(tokio::time::sleep(args.drain)).await)
}
