//! `baft commit` and `baft entity`: asking the commit-agent.

use baft_bus::payload::{
    CommitApplyRequest, CommitApplyResponse, CommitCheck, CommitConfirmRequest, CommitConfirmResponse,
    CommitReleaseRequest, CommitReleaseResponse, CommitRunRequest, CommitRunResponse, CommitStatus, ConfirmWhat, Edit,
    Empty, Epoch, HeldFile, HeldReason, Standing,
};
use baft_bus::{Bus, Code, RequestError, RequestOptions};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::ask::{explain, watched};
use crate::cli::{
    AgentArgs, CommitArgs, CommitCommand, CommitStatusArgs, ConfirmArgs, EntityArgs, EntityCommand, NowArgs,
    ReleaseArgs, SetArgs, Shape,
};
use crate::failure::Failure;
use crate::output::{Out, count, note, one_line, short_commit};
use crate::reach;
use crate::runtime::Runtime;
use crate::session::kept::{self, Kept};
use crate::workspace::{Surroundings, Workspace};

/// Longest lists are cut.
const SHOWN: usize = 20;

/// Does what was asked.
///
/// # Errors
/// There is no commit-agent, it refused, or not everything could be pushed.
pub async fn run(args: &CommitArgs, workspace: &Workspace, around: &Surroundings) -> Result<(), Failure> {
    match &args.command {
        CommitCommand::Now(args) => now(args, workspace, around).await,
        CommitCommand::Status(args) => status(args, workspace).await,
        CommitCommand::Confirm(args) => confirm(args, workspace).await,
        CommitCommand::Release(args) => release(args, workspace).await,
    }
}

/// Does what was asked about an entity.
///
/// # Errors
/// There is no commit-agent, or it refused.
pub async fn entity(args: &EntityArgs, workspace: &Workspace, around: &Surroundings) -> Result<(), Failure> {
    match &args.command {
        EntityCommand::Set(args) => set(args, workspace, around).await,
    }
}

async fn now(args: &NowArgs, workspace: &Workspace, around: &Surroundings) -> Result<(), Failure> {
    let session = Session::of(args.session.as_deref(), &args.agent, workspace, around)?;
    let mut request = CommitRunRequest {
        message: args.message.clone(),
        session_id: session.id.clone(),
        epoch: session.epoch.clone(),
        paths: Some(args.paths.clone()).filter(|paths| !paths.is_empty()),
        ..CommitRunRequest::default()
    };
    let mut answer = try_ask(&args.agent, workspace, "run", "committing", &request).await?;
    if session.is_over(&answer) {
        (request.session_id, request.epoch) = (None, None);
        answer = try_ask(&args.agent, workspace, "run", "committing", &request).await?;
    }
    let answer: CommitRunResponse = answer.map_err(|error| explain(error, "commit-agent"))?;
    told(&args.agent, &answer, |out| done(out, &answer))?;
    pushed(&answer)
}

async fn status(args: &CommitStatusArgs, workspace: &Workspace) -> Result<(), Failure> {
    if args.fetch {
        let _: CommitCheck = ask(&args.agent, workspace, "check", "asking the remote", &Empty {}).await?;
    }
    let status: CommitStatus = ask(&args.agent, workspace, "status", "asking", &Empty {}).await?;
    told(&args.agent, &status, |out| show(out, &status))
}

async fn confirm(args: &ConfirmArgs, workspace: &Workspace) -> Result<(), Failure> {
    let what = if args.rewritten { ConfirmWhat::Rewritten } else { ConfirmWhat::Deletions };
    let request = CommitConfirmRequest { what, deletions: args.deletions };
    let answer: CommitConfirmResponse = ask(&args.agent, workspace, "confirm", "confirming", &request).await?;
    told(&args.agent, &answer, |out| {
        match (what, answer.confirmed) {
            (ConfirmWhat::Rewritten, _) => out.line("confirmed: the rewritten history is followed")?,
            (_, 0) => out.line("nothing waits to be confirmed")?,
            (_, files) => out.line(format!("confirmed: {} deleted", count(files, "file")))?,
        }
        done(out, &answer.run)
    })?;
    pushed(&answer.run)
}

async fn release(args: &ReleaseArgs, workspace: &Workspace) -> Result<(), Failure> {
    let request = CommitReleaseRequest { paths: args.paths.clone() };
    let answer: CommitReleaseResponse = ask(&args.agent, workspace, "release", "releasing", &request).await?;
    told(&args.agent, &answer, |out| {
        out.line(format!("released: {}", answer.released.join(", ")))?;
        done(out, &answer.run)
    })?;
    pushed(&answer.run)
}

