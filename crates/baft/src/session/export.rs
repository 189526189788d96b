//! `baft session history --export`: every step that is kept, one JSON object on a line.
//!
//! Read from the stream itself and printed as it is read, so neither a limit of an answer nor the memory of anybody
//! decides how much there can be. What cannot be read to the end is a failure, never a shorter history. A step is in
//! the stream moments after it happened; the request `session.history` has it before.

use std::collections::HashSet;
use std::time::{Duration, Instant};

use baft_bus::RawEvent;
use baft_bus::history::{From, History};
use baft_bus::payload::SessionTransition;
use chrono::{DateTime, TimeDelta, Utc};

use super::client::Client;
use crate::cli::HistoryArgs;
use crate::events::{as_json, cannot_open, moment};
use crate::failure::Failure;
use crate::output::{count, note, print};

const KINDS: &str = "session.*";
/// Steps are stored after they happened, except where clocks differ: a day more is read, and left out by its own time.
const CLOCKS_DIFFER: TimeDelta = TimeDelta::days(1);
/// How long to wait before a server that was away is asked again.
const AGAIN: Duration = Duration::from_millis(500);

/// Prints what was asked for.
///
/// # Errors
/// There is no stream, the server stays away for longer than `--timeout`, or something in the stream is no event.
pub async fn run(args: &HistoryArgs, client: &Client<'_>) -> Result<(), Failure> {
    let wanted = Wanted::of(args, Utc::now())?;
    let from = wanted.since.map_or(DateTime::UNIX_EPOCH, |since| since - CLOCKS_DIFFER);
    let opened = History::open(&client.bus, KINDS, From::Time(from)).await;
    let mut history = opened.map_err(|error| cannot_open(error, KINDS))?;
    let (mut printed, mut unreadable) = (HashSet::new(), 0);
    let mut heard = Instant::now();
    loop {
        match history.next().await {
            Ok(Some(Ok(event))) => {
                // An announcement that was repeated after the server had forgotten it is in the stream twice.
                if wanted.takes(&event) && printed.insert(event.id.clone()) {
                    print(&as_json(&event).to_string())?;
                }
            }
            Ok(Some(Err(error))) => {
                unreadable += 1;
                note(&error.to_string());
            }
            Ok(None) => break,
            Err(error) if error.is_retryable() && heard.elapsed() < args.fleet.timeout => {
                tokio::time::sleep(AGAIN).await;
                continue;
            }
            Err(error) => {
                let failure = Failure::from(error);
                let message = format!("the export is not complete: {}", failure.message);
                return Err(Failure { message, ..failure });
            }
        }
        heard = Instant::now();
    }
    note(&format!("{} exported", count(printed.len() as u64, "step")));
    match unreadable {
        0 => Ok(()),
        some => Err(Failure::new(format!("{} in the stream could not be read", count(some, "message")))),
    }
}

/// What belongs into the export.
struct Wanted<'a> {
    session_id: Option<&'a str>,
    since: Option<DateTime<Utc>>,
    until: Option<DateTime<Utc>>,
}

impl<'a> Wanted<'a> {
    fn of(args: &'a HistoryArgs, now: DateTime<Utc>) -> Result<Self, Failure> {
        let time = |flag: &str, text: &Option<String>| text.as_deref().map(|text| moment(flag, text, now)).transpose();
        let (since, until) = (time("--since", &args.since)?, time("--until", &args.until)?);
        Ok(Self { session_id: args.session_id.as_deref(), since, until })
    }

    /// Is it a step of a session that is meant, at a time that is meant? By when it happened, not by when it was told.
    fn takes(&self, event: &RawEvent) -> bool {
        let Ok(step) = serde_json::from_slice::<SessionTransition>(&event.data) else { return false };
        let happened = DateTime::parse_from_rfc3339(&event.time).ok().map(|time| time.with_timezone(&Utc));
        let after = |since: DateTime<Utc>| happened.is_none_or(|time| time >= since);
        let before = |until: DateTime<Utc>| happened.is_none_or(|time| time < until);
        self.session_id.is_none_or(|id| id == step.record.session_id)
            && self.since.is_none_or(after)
            && self.until.is_none_or(before)
    }
}
