//! The sessions on this clone: a copy of the registry's live records, kept by following its bucket, and whether a request may act in a session's name.
//!
//! Capturing never asks here: an edit whose session is not known, or over, is committed all the same. Without a registry every session that a request
//! names is taken at its word; [`crate::epochs`] remembers the newest of its epochs even then.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use baft_bus::kv::{Bucket, Change};
use baft_bus::payload::{Epoch, Person, SessionRecord, SessionState, StoredSession};
use baft_bus::{Bus, Code, RequestError};
use baft_kit::metrics::IntGauge;
use baft_repo::RepoPath;
use tokio_util::sync::CancellationToken;

use crate::config::signature;
use crate::engine::{Author, Owner, Owners, SessionStamp};

/// How long a record may take to be read before the copy has to do.
const PATIENCE: Duration = Duration::from_secs(2);

/// What is known of sessions. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Sessions {
    agent: String,
    bucket: Option<Bucket>,
    known: Arc<Mutex<BTreeMap<String, SessionRecord>>>,
    owners: Owners,
    live: IntGauge,
}

impl Sessions {
    /// Knows of none yet.
    pub(crate) fn new(agent: &str, bus: Option<&Bus>, live: IntGauge) -> Self {
        Self {
            agent: agent.to_owned(),
            bucket: bus.map(|bus| Bucket::open(bus, "SESSIONS")),
            known: Arc::default(),
            owners: Owners::default(),
            live,
        }
    }

    /// The live sessions on this clone, for the engine.
    pub(crate) fn owners(&self) -> Owners {
        self.owners.clone()
    }

    /// Keeps the copy current, until the shutdown.
    pub(crate) async fn follow(self, shutdown: CancellationToken) {
        let Some(bucket) = self.bucket.clone() else { return };
        // What is told anew replaces the copy when it is complete.
        let mut anew = None;
        bucket.follow(shutdown, |change| self.note(change, &mut anew)).await;
    }

    fn note(&self, change: Change, anew: &mut Option<BTreeMap<String, SessionRecord>>) {
        let mut known = self.known();
        match change {
            Change::Begin => *anew = Some(BTreeMap::new()),
            Change::Current => {
                if let Some(all) = anew.take() {
                    *known = all;
                }
            }
            Change::Is(key, entry) => {
                let Some(id) = StoredSession::id_of(&key) else { return };
                let map = anew.as_mut().unwrap_or(&mut known);
                match StoredSession::read(&entry) {
                    // Of those that are over there may be thousands; a request in the name of one is checked against the bucket.
                    Ok(stored) if stored.record.state.is_live() => drop(map.insert(id.to_owned(), stored.record)),
                    Ok(_) => drop(map.remove(id)),
                    Err(error) => tracing::warn!(session = id, %error, "a session's record is not understood"),
                }
            }
            Change::Gone(key) => {
                let map = anew.as_mut().unwrap_or(&mut known);
                if let Some(id) = StoredSession::id_of(&key) {
                    map.remove(id);
                }
            }
        }
        if anew.is_none() {
            let live: Vec<Owner> = known.values().filter_map(|record| owner(record, &self.agent)).collect();
            self.live.set(i64::try_from(live.len()).unwrap_or(i64::MAX));
            self.owners.set(live);
        }
    }

    fn known(&self) -> MutexGuard<'_, BTreeMap<String, SessionRecord>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether a request may act in a session's name, by its record as it is now; the author the record names.
    ///
    /// # Errors
    /// `conflict` for an epoch that was overtaken and for another agent's session, `gone` for one that is over, `forbidden` for somebody else's.
    pub(crate) async fn admit(
        &self,
        session: Option<&str>,
        epoch: Option<&Epoch>,
        principal: Option<&str>,
    ) -> Result<Option<Author>, RequestError> {
        let Some(session) = session else { return Ok(None) };
        match self.record(session).await {
            Some(record) => {
                check(&record, &self.agent, epoch, principal)?;
                Ok(author(record.author.as_ref()))
            }
            None => Ok(None),
        }
    }

    /// Once more at the last moment, by the copy.
    pub(crate) fn still(&self, session: Option<&str>, epoch: Option<&Epoch>) -> Result<(), RequestError> {
        let Some(session) = session else { return Ok(()) };
        self.known().get(session).map_or(Ok(()), |record| check(record, &self.agent, epoch, None))
    }

    /// The record as the bucket has it; the copy's when it cannot be asked.
    async fn record(&self, session: &str) -> Option<SessionRecord> {
        let bucket = self.bucket.as_ref()?;
        let read = async { bucket.newest(&StoredSession::key(session)).await.map_err(|error| error.to_string()) };
        let read = tokio::time::timeout(PATIENCE, read).await.unwrap_or_else(|_| Err("no answer in time".to_owned()));
        match read {
            Ok(None) => None,
            Ok(Some(entry)) => match StoredSession::read(&entry) {
                Ok(stored) => Some(stored.record),
                Err(error) => {
                    tracing::warn!(session, %error, "a session's record is not understood");
                    self.known().get(session).cloned()
                }
            },
            Err(error) => {
                tracing::debug!(session, error, "a session's record cannot be read: going by the copy");
                self.known().get(session).cloned()
            }
        }
    }
}