async fn set(args: &SetArgs, workspace: &Workspace, around: &Surroundings) -> Result<(), Failure> {
    let session = Session::of(args.session.as_deref(), &args.agent, workspace, around)?;
    let edit = Edit::Entity {
        kind: args.kind.clone(),
        id: args.id.clone(),
        set: args.set.iter().cloned().collect(),
        unset: args.unset.clone(),
    };
    let fields: Vec<&str> =
        args.set.iter().map(|(field, _)| field.as_str()).chain(args.unset.iter().map(String::as_str)).collect();
    let message = args.message.clone().unwrap_or_else(|| format!("{} {}: {}", args.kind, args.id, fields.join(", ")));
    let mut request = CommitApplyRequest {
        session_id: session.id.clone(),
        epoch: session.epoch.clone(),
        base: args.base.clone(),
        changes: vec![edit],
        message: Some(message),
        ..CommitApplyRequest::default()
    };
    let mut answer = try_ask(&args.agent, workspace, "apply", "applying", &request).await?;
    if session.is_over(&answer) {
        (request.session_id, request.epoch) = (None, None);
        answer = try_ask(&args.agent, workspace, "apply", "applying", &request).await?;
    }
    let answer: CommitApplyResponse = answer.map_err(|error| explain(error, "commit-agent"))?;
    told(&args.agent, &answer, |out| {
        let commit = answer.commit.as_deref().map_or("nothing", short_commit);
        match answer.paths.as_slice() {
            [] => out.line(format!("{} says so already ({commit})", args.id))?,
            paths => {
                let end = if answer.pushed { ", pushed" } else { ", not pushed yet" };
                out.line(format!("{commit}: {}{end}", paths.join(", ")))?;
            }
        }
        problems(out, &answer.problems)
    })
}

/// In which session something is done: the one named, else the one started from here.
struct Session {
    id: Option<String>,
    epoch: Option<Epoch>,
    kept: Kept,
    named: bool,
}

impl Session {
    fn of(
        named: Option<&str>,
        args: &AgentArgs,
        workspace: &Workspace,
        around: &Surroundings,
    ) -> Result<Self, Failure> {
        let runtime = Runtime::of(workspace).filter(|_| !args.nats.enabled());
        let kept = kept::of_clone(around.state_home.clone(), runtime.as_ref(), &args.nats, &name(args, workspace)?);
        let mine = kept.read();
        let epoch = mine.as_ref().filter(|mine| named.is_none_or(|named| named == mine.session_id));
        let epoch = epoch.map(|mine| mine.epoch.clone());
        let id = named.map(str::to_owned).or(mine.map(|mine| mine.session_id));
        Ok(Self { id, epoch, kept, named: named.is_some() })
    }

    /// Whether a session that nobody named has ended meanwhile: then the work is done without one.
    fn is_over<T>(&self, answer: &Result<T, RequestError>) -> bool {
        let (Some(id), Err(error), false) = (&self.id, answer, self.named) else { return false };
        let over = matches!(error.code, Code::Gone | Code::NotFound);
        if over {
            note(&format!("session {id} is over; this belongs to none"));
            self.kept.forget(id);
        }
        over
    }
}

/// Asks the agent that was named, or the fleet's.
async fn ask<Req: Serialize + Sync, Resp: DeserializeOwned>(
    args: &AgentArgs,
    workspace: &Workspace,
    what: &str,
    doing: &str,
    request: &Req,
) -> Result<Resp, Failure> {
    let answer = try_ask(args, workspace, what, doing, request).await?;
    answer.map_err(|error| explain(error, "commit-agent"))
}

/// The same, with the agent's refusal as it is.
async fn try_ask<Req: Serialize + Sync, Resp: DeserializeOwned>(
    args: &AgentArgs,
    workspace: &Workspace,
    what: &str,
    doing: &str,
    request: &Req,
) -> Result<Result<Resp, RequestError>, Failure> {
    let agent = name(args, workspace)?;
    let bus = reach::connect(&args.nats, workspace).await?;
    let suffix = format!("commit.{agent}.{what}");
    let answer = watched(doing, request_of(&bus, &suffix, request, args)).await;
    reach::disconnect(bus).await;
    Ok(answer)
}

async fn request_of<Req: Serialize + Sync, Resp: DeserializeOwned>(
    bus: &Bus,
    suffix: &str,
    request: &Req,
    args: &AgentArgs,
) -> Result<Resp, RequestError> {
    bus.request_with(suffix, request, RequestOptions::timeout(args.timeout)).await
}

