//! What this registry knows of the sessions: a copy of the bucket, what rang since, and when it last heard of whom.
//!
//! No I/O and no clock: every moment is given. Ages are measured from what this observer saw, by its monotonic clock,
//! so neither a wall clock that jumps nor an outage makes anybody old.

mod beat;

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::time::{Duration, Instant};

use baft_bus::payload::{SessionRecord, SessionState, StoredSession};

use crate::life::Quiet;
use crate::settings::Patience;

pub use beat::Beat;

/// A ring that nothing came of is forgotten after this: whoever rang was refused, or is gone.
const RING_LASTS: Duration = Duration::from_secs(30);

/// One session as it is known.
#[derive(Clone, Debug)]
pub struct Known {
    /// What the bucket has.
    pub stored: Arc<StoredSession>,
    /// At which revision.
    pub revision: u64,
    /// Somebody was about to replace this revision, then.
    rung: Option<(u64, Instant)>,
    /// When it last showed that somebody is there.
    heard: Instant,
    /// When a beat of it was last written down, as far as known.
    written: Instant,
    /// What is not written down.
    pub beat: Option<Beat>,
    /// Since when the sequence under way shows no sign of life.
    task_seen: Instant,
    /// Since when steps wait to be announced.
    pub pending_since: Instant,
}

impl Known {
    /// Must the bucket be asked before this is relied upon?
    #[must_use]
    pub fn doubtful(&self, now: Instant) -> bool {
        self.rung.is_some_and(|(expected, at)| self.revision <= expected && now.duration_since(at) < RING_LASTS)
    }

    /// How long nothing has been heard of it.
    #[must_use]
    pub fn idle(&self, now: Instant) -> Duration {
        now.saturating_duration_since(self.heard)
    }

    /// Whether silence has lasted long enough to mean something.
    #[must_use]
    pub fn quiet(&self, patience: &Patience, now: Instant) -> Option<Quiet> {
        patience.judge(self.stored.record.liveness, self.idle(now))
    }

    /// How long its sequence has shown no sign of life; nothing when there is none.
    #[must_use]
    pub fn task_idle(&self, now: Instant) -> Option<Duration> {
        self.stored.task.as_ref().map(|_| now.saturating_duration_since(self.task_seen))
    }

    /// Is it time to write the beats down?
    #[must_use]
    pub fn beat_due(&self, patience: &Patience, now: Instant) -> bool {
        self.beat.is_some()
            && now.saturating_duration_since(self.written) >= patience.write_every(self.stored.record.liveness)
    }
}

/// The copy.
#[derive(Debug, Default)]
pub struct Book {
    sessions: HashMap<String, Known>,
    /// By beginning, for lists.
    order: BTreeSet<(String, String)>,
    by_request: HashMap<String, String>,
    /// Keys nothing was known of when they rang.
    strangers: BTreeSet<String>,
    /// How many are in each state.
    counts: [u64; 9],
    /// The first revision that was not read yet.
    pub next: u64,
    /// The greatest revision that was ever seen, read or written.
    pub highest: u64,
}

impl Book {
    /// One session.
    #[must_use]
    pub fn get(&self, id: &str) -> Option<&Known> {
        self.sessions.get(id)
    }

    /// Every session, newest first.
    pub fn newest_first(&self) -> impl Iterator<Item = &Known> {
        self.order.iter().rev().filter_map(|(_, id)| self.sessions.get(id))
    }

