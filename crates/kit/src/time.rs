//! Wall-clock time, for records only: ages and deadlines use [`std::time::Instant`].

use std::time::{SystemTime, UNIX_EPOCH};

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

fn since_epoch() -> std::time::Duration {
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
}
