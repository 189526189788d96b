//! `baft session …`: an analyst's day.
//!
//! The sequences themselves run in session-registry, so that every client gets the same; here they are asked for, shown as they
//! run, and told in the specification's words.

mod client;
mod export;
pub mod kept;
mod show;
mod watch;
mod words;

use baft_bus::payload::{
    IfLive, Person, SessionClient, SessionEndRequest, SessionEndResponse, SessionHistoryRequest,
    SessionHistoryResponse, SessionListRequest, SessionListResponse, SessionStartRequest, SessionStartResponse,
    SessionState, SessionStatusRequest, SessionStatusResponse, SessionSyncCheckRequest, SessionSyncCheckResponse,
    SessionSyncRequest, SessionSyncResponse, Standing,
};
use baft_kit::Exit;

use crate::cli::{EndArgs, HistoryArgs, ListArgs, SessionArgs, SessionCommand, StartArgs, SyncCheckArgs};
use crate::failure::Failure;
use crate::workspace::{Surroundings, Workspace};
use client::Client;
use kept::KeptSession;
pub(crate) use words::standing;

/// Does what was asked.
///
/// # Errors
/// There is no fleet, session-registry refused, or not everything worked.
pub async fn run(args: &SessionArgs, workspace: &Workspace, around: &Surroundings) -> Result<(), Failure> {
    let fleet = match &args.command {
        SessionCommand::Start(args) => &args.fleet,
        SessionCommand::End(args) => &args.fleet,
        SessionCommand::Status(args) => &args.fleet,
        SessionCommand::List(args) => &args.fleet,
        SessionCommand::SyncCheck(args) => &args.fleet,
        SessionCommand::Sync(args) => &args.fleet,
        SessionCommand::History(args) => &args.fleet,
        SessionCommand::Watch(args) => &args.fleet,
    };
    let client = Client::connect(fleet, workspace, around).await?;
    let result = match &args.command {
        SessionCommand::Start(args) => start(args, &client, around).await,
        SessionCommand::End(args) => end(args, &client).await,
        SessionCommand::Status(_) => status(&client).await,
        SessionCommand::List(args) => list(args, &client).await,
        SessionCommand::SyncCheck(args) => sync_check(args, &client).await,
        SessionCommand::Sync(_) => sync(&client).await,
        SessionCommand::History(args) if args.export => export::run(args, &client).await,
        SessionCommand::History(args) => history(args, &client).await,
        SessionCommand::Watch(args) => watch::run(args, &client).await,
    };
    client.done().await;
    result
}

async fn start(args: &StartArgs, client: &Client<'_>, around: &Surroundings) -> Result<(), Failure> {
    let author = said_to_git(around);
    let request = SessionStartRequest {
        session_id: args.session_id.clone(),
        analyst: Some(args.analyst.clone().or(author.as_ref().map(|person| person.name.clone())).unwrap_or_else(login)),
        author,
        objective: args.objective.clone(),
        tier: args.tier,
        client: this_program(),
        liveness: args.liveness.into(),
        agent: client.agent.clone(),
        claims: args.claims.clone(),
        if_live: if args.take_over { IfLive::TakeOver } else { IfLive::Refuse },
        ..SessionStartRequest::default()
    };
    if let (Some(kept), false) = (client.kept.read(), args.take_over) {
        still_open(client, &kept).await?;
    }
    let answer: SessionStartResponse = client.follow("start", &request).await?;
    let kept = KeptSession {
        session_id: answer.session_id.clone(),
        epoch: answer.epoch.clone(),
        heartbeat_every_s: answer.heartbeat_every_s,
    };
    if let Err(failure) = client.kept.write(&kept) {
        crate::output::note(&format!("warning: {failure}"));
    }
    client.print(&answer, |out| words::started(out, &answer))
}

/// Refuses to forget a session that was started from here and never ended.
async fn still_open(client: &Client<'_>, kept: &KeptSession) -> Result<(), Failure> {
    let request = baft_bus::payload::SessionGetRequest { session_id: kept.session_id.clone() };
    let found = client.try_ask::<_, baft_bus::payload::SessionGetResponse>("get", &request).await;
    match found {
        Ok(found) if found.record.state.is_live() && found.record.epoch == kept.epoch => {
            let message = format!("session {} was started from here and is still open", kept.session_id);
            Err(Failure::new(message).hint("end it first with `baft session end`, or go on in it"))
        }
        // It ended, was taken over, or nobody knows it any more.
        _ => {
            client.kept.forget(&kept.session_id);
            Ok(())
        }
    }
}