    /// Those that began before this one, newest first.
    pub fn before<'a>(&'a self, started_at: &str, id: &str) -> impl Iterator<Item = &'a Known> {
        let end = (started_at.to_owned(), id.to_owned());
        self.order.range(..end).rev().filter_map(|(_, id)| self.sessions.get(id))
    }

    /// Every session, in no order.
    pub fn all(&self) -> impl Iterator<Item = &Known> {
        self.sessions.values()
    }

    /// The records of those who work, as far as is known.
    pub fn working(&self) -> impl Iterator<Item = &SessionRecord> {
        let records = self.all().map(|known| &known.stored.record);
        records.filter(|record| matches!(record.state, SessionState::Active | SessionState::Suspect))
    }

    /// How many sessions there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.sessions.len()
    }

    /// How many are in a state.
    #[must_use]
    pub fn count(&self, state: SessionState) -> u64 {
        self.counts[slot(state)]
    }

    /// The session that a request started.
    #[must_use]
    pub fn of_request(&self, request_id: &str) -> Option<&Known> {
        self.by_request.get(request_id).and_then(|id| self.sessions.get(id))
    }

    /// What the bucket has of a session at a revision; older news than what is known is ignored.
    pub fn learn(&mut self, id: &str, revision: u64, stored: Option<Arc<StoredSession>>, now: Instant) {
        self.strangers.remove(id);
        self.highest = self.highest.max(revision);
        let before = self.sessions.get(id);
        if before.is_some_and(|known| known.revision >= revision) {
            return;
        }
        let Some(stored) = stored else {
            self.forget(id);
            return;
        };
        let known = match before {
            None => Known {
                revision,
                rung: None,
                heard: now,
                written: now,
                beat: None,
                task_seen: now,
                pending_since: now,
                stored,
            },
            Some(before) => {
                let old = &before.stored;
                let alive = old.record.last_active_at != stored.record.last_active_at
                    || old.record.epoch != stored.record.epoch
                    || (old.record.state != stored.record.state && stored.record.state == SessionState::Active);
                // What is in the record now need not be written again.
                let beat = before.beat.clone().filter(|beat| beat.at > stored.record.last_active_at);
                Known {
                    revision,
                    rung: before.rung,
                    heard: if alive { now } else { before.heard },
                    written: if alive { now } else { before.written },
                    beat,
                    task_seen: if old.task == stored.task { before.task_seen } else { now },
                    pending_since: if old.pending == stored.pending { before.pending_since } else { now },
                    stored,
                }
            }
        };
        self.forget(id);
        let record = &known.stored.record;
        self.order.insert((record.started_at.clone(), id.to_owned()));
        if let Some(request) = &known.stored.request_id {
            self.by_request.insert(request.clone(), id.to_owned());
        }
        self.counts[slot(record.state)] += 1;
        self.sessions.insert(id.to_owned(), known);
    }

    fn forget(&mut self, id: &str) {
        if let Some(known) = self.sessions.remove(id) {
            let record = &known.stored.record;
            self.order.remove(&(record.started_at.clone(), id.to_owned()));
            self.counts[slot(record.state)] -= 1;
            if let Some(request) = &known.stored.request_id
                && self.by_request.get(request).is_some_and(|of| of == id)
            {
                self.by_request.remove(request);
            }
        }
    }

    /// Somebody is about to replace a revision of a session.
    pub fn ring(&mut self, id: &str, expected: Option<u64>, now: Instant) {
        match self.sessions.get_mut(id) {
            Some(known) => {
                let expected = expected.unwrap_or(known.revision);
                let newest = known.rung.map_or(expected, |(before, _)| before.max(expected));
                known.rung = Some((newest, now));
            }
            None => {
                self.strangers.insert(id.to_owned());
            }
        }
    }

    /// Has anything rung that was not looked at yet?
    #[must_use]
    pub fn anything_doubtful(&self, now: Instant) -> bool {
        !self.strangers.is_empty() || self.sessions.values().any(|known| known.doubtful(now))
    }

    /// Everything was read up to the end.
    pub fn caught_up(&mut self) {
        self.strangers.clear();
    }

    /// A sign of life, kept in memory for now.
    pub fn hear(&mut self, id: &str, beat: Beat, now: Instant) {
        if let Some(known) = self.sessions.get_mut(id) {
            known.heard = now;
            known.beat.get_or_insert_default().add(beat);
        }
    }

    /// Is it time to write the beats of a session down? Whoever is told so does it: nobody else is told for a while.
    pub fn take_due(&mut self, id: &str, patience: &Patience, now: Instant) -> bool {
        match self.sessions.get_mut(id) {
            Some(known) if known.beat_due(patience, now) => {
                known.written = now;
                true
            }
            _ => false,
        }
    }

    /// The beats of a session could not be written down: it is time again soon.
    pub fn not_written(&mut self, id: &str, patience: &Patience, now: Instant) {
        if let Some(known) = self.sessions.get_mut(id) {
            let every = patience.write_every(known.stored.record.liveness);
            known.written = now.checked_sub(every * 9 / 10).unwrap_or(now);
        }
    }

    /// Nobody is old: after an outage, a pause or a start, everybody gets the whole time to be heard again.
    pub fn grace(&mut self, now: Instant) {
        for known in self.sessions.values_mut() {
            known.heard = now;
            known.task_seen = now;
        }
    }
}

