//! `commit.<agent>.…`: what an agent can be asked over NATS.

use std::time::{Duration, Instant};

use baft_bus::payload::{
    CommitApplyRequest, CommitApplyResponse, CommitCheck, CommitConfirmRequest, CommitConfirmResponse,
    CommitPullResponse, CommitReleaseRequest, CommitReleaseResponse, CommitRunRequest, CommitRunResponse, ConfirmWhat,
    Edit, Empty, Epoch, Person,
};
use baft_bus::{Bus, Code, Endpoint, RequestContext, RequestError, Service, ServiceHandle};
use baft_repo::{Oid, RepoPath};
use tokio_util::sync::CancellationToken;

use crate::answers;
use crate::config::{Config, signature};
use crate::engine::{Apply, Author, Confirm, Edit as EngineEdit, Extent, Flush, Order, Pause, SessionStamp, Trigger};
use crate::gates::Reason;
use crate::sessions::{Sessions, shown};
use crate::status::{Handle, check_payload};
use crate::worker::Worker;

/// How long a request may take when the caller does not say.
const REQUEST: Duration = Duration::from_secs(60);
/// Most edits of one request.
const MOST_EDITS: usize = 1000;
/// Longest message.
const LONGEST_MESSAGE: usize = 10_000;

type Answer<T> = Result<T, RequestError>;

/// Starts answering.
pub(crate) fn serve(
    bus: &Bus,
    config: &Config,
    handle: &Handle,
    sessions: &Sessions,
    shutdown: CancellationToken,
) -> ServiceHandle {
    let agent = config.settings.agent.as_str();
    let on = |name: &str| format!("commit.{agent}.{name}");
    let command = |name: &str| Endpoint::command(name, &on(name));
    let query = |name: &str| Endpoint::query(name, &on(name));
    let asked = || handle.clone();
    let (run, apply, pull, check, confirm, release) = (asked(), asked(), asked(), asked(), asked(), asked());
    let states = handle.status();
    let (of_run, of_apply) = (sessions.clone(), sessions.clone());
    Service::new(
        bus,
        "commit-agent",
        env!("CARGO_PKG_VERSION"),
        "Commits what changes in a working clone and pushes it",
    )
    .require_principal(config.require_principal)
    .endpoint(command("run"), move |context, request: CommitRunRequest| {
        let (run, sessions) = (run.clone(), of_run.clone());
        async move {
            let (session, principal) = (request.session_id.as_deref(), context.principal.as_deref());
            let author = sessions.admit(session, request.epoch.as_ref(), principal).await?;
            ask(run, context, move |w, until| run_request(w, until, request, author)).await
        }
    })
    .endpoint(command("apply"), move |context, request: CommitApplyRequest| {
        let (apply, sessions) = (apply.clone(), of_apply.clone());
        async move {
            let (session, principal) = (request.session_id.as_deref(), context.principal.as_deref());
            let author = sessions.admit(session, request.epoch.as_ref(), principal).await?;
            ask(apply, context, move |w, until| apply_request(w, until, request, author)).await
        }
    })
    .endpoint(command("pull"), move |context, _: Empty| ask(pull.clone(), context, pull_request))
    .endpoint(query("check"), move |context, _: Empty| ask(check.clone(), context, check_request))
    .endpoint(query("status"), move |_, _: Empty| {
        // Never waits for the thread: it may be talking to a remote that hangs.
        let status = states.borrow().payload();
        async move { Ok(status) }
    })
    .endpoint(command("confirm"), move |context, request: CommitConfirmRequest| {
        ask(confirm.clone(), context, move |w, until| confirm_request(w, until, &request))
    })
    .endpoint(command("release"), move |context, request: CommitReleaseRequest| {
        ask(release.clone(), context, move |w, until| release_request(w, until, request))
    })
    .start(shutdown)
}

/// Has the thread with the engine carry out a request, within the caller's time.
async fn ask<T: Send + 'static>(
    handle: Handle,
    context: RequestContext,
    work: impl FnOnce(&mut Worker, Instant) -> Answer<T> + Send + 'static,
) -> Answer<T> {
    let time = context.time_left(REQUEST);
    let until = Instant::now() + time;
    match tokio::time::timeout(time, handle.ask(move |worker| work(worker, until))).await {
        Ok(Ok(answer)) => answer,
        Ok(Err(stopped)) => Err(RequestError::new(Code::Unavailable, stopped.to_string())),
        Err(_) => Err(RequestError::new(Code::Timeout, format!("not done within {} s", time.as_secs()))
            .hint("`baft commit status` says what it is waiting for; what was saved is captured all the same")),
    }
}

