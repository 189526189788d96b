//! The binary: from the command line to an exit code.

use std::io::{IsTerminal, Write};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread::JoinHandle;
use std::time::Duration;

use baft_bus::Identity;
use baft_kit::admin::Admin;
use baft_kit::config::{CommonArgs, ConfigError};
use baft_kit::metrics::Metrics as Registry;
use baft_kit::ready::Readiness;
use baft_kit::shutdown::Shutdown;
use baft_kit::{Exit, health, log, runtime};
use clap::CommandFactory;
use indicatif::{ProgressBar, ProgressStyle};
use tokio::signal::unix::{SignalKind, signal};

use crate::ImporterError;
use crate::check::run_check;
use crate::config::{CheckArgs, Cli, Command, ImportArgs, PublishArgs, RunArgs, VerifyArgs, settings};
use crate::daemon::{Context, Daemon, Report, Request, Ring};
use crate::engine::{Engine, Progress};
use crate::generation::Workspace;
use baft_dataset::rows::Severity;

/// How long one import may take before a progress bar is shown on a terminal.
const PATIENCE: Duration = Duration::from_secs(1);

/// The command line, for documents and completions.
#[must_use]
pub fn command() -> clap::Command {
    let command = Cli::command().mut_args(|arg| arg.global(true));
    baft_kit::config::with_defaults(command, &[("admin_addr", "127.0.0.1:9103")])
}

/// The whole program.
#[must_use]
pub fn main() -> ExitCode {
    let cli: Cli = baft_kit::config::parse_command(command(), std::env::args_os());
    let common = cli.common;
    let result = match cli.command {
        Command::Healthcheck => return health::healthcheck(common.admin_addr, "/readyz").into(),
        Command::Run(args) => return run(common, *args),
        Command::Import(args) => once(&common, || import(&args)),
        Command::Check(args) => check(&args),
        Command::Stats(args) => stats(&args),
        Command::Verify(args) => once(&common, || verify(&args)),
    };
    finish(result).into()
}

fn finish(result: Result<Exit, ImporterError>) -> Exit {
    match result {
        Ok(exit) => exit,
        Err(error) => {
            say_error(&error);
            error.exit()
        }
    }
}

fn say_error(error: &ImporterError) {
    // Nobody is left to tell when standard error is closed.
    let _ = writeln!(std::io::stderr(), "error: {error}");
}

fn say(text: std::fmt::Arguments<'_>) {
    // A reader that went away, `| head`, is no error.
    let _ = writeln!(std::io::stdout(), "{text}");
}

fn run(common: CommonArgs, args: RunArgs) -> ExitCode {
    if let Err(error) = args.nats.checked() {
        return error.report().into();
    }
    // One worker beside the main and the importing thread: there is little to do at once.
    runtime::run("duckdb-importer", 1, async move { finish(daemon(common, args).await) })
}

async fn daemon(common: CommonArgs, args: RunArgs) -> Result<Exit, ImporterError> {
    let settings = args.settings()?;
    let log = log::init(&common)?;
    let signals = ImporterError::io("install signal handlers for", std::path::Path::new("SIGTERM"));
    let shutdown = Shutdown::install(common.shutdown_grace).map_err(signals)?;
    tracing::info!(build = %crate::BUILD, source = ?settings.source, workspace = %settings.publish.dir.display(), "starting");
    let registry = Registry::new("duckdb_importer", crate::BUILD);
    let readiness = Readiness::new();
    let me = Identity::of_this_host("duckdb-importer", env!("CARGO_PKG_VERSION"));
    let bus = baft_bus::connect_if_named(&args.nats, me, &registry).await?;
    let context = Context {
        metrics: registry.clone(),
        readiness: readiness.clone(),
        bus: bus.clone(),
        shutdown: shutdown.token(),
    };
    let daemon = Daemon::start(settings, context)?;
    look_on_hangup(&daemon)?;
    let admin = Admin { metrics: registry, readiness, pulses: vec![daemon.pulse()], build: crate::BUILD, log };
    let listening = admin.serve(common.admin_addr, None, shutdown.token()).await;
    let _admin = listening.map_err(|error| ConfigError::new("--admin-addr", common.admin_addr, error.to_string()))?;

    let result = tokio::select! {
        result = daemon.finished() => result,
        // A generation in the making is simply dropped; the next start begins again.
        () = async {
            shutdown.begun().await;
            tokio::time::sleep_until(shutdown.deadline()).await;
        } => Ok(()),
        error = baft_bus::unusable(bus.as_ref()) => Err(error.into()),
    };
    let exit = shutdown.finish(baft_bus::drain(bus)).await;
    result.map(|()| exit)
}

fn look_on_hangup(daemon: &Daemon) -> Result<(), ImporterError> {
    let failed = ImporterError::io("install a signal handler for", std::path::Path::new("SIGHUP"));
    let mut signals = signal(SignalKind::hangup()).map_err(failed)?;
    let handle = daemon.handle();
    tokio::spawn(async move {
        while signals.recv().await.is_some() {
            handle.ring(Ring::Request);
        }
    });
    Ok(())
}

/// A command that does its work and ends.
fn once(common: &CommonArgs, work: impl FnOnce() -> Result<Exit, ImporterError>) -> Result<Exit, ImporterError> {
    let _log = log::init(common)?;
    baft_repo::init(&baft_repo::Settings::default()).map_err(ImporterError::repo("starting"))?;
    work()
}