fn slot(state: SessionState) -> usize {
    SessionState::ALL.iter().position(|one| *one == state).unwrap_or(8)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::life::moved;
    use crate::life::tests::stored;

    fn book(now: Instant) -> Book {
        let mut book = Book::default();
        book.learn("a", 5, Some(Arc::new(stored("a", SessionState::Active))), now);
        book
    }

    #[test]
    fn what_rang_is_doubtful_until_something_newer_was_read() {
        let now = Instant::now();
        let mut book = book(now);
        assert!(!book.get("a").unwrap().doubtful(now));
        book.ring("a", Some(5), now);
        assert!(book.get("a").unwrap().doubtful(now), "the write may be on its way");
        book.learn("a", 5, Some(Arc::new(stored("a", SessionState::Active))), now);
        assert!(book.get("a").unwrap().doubtful(now), "it was not stored when this was read");
        book.learn("a", 9, Some(Arc::new(stored("a", SessionState::Active))), now);
        assert!(!book.get("a").unwrap().doubtful(now));
        book.ring("a", Some(7), now);
        assert!(!book.get("a").unwrap().doubtful(now), "it lost the race already");
        book.ring("a", None, now);
        assert!(book.get("a").unwrap().doubtful(now));
        assert!(!book.get("a").unwrap().doubtful(now + RING_LASTS), "nothing came of it");
    }

    #[test]
    fn a_stranger_is_looked_for() {
        let now = Instant::now();
        let mut book = book(now);
        book.ring("b", Some(0), now);
        assert!(book.anything_doubtful(now));
        book.learn("b", 6, Some(Arc::new(stored("b", SessionState::Active))), now);
        assert!(!book.anything_doubtful(now));
    }

    #[test]
    fn old_news_change_nothing() {
        let now = Instant::now();
        let mut book = book(now);
        book.learn("a", 4, None, now);
        assert!(book.get("a").is_some());
        book.learn("a", 6, None, now);
        assert!(book.get("a").is_none() && book.len() == 0 && book.count(SessionState::Active) == 0);
    }

    #[test]
    fn beats_are_kept_until_they_are_written_and_count_once() {
        let now = Instant::now();
        let mut book = book(now);
        let beat = |at: &str, operations| Beat { at: at.to_owned(), operations, ..Beat::default() };
        book.hear("a", beat("2026-03-01T10:00:00.000Z", Some(7)), now);
        book.hear("a", beat("2026-03-01T10:00:01.000Z", Some(7)), now);
        let mut next = stored("a", SessionState::Active);
        book.get("a").unwrap().beat.as_ref().unwrap().write(&mut next);
        assert_eq!((next.record.operations, next.record.last_active_at.as_str()), (7, "2026-03-01T10:00:01.000Z"));
        let (patience, later) = (Patience::default(), now + Duration::from_secs(600));
        assert!(!book.take_due("a", &patience, now) && book.take_due("a", &patience, later));
        assert!(!book.take_due("a", &patience, later), "somebody writes it already");
        book.not_written("a", &patience, later);
        assert!(book.take_due("a", &patience, later + Duration::from_secs(60)), "it is tried again soon");
        book.learn("a", 6, Some(Arc::new(next)), now);
        assert_eq!(book.get("a").unwrap().beat, None);
    }

    #[test]
    fn age_is_what_this_observer_saw() {
        let start = Instant::now();
        let mut book = book(start);
        let later = start + Duration::from_secs(3600);
        assert_eq!(book.get("a").unwrap().idle(later), Duration::from_secs(3600));
        // A record of a wall clock two hours off, with nothing new in it, makes nobody younger or older.
        let suspect = moved(&stored("a", SessionState::Active), SessionState::Suspect, "", "");
        book.learn("a", 6, Some(Arc::new(suspect)), later);
        assert_eq!(book.get("a").unwrap().idle(later), Duration::from_secs(3600));
        book.grace(later);
        assert_eq!(book.get("a").unwrap().idle(later), Duration::ZERO);
    }

    #[test]
    fn lists_are_newest_first_and_go_on_where_they_stopped() {
        let now = Instant::now();
        let mut book = Book::default();
        for (n, id) in ["a", "b", "c"].into_iter().enumerate() {
            let mut session = stored(id, SessionState::Active);
            session.record.started_at = format!("2026-03-0{}T00:00:00.000Z", n + 1);
            book.learn(id, n as u64 + 1, Some(Arc::new(session)), now);
        }
        let ids = |all: Vec<&Known>| all.iter().map(|known| known.stored.record.session_id.clone()).collect::<Vec<_>>();
        assert_eq!(ids(book.newest_first().collect()), ["c", "b", "a"]);
        assert_eq!(ids(book.before("2026-03-02T00:00:00.000Z", "b").collect()), ["a"]);
    }
}
