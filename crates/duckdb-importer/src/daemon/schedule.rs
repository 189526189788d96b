//! When to reconcile, whatever the doorbells say: an interval or a cron expression.

use std::str::FromStr;
use std::time::Duration;

use baft_kit::config::{ConfigError, duration};
use tokio_util::sync::CancellationToken;

use super::Ring;
use super::orders::Bell;

/// An interval or a cron expression.
#[derive(Debug, Clone)]
pub(super) enum Schedule {
    /// This often.
    Every(Duration),
    /// At these times, UTC.
    Cron(Box<cron::Schedule>),
}

impl Schedule {
    /// Reads `30m`, `*/30 * * * *`, or a cron expression with seconds.
    pub(super) fn parse(text: &str) -> Result<Self, ConfigError> {
        let wrong = || {
            ConfigError::new("--reconcile", text, "an interval such as 30m or a cron expression such as '*/30 * * * *'")
        };
        if let Ok(interval) = duration(text) {
            return if interval.is_zero() { Err(wrong()) } else { Ok(Self::Every(interval)) };
        }
        // The crate wants seconds; people write five fields.
        let full = if text.split_whitespace().count() == 5 { format!("0 {text}") } else { text.to_owned() };
        cron::Schedule::from_str(&full).map(|schedule| Self::Cron(Box::new(schedule))).map_err(|_| wrong())
    }

    fn wait(&self) -> Option<Duration> {
        match self {
            Self::Every(interval) => Some(*interval),
            Self::Cron(schedule) => {
                let now = chrono::Utc::now();
                let next = schedule.after(&now).next()?;
                (next - now).to_std().ok()
            }
        }
    }

    /// Rings at the scheduled times until cancelled.
    pub(super) async fn ring(self, bell: Bell, shutdown: CancellationToken) {
        while let Some(wait) = self.wait() {
            tokio::select! {
                () = tokio::time::sleep(wait) => bell.ring(Ring::Schedule),
                () = shutdown.cancelled() => return,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn intervals_and_cron_expressions_are_understood() {
        assert!(matches!(Schedule::parse("30m").unwrap(), Schedule::Every(every) if every.as_secs() == 1800));
        for text in ["*/30 * * * *", "0 */5 * * * *"] {
            let schedule = Schedule::parse(text).unwrap();
            assert!(schedule.wait().unwrap() <= Duration::from_secs(1800));
        }
        for text in ["", "soon", "0s", "* *"] {
            assert!(Schedule::parse(text).is_err(), "{text:?}");
        }
    }
}