fn run_request(
    worker: &mut Worker,
    until: Instant,
    request: CommitRunRequest,
    author: Option<Author>,
) -> Answer<CommitRunResponse> {
    let session = stamp(request.session_id.as_deref(), request.epoch.as_ref(), request.author.as_ref())?;
    let session = on_record(session, author);
    let message = words(request.message)?;
    let paths = request.paths.map(|paths| paths.iter().map(|path| path_of(path)).collect()).transpose()?;
    worker.agent()?;
    worker.admit(request.session_id.as_deref(), request.epoch.as_ref())?;
    let order = Order { message, session, paths, ..asked(until) };
    answers::run(&worker.cycle(&order), request.session_id.as_deref())
}

fn apply_request(
    worker: &mut Worker,
    until: Instant,
    request: CommitApplyRequest,
    author: Option<Author>,
) -> Answer<CommitApplyResponse> {
    let session = stamp(request.session_id.as_deref(), request.epoch.as_ref(), request.author.as_ref())?;
    let session = on_record(session, author);
    let message = words(request.message)?;
    if request.changes.is_empty() || request.changes.len() > MOST_EDITS {
        return Err(invalid(format!(
            "changes: between 1 and {MOST_EDITS} are possible, not {}",
            request.changes.len()
        )));
    }
    let base = match &request.base {
        None => None,
        Some(text) => Some(text.parse::<Oid>().map_err(|_| {
            invalid(format!("base: '{text}' is not a commit")).hint("give the full id: forty hexadecimal digits")
        })?),
    };
    let edits = request.changes.into_iter().map(edit).collect::<Answer<Vec<_>>>()?;
    worker.agent()?;
    worker.admit(request.session_id.as_deref(), request.epoch.as_ref())?;
    let applied = worker.agent()?.apply(&Apply { session, base, edits, message });
    let result = if applied.is_ok() { "applied" } else { "refused" };
    worker.metrics.applies.with_label_values(&[result]).inc();
    let applied = applied.map_err(|error| answers::refused(&error))?;
    tracing::info!(commit = %applied.commit, files = applied.paths.len(), session = request.session_id, "applied");
    // Pushes it; what else is there is captured on the way, as on any other occasion.
    let cycle = worker.cycle(&Order { flush: Flush::Quiet, ..asked(until) });
    Ok(answers::applied(&applied, &cycle))
}

fn pull_request(worker: &mut Worker, until: Instant) -> Answer<CommitPullResponse> {
    let head = worker.agent()?.status().head;
    let cycle = worker.cycle(&Order { extent: Extent::Pull, flush: Flush::Quiet, ..asked(until) });
    answers::pull(head, &cycle)
}

fn check_request(worker: &mut Worker, _until: Instant) -> Answer<CommitCheck> {
    worker.look_at_everything();
    let check = worker.agent()?.fetch_check();
    worker.show();
    match check {
        Ok(check) => {
            let payload = check_payload(&check);
            worker.status.send_modify(|status| status.check = Some(check));
            Ok(payload)
        }
        Err(error) => Err(answers::step(&error)),
    }
}

fn confirm_request(
    worker: &mut Worker,
    until: Instant,
    request: &CommitConfirmRequest,
) -> Answer<CommitConfirmResponse> {
    let what = match request.what {
        ConfirmWhat::Deletions => Confirm::Deletions,
        ConfirmWhat::Rewritten => Confirm::Rewritten,
        ConfirmWhat::Unknown => return Err(invalid("what: deletions or rewritten".to_owned())),
    };
    let held = worker.agent()?.status().held;
    let waiting = held.iter().filter(|held| held.hold.reason == Reason::MassDelete).count() as u64;
    if let Some(seen) = request.deletions.filter(|seen| what == Confirm::Deletions && *seen != waiting) {
        let message = format!("{waiting} deletions wait to be confirmed, not {seen}");
        return Err(
            RequestError::new(Code::Conflict, message).hint("look again with `baft commit status`, then confirm")
        );
    }
    let confirmed = worker.agent()?.confirm(&what).map_err(|error| answers::step(&error))?;
    let cycle = worker.cycle(&asked(until));
    Ok(CommitConfirmResponse { confirmed: confirmed as u64, run: answers::run(&cycle, None)? })
}

fn release_request(
    worker: &mut Worker,
    until: Instant,
    request: CommitReleaseRequest,
) -> Answer<CommitReleaseResponse> {
    if request.paths.is_empty() {
        return Err(
            invalid("paths: name the files to release".to_owned()).hint("`baft commit status` lists what is held")
        );
    }
    let paths = request.paths.iter().map(|path| path_of(path)).collect::<Answer<Vec<_>>>()?;
    let held = worker.agent()?.status().held;
    if let Some(other) = paths.iter().find(|path| !held.iter().any(|held| held.path == **path)) {
        return Err(RequestError::new(Code::NotFound, format!("{other} is not held back"))
            .hint("`baft commit status` lists what is"));
    }
    let released = worker.agent()?.release(&paths).map_err(|error| answers::step(&error))?;
    let cycle = worker.cycle(&asked(until));
    let released = released.iter().map(ToString::to_string).collect();
    Ok(CommitReleaseResponse { released, run: answers::run(&cycle, None)? })
}

