//! When to work, whatever else rings: an interval or a cron expression.

use std::str::FromStr;
use std::time::Duration;

use chrono::{DateTime, Utc};

use crate::config::{ConfigError, duration};

/// An interval or a cron expression.
#[derive(Debug, Clone)]
pub enum Schedule {
    /// This often, give or take a tenth, so that many do not work at once.
    Every(Duration),
    /// At these times, UTC.
    Cron(Box<cron::Schedule>),
}

/// The longest pause, also when a cron expression never fits.
const LONGEST: Duration = Duration::from_secs(24 * 3600);

impl Schedule {
    /// Reads what `flag` says: `15m`, `*/15 * * * *`, or a cron expression with seconds.
    ///
    /// # Errors
    /// It is neither.
    pub fn parse(flag: &str, text: &str) -> Result<Self, ConfigError> {
        let wrong = || {
            let allowed = "an interval such as 15m, or a cron expression such as '*/15 * * * *'";
            ConfigError::new(flag, text, allowed)
        };
        if let Ok(interval) = duration(text) {
            return if interval.is_zero() { Err(wrong()) } else { Ok(Self::Every(interval)) };
        }
        // The crate wants seconds; people write five fields.
        let full = if text.split_whitespace().count() == 5 { format!("0 {text}") } else { text.to_owned() };
        cron::Schedule::from_str(&full).map(|schedule| Self::Cron(Box::new(schedule))).map_err(|_| wrong())
    }

    /// How long from `now` to the next time. `spread` in 0..1 is this process's luck.
    #[must_use]
    pub fn pause(&self, now: DateTime<Utc>, spread: f64) -> Duration {
        match self {
            Self::Every(interval) => interval.mul_f64(0.9 + 0.2 * spread.clamp(0.0, 1.0)),
            Self::Cron(schedule) => {
                let next = schedule.after(&now).next().and_then(|next| (next - now).to_std().ok());
                next.unwrap_or(LONGEST).min(LONGEST)
            }
        }
    }

    /// How long the schedule leaves things alone, about: for readiness.
    #[must_use]
    pub fn usual(&self) -> Duration {
        match self {
            Self::Every(interval) => *interval,
            Self::Cron(_) => self.pause(Utc::now(), 0.5).max(Duration::from_secs(900)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn intervals_and_cron_expressions_are_understood() {
        assert!(
            matches!(Schedule::parse("--schedule", "15m").unwrap(), Schedule::Every(every) if every.as_secs() == 900)
        );
        let noon: DateTime<Utc> = "2026-03-01T12:00:01Z".parse().unwrap();
        for text in ["*/15 * * * *", "0 */15 * * * *"] {
            assert_eq!(Schedule::parse("--schedule", text).unwrap().pause(noon, 0.0), Duration::from_secs(899));
        }
        for text in ["", "soon", "0s", "* *"] {
            assert!(Schedule::parse("--schedule", text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn an_interval_varies_by_a_tenth_and_a_time_that_never_comes_is_a_day_away() {
        let now = Utc::now();
        let every = Schedule::parse("--schedule", "100s").unwrap();
        assert_eq!((every.pause(now, 0.0).as_secs(), every.pause(now, 1.0).as_secs()), (90, 110));
        assert_eq!(
            Schedule::parse("--schedule", "0 0 30 2 *").map(|never| never.pause(now, 0.0)).unwrap_or(LONGEST),
            LONGEST
        );
    }
}