async fn end(args: &EndArgs, client: &Client<'_>) -> Result<(), Failure> {
    let (session_id, epoch) = which(args.session_id.as_deref(), client)?;
    let request =
        SessionEndRequest { session_id: session_id.clone(), epoch, message: args.message.clone(), force: args.force };
    let answer: SessionEndResponse = client.follow("end", &request).await?;
    if !answer.state.is_live() {
        client.kept.forget(&session_id);
    }
    client.print(&answer, |out| words::ended(out, &answer))?;
    if answer.pushed && answer.state != SessionState::EndedUnpushed {
        return Ok(());
    }
    let why = answer.warnings.first().map(|why| format!(": {}", crate::output::one_line(why))).unwrap_or_default();
    Err(Failure::try_again(format!("the push did not happen yet{why}"))
        .hint("commit-agent goes on trying by itself; `baft session sync-check` tells whether the remote has it"))
}

/// The session that is meant, with its epoch when it was started from here.
fn which(named: Option<&str>, client: &Client<'_>) -> Result<(String, Option<baft_bus::payload::Epoch>), Failure> {
    let kept = client.kept.read();
    match (named, kept) {
        (Some(named), Some(kept)) if kept.session_id == named => Ok((kept.session_id, Some(kept.epoch))),
        (Some(named), _) => Ok((named.to_owned(), None)),
        (None, Some(kept)) => Ok((kept.session_id, Some(kept.epoch))),
        (None, None) => Err(Failure::new("no session was started from here")
            .hint("`baft session list` shows all; name one with --session-id")),
    }
}

async fn status(client: &Client<'_>) -> Result<(), Failure> {
    let request = SessionStatusRequest { session_id: None, agent: client.agent.clone() };
    let answer: SessionStatusResponse = client.ask("status", &request).await?;
    let mine = client.kept.read().map(|kept| kept.session_id);
    client.print(&answer, |out| show::status(out, &answer, mine.as_deref()))
}

async fn list(args: &ListArgs, client: &Client<'_>) -> Result<(), Failure> {
    let mut request = SessionListRequest {
        state: if args.all { SessionState::ALL.to_vec() } else { args.state.clone() },
        analyst: args.analyst.clone(),
        // Only where one was named: sessions of the whole fleet are of interest.
        agent: None,
        limit: Some(args.limit.min(500)),
        cursor: None,
    };
    let mut answer: SessionListResponse = client.ask("list", &request).await?;
    while let Some(cursor) = answer.next_cursor.take() {
        let left = args.limit.saturating_sub(answer.sessions.len() as u64);
        if left == 0 {
            break;
        }
        request.cursor = Some(cursor);
        request.limit = Some(left.min(500));
        let more: SessionListResponse = client.ask("list", &request).await?;
        answer.sessions.extend(more.sessions);
        answer.next_cursor = more.next_cursor;
    }
    let mine = client.kept.read().map(|kept| kept.session_id);
    client.print(&answer, |out| show::list(out, &answer, mine.as_deref()))
}

async fn sync_check(args: &SyncCheckArgs, client: &Client<'_>) -> Result<(), Failure> {
    let request = SessionSyncCheckRequest { session_id: None, agent: client.agent.clone() };
    let answer: SessionSyncCheckResponse = client.ask("sync_check", &request).await?;
    client.print(&answer, |out| words::compared(out, &answer))?;
    match answer.state {
        Standing::Behind | Standing::Diverged if args.exit_code => Err(Failure::said(Exit::Failure)),
        _ => Ok(()),
    }
}

async fn sync(client: &Client<'_>) -> Result<(), Failure> {
    let kept = client.kept.read();
    let request = SessionSyncRequest {
        session_id: kept.as_ref().map(|kept| kept.session_id.clone()),
        epoch: kept.map(|kept| kept.epoch),
        agent: client.agent.clone(),
    };
    let answer: SessionSyncResponse = client.follow("sync", &request).await?;
    client.print(&answer, |out| words::synced(out, &answer))
}

async fn history(args: &HistoryArgs, client: &Client<'_>) -> Result<(), Failure> {
    let request = SessionHistoryRequest { session_id: args.session_id.clone(), limit: Some(args.limit.min(500)) };
    let answer: SessionHistoryResponse = client.ask("history", &request).await?;
    client.print(&answer, |out| show::history(out, &answer))
}

fn this_program() -> SessionClient {
    SessionClient {
        kind: "cli".to_owned(),
        name: "baft".to_owned(),
        version: crate::BUILD.version.to_owned(),
        host: baft_kit::runtime::host_name(),
    }
}

/// Whom git would name as the author here.
fn said_to_git(around: &Surroundings) -> Option<Person> {
    let said = |key: &str| crate::up::git_config(&around.current, key);
    Some(Person { name: said("user.name")?, email: said("user.email")? })
}

fn login() -> String {
    let named = ["USER", "LOGNAME"].iter().filter_map(|name| std::env::var(name).ok()).find(|name| !name.is_empty());
    named.unwrap_or_else(|| "analyst".to_owned())
}
