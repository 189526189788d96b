//! When to look at the remote: pure decisions, no clock of its own and no I/O.
//!
//! Everything that rings (timer, signal, request, event, webhook) means only "look now". Whatever rings while a sync is under way or within a
//! few milliseconds of the last one is answered by one more look, so a burst costs one fetch.

use std::time::{Duration, Instant};

use baft_bus::payload::Trigger;

/// Two looks begin at least this far apart, whoever rings.
pub const MIN_GAP: Duration = Duration::from_millis(25);

/// How often to look again while somebody waits for a commit that the remote does not show yet.
const WAITING_GAP: Duration = Duration::from_millis(250);

/// How the pauses are chosen.
#[derive(Debug, Clone, Copy)]
pub struct Pace {
    /// Between looks.
    pub period: Duration,
    /// Between looks before the first success.
    pub init_period: Duration,
    /// Longest pause after failures.
    pub max_backoff: Duration,
}

/// What to do next, and when.
#[derive(Debug)]
pub struct Agenda {
    pace: Pace,
    /// The first ring since the last look began; later ones are the same look.
    rung: Option<Trigger>,
    last_began: Option<Instant>,
    next_timer: Instant,
    succeeded: bool,
    failures: u32,
}

impl Agenda {
    /// Looks at once, then at the given pace.
    #[must_use]
    pub fn new(pace: Pace, now: Instant) -> Self {
        Self { pace, rung: None, last_began: None, next_timer: now, succeeded: false, failures: 0 }
    }

    /// Somebody rang.
    pub fn ring(&mut self, trigger: Trigger) {
        self.rung.get_or_insert(trigger);
    }

    /// When the next look begins, if nobody rings before.
    #[must_use]
    pub fn due(&self, waiting: bool) -> Instant {
        let mut due = self.next_timer;
        if self.rung.is_some() {
            due = self.last_began.map_or(due, |began| due.min(began + MIN_GAP));
        }
        if waiting {
            due = self.last_began.map_or(due, |began| due.min(began + WAITING_GAP));
        }
        due
    }

    /// A look begins: says why, and forgets who rang.
    pub fn begin(&mut self, now: Instant) -> Trigger {
        self.last_began = Some(now);
        self.rung.take().unwrap_or(Trigger::Poll)
    }

    /// The look succeeded. `spread` in 0..1 is this process's luck: the period varies by a tenth either way.
    pub fn succeeded(&mut self, now: Instant, spread: f64) {
        self.succeeded = true;
        self.failures = 0;
        self.next_timer = now + self.pace.period.mul_f64(0.9 + 0.2 * spread.clamp(0.0, 1.0));
    }

    /// The look failed: gives the pause before the next. It doubles with each failure in a row up to the limit; the upper half of it is luck.
    pub fn failed(&mut self, now: Instant, spread: f64) -> Duration {
        self.failures = self.failures.saturating_add(1);
        let period = if self.succeeded { self.pace.period } else { self.pace.init_period };
        let longest = period.saturating_mul(1_u32 << self.failures.saturating_sub(1).min(20));
        let longest = longest.min(self.pace.max_backoff.max(period));
        let pause = longest.mul_f64(0.5 + 0.5 * spread.clamp(0.0, 1.0));
        self.next_timer = now + pause;
        pause
    }

    /// How many looks in a row have failed.
    #[must_use]
    pub fn failures(&self) -> u32 {
        self.failures
    }

    /// Whether to give up: more failures in a row than are tolerated.
    #[must_use]
    pub fn exhausted(&self, tolerated: Option<u32>, tolerated_at_first: Option<u32>) -> bool {
        let limit = if self.succeeded { tolerated } else { tolerated_at_first };
        limit.is_some_and(|limit| self.failures > limit)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn agenda(now: Instant) -> Agenda {
        let pace = Pace { period: 10 * SECOND, init_period: SECOND, max_backoff: 60 * SECOND };
        Agenda::new(pace, now)
    }

    #[test]
    fn the_first_look_is_at_once_and_the_next_after_a_period() {
        let now = Instant::now();
        let mut agenda = agenda(now);
        assert_eq!(agenda.due(false), now);
        assert_eq!(agenda.begin(now), Trigger::Poll);
        agenda.succeeded(now, 0.5);
        assert_eq!(agenda.due(false), now + 10 * SECOND);
        agenda.succeeded(now, 0.0);
        assert_eq!(agenda.due(false), now + 9 * SECOND);
        agenda.succeeded(now, 1.0);
        assert_eq!(agenda.due(false), now + 11 * SECOND);
    }

    #[test]
    fn a_burst_is_one_look_and_the_first_ring_says_why() {
        let now = Instant::now();
        let mut agenda = agenda(now);
        agenda.begin(now);
        agenda.succeeded(now, 0.5);
        for trigger in [Trigger::Webhook, Trigger::Push, Trigger::Request] {
            agenda.ring(trigger);
        }
        assert_eq!(agenda.due(false), now + MIN_GAP);
        assert_eq!(agenda.begin(now + MIN_GAP), Trigger::Webhook);
        agenda.succeeded(now + MIN_GAP, 0.5);
        assert_eq!(agenda.due(false), now + MIN_GAP + 10 * SECOND);
    }

    #[test]
    fn pauses_double_up_to_the_limit_and_a_ring_interrupts_them() {
        let now = Instant::now();
        let mut agenda = agenda(now);
        let mut pauses = Vec::new();
        for _ in 0..8 {
            agenda.begin(now);
            pauses.push(agenda.failed(now, 1.0).as_secs());
        }
        assert_eq!(pauses, [1, 2, 4, 8, 16, 32, 60, 60]);
        assert_eq!(agenda.failed(now, 0.0), 30 * SECOND, "never less than half");
        agenda.ring(Trigger::Request);
        assert_eq!(agenda.due(false), now + MIN_GAP);
        for _ in 0..100 {
            agenda.failed(now, 1.0);
        }
        agenda.succeeded(now, 0.5);
        assert_eq!(agenda.failures(), 0);
        assert_eq!(agenda.failed(now, 1.0), 10 * SECOND, "after the first success the period counts");
    }

    #[test]
    fn somebody_who_waits_makes_it_look_more_often() {
        let now = Instant::now();
        let mut agenda = agenda(now);
        agenda.begin(now);
        agenda.succeeded(now, 0.5);
        assert_eq!(agenda.due(true), now + WAITING_GAP);
    }

    #[test]
    fn it_gives_up_only_when_told_to() {
        let now = Instant::now();
        let mut agenda = agenda(now);
        agenda.failed(now, 0.5);
        assert!(agenda.exhausted(None, Some(0)), "the first failure is one too many");
        assert!(!agenda.exhausted(Some(0), Some(1)), "not yet succeeded: the other limit counts");
        assert!(!agenda.exhausted(Some(0), None));
        agenda.succeeded(now, 0.5);
        assert!(!agenda.exhausted(Some(0), None));
        agenda.failed(now, 0.5);
        assert!(agenda.exhausted(Some(0), None));
    }
}
