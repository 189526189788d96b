//! When to work: pure decisions, no clock of its own and no I/O.
//!
//! Whatever rings (schedule, saved file, event) means only "have a look", and a burst is one look. Requests do not ring: each is carried out.

use std::time::{Duration, Instant};

use crate::engine::Trigger;

/// Two looks begin at least this far apart, whoever rings.
pub const MIN_GAP: Duration = Duration::from_millis(25);

/// What to do next, and when.
#[derive(Debug)]
pub struct Agenda {
    /// The earliest ring since the last look began; later ones are the same look.
    rung: Option<(Instant, Trigger)>,
    /// When the schedule rings; nothing while it has rung and the look is under way.
    timer: Option<Instant>,
    /// When the last look said that the next makes sense.
    follow_up: Option<(Instant, Trigger)>,
    last_began: Option<Instant>,
}

impl Agenda {
    /// Looks at once.
    #[must_use]
    pub fn new(now: Instant) -> Self {
        Self { rung: None, timer: Some(now), follow_up: None, last_began: None }
    }

    /// Somebody rang: look at this time, or earlier.
    pub fn ring(&mut self, trigger: Trigger, at: Instant) {
        let one = (at, trigger);
        self.rung = Some(self.rung.map_or(one, |known| (known.0.min(at), weightier(known, one).1)));
    }

    fn all(&self) -> impl Iterator<Item = (Instant, Trigger)> {
        [self.timer.map(|at| (at, Trigger::Timer)), self.rung, self.follow_up].into_iter().flatten()
    }

    fn next(&self) -> Option<(Instant, Trigger)> {
        let (at, trigger) = self.all().min_by_key(|(at, _)| *at)?;
        Some((self.last_began.map_or(at, |began| at.max(began + MIN_GAP)), trigger))
    }

    /// When the next look begins, if nobody rings before; nothing while one is under way.
    #[must_use]
    pub fn due(&self) -> Option<Instant> {
        self.next().map(|(at, _)| at)
    }

    /// A look begins: says why, and forgets who rang.
    pub fn begin(&mut self, now: Instant) -> Trigger {
        let due = self.all().filter(|(at, _)| *at <= now).reduce(weightier).or_else(|| self.next());
        let trigger = due.map_or(Trigger::Timer, |(_, trigger)| trigger);
        self.timer = self.timer.filter(|timer| *timer > now);
        self.rung = None;
        self.follow_up = None;
        self.last_began = Some(now);
        trigger
    }

    /// A look is over. `pause` is how long the schedule leaves things alone from now, asked only when it rang. `again` is when the look itself
    /// wants to be followed by another.
    pub fn ended(&mut self, now: Instant, trigger: Trigger, pause: impl FnOnce() -> Duration, again: Option<Duration>) {
        self.timer.get_or_insert_with(|| now + pause());
        self.follow_up = again.map(|again| (now + again, trigger));
    }
}

/// Of two that ring, the one that is carried out: whoever saved a file does not ask about upstream, all others do.
fn weightier(one: (Instant, Trigger), other: (Instant, Trigger)) -> (Instant, Trigger) {
    match (one.1, other.1) {
        (Trigger::Watch, trigger) if trigger != Trigger::Watch => other,
        (trigger, Trigger::Watch) if trigger != Trigger::Watch => one,
        _ if other.0 < one.0 => other,
        _ => one,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn agenda(now: Instant) -> Agenda {
        let mut agenda = Agenda::new(now);
        assert_eq!(agenda.begin(now), Trigger::Timer);
        agenda.ended(now, Trigger::Timer, || 900 * SECOND, None);
        agenda
    }

    #[test]
    fn it_looks_at_once_and_then_on_schedule() {
        let now = Instant::now();
        assert_eq!(Agenda::new(now).due(), Some(now));
        assert_eq!(agenda(now).due(), Some(now + 900 * SECOND));
    }

    #[test]
    fn a_burst_is_one_look_at_the_time_of_the_first_ring() {
        let now = Instant::now();
        let mut agenda = agenda(now);
        agenda.ring(Trigger::Watch, now + 2 * SECOND);
        agenda.ring(Trigger::Watch, now + 3 * SECOND);
        assert_eq!(agenda.due(), Some(now + 2 * SECOND), "edits that go on do not put the look off");
        agenda.ring(Trigger::Upstream, now + SECOND);
        assert_eq!(agenda.begin(now + SECOND), Trigger::Upstream);
        agenda.ended(now + SECOND, Trigger::Upstream, || SECOND, None);
        assert_eq!(agenda.due(), Some(now + 900 * SECOND), "whatever rang before the look began is answered by it");
    }

    #[test]
    fn a_saved_file_does_not_hide_that_somebody_asked_for_more() {
        let now = Instant::now();
        let mut agenda = agenda(now);
        agenda.ring(Trigger::Watch, now);
        agenda.ring(Trigger::Upstream, now + SECOND);
        assert_eq!((agenda.due(), agenda.begin(now)), (Some(now + MIN_GAP), Trigger::Upstream));
        agenda.ended(now, Trigger::Upstream, || SECOND, None);
        agenda.ring(Trigger::Watch, now + 900 * SECOND);
        assert_eq!(agenda.begin(now + 901 * SECOND), Trigger::Timer);
    }

    #[test]
    fn a_look_may_ask_for_another_and_looks_do_not_run_into_each_other() {
        let now = Instant::now();
        let mut agenda = agenda(now);
        agenda.ended(now, Trigger::Watch, || SECOND, Some(5 * SECOND));
        assert_eq!(agenda.due(), Some(now + 5 * SECOND));
        agenda.ended(now, Trigger::Watch, || SECOND, Some(Duration::ZERO));
        assert_eq!(agenda.due(), Some(now + MIN_GAP));
        assert_eq!(agenda.begin(now + MIN_GAP), Trigger::Watch);
    }
}
