//! When a work loop has had nothing to do for long enough to give back what it only needs for work.

use std::time::{Duration, Instant};

/// Nothing to do for this long is a rest.
pub const REST_AFTER: Duration = Duration::from_secs(5);

/// Says once after each piece of work that the loop may rest.
#[derive(Debug, Clone)]
pub struct Rest {
    /// When it last worked; nothing while it rests.
    worked: Option<Instant>,
}

impl Rest {
    /// Starting is work too.
    #[must_use]
    pub fn new(now: Instant) -> Self {
        Self { worked: Some(now) }
    }

    /// There was work.
    pub fn worked(&mut self, now: Instant) {
        self.worked = Some(now);
    }

    /// Whether the rest begins now: true once, until there is work again.
    pub fn begins(&mut self, now: Instant) -> bool {
        let begins = self.worked.is_some_and(|worked| now.saturating_duration_since(worked) >= REST_AFTER);
        if begins {
            self.worked = None;
        }
        begins
    }

    /// Whether it has begun, and nothing has happened since.
    #[must_use]
    pub fn lasts(&self) -> bool {
        self.worked.is_none()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rest_begins_once_after_each_piece_of_work() {
        let start = Instant::now();
        let mut rest = Rest::new(start);
        assert!(!rest.begins(start + REST_AFTER / 2));
        assert!(rest.begins(start + REST_AFTER) && rest.lasts());
        assert!(!rest.begins(start + 2 * REST_AFTER) && rest.lasts());
        rest.worked(start + 3 * REST_AFTER);
        assert!(!rest.lasts() && !rest.begins(start + 3 * REST_AFTER));
        assert!(rest.begins(start + 4 * REST_AFTER));
    }
}
