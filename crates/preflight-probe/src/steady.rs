//! What is said of a check that is looked at again and again: only what lasts.

use baft_bus::payload::CheckStatus;

/// How often a result must repeat before it is said.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Thresholds {
    /// When it is worse than what was said last.
    pub worse: u32,
    /// When it is better.
    pub better: u32,
}

impl Default for Thresholds {
    fn default() -> Self {
        Self { worse: 3, better: 2 }
    }
}

/// What was said of one check, and what has been seen since.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Steady {
    said: Option<CheckStatus>,
    seen: Option<(CheckStatus, u32)>,
}

/// A result that lasts: what it was, and what it is.
pub type Change = (CheckStatus, CheckStatus);

impl Steady {
    /// Takes the next result. A good beginning goes without saying.
    #[must_use]
    pub fn step(self, result: CheckStatus, thresholds: Thresholds) -> (Self, Option<Change>) {
        if self.said == Some(result) || (self.said.is_none() && rank(result) == 0) {
            return (Self { said: Some(result), seen: None }, None);
        }
        let times = match self.seen {
            Some((same, times)) if same == result => times.saturating_add(1),
            _ => 1,
        };
        let said = self.said.unwrap_or(CheckStatus::Unknown);
        let better = self.said.is_some_and(|said| rank(result) < rank(said));
        let needed = if better { thresholds.better } else { thresholds.worse };
        if times < needed {
            return (Self { seen: Some((result, times)), ..self }, None);
        }
        (Self { said: Some(result), seen: None }, Some((said, result)))
    }
}

fn rank(status: CheckStatus) -> u8 {
    match status {
        CheckStatus::Pass | CheckStatus::Skip => 0,
        CheckStatus::Warn => 1,
        CheckStatus::Unknown | CheckStatus::Error => 2,
        CheckStatus::Fail => 3,
    }
}

#[cfg(test)]
mod tests {
    use CheckStatus::{Fail, Pass, Unknown, Warn};

    use super::*;

    fn said(results: &[CheckStatus]) -> Vec<(usize, Change)> {
        let mut steady = Steady::default();
        let mut changes = Vec::new();
        for (place, result) in results.iter().enumerate() {
            let (next, change) = steady.step(*result, Thresholds::default());
            steady = next;
            changes.extend(change.map(|change| (place, change)));
        }
        changes
    }

    #[test]
    fn a_single_failure_is_not_worth_a_word_and_a_lasting_one_is_said_once() {
        assert_eq!(said(&[Pass, Fail, Pass, Fail, Fail, Pass, Pass]), []);
        assert_eq!(said(&[Pass, Fail, Fail, Fail, Fail]), [(3, (Pass, Fail))]);
        assert_eq!(said(&[Pass, Fail, Fail, Fail, Pass, Pass, Pass]), [(3, (Pass, Fail)), (5, (Fail, Pass))]);
    }

    #[test]
    fn a_bad_beginning_is_said_and_a_good_one_is_not() {
        assert_eq!(said(&[Pass, Pass, Pass]), []);
        assert_eq!(said(&[Fail, Fail, Fail]), [(2, (Unknown, Fail))]);
        assert_eq!(said(&[Fail, Pass, Warn, Warn, Warn]), [(4, (Pass, Warn))]);
    }

    #[test]
    fn what_changes_all_the_time_is_never_steady() {
        assert_eq!(said(&[Pass, Fail, Warn, Fail, Warn, Fail, Unknown]), []);
    }
}