fn import(args: &ImportArgs) -> Result<Exit, ImporterError> {
    let mut engine = Engine::open(settings(&args.source, &args.publish)?)?;
    let request = Request { full: args.full, commit: args.at.clone() };
    let bar = Bar::show(engine.progress());
    let mut tries = 0;
    let report = loop {
        match engine.import(&request) {
            // A file is just being saved.
            Err(ImporterError::Unsettled) if tries < 50 => tries += 1,
            result => break result?,
        }
        std::thread::sleep(Duration::from_millis(40));
    };
    drop(bar);
    engine.tidy();
    say_report(&report);
    if let Some(published) = engine.current() {
        for file in &published.manifest.quarantined {
            say(format_args!("quarantined: {}:{}:{}: {}", file.path, file.line, file.column, file.message));
        }
    }
    // The process ends here. What the kernel takes back at once the database engine would free piece by piece, for a tenth of the import.
    std::mem::forget(engine);
    Ok(Exit::Ok)
}

fn say_report(report: &Report) {
    let Report { generation, counts, outcome, duration, .. } = report;
    let commit = report
        .commit
        .as_deref()
        .map_or(String::new(), |commit| format!(" of commit {}", commit.get(..12).unwrap_or(commit)));
    say(format_args!(
        "generation {}{commit}: {}; {} inserted, {} updated, {} deleted, {} unchanged, {} errors in the data; {} ms",
        generation.number,
        outcome.as_str(),
        counts.inserted,
        counts.updated,
        counts.deleted,
        counts.unchanged,
        counts.errors,
        duration.as_millis()
    ));
}

/// Shows on a terminal how far a long piece of work has come, until dropped.
struct Bar {
    done: Option<Sender<()>>,
    drawing: Option<JoinHandle<()>>,
}

impl Bar {
    fn show(progress: Arc<Progress>) -> Self {
        let (done, waiting) = channel();
        let draw = move || draw(&progress, &waiting);
        let drawing = std::io::stderr().is_terminal().then(|| std::thread::spawn(draw));
        Self { done: Some(done), drawing }
    }
}

impl Drop for Bar {
    fn drop(&mut self) {
        self.done = None;
        if let Some(drawing) = self.drawing.take() {
            // It only draws.
            let _ = drawing.join();
        }
    }
}

fn draw(progress: &Progress, waiting: &Receiver<()>) {
    let mut bar: Option<ProgressBar> = None;
    let mut patience = PATIENCE;
    while let Err(RecvTimeoutError::Timeout) = waiting.recv_timeout(patience) {
        patience = Duration::from_millis(100);
        let count = |number: &AtomicUsize| number.load(Ordering::Relaxed) as u64;
        let bar = bar.get_or_insert_with(|| {
            let style = ProgressStyle::with_template("{bar:40} {pos}/{len} files {elapsed}");
            ProgressBar::new(0).with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
        });
        bar.set_length(count(&progress.total));
        bar.set_position(count(&progress.done));
    }
    if let Some(bar) = bar {
        bar.finish_and_clear();
    }
}

fn check(args: &CheckArgs) -> Result<Exit, ImporterError> {
    let report = run_check(&args.root, &args.paths)?;
    say(format_args!("{}", report.render(args.format).trim_end()));
    let refused = match args.deny_warnings {
        true => !report.issues.is_empty(),
        false => report.count(Severity::Error) > 0,
    };
    Ok(if refused { Exit::Failure } else { Exit::Ok })
}

fn stats(args: &PublishArgs) -> Result<Exit, ImporterError> {
    let Some(published) = Workspace::look(&args.dir, &args.db_name) else {
        let message = format!("nothing is published in {}; run an import first", args.dir.display());
        return Err(ImporterError::Refused(message));
    };
    let manifest = &published.manifest;
    say(format_args!("{}", published.db.display()));
    say(format_args!("generation   {} of {}", manifest.generation.number, manifest.generation.lineage));
    say(format_args!("commit       {}", manifest.commit.as_deref().unwrap_or("none")));
    say(format_args!("published    {} in {} ms", manifest.published_at, manifest.duration_ms));
    say(format_args!("size         {:.1} MB", manifest.bytes as f64 / 1e6));
    say(format_args!("content      {}", manifest.content_digest));
    for (name, rows) in &manifest.rows {
        say(format_args!("{rows:>12} {name}"));
    }
    say(format_args!("{:>12} entities", manifest.rows.values().sum::<u64>()));
    say(format_args!("{:>12} errors", manifest.counts.errors));
    for file in &manifest.quarantined {
        say(format_args!("quarantined  {}:{}:{}: {}", file.path, file.line, file.column, file.message));
    }
    Ok(Exit::Ok)
}

fn verify(args: &VerifyArgs) -> Result<Exit, ImporterError> {
    let settings = settings(&args.source, &args.publish)?;
    let mut bar = None;
    let verification = crate::engine::verify(&settings, |progress| bar = Some(Bar::show(progress)))?;
    drop(bar);
    if verification.differences.is_empty() {
        say(format_args!("equal: {} tables, {} rows", verification.tables, verification.rows));
        return Ok(Exit::Ok);
    }
    for difference in &verification.differences {
        let rows = |digest: &Option<crate::engine::TableDigest>| digest.as_ref().map_or(0, |digest| digest.rows);
        say(format_args!(
            "{} differs: {} rows published, {} rebuilt",
            difference.table,
            rows(&difference.published),
            rows(&difference.rebuilt)
        ));
    }
    Ok(Exit::Failure)
}
