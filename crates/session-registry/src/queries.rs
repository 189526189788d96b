//! Looking at sessions: lists, one of them, everything at a glance, and the past.

use std::collections::HashSet;
use std::time::Instant;

use baft_bus::history::{From, History};
use baft_bus::payload::{
    ServiceState, SessionGetResponse, SessionHistoryRequest, SessionHistoryResponse, SessionListRequest,
    SessionListResponse, SessionRecord, SessionState, SessionStatusRequest, SessionStatusResponse, SessionTransition,
};
use baft_bus::subject::is_session_id;
use baft_bus::{Code, RequestError};

use crate::book::Known;
use crate::life;
use crate::registry::{Registry, unknown};
use crate::sequence::invalid;
use crate::store::unavailable;

/// How many records a list has when nobody says, and at most.
const USUAL: u64 = 100;
const MOST: u64 = 500;
/// A list stops before an answer that NATS would not take.
const MOST_BYTES: usize = 700 * 1024;
/// How many steps a history has when nobody says.
const USUAL_STEPS: u64 = 50;
/// How far back a history of one session is looked for.
const DEEPEST: u64 = 50_000;

impl Registry {
    /// `session.list`.
    pub(crate) async fn list(&self, request: SessionListRequest) -> Result<SessionListResponse, RequestError> {
        let limit = limit(request.limit, USUAL)?;
        let cursor = match request.cursor.as_deref() {
            None => None,
            Some(text) => {
                let parts = text.split_once('/').filter(|(_, id)| is_session_id(id));
                Some(parts.ok_or_else(|| invalid("cursor: it is not from an answer of this request".to_owned()))?)
            }
        };
        self.store.complete().await?;
        Ok(self.store.with_book(|book| {
            let wanted = |known: &&Known| matches(&known.stored.record, &request);
            let total = book.all().filter(wanted).count() as u64;
            let mut found: Vec<SessionRecord> = Vec::new();
            let mut bytes = 0;
            let mut next_cursor = None;
            let from: Box<dyn Iterator<Item = &Known>> = match cursor {
                None => Box::new(book.newest_first()),
                Some((started_at, id)) => Box::new(book.before(started_at, id)),
            };
            for known in from.filter(wanted) {
                let size = weight(&known.stored.record);
                if found.len() as u64 == limit || bytes + size > MOST_BYTES {
                    next_cursor = found.last().map(|record| format!("{}/{}", record.started_at, record.session_id));
                    break;
                }
                bytes += size;
                found.push(shown(known));
            }
            SessionListResponse { sessions: found, total, next_cursor, as_of_revision: book.next.saturating_sub(1) }
        }))
    }

    /// `session.get`.
    pub(crate) async fn get(&self, id: &str) -> Result<SessionGetResponse, RequestError> {
        let known = self.store.session(id).await?.ok_or_else(|| unknown(id))?;
        Ok(SessionGetResponse { record: shown(&known), idle_s: known.idle(Instant::now()).as_secs() })
    }

    /// `session.status`.
    pub(crate) async fn status(&self, request: SessionStatusRequest) -> Result<SessionStatusResponse, RequestError> {
        let mut agent = request.agent.clone();
        let (sessions, total) = match &request.session_id {
            Some(id) => {
                let record = self.get(id).await?.record;
                agent = agent.or_else(|| record.agent.clone());
                (vec![record], 1)
            }
            None => {
                let answer = self.list(SessionListRequest { agent: agent.clone(), ..Default::default() }).await?;
                (answer.sessions, answer.total)
            }
        };
        let agent = agent.or_else(|| self.settings.agent.clone());
        let clone = async {
            match &agent {
                Some(agent) => Some(self.fleet.clone_status(agent).await),
                None => None,
            }
        };
        let (clone, published, database, preflight) =
            tokio::join!(clone, self.fleet.git_status(), self.fleet.import_status(), self.fleet.preflight_status());
        let mut services =
            vec![ServiceState { name: "session-registry".to_owned(), up: true, message: format!("{total} sessions") }];
        if let Some(clone) = &clone {
            services.push(service("commit-agent", clone, |status| status.check.message.clone()));
        }
        services.push(service("git-sync", &published, |status| match (&status.head, status.behind) {
            (None, _) => "nothing is published yet".to_owned(),
            (Some(_), Some(0) | None) => "up to date with the remote".to_owned(),
            (Some(_), Some(n)) => format!("{n} commits behind the remote"),
        }));
        services.push(service("duckdb-importer", &database, |status| match &status.generation {
            Some(generation) => format!("generation {}", generation.number),
            None => "nothing is imported yet".to_owned(),
        }));
        services.push(service("preflight-probe", &preflight, |checks| {
            format!("{}/{} checks passed", checks.passed, checks.total)
        }));
        Ok(SessionStatusResponse {
            sessions,
            total,
            clone: clone.and_then(Result::ok),
            published: published.ok(),
            database: database.ok(),
            preflight: preflight.ok(),
            services,
        })
    }

