//! `baft events`: what happened, and what happens.

use std::time::Duration;

use baft_bus::history::{From, History};
use baft_bus::payload::{
    DaemonStarted, DaemonStopping, EntityChanged, GitCommitted, GitConflict, GitHeld, GitPushed, GitSyncFailed,
    GitSynced, ImportPublished, ImportQuarantined, PreflightChanged, SessionChanged, SessionEnded, SessionStarted,
    SessionState, SessionSyncChecked, SessionTransition,
};
use baft_bus::{BusError, Payload, RawEvent};
use chrono::{DateTime, Local, Utc};
use serde_json::{Value, json};

use crate::cli::EventsArgs;
use crate::failure::Failure;
use crate::output::{Out, Style, count, elapsed, note, one_line, short_commit, shorten};
use crate::reach;
use crate::session::standing;
use crate::workspace::Workspace;

/// Longest description of one event.
const WIDEST: usize = 160;

/// Prints the past that was asked for, then with `--follow` what happens.
///
/// # Errors
/// There is no connection, the stream is missing, or the output cannot be written.
pub async fn run(args: &EventsArgs, workspace: &Workspace) -> Result<(), Failure> {
    let from = match &args.since {
        Some(since) => From::Time(moment("--since", since, Utc::now())?),
        None => From::Newest(args.limit),
    };
    let kinds = args.kind.as_deref().map_or(Ok(">"), checked_kind)?;
    let bus = reach::connect(&args.nats, workspace).await?;
    let result = match History::open(&bus, kinds, from).await.map_err(|error| cannot_open(error, kinds)) {
        Err(failure) => Err(failure),
        Ok(history) => tokio::select! {
            result = print(args, history) => result,
            // Whoever followed has seen enough.
            _ = tokio::signal::ctrl_c() => Ok(()),
        },
    };
    reach::disconnect(bus).await;
    result
}

/// Why there is nothing to read.
pub(crate) fn cannot_open(error: BusError, kinds: &str) -> Failure {
    match error {
        BusError::JetStream { .. } => Failure::try_again(format!("there is no stream for {kinds}")).hint(
            "`baft admin init` creates the streams; entity events are off unless the importer is told --entity-events",
        ),
        other => other.into(),
    }
}

async fn print(args: &EventsArgs, mut history: History) -> Result<(), Failure> {
    let mut lost = false;
    let mut any = false;
    loop {
        match history.next().await {
            Ok(Some(Ok(event))) => {
                any = true;
                if std::mem::take(&mut lost) {
                    note("connected again");
                }
                show(args, &event)?;
            }
            // Somebody else's message on our subjects is not an event of ours.
            Ok(Some(Err(error))) => note(&one_line(&error.to_string())),
            Ok(None) if args.follow => history.rung().await,
            Ok(None) => break,
            Err(error) if args.follow && error.is_retryable() => {
                if !std::mem::replace(&mut lost, true) {
                    note(&format!("{error}; waiting for it to come back"));
                }
                tokio::time::sleep(Duration::from_millis(500)).await;
            }
            Err(error) => return Err(error.into()),
        }
    }
    if !any && !args.json {
        note("No events. --since 30d looks further back, --follow waits for new ones.");
    }
    Ok(())
}

/// One line at a time: standard output is not held over a wait.
fn show(args: &EventsArgs, event: &RawEvent) -> Result<(), Failure> {
    let mut out = Out::new();
    let line = if args.json { as_json(event).to_string() } else { as_text(event, out.style(), Local::now()) };
    out.line(line)?;
    out.flush()
}

/// One event as an object, with everything it came with.
pub(crate) fn as_json(event: &RawEvent) -> Value {
    let data: Value = serde_json::from_slice(&event.data)
        .unwrap_or_else(|_| Value::String(String::from_utf8_lossy(&event.data).into_owned()));
    json!({
        "id": event.id,
        "type": event.kind,
        "version": format!("{}.{}", event.version.0, event.version.1),
        "source": event.source,
        "time": event.time,
        "sequence": event.sequence,
        "data": data,
    })
}

fn as_text(event: &RawEvent, style: Style, now: DateTime<Local>) -> String {
    let time = match DateTime::parse_from_rfc3339(&event.time) {
        Ok(time) => {
            let time = time.with_timezone(&Local);
            let form = if time.date_naive() == now.date_naive() { "%H:%M:%S%.3f" } else { "%Y-%m-%d %H:%M:%S" };
            time.format(form).to_string()
        }
        Err(_) => one_line(&event.time),
    };
    let text = shorten(&one_line(&describe(event)), WIDEST);
    let kind = format!("{:<18}", one_line(&event.kind));
    let bad = matches!(event.kind.as_str(), "git.sync_failed" | "import.quarantined" | "git.conflict" | "git.held");
    let kind = if bad { style.red(&kind) } else { style.bold(&kind) };
    format!("{}  {kind}  {text}", style.dim(&time))
}

