//! `baft preflight`: is everything there that is needed, and if not, what would help?

use std::path::{Path, PathBuf};
use std::sync::Arc;

use baft_bus::NatsArgs;
use baft_bus::payload::{CheckReport, CheckStatus, PreflightReport, PreflightRunRequest};
use baft_kit::Exit;
use baft_preflight_probe::render::Lines;
use baft_preflight_probe::{Broker, Fleet, Good, Order, Output, Scene, render};

use crate::ask::{explain, watched};
use crate::cli::PreflightArgs;
use crate::failure::Failure;
use crate::output::{Style, print};
use crate::reach;
use crate::runtime::{Runtime, Source};
use crate::workspace::Workspace;

/// Checks, prints, and ends as the report says.
///
/// # Errors
/// Something is not as it must be; the report has said what.
pub async fn run(args: &PreflightArgs, workspace: &Workspace) -> Result<(), Failure> {
    let good = if args.strict { Good::Strictly } else { Good::WithWarnings };
    let output = if args.json { Output::Json } else { args.output };
    let style = Style::of(&std::io::stdout());
    let paint = move |status: CheckStatus, label: &str| coloured(style, status, label);
    let report = match Lines::of(output) {
        Some(lines) if !args.remote => as_they_come(args, workspace, good, lines, &paint).await?,
        _ => {
            let report = if args.remote {
                ask(args, workspace).await?
            } else {
                watched("checking", here(args, workspace, good, |_| {})).await?
            };
            show(&render::render(&report, output, &paint))?;
            report
        }
    };
    match render::exit(&report, good) {
        Exit::Ok => Ok(()),
        exit => Err(Failure::said(exit)),
    }
}

/// Prints each line as soon as it is known: somebody is waiting in front of it.
async fn as_they_come(
    args: &PreflightArgs,
    workspace: &Workspace,
    good: Good,
    mut lines: Lines,
    paint: render::Paint<'_>,
) -> Result<PreflightReport, Failure> {
    let mut printed = show(&lines.heading());
    let report = here(args, workspace, good, |check| {
        if printed.is_ok() {
            printed = show(&lines.next(check, paint));
        }
    })
    .await?;
    printed?;
    show(&lines.end(&report.summary))?;
    Ok(report)
}

/// Prints what may be several lines or none, at once.
fn show(text: &str) -> Result<(), Failure> {
    if text.is_empty() { Ok(()) } else { print(text.trim_end()) }
}

async fn here(
    args: &PreflightArgs,
    workspace: &Workspace,
    good: Good,
    tell: impl FnMut(&CheckReport),
) -> Result<PreflightReport, Failure> {
    let scene = Arc::new(scene(args, workspace)?);
    let order =
        Order { profile: Some(args.profile), only: args.only.clone(), deadline: args.timeout, wait: args.wait, good };
    baft_preflight_probe::run_and_tell(&scene, &order, tell)
        .await
        .map_err(|error| Failure::usage(format!("--only: {error}")))
}

async fn ask(args: &PreflightArgs, workspace: &Workspace) -> Result<PreflightReport, Failure> {
    let bus = reach::connect(&args.nats, workspace).await?;
    let request = PreflightRunRequest { profile: None, only: args.only.clone() };
    let answer = watched("checking", bus.request("preflight.run", &request, args.timeout)).await;
    reach::disconnect(bus).await;
    answer.map_err(|error| explain(error, "preflight-probe"))
}

/// What is looked at: what the options say, and where they do not, the fleet that runs here.
fn scene(args: &PreflightArgs, workspace: &Workspace) -> Result<Scene, Failure> {
    let mut scene = args.scene.scene(args.profile).map_err(|error| Failure::config(error.to_string()))?;
    scene.database = Some(workspace.database());
    scene.sql = Some(Arc::new(first_value));
    scene.nats = args.nats.clone();
    if scene.disks.is_empty() {
        scene.disks = [Some(workspace.root().to_owned()), scene.root.clone()].into_iter().flatten().collect();
    }
    if let Some(runtime) = Runtime::of(workspace) {
        if !scene.nats.enabled()
            && let Some(nats) = &runtime.nats
        {
            scene.nats = NatsArgs { nats_subject_prefix: args.nats.nats_subject_prefix.clone(), ..nats.args() };
        }
        scene.agent = runtime.agent.as_ref().map(|agent| agent.name.clone());
        let broker = if runtime.nats.is_some() { Broker::Running } else { Broker::None };
        look_at(&mut scene, &runtime.source, runtime.agent.map(|agent| agent.clone), broker);
    }
    Ok(scene)
}

/// Adds what a fleet knows: what it follows, and where people edit.
pub(crate) fn look_at(scene: &mut Scene, source: &Source, clone: Option<PathBuf>, broker: Broker) {
    let (follows, clone) = match source {
        Source::Remote { repo, .. } => (repo.clone(), clone),
        Source::Clone { path } => (path.display().to_string(), Some(path.clone())),
    };
    scene.clone = clone;
    scene.fleet = Some(Fleet { follows, broker });
}

/// The first value a query gives, as text.
pub(crate) fn first_value(database: &Path, query: &str) -> Result<String, String> {
    let workspace = Workspace::at(database.parent().unwrap_or(database));
    let database = crate::database::Database::open(&workspace).map_err(|failure| failure.message)?;
    let text = format!("SELECT CAST(COLUMNS(*) AS VARCHAR) FROM ({query}) LIMIT 1");
    let value: Result<Option<String>, _> = database.connection().query_row(&text, [], |row| row.get(0));
    value.map(Option::unwrap_or_default).map_err(|error| error.to_string())
}

fn coloured(style: Style, status: CheckStatus, label: &str) -> String {
    match status {
        CheckStatus::Pass => style.green(label),
        CheckStatus::Warn | CheckStatus::Unknown => style.yellow(label),
        CheckStatus::Fail | CheckStatus::Error => style.red(label),
        CheckStatus::Skip => style.dim(label),
    }
}