    /// `session.history`: what the events tell, and what the records carry that is not told yet.
    pub(crate) async fn history(&self, request: SessionHistoryRequest) -> Result<SessionHistoryResponse, RequestError> {
        let limit = limit(request.limit, USUAL_STEPS)?;
        if let Some(id) = request.session_id.as_deref().filter(|id| !is_session_id(id)) {
            return Err(invalid(format!("session_id: `{}` is none", id.escape_default())));
        }
        let of = |step: &SessionTransition| request.session_id.as_ref().is_none_or(|id| *id == step.record.session_id);
        // Before the stream is read: a step leaves its record only when it is in the stream.
        let carried: Vec<SessionTransition> = self.carried().await?.into_iter().filter(of).collect();
        let mut depth = if request.session_id.is_some() { limit.max(500) } else { limit };
        loop {
            let (steps, read) = self.steps(depth).await.map_err(|error| unavailable(&error))?;
            let told: Vec<SessionTransition> = steps.into_iter().filter(of).collect();
            if told.len() as u64 >= limit || read < depth || depth >= DEEPEST {
                return Ok(SessionHistoryResponse { transitions: newest(told, carried, limit) });
            }
            depth = (depth * 8).min(DEEPEST);
        }
    }

    /// The steps that records carry because they may not be told yet.
    async fn carried(&self) -> Result<Vec<SessionTransition>, RequestError> {
        self.store.complete().await?;
        Ok(self.store.with_book(|book| book.all().flat_map(|known| known.stored.pending.iter().cloned()).collect()))
    }

    /// The newest steps of all sessions, each once, and how many events were read for them.
    async fn steps(&self, depth: u64) -> Result<(Vec<SessionTransition>, u64), baft_bus::BusError> {
        let mut history = History::open(&self.bus, "session.*", From::Newest(depth)).await?;
        let (mut steps, mut read) = (Vec::new(), 0);
        let mut seen = HashSet::new();
        while let Some(event) = history.next().await? {
            read += 1;
            let Ok(event) = event else { continue };
            let Ok(step) = serde_json::from_slice::<SessionTransition>(&event.data) else { continue };
            if seen.insert(life::event_id(&step)) {
                steps.push(step);
            }
        }
        Ok((steps, read))
    }
}

/// The newest `limit` steps, oldest first, of those in the stream and those in the records, each once.
fn newest(told: Vec<SessionTransition>, carried: Vec<SessionTransition>, limit: u64) -> Vec<SessionTransition> {
    let ids: HashSet<String> = told.iter().map(life::event_id).collect();
    let mut all = told;
    all.extend(carried.into_iter().filter(|step| !ids.contains(&life::event_id(step))));
    // Several registries announce: what one of them told late belongs where it happened. Sorted before it is cut: what
    // a record still carries may have been told long ago, further back than the stream was read.
    all.sort_by(|one, other| (&one.at, one.number).cmp(&(&other.at, other.number)));
    all.drain(..all.len().saturating_sub(usize::try_from(limit).unwrap_or(usize::MAX)));
    all
}