/// What happened, in one line.
pub(crate) fn describe(event: &RawEvent) -> String {
    fn of<P: Payload>(event: &RawEvent, text: impl FnOnce(P) -> String) -> Option<String> {
        event.decode::<P>().ok().map(|event| text(event.data))
    }
    let known = match event.kind.as_str() {
        GitSynced::TYPE => of(event, synced),
        GitSyncFailed::TYPE => {
            of(event, |failed: GitSyncFailed| format!("attempt {}: {}", failed.attempt, failed.message))
        }
        GitCommitted::TYPE => of(event, |done: GitCommitted| {
            format!("{} by {}, {}", short_commit(&done.commit), done.author, count(done.files.len() as u64, "file"))
        }),
        GitPushed::TYPE => of(event, |done: GitPushed| {
            format!("{} to {} by {}", short_commit(&done.commit), done.reference, done.author)
        }),
        GitConflict::TYPE => of(event, |found: GitConflict| {
            format!("{}: upstream's version stands, ours is in {}", listed(&found.paths), found.rescue_branch)
        }),
        GitHeld::TYPE => {
            of(event, |held: GitHeld| format!("{} held back: {}", listed(&held.paths), held.reason.name()))
        }
        SessionStarted::TYPE => of(event, |SessionStarted(step)| moved(&step)),
        SessionChanged::TYPE => of(event, |SessionChanged(step)| moved(&step)),
        SessionEnded::TYPE => of(event, |SessionEnded(step)| moved(&step)),
        SessionSyncChecked::TYPE => of(event, |SessionSyncChecked { check, .. }| {
            format!("{}: {}", check.agent, standing(check.state, check.ahead, check.behind))
        }),
        PreflightChanged::TYPE => of(event, |check: PreflightChanged| {
            format!("{} {} → {}: {}", check.check, check.from, check.to, check.message)
        }),
        ImportPublished::TYPE => of(event, published),
        ImportQuarantined::TYPE => {
            of(event, |file: ImportQuarantined| format!("{}:{}:{} {}", file.path, file.line, file.column, file.message))
        }
        EntityChanged::TYPE => of(event, |change: EntityChanged| {
            let op =
                serde_json::to_value(change.op).ok().and_then(|op| op.as_str().map(str::to_owned)).unwrap_or_default();
            format!("{op} {} {} {}", change.entity_type, change.id, change.fields.join(", "))
        }),
        DaemonStarted::TYPE => of(event, |daemon: DaemonStarted| format!("{} {}", daemon.name, daemon.version)),
        DaemonStopping::TYPE => of(event, |daemon: DaemonStopping| daemon.name),
        _ => None,
    };
    known.unwrap_or_else(|| String::from_utf8_lossy(&event.data).into_owned())
}

fn moved(step: &SessionTransition) -> String {
    let from = step.from.map_or("–", SessionState::name);
    let reason = if step.reason.is_empty() { String::new() } else { format!(", {}", step.reason) };
    format!("{} of {}: {from} → {}{reason}", step.record.session_id, step.record.analyst, step.to.name())
}

fn listed(paths: &[String]) -> String {
    match paths {
        [one] => one.clone(),
        [first, rest @ ..] => format!("{first} and {} more", rest.len()),
        [] => "nothing".to_owned(),
    }
}

fn synced(event: GitSynced) -> String {
    let old = event.old.as_deref().map(|old| format!("{} → ", short_commit(old))).unwrap_or_default();
    let forced = if event.forced { ", history was rewritten" } else { "" };
    let files = match event.changed.as_slice() {
        [] if event.old.is_none() => String::new(),
        [one] => format!(", {}", one.path),
        files => format!(", {}{}", count(files.len() as u64, "file"), if event.truncated { " and more" } else { "" }),
    };
    format!("{old}{}{files}{forced}", short_commit(&event.new))
}

fn published(event: ImportPublished) -> String {
    let commit = event.commit.as_deref().map(|commit| format!(" of {}", short_commit(commit))).unwrap_or_default();
    let counts = event.counts;
    let errors = if counts.errors == 0 { String::new() } else { format!(", {}", count(counts.errors, "error")) };
    format!(
        "generation {}{commit}: {} inserted, {} updated, {} deleted{errors}, in {}",
        event.generation.number,
        counts.inserted,
        counts.updated,
        counts.deleted,
        elapsed(Duration::from_millis(event.duration_ms)),
    )
}

