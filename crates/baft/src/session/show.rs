//! Sessions as tables and sections.

use std::time::{Duration, SystemTime};

use baft_bus::payload::{
    SessionHistoryResponse, SessionListResponse, SessionRecord, SessionState, SessionStatusResponse,
};

use super::words::standing;
use crate::failure::Failure;
use crate::output::{Out, Style, bytes, count, elapsed, one_line, short_commit, shorten};

type Said = Result<(), Failure>;

/// Who is working, how the clone is doing, which services answer.
pub fn status(out: &mut Out, answer: &SessionStatusResponse, mine: Option<&str>) -> Said {
    let style = out.style();
    let now = SystemTime::now();
    out.line(style.bold("Active sessions"))?;
    if answer.sessions.is_empty() {
        out.line("  none")?;
    }
    for session in &answer.sessions {
        out.line(format!("  {}", row(session, mine, style, now)))?;
    }
    let left = answer.total.saturating_sub(answer.sessions.len() as u64);
    if left > 0 {
        out.line(format!("  and {left} more: baft session list"))?;
    }
    out.line(style.bold("Framework status"))?;
    match &answer.clone {
        Some(clone) => {
            let check = &clone.check;
            let head = clone.head.as_deref().map_or("no commit yet", short_commit);
            let dirty = match check.dirty_files {
                0 => "clean".to_owned(),
                files => count(files, "uncommitted file"),
            };
            out.line(format!("  {head} in {}: {dirty}", clone.clone))?;
            out.line(format!("  {}", standing(check.state, check.ahead, check.behind)))?;
            for held in &clone.held {
                out.line(format!("  {} {}", style.yellow("held back:"), one_line(&held.path)))?;
            }
        }
        None => out.line("  no commit-agent answers")?,
    }
    if let Some(git) = &answer.published {
        let head = git.head.as_deref().map_or("nothing", short_commit);
        out.line(format!("  published for readers: {head}"))?;
    }
    out.line(style.bold("Services"))?;
    for service in &answer.services {
        let (mark, message) = match (service.up, one_line(&service.message)) {
            (true, message) => (style.green("up"), message),
            (false, message) => (style.red("down"), message),
        };
        let end = if message.is_empty() { String::new() } else { format!(": {message}") };
        out.line(format!("  {} {mark}{end}", service.name))?;
    }
    if let Some(database) = &answer.database {
        let commit = database.commit.as_deref().map(|commit| format!(" of {}", short_commit(commit)));
        let known = database.reconciled_at.as_deref().or(database.published_at.as_deref());
        let age = known.and_then(|time| since(time, now)).map(|age| format!(", updated {} ago", elapsed(age)));
        let (commit, age) = (commit.unwrap_or_default(), age.unwrap_or_default());
        out.line(format!("  DuckDB {}{commit}{age}", bytes(database.bytes)))?;
    }
    if let Some(checks) = &answer.preflight {
        out.line(format!("  preflight: {}/{} checks passed", checks.passed, checks.total))?;
        for problem in &checks.problems {
            out.line(format!("    {}", style.yellow(&one_line(problem))))?;
        }
    }
    Ok(())
}

/// One line for each.
pub fn list(out: &mut Out, answer: &SessionListResponse, mine: Option<&str>) -> Said {
    let (style, now) = (out.style(), SystemTime::now());
    if answer.sessions.is_empty() {
        return out.line("no sessions");
    }
    for session in &answer.sessions {
        out.line(row(session, mine, style, now))?;
    }
    let left = answer.total.saturating_sub(answer.sessions.len() as u64);
    if left > 0 { out.line(style.dim(&format!("and {left} more"))) } else { Ok(()) }
}

/// What became of sessions, step by step.
pub fn history(out: &mut Out, answer: &SessionHistoryResponse) -> Said {
    let style = out.style();
    if answer.transitions.is_empty() {
        return out.line("no history");
    }
    for step in &answer.transitions {
        let from = step.from.map_or("–", SessionState::name);
        let reason = one_line(&step.reason);
        let end = if reason.is_empty() { String::new() } else { format!("  {reason}") };
        out.line(format!(
            "{}  {}  {from} → {}  {}{end}",
            style.dim(&step.at),
            step.record.session_id,
            paint(step.to, style),
            one_line(&step.record.analyst)
        ))?;
    }
    Ok(())
}

fn row(session: &SessionRecord, mine: Option<&str>, style: Style, now: SystemTime) -> String {
    let idle = since(&session.last_active_at, now).map(elapsed).unwrap_or_default();
    let here = if mine == Some(session.session_id.as_str()) { " (yours)" } else { "" };
    let agent = session.agent.as_deref().map(|agent| format!(" on {agent}")).unwrap_or_default();
    let objective = match one_line(&session.objective) {
        text if text.is_empty() => text,
        text => format!("  {}", shorten(&text, 60)),
    };
    format!(
        "{}{here}  {}  {}{agent}  last active {idle} ago{objective}",
        session.session_id,
        paint(session.state, style),
        one_line(&session.analyst),
    )
}

fn paint(state: SessionState, style: Style) -> String {
    match state {
        SessionState::Active => style.green(state.name()),
        SessionState::Suspect | SessionState::EndedUnpushed => style.yellow(state.name()),
        SessionState::Lost => style.red(state.name()),
        _ => state.name().to_owned(),
    }
}

fn since(time: &str, now: SystemTime) -> Option<Duration> {
    let time: SystemTime = chrono::DateTime::parse_from_rfc3339(time).ok()?.into();
    Some(now.duration_since(time).unwrap_or_default())
}
