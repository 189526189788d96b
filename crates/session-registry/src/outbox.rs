//! Announcing the steps of sessions' lives.
//!
//! Every record carries the steps that may not be announced yet, written together with the change itself. Whoever made
//! the change announces it; what a registry left behind that died is announced by any other, after a look whether it
//! was announced already.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use baft_bus::history::{From, History};
use baft_bus::payload::{SessionChanged, SessionEnded, SessionStarted, SessionTransition, StoredSession};
use baft_bus::{Announcer, Bus, BusError, Ledger, LedgerError, Outgoing};
use chrono::{DateTime, TimeDelta, Utc};

use crate::life::{Telling, event_id};

/// Steps to announce. Clones share them.
#[derive(Clone, Debug, Default)]
pub struct Outbox {
    inner: Arc<Mutex<Inner>>,
}

#[derive(Debug, Default)]
struct Inner {
    waiting: VecDeque<SessionTransition>,
    /// Ids of events that are in `waiting`.
    queued: BTreeSet<String>,
    /// Session → steps that were acknowledged and are still written in the record.
    told: BTreeMap<String, BTreeSet<u64>>,
    announcer: Option<Announcer>,
}

impl Outbox {
    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Who is nudged when there is something to announce.
    pub fn announce_by(&self, announcer: Announcer) {
        self.inner().announcer = Some(announcer);
    }

    /// Something to announce.
    pub fn add(&self, step: SessionTransition) {
        let mut inner = self.inner();
        if inner.queued.insert(event_id(&step)) {
            inner.waiting.push_back(step);
        }
        if let Some(announcer) = &inner.announcer {
            announcer.nudge();
        }
    }

    /// How many wait.
    #[must_use]
    pub fn len(&self) -> usize {
        self.inner().waiting.len()
    }

    /// Is this step waiting here, or was it acknowledged here?
    #[must_use]
    pub fn knows(&self, step: &SessionTransition) -> bool {
        let inner = self.inner();
        let told = inner.told.get(&step.record.session_id).is_some_and(|told| told.contains(&step.number));
        told || inner.queued.contains(&event_id(step))
    }

    /// Is every step that this record carries announced, so that they need not stay in it?
    #[must_use]
    pub fn all_told(&self, stored: &StoredSession) -> bool {
        let inner = self.inner();
        let told = inner.told.get(&stored.record.session_id);
        !stored.pending.is_empty()
            && told.is_some_and(|told| stored.pending.iter().all(|step| told.contains(&step.number)))
    }

    /// This step was announced, by whomever.
    pub fn was_told(&self, step: &SessionTransition) {
        self.inner().told.entry(step.record.session_id.clone()).or_default().insert(step.number);
    }

    /// Takes what was announced out of a record that is about to be written; gives the numbers of the steps that are
    /// new in it.
    pub fn prune(&self, next: &mut StoredSession, before: Option<&StoredSession>) -> BTreeSet<u64> {
        let mut inner = self.inner();
        let known: BTreeSet<u64> =
            before.iter().flat_map(|before| before.pending.iter().map(|step| step.number)).collect();
        if let Some(told) = inner.told.get_mut(&next.record.session_id) {
            next.pending.retain(|step| !told.contains(&step.number));
            // What the bucket does not hold any more need not be remembered.
            told.retain(|number| known.contains(number));
        }
        next.pending.iter().map(|step| step.number).filter(|number| !known.contains(number)).collect()
    }

    /// Nothing is left to remember of a session.
    pub fn forget(&self, session_id: &str) {
        self.inner().told.remove(session_id);
    }

    /// For the announcer.
    #[must_use]
    pub fn ledger(&self) -> impl Ledger + use<> {
        Waiting(self.clone())
    }
}

struct Waiting(Outbox);

impl Ledger for Waiting {
    fn pending(&mut self) -> Result<Option<Outgoing>, LedgerError> {
        let Some(step) = self.0.inner().waiting.front().cloned() else { return Ok(None) };
        let (id, at) = (event_id(&step), step.at.clone());
        let event = match Telling::of(&step) {
            Telling::Started => Outgoing::new(id, &SessionStarted(step)),
            Telling::Changed => Outgoing::new(id, &SessionChanged(step)),
            Telling::Ended => Outgoing::new(id, &SessionEnded(step)),
        };
        event.map(|event| Some(event.happened_at(at))).map_err(LedgerError::new)
    }

    fn acknowledged(&mut self, id: &str) -> Result<(), LedgerError> {
        let mut inner = self.0.inner();
        if inner.waiting.front().is_some_and(|step| event_id(step) == id)
            && let Some(step) = inner.waiting.pop_front()
        {
            inner.queued.remove(id);
            inner.told.entry(step.record.session_id).or_default().insert(step.number);
        }
        Ok(())
    }
}

/// Which of these steps are in the stream already? Looked for from the moment of the oldest on.
///
/// # Errors
/// The stream cannot be read.
pub async fn announced(bus: &Bus, steps: &[SessionTransition]) -> Result<BTreeSet<String>, BusError> {
    let wanted: BTreeSet<String> = steps.iter().map(event_id).collect();
    let oldest = steps.iter().filter_map(|step| DateTime::parse_from_rfc3339(&step.at).ok()).min();
    // Clocks differ, and the one that wrote this may have been ahead: an hour of events more costs little.
    let now = Utc::now();
    let since = oldest.map_or(now, |at| at.with_timezone(&Utc).min(now)) - TimeDelta::hours(1);
    let mut history = History::open(bus, "session.*", From::Time(since)).await?;
    let mut found = BTreeSet::new();
    while let Some(event) = history.next().await? {
        if let Ok(event) = event
            && wanted.contains(&event.id)
        {
            found.insert(event.id);
            if found.len() == wanted.len() {
                break;
            }
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use baft_bus::payload::SessionState;

    use super::*;
    use crate::life::moved;
    use crate::life::tests::stored;

    #[test]
    fn steps_are_announced_in_order_and_leave_the_record_with_its_next_write() {
        let outbox = Outbox::default();
        let mut one = moved(&stored("s", SessionState::Starting), SessionState::Active, "", "2026-03-01T09:30:00Z");
        assert_eq!(outbox.prune(&mut one, None), BTreeSet::from([1]));
        outbox.add(one.pending[0].clone());
        outbox.add(one.pending[0].clone());
        assert_eq!(outbox.len(), 1, "once");
        let mut ledger = outbox.ledger();
        let event = ledger.pending().unwrap().unwrap();
        assert_eq!((event.kind(), event.id()), ("session.started", "session:s:01A:1"));
        assert!(!outbox.all_told(&one));
        ledger.acknowledged("session:s:01A:1").unwrap();
        assert!(outbox.all_told(&one) && outbox.knows(&one.pending[0]));
        let mut two = moved(&one, SessionState::Suspect, "", "2026-03-01T10:00:00Z");
        assert_eq!(outbox.prune(&mut two, Some(&one)), BTreeSet::from([2]));
        assert_eq!(two.pending.iter().map(|step| step.number).collect::<Vec<_>>(), [2]);
        assert!(ledger.pending().unwrap().is_none());
    }
}