fn limit(asked: Option<u64>, usual: u64) -> Result<u64, RequestError> {
    match asked {
        None => Ok(usual),
        Some(limit @ 1..=MOST) => Ok(limit),
        Some(_) => Err(invalid(format!("limit: between 1 and {MOST}"))),
    }
}

fn matches(record: &SessionRecord, request: &SessionListRequest) -> bool {
    let state = match request.state.as_slice() {
        [] => !matches!(record.state, SessionState::Ended | SessionState::Reaped),
        states => states.contains(&record.state),
    };
    state
        && request.analyst.as_ref().is_none_or(|analyst| *analyst == record.analyst)
        && request.agent.as_ref().is_none_or(|agent| record.agent.as_ref() == Some(agent))
}

/// A record with what was heard since it was written.
fn shown(known: &Known) -> SessionRecord {
    match &known.beat {
        None => known.stored.record.clone(),
        Some(beat) => {
            let mut stored = (*known.stored).clone();
            beat.write(&mut stored);
            stored.record
        }
    }
}

/// About how many bytes a record takes in an answer.
fn weight(record: &SessionRecord) -> usize {
    let claims: usize = record.claims.iter().map(|claim| claim.len() + 4).sum();
    let transcript = record.transcript.as_ref().map_or(0, |transcript| transcript.uri.len() + 100);
    // Escaping a text may double it.
    900 + 2 * (record.objective.len() + record.reason.len() + claims + transcript)
}

fn service<T>(name: &str, answer: &Result<T, RequestError>, say: impl Fn(&T) -> String) -> ServiceState {
    let (up, message) = match answer {
        Ok(status) => (true, say(status)),
        // It answered, if only to say no.
        Err(error) => (!matches!(error.code, Code::Unavailable | Code::Timeout), error.message.clone()),
    };
    ServiceState { name: name.to_owned(), up, message }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::life::moved;
    use crate::life::tests::stored;

    #[test]
    fn a_history_has_each_step_once_whether_the_stream_or_a_record_has_it() {
        let mut session = stored("s", SessionState::Active);
        for minute in 0..6 {
            session = moved(&session, SessionState::Active, "", &format!("2026-03-01T10:0{minute}:00Z"));
        }
        let steps = |numbers: &[usize]| numbers.iter().map(|n| session.pending[*n].clone()).collect::<Vec<_>>();
        for (told, carried, limit, wanted) in [
            (&[0, 1, 2][..], &[3, 4][..], 10, &[0, 1, 2, 3, 4][..]),
            (&[0, 1, 2], &[1, 2, 3], 10, &[0, 1, 2, 3]),
            (&[0, 1, 2], &[3], 2, &[2, 3]),
            // Another registry told its step late.
            (&[0, 2, 3, 1], &[4], 10, &[0, 1, 2, 3, 4]),
            // Told long ago, still carried, and further back than was read.
            (&[3, 4, 5], &[0], 3, &[3, 4, 5]),
            (&[], &[0, 1], 1, &[1]),
        ] {
            assert_eq!(newest(steps(told), steps(carried), limit), steps(wanted), "{told:?} {carried:?} {limit}");
        }
    }

    #[test]
    fn a_list_leaves_out_what_is_over_unless_it_is_asked_for() {
        let all = SessionListRequest::default();
        for state in SessionState::ALL {
            let record = stored("s", state).record;
            let over = matches!(state, SessionState::Ended | SessionState::Reaped);
            assert_eq!(matches(&record, &all), !over, "{state:?}");
            assert!(matches(&record, &SessionListRequest { state: vec![state], ..all.clone() }));
        }
        let record = stored("s", SessionState::Active).record;
        assert!(!matches(&record, &SessionListRequest { analyst: Some("bob".to_owned()), ..all.clone() }));
        assert!(!matches(&record, &SessionListRequest { agent: Some("main".to_owned()), ..all }));
    }

    #[test]
    fn a_limit_that_makes_no_sense_is_refused() {
        assert_eq!(limit(None, USUAL).unwrap(), USUAL);
        assert_eq!(limit(Some(500), USUAL).unwrap(), 500);
        assert!(limit(Some(0), USUAL).is_err() && limit(Some(501), USUAL).is_err());
    }
}