/// A session's part in the clone, when it is live and works on this one.
fn owner(record: &SessionRecord, agent: &str) -> Option<Owner> {
    if !record.state.is_live() || record.agent.as_deref() != Some(agent) {
        return None;
    }
    let claim = |claim: &String| {
        let path = claim.strip_prefix("./").unwrap_or(claim).trim_end_matches('/');
        RepoPath::new(path)
            .inspect_err(|error| tracing::debug!(session = record.session_id, claim, %error, "a claim is no path"))
            .ok()
    };
    let claims: Vec<RepoPath> = record.claims.iter().filter_map(claim).collect();
    // One whose claims are all unusable does not claim everything.
    if claims.is_empty() && !record.claims.is_empty() {
        return None;
    }
    let stamp = SessionStamp {
        id: record.session_id.clone(),
        epoch: Some(shown(&record.epoch)),
        author: author(record.author.as_ref()),
    };
    Some(Owner { stamp, claims })
}

/// An epoch as commits and messages have it.
pub(crate) fn shown(epoch: &Epoch) -> String {
    format!("{}.{}", epoch.incarnation, epoch.revision)
}

fn author(person: Option<&Person>) -> Option<Author> {
    let person = person?;
    let checked = signature(person.name.trim(), person.email.trim())?;
    Some(Author { name: checked.name, email: checked.email })
}

fn check(
    record: &SessionRecord,
    agent: &str,
    epoch: Option<&Epoch>,
    principal: Option<&str>,
) -> Result<(), RequestError> {
    let session = &record.session_id;
    if let (Some(owner), Some(asking)) = (&record.principal, principal)
        && owner != asking
    {
        return Err(RequestError::new(Code::Forbidden, format!("session {session} is not {asking}'s")));
    }
    if let Some(other) = record.agent.as_deref().filter(|other| *other != agent) {
        let message = format!("session {session} works on the clone of commit-agent {other}, not on {agent}'s");
        return Err(RequestError::new(Code::Conflict, message).hint(format!("ask `commit.{other}.…`")));
    }
    if matches!(record.state, SessionState::Ended | SessionState::Reaped) {
        let when = record.ended_at.as_ref().map_or_else(String::new, |at| format!(" since {at}"));
        return Err(RequestError::new(Code::Gone, format!("session {session} is over{when}"))
            .hint("start a session; what was saved is captured all the same"));
    }
    if let Some(epoch) = epoch.filter(|epoch| **epoch < record.epoch) {
        return Err(crate::epochs::overtaken(session, &record.epoch, epoch));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(state: SessionState, agent: &str) -> SessionRecord {
        let record = serde_json::json!({
            "session_id": "s1", "epoch": { "incarnation": "A", "revision": 7 }, "state": state, "analyst": "ann",
            "principal": "ann", "author": { "name": "Ann", "email": "ann@example.org" }, "tier": 2, "agent": agent,
            "claims": ["./data/a/", "../outside"], "started_at": "", "last_active_at": "",
        });
        serde_json::from_value(record).unwrap()
    }

    fn epoch(revision: u64) -> Epoch {
        Epoch { incarnation: "A".to_owned(), revision }
    }

    #[test]
    fn a_request_must_be_of_who_holds_the_session_now_and_on_this_clone() {
        let live = record(SessionState::Active, "desk");
        let code = |result: Result<(), RequestError>| result.unwrap_err().code;
        assert!(check(&live, "desk", Some(&epoch(7)), Some("ann")).is_ok());
        assert!(check(&live, "desk", None, None).is_ok());
        assert!(check(&live, "desk", Some(&epoch(8)), None).is_ok(), "the copy may be behind");
        assert_eq!(code(check(&live, "desk", Some(&epoch(6)), None)), Code::Conflict);
        assert_eq!(code(check(&live, "desk", Some(&epoch(7)), Some("bob"))), Code::Forbidden);
        assert_eq!(code(check(&live, "other", Some(&epoch(7)), None)), Code::Conflict);
        assert!(check(&record(SessionState::Ending, "desk"), "desk", Some(&epoch(7)), None).is_ok());
        for over in [SessionState::Ended, SessionState::Reaped] {
            assert_eq!(code(check(&record(over, "desk"), "desk", Some(&epoch(7)), None)), Code::Gone);
        }
    }

    #[test]
    fn live_sessions_of_this_clone_own_what_they_claim() {
        let found = owner(&record(SessionState::Suspect, "desk"), "desk").unwrap();
        assert_eq!((found.claims.len(), found.claims[0].as_str()), (1, "data/a"));
        assert_eq!(found.stamp.epoch.as_deref(), Some("A.7"));
        assert_eq!(found.stamp.author.unwrap().name, "Ann");
        assert!(owner(&record(SessionState::Active, "other"), "desk").is_none());
        assert!(owner(&record(SessionState::Ended, "desk"), "desk").is_none());
        let mut nonsense = record(SessionState::Active, "desk");
        nonsense.claims = vec!["/etc".to_owned()];
        assert!(owner(&nonsense, "desk").is_none(), "it does not own everything by mistake");
    }
}
