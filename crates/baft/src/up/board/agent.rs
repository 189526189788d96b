//! The line about commits: what is pushed, what waits, and what is held back.

use baft_commit_agent::Status;

use super::{Light, Part, down};
use crate::output::{count, one_line, short_commit};

pub(super) fn line(part: &Part<Status>) -> (Light, String) {
    if let Some(reason) = &part.down {
        return (Light::Bad, format!("commit-agent ended and is started again: {}", one_line(reason)));
    }
    let status = &part.status;
    if let Some(reason) = &status.closed {
        return (Light::Bad, one_line(reason));
    }
    let Some(engine) = &status.engine else { return (Light::Busy, "preparing the working clone".to_owned()) };
    if let Some(problem) = status.problems.first() {
        return (Light::Bad, one_line(problem));
    }
    let parked = match engine.parked.len() as u64 {
        0 => String::new(),
        branches => format!(", {} parked", count(branches, "branch")),
    };
    match (engine.held.len() as u64, engine.unpushed as u64) {
        (0, 0) => (Light::Good, format!("everything is pushed{parked}")),
        (0, commits) => (Light::Busy, format!("{} to push{parked}", count(commits, "commit"))),
        (files, _) => (Light::Bad, format!("{} held back: baft commit status{parked}", count(files, "file"))),
    }
}

pub(super) fn news(part: &Part<Status>, before: Option<&Part<Status>>) -> Vec<String> {
    let mut news = Vec::new();
    let (now, old) = (&part.status, before.map(|part| &part.status));
    if now.engine.is_some() && old.is_none_or(|old| old.engine.is_none()) {
        news.push(format!("commit: what is saved in {} is committed and pushed", now.clone));
    } else if let (Some(head), Some(Some(known))) = (now.head(), old.map(Status::head))
        && head != known
    {
        news.push(format!("commit: {}", short_commit(&head.to_string())));
    }
    let problems = |status: Option<&Status>| status.map(|status| (status.closed.clone(), status.problems.clone()));
    if problems(Some(now)) != problems(old) {
        let known = old.is_some_and(|old| old.closed.is_some() || !old.problems.is_empty());
        match now.closed.iter().chain(&now.problems).next() {
            Some(problem) => news.push(format!("commit: {}", one_line(problem))),
            None if known => news.push("commit: works again".to_owned()),
            None => {}
        }
    }
    let held = |status: &Status| {
        let held = status.engine.iter().flat_map(|engine| &engine.held);
        held.map(|held| (held.path.to_string(), held.hold.detail.clone())).collect::<Vec<_>>()
    };
    let known = old.map(held).unwrap_or_default();
    for (path, detail) in held(now).into_iter().filter(|held| !known.contains(held)).take(3) {
        news.push(format!("commit: held back {path}: {}", one_line(&detail)));
    }
    news.extend(down("commit-agent", part.down.as_ref(), before.and_then(|part| part.down.as_ref())));
    news
}
