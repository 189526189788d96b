//! Wall-clock time, for records only: ages and deadlines use [`std::time::Instant`]. Where two machines must agree on a
//! moment, [`unix_millis_of_both`] keeps one of them from being led astray by a clock that is set.

use std::sync::OnceLock;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use chrono::{SecondsFormat, Utc};

/// Now, in UTC, as `2026-03-01T09:30:00.123Z`.
#[must_use]
pub fn now_rfc3339() -> String {
    Utc::now().to_rfc3339_opts(SecondsFormat::Millis, true)
}

/// Whole seconds since 1970; what `…_timestamp_seconds` metrics hold.
#[must_use]
pub fn unix_seconds() -> i64 {
    i64::try_from(since_epoch().as_secs()).unwrap_or(i64::MAX)
}

/// Whole milliseconds since 1970.
#[must_use]
pub fn unix_millis() -> i64 {
    i64::try_from(since_epoch().as_millis()).unwrap_or(i64::MAX)
}

/// Whole milliseconds since 1970, as the wall clock says, and as it would say had nobody set it since this was first asked.
///
/// A clock may be wrong when a process begins and put right later, or be right and then be set wrong: either way one of
/// the two is right. Time in which the machine slept counts.
#[must_use]
pub fn unix_millis_of_both() -> [i64; 2] {
    static BEGIN: OnceLock<(Duration, Duration)> = OnceLock::new();
    let now = (since_epoch(), since_boot());
    let (wall, boot) = BEGIN.get_or_init(|| now);
    [now.0, *wall + now.1.saturating_sub(*boot)].map(|time| i64::try_from(time.as_millis()).unwrap_or(i64::MAX))
}

fn since_boot() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
    // It begins at zero and goes on.
    Duration::new(time.tv_sec.try_into().unwrap_or_default(), time.tv_nsec.try_into().unwrap_or_default())
}

fn since_epoch() -> Duration {
    // A clock before 1970 is a machine without a clock; zero is as good as any answer.
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_three_speak_of_the_same_moment() {
        let parsed = chrono::DateTime::parse_from_rfc3339(&now_rfc3339()).unwrap();
        assert!((parsed.timestamp() - unix_seconds()).abs() <= 1);
        assert!((unix_millis() / 1000 - unix_seconds()).abs() <= 1);
    }

    #[test]
    fn both_clocks_agree_as_long_as_nobody_sets_one() {
        let _ = unix_millis_of_both();
        std::thread::sleep(Duration::from_millis(30));
        let [wall, steady] = unix_millis_of_both();
        assert!((wall - steady).abs() < 1000 && (wall - unix_millis()).abs() < 1000, "{wall} {steady}");
    }
}