/// A time, or a duration before now.
pub(crate) fn moment(flag: &str, text: &str, now: DateTime<Utc>) -> Result<DateTime<Utc>, Failure> {
    if let Ok(time) = DateTime::parse_from_rfc3339(text) {
        return Ok(time.with_timezone(&Utc));
    }
    let before = baft_kit::config::duration(text).ok().and_then(|duration| chrono::TimeDelta::from_std(duration).ok());
    before.and_then(|before| now.checked_sub_signed(before)).ok_or_else(|| {
        Failure::usage(format!("{flag}: '{text}' is not a time"))
            .hint("use a duration such as 10m, 2h or 1d, or a time such as 2026-11-21T10:00:00Z")
    })
}

/// It becomes part of a subject: only words, and `*` for a word.
fn checked_kind(kind: &str) -> Result<&str, Failure> {
    let word = |word: &str| {
        word == "*" || (!word.is_empty() && word.chars().all(|c| c.is_ascii_alphanumeric() || c == '_' || c == '-'))
    };
    if kind == ">" || kind.strip_suffix(".>").unwrap_or(kind).split('.').all(word) {
        Ok(kind)
    } else {
        Err(Failure::usage(format!("--type: '{kind}' is not a type of event"))
            .hint("for example git.synced, import.* or git.>"))
    }
}

#[cfg(test)]
mod tests {
    use baft_bus::payload::{ChangeStatus, ChangedFile, Counts, Generation, Trigger};

    use super::*;

    fn event<P: Payload>(payload: &P) -> RawEvent {
        RawEvent {
            id: "id".to_owned(),
            source: "/baft/x/y".to_owned(),
            kind: P::TYPE.to_owned(),
            version: P::VERSION,
            time: "2026-11-21T10:00:00.5Z".to_owned(),
            subject: format!("baft.event.{}", P::TYPE),
            data: serde_json::to_vec(payload).unwrap().into(),
            sequence: Some(7),
            delivered: None,
        }
    }

    #[test]
    fn an_event_is_one_line_that_says_what_happened() {
        let synced = GitSynced {
            repo: "r".to_owned(),
            reference: "main".to_owned(),
            old: Some("a".repeat(40)),
            new: "b".repeat(40),
            forced: true,
            changed: vec![ChangedFile { path: "data/ga\nps.yaml".to_owned(), status: ChangeStatus::Modified }],
            truncated: false,
            trigger: Trigger::Poll,
        };
        let later = Utc::now().with_timezone(&Local);
        let line = as_text(&event(&synced), Style::Plain, later);
        assert!(
            line.ends_with("git.synced          aaaaaaaaaaaa → bbbbbbbbbbbb, data/ga ps.yaml, history was rewritten"),
            "{line}"
        );
        let published = ImportPublished {
            generation: Generation { lineage: "L".to_owned(), number: 3 },
            commit: None,
            counts: Counts { updated: 1, errors: 2, ..Counts::default() },
            digest: String::new(),
            bytes: 1,
            duration_ms: 41,
        };
        let line = as_text(&event(&published), Style::Plain, later);
        assert!(line.ends_with("generation 3: 0 inserted, 1 updated, 0 deleted, 2 errors, in 41 ms"), "{line}");
    }

    #[test]
    fn an_event_of_a_later_version_is_shown_as_it_is() {
        let mut raw =
            event(&DaemonStopping { name: "x".to_owned(), instance: "y".to_owned(), version: "1".to_owned() });
        raw.version = (9, 0);
        assert!(describe(&raw).contains("\"instance\":\"y\""));
        raw.kind = "future.thing".to_owned();
        assert_eq!(as_json(&raw)["data"]["name"], "x");
        raw.data = b"not json".to_vec().into();
        assert_eq!((describe(&raw).as_str(), as_json(&raw)["data"].as_str()), ("not json", Some("not json")));
    }

    #[test]
    fn since_is_a_duration_or_a_time() {
        let now = "2026-11-21T10:00:00Z".parse().unwrap();
        assert_eq!(moment("--since", "90m", now).unwrap().to_rfc3339(), "2026-11-21T08:30:00+00:00");
        assert_eq!(
            moment("--since", "2026-11-20T10:00:00+02:00", now).unwrap().to_rfc3339(),
            "2026-11-20T08:00:00+00:00"
        );
        assert!(moment("--since", "yesterday", now).unwrap_err().hint.unwrap().contains("10m"));
    }

    #[test]
    fn a_type_cannot_widen_the_subject() {
        for good in [">", "git.synced", "import.*", "git.>", "*.sync_failed"] {
            assert!(checked_kind(good).is_ok(), "{good}");
        }
        for bad in ["", "git..x", "git.>.x", "a b", "git.", "$SYS.>"] {
            assert!(checked_kind(bad).is_err(), "{bad}");
        }
    }
}
