//! Waiting longer after each failure, never in step with the others.

use std::time::Duration;

use rand::Rng;

/// Exponential backoff with full jitter: the wait before retry *n* is random between zero and
/// `min(max, min · 2ⁿ⁻¹)`, so that many clients of one failed server do not return together.
#[derive(Debug, Clone)]
pub struct Backoff {
    min: Duration,
    max: Duration,
    failures: u32,
}

impl Backoff {
    /// `min` bounds the first wait, `max` every later one.
    #[must_use]
    pub fn new(min: Duration, max: Duration) -> Self {
        Self { min, max: max.max(min), failures: 0 }
    }

    /// Counts one more failure and says how long to wait now.
    pub fn next_delay(&mut self) -> Duration {
        let ceiling = self.ceiling();
        self.failures = self.failures.saturating_add(1);
        rand::rng().random_range(Duration::ZERO..=ceiling)
    }

    /// The longest the next delay can be.
    #[must_use]
    pub fn ceiling(&self) -> Duration {
        let factor = 2_u32.saturating_pow(self.failures);
        self.min.saturating_mul(factor).min(self.max)
    }

    /// It worked: start again from `min`.
    pub fn reset(&mut self) {
        self.failures = 0;
    }

    /// Failures since the last success.
    #[must_use]
    pub fn failures(&self) -> u32 {
        self.failures
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_the_cap_and_start_again_after_success() {
        let mut backoff = Backoff::new(Duration::from_millis(100), Duration::from_secs(1));
        for ceiling in [100, 200, 400, 800, 1000, 1000] {
            assert_eq!(backoff.ceiling(), Duration::from_millis(ceiling));
            assert!(backoff.next_delay() <= Duration::from_millis(ceiling));
        }
        assert_eq!(backoff.failures(), 6);
        backoff.reset();
        assert_eq!((backoff.failures(), backoff.ceiling()), (0, Duration::from_millis(100)));
    }

    #[test]
    fn years_of_failures_do_not_overflow() {
        let mut backoff = Backoff::new(Duration::from_secs(1), Duration::from_secs(10));
        backoff.failures = u32::MAX;
        assert!(backoff.next_delay() <= Duration::from_secs(10));
        assert_eq!(backoff.failures(), u32::MAX);
    }
}
