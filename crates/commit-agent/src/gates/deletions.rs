//! How much may vanish at once.

use super::{Policy, Reason, Verdict};

/// Fewer deletions than this are an ordinary tidying, however small the repository.
const HANDFUL: usize = 5;

/// Looks at how much would be deleted: `deleted` of the `total` files that are tracked.
#[must_use]
pub fn check_deletions(policy: &Policy, deleted: usize, total: usize) -> Verdict {
    let everything = deleted > 0 && deleted >= total;
    let share = deleted.saturating_mul(100) > total.saturating_mul(usize::from(policy.max_deleted_percent));
    if everything {
        let detail = format!(
            "all {total} tracked files are gone; is the volume mounted? Put them back, or confirm that they are to be \
             deleted"
        );
        return Verdict::hold(Reason::MassDelete, detail);
    }
    if deleted >= HANDFUL && share {
        let percent = policy.max_deleted_percent;
        let detail = format!(
            "{deleted} of {total} tracked files are gone, more than {percent} %; put them back, or confirm that they \
             are to be deleted"
        );
        return Verdict::hold(Reason::MassDelete, detail);
    }
    Verdict::Pass
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn many_deletions_at_once_wait_and_few_do_not() {
        let policy = Policy::default();
        for (deleted, total, waits) in [
            (0, 0, false),
            (0, 50, false),
            (1, 50, false),
            (4, 10, false),
            (5, 25, false),
            (5, 24, true),
            (10, 50, false),
            (11, 50, true),
            (1, 1, true),
            (3, 3, true),
            (usize::MAX, usize::MAX, true),
        ] {
            let verdict = check_deletions(&policy, deleted, total);
            assert_eq!(verdict != Verdict::Pass, waits, "{deleted} of {total}: {verdict:?}");
        }
    }

    #[test]
    fn at_hundred_percent_only_an_empty_volume_waits() {
        let policy = Policy { max_deleted_percent: 100, ..Policy::default() };
        assert_eq!(check_deletions(&policy, 49, 50), Verdict::Pass);
        assert!(matches!(check_deletions(&policy, 50, 50), Verdict::Hold(hold) if hold.detail.contains("mounted")));
    }
}
