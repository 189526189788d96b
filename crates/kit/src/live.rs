//! Liveness: is the work loop still turning?

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// A work loop's sign of life. The loop calls [`Pulse::tick`] each time round; when it has not for longer than its limit,
/// `/livez` fails and the process is restarted. Nothing remote belongs here: a broken remote is not cured by a restart.
#[derive(Debug, Clone)]
pub struct Pulse {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    name: String,
    limit: Duration,
    start: Instant,
    /// Milliseconds after `start` until which the loop counts as alive.
    alive_until: AtomicU64,
}

impl Pulse {
    /// A loop that must tick at least once per `limit`; alive from now on.
    #[must_use]
    pub fn new(limit: Duration) -> Self {
        Self::named("work", limit)
    }

    /// The same with a name, for daemons with several loops.
    #[must_use]
    pub fn named(name: impl Into<String>, limit: Duration) -> Self {
        let inner = Inner { name: name.into(), limit, start: Instant::now(), alive_until: AtomicU64::new(0) };
        let pulse = Self { inner: Arc::new(inner) };
        pulse.tick();
        pulse
    }

    /// The loop turned.
    pub fn tick(&self) {
        self.busy_until(self.inner.limit);
    }

    /// One long piece of work begins that may take up to `at_most`, and cannot tick meanwhile. The next tick ends the
    /// allowance.
    pub fn busy_until(&self, at_most: Duration) {
        let until = self.inner.start.elapsed().saturating_add(at_most).as_millis();
        self.inner.alive_until.store(u64::try_from(until).unwrap_or(u64::MAX), Ordering::Relaxed);
    }

    /// Whether the loop ticked recently enough.
    #[must_use]
    pub fn alive(&self) -> bool {
        self.overdue().is_none()
    }

    /// By how much the loop is late, if it is.
    #[must_use]
    pub fn overdue(&self) -> Option<Duration> {
        let until = Duration::from_millis(self.inner.alive_until.load(Ordering::Relaxed));
        self.inner.start.elapsed().checked_sub(until).filter(|late| !late.is_zero())
    }

    /// The loop's name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.inner.name
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_loop_that_stopped_turning_is_dead_until_it_ticks_again() {
        let pulse = Pulse::new(Duration::ZERO);
        while pulse.alive() {
            std::hint::spin_loop();
        }
        pulse.busy_until(Duration::from_secs(60));
        assert!(pulse.alive());
        let patient = Pulse::named("import", Duration::from_secs(60));
        assert!(patient.alive() && patient.clone().overdue().is_none());
    }

    #[test]
    fn a_tick_ends_the_allowance_of_a_long_piece_of_work() {
        let pulse = Pulse::new(Duration::ZERO);
        pulse.busy_until(Duration::from_secs(3600));
        pulse.tick();
        while pulse.alive() {
            std::hint::spin_loop();
        }
    }
}