/// What somebody asked for is done now, whatever pause is kept, within their time.
fn asked(until: Instant) -> Order {
    Order {
        trigger: Trigger::Request,
        flush: Flush::Now,
        extent: Extent::Push,
        pause: Pause::Ignore,
        deadline: Some(until),
        ..Order::default()
    }
}

fn invalid(message: String) -> RequestError {
    RequestError::new(Code::InvalidArgument, message)
}

fn path_of(text: &str) -> Answer<RepoPath> {
    let trimmed = text.strip_prefix("./").unwrap_or(text).trim_end_matches('/');
    RepoPath::new(trimmed)
        .map_err(|error| invalid(format!("'{text}': {error}")).hint("paths are relative to the top of the repository"))
}

fn words(message: Option<String>) -> Answer<Option<String>> {
    let Some(message) = message else { return Ok(None) };
    if message.len() > LONGEST_MESSAGE {
        return Err(invalid(format!("message: longer than {LONGEST_MESSAGE} bytes")));
    }
    if message.contains('\0') {
        return Err(invalid("message: it has a zero byte".to_owned()));
    }
    Ok(Some(message).filter(|message| !message.trim().is_empty()))
}

fn stamp(session: Option<&str>, epoch: Option<&Epoch>, author: Option<&Person>) -> Answer<Option<SessionStamp>> {
    let author = match author {
        None => None,
        Some(person) => {
            let checked = signature(person.name.trim(), person.email.trim()).ok_or_else(|| {
                invalid("author: name and email must be short and without <, > and line breaks".to_owned())
            })?;
            Some(Author { name: checked.name, email: checked.email })
        }
    };
    let Some(id) = session else {
        return match (epoch, author) {
            (None, None) => Ok(None),
            (Some(_), _) => Err(invalid("epoch: it says nothing without session_id".to_owned())),
            (None, Some(_)) => Err(invalid("author: it says nothing without session_id".to_owned())),
        };
    };
    if !baft_bus::subject::is_token(id) {
        return Err(invalid(format!("session_id: '{}' is none: 1 to 128 of A-Z a-z 0-9 _ -", id.escape_default())));
    }
    let epoch = epoch.map(shown);
    Ok(Some(SessionStamp { id: id.to_owned(), epoch, author }))
}

/// The author on a session's record signs what is done in its name, whoever the request names.
fn on_record(session: Option<SessionStamp>, author: Option<Author>) -> Option<SessionStamp> {
    let session = session?;
    Some(SessionStamp { author: author.or(session.author), ..session })
}

fn edit(edit: Edit) -> Answer<EngineEdit> {
    Ok(match edit {
        Edit::File { file, content } => {
            EngineEdit::File { path: path_of(&file)?, content: content.map(String::into_bytes) }
        }
        Edit::Entity { kind, id, set, unset } => {
            EngineEdit::Entity { type_: kind, id, set: set.into_iter().collect(), unset }
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_in_a_commit_is_refused_before_anything_is_done() {
        for path in ["../x", "/etc/passwd", ".git/config", "a/../../b", ""] {
            assert_eq!(path_of(path).unwrap_err().code, Code::InvalidArgument, "{path}");
        }
        assert_eq!(path_of("./data/").unwrap().as_str(), "data");
        assert!(words(Some("x".repeat(LONGEST_MESSAGE + 1))).is_err());
        assert!(words(Some("a\0b".to_owned())).is_err());
        assert_eq!(words(Some("  ".to_owned())).unwrap(), None);
    }

    #[test]
    fn a_stamp_needs_a_session_with_an_id_that_can_be_in_a_trailer() {
        let epoch = Epoch { incarnation: "A".to_owned(), revision: 7 };
        let ann = Person { name: "Ann".to_owned(), email: "ann@example.org".to_owned() };
        assert!(stamp(None, Some(&epoch), None).is_err());
        assert!(stamp(None, None, Some(&ann)).is_err());
        assert!(stamp(Some("a\nb"), None, None).is_err());
        let broken = Person { name: "Ann <x>".to_owned(), ..ann.clone() };
        assert!(stamp(Some("s"), None, Some(&broken)).is_err());
        let stamp = stamp(Some("s"), Some(&epoch), Some(&ann)).unwrap().unwrap();
        assert_eq!((stamp.id.as_str(), stamp.epoch.as_deref()), ("s", Some("A.7")));
    }
}
