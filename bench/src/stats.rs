//! Percentiles of a handful of measurements.

use std::time::Duration;

/// Measurements of one thing, in seconds.
#[derive(Clone, Debug, Default)]
pub struct Samples(Vec<f64>);

impl Samples {
    pub fn push(&mut self, value: Duration) {
        self.0.push(value.as_secs_f64());
    }

    pub fn push_seconds(&mut self, value: f64) {
        self.0.push(value);
    }

    pub fn add(&mut self, others: Self) {
        self.0.extend(others.0);
    }

    pub fn len(&self) -> usize {
        self.0.len()
    }

    pub fn mean(&self) -> f64 {
        if self.0.is_empty() { f64::NAN } else { self.0.iter().sum::<f64>() / self.0.len() as f64 }
    }

    /// The value below which this share of the measurements lies (nearest rank).
    pub fn percentile(&self, share: f64) -> f64 {
        if self.0.is_empty() {
            return f64::NAN;
        }
        let mut sorted = self.0.clone();
        sorted.sort_by(f64::total_cmp);
        let rank = (share * sorted.len() as f64).ceil() as usize;
        sorted[rank.clamp(1, sorted.len()) - 1]
    }

    pub fn p50(&self) -> f64 {
        self.percentile(0.50)
    }

    pub fn p95(&self) -> f64 {
        self.percentile(0.95)
    }

    /// `12 / 34 ms`: median and 95th percentile.
    pub fn show(&self) -> String {
        let (middle, high) = (self.p50(), self.p95());
        let unit = Unit::for_seconds(high);
        format!("{} / {} {}", unit.number(middle), unit.number(high), unit.name())
    }
}

/// Seconds, printed in a unit that suits their size.
pub fn show_seconds(value: f64) -> String {
    let unit = Unit::for_seconds(value);
    format!("{} {}", unit.number(value), unit.name())
}

/// Bytes as MiB.
pub fn show_mib(kib: u64) -> String {
    format!("{:.1} MiB", kib as f64 / 1024.0)
}

#[derive(Clone, Copy)]
enum Unit {
    Micro,
    Milli,
    Second,
    Minute,
}

impl Unit {
    fn for_seconds(value: f64) -> Self {
        match value {
            v if v < 0.001 => Self::Micro,
            v if v < 2.0 => Self::Milli,
            v if v < 120.0 => Self::Second,
            _ => Self::Minute,
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Micro => "µs",
            Self::Milli => "ms",
            Self::Second => "s",
            Self::Minute => "min",
        }
    }

    fn number(self, seconds: f64) -> String {
        let value = match self {
            Self::Micro => seconds * 1e6,
            Self::Milli => seconds * 1e3,
            Self::Second => seconds,
            Self::Minute => seconds / 60.0,
        };
        if value < 10.0 {
            format!("{value:.2}")
        } else if value < 100.0 {
            format!("{value:.1}")
        } else {
            format!("{value:.0}")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_measurements_that_were_made() {
        let mut samples = Samples::default();
        for value in [4.0, 1.0, 3.0, 2.0] {
            samples.push_seconds(value);
        }
        assert_eq!((samples.p50(), samples.p95()), (2.0, 4.0));
        assert!(Samples::default().p50().is_nan());
    }
}