fn name(args: &AgentArgs, workspace: &Workspace) -> Result<String, Failure> {
    let name = match &args.agent {
        Some(name) => name.clone(),
        None => match Runtime::of(workspace) {
            Some(Runtime { agent: Some(agent), .. }) => agent.name,
            Some(_) => {
                let message = format!("the fleet in {} has no commit-agent", workspace.root().display());
                return Err(
                    Failure::try_again(message).hint("`baft up --repo …` runs one; `--clone` needs your consent to it")
                );
            }
            None if args.nats.enabled() => {
                return Err(Failure::usage("which commit-agent? name it with --agent (BAFT_AGENT)"));
            }
            // Says how to start a fleet.
            None => return Err(reach::no_fleet(workspace)),
        },
    };
    match baft_commit_agent::engine::AgentName::new(name) {
        Ok(name) => Ok(name.to_string()),
        Err(error) => Err(Failure::usage(format!("--agent: {error}"))),
    }
}

fn told<T: Serialize>(
    args: &AgentArgs,
    answer: &T,
    text: impl FnOnce(&mut Out) -> Result<(), Failure>,
) -> Result<(), Failure> {
    let mut out = Out::new();
    match args.shape() {
        Shape::Json => out.json(answer)?,
        Shape::Text => text(&mut out)?,
    }
    out.flush()
}

fn done(out: &mut Out, answer: &CommitRunResponse) -> Result<(), Failure> {
    match &answer.commit {
        Some(commit) => {
            let files = count(answer.files.len() as u64, "file");
            let end = if answer.pushed { ", pushed" } else { "" };
            out.line(format!("{}: {files}{end}", short_commit(commit)))?;
        }
        None if answer.pushed => out.line("nothing to commit, everything is on the remote")?,
        None => out.line("nothing was committed")?,
    }
    if let Some(branch) = &answer.parked {
        out.line(format!("upstream changed the same: your version is in {branch}, upstream's in the files"))?;
    }
    held(out, &answer.held)?;
    problems(out, &answer.problems)
}

fn pushed(answer: &CommitRunResponse) -> Result<(), Failure> {
    if answer.pushed {
        return Ok(());
    }
    let why = answer.problems.first().map(|problem| format!(": {}", one_line(problem))).unwrap_or_default();
    Err(Failure::try_again(format!("not everything is on the remote yet{why}"))
        .hint("what was saved is captured; the agent goes on by itself, `baft commit status` says how far it is"))
}

fn show(out: &mut Out, status: &CommitStatus) -> Result<(), Failure> {
    let style = out.style();
    let line =
        |out: &mut Out, name: &str, text: &str| out.line(format!("{}{text}", style.bold(&format!("{name:<10}"))));
    line(out, "agent", &format!("{} in {}", status.agent, status.clone))?;
    let head = status.head.as_deref().map_or("nothing yet", short_commit);
    line(out, "branch", &format!("{head} of {}, {}", status.reference, status.repo))?;
    let check = &status.check;
    let standing = if check.state == Standing::Current && check.dirty_files == 0 {
        style.green(&check.message)
    } else {
        style.yellow(&check.message)
    };
    let seen = check.as_of.as_deref().map(|at| format!(" (as of {at})")).unwrap_or_default();
    line(out, "remote", &format!("{standing}{seen}"))?;
    if status.repo_state != "normal" {
        let age = status.index_lock_age_s.map(|age| format!(" for {age} s")).unwrap_or_default();
        line(out, "waits", &style.yellow(&format!("{}{age}", status.repo_state.replace('_', " "))))?;
    }
    held(out, &status.held)?;
    for parked in &status.parked {
        let pushed = if parked.pushed { "" } else { ", not on the remote yet" };
        line(out, "parked", &format!("{} ({}{pushed}): {}", parked.branch, parked.kind, parked.paths.join(", ")))?;
    }
    problems(out, &status.problems)
}

fn held(out: &mut Out, files: &[HeldFile]) -> Result<(), Failure> {
    let style = out.style();
    for file in files.iter().take(SHOWN) {
        let reason = match file.message.as_str() {
            "" => file.reason.name().to_owned(),
            message => format!("{}: {}", file.reason.name(), one_line(message)),
        };
        out.line(style.yellow(&format!("held back: {} ({reason})", file.path)))?;
    }
    if files.len() > SHOWN {
        out.line(format!("… and {} more held back", files.len() - SHOWN))?;
    }
    let deleted = files.iter().any(|file| file.reason == HeldReason::MassDelete);
    if deleted {
        out.line("  were they deleted on purpose? `baft commit confirm`; otherwise `git restore` brings them back")?;
    }
    if files.iter().any(|file| file.reason != HeldReason::MassDelete) {
        out.line("  mend them, or `baft commit release PATH` lets them go as they are")?;
    }
    Ok(())
}

fn problems(out: &mut Out, problems: &[String]) -> Result<(), Failure> {
    let style = out.style();
    for problem in problems.iter().take(SHOWN) {
        out.line(style.yellow(&format!("problem: {}", one_line(problem))))?;
    }
    Ok(())
}
