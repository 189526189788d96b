//! What the probe counts.

use baft_bus::payload::{CheckStatus, PreflightReport};
use baft_kit::Exit;
use baft_kit::metrics::{CounterVec, HistogramVec, IntGauge, IntGaugeVec, MetricDoc, Metrics as Registry, SECONDS};

use crate::engine::Good;
use crate::render::exit;

/// The metrics of one probe.
#[derive(Debug, Clone)]
pub(crate) struct Metrics {
    status: IntGaugeVec,
    seconds: HistogramVec,
    runs: CounterVec,
    changes: CounterVec,
    last_run: IntGauge,
    last_success: IntGauge,
}

impl Metrics {
    pub(crate) fn new(r: &Registry) -> Self {
        Self {
            status: r.int_gauge_vec(
                "check_status",
                "What a check came to last: 0 pass, 1 warn, 2 fail, 3 unknown or error, 4 skip",
                &["check"],
            ),
            seconds: r.histogram_vec("check_duration_seconds", "How long a check took", SECONDS, &["check"]),
            runs: r.counter_vec(
                "runs_total",
                "How many rounds of checks ended, by result (passed, failed, undecided)",
                &["result"],
            ),
            changes: r.counter_vec(
                "changes_total",
                "How many checks came to something else for good, by what they came to (pass, warn, fail, unknown, error, skip)",
                &["to"],
            ),
            last_run: r.int_gauge("last_run_timestamp_seconds", "When a round of checks last ended, in seconds since 1970; 0 before the first"),
            last_success: r.int_gauge(
                "last_success_timestamp_seconds",
                "When a round of checks last found nothing that failed or is not known, in seconds since 1970; 0 before the first",
            ),
        }
    }

    /// Shows a round of checks.
    pub(crate) fn show(&self, report: &PreflightReport) {
        for check in &report.checks {
            self.status.with_label_values(&[&check.id]).set(number(check.status));
            if check.attempts > 0 {
                let millis = u32::try_from(check.duration_ms).unwrap_or(u32::MAX);
                self.seconds.with_label_values(&[&check.id]).observe(f64::from(millis) / 1000.0);
            }
        }
        let result = match exit(report, Good::WithWarnings) {
            Exit::Ok => "passed",
            Exit::Undecided => "undecided",
            _ => "failed",
        };
        self.runs.with_label_values(&[result]).inc();
        let now = baft_kit::time::unix_seconds();
        self.last_run.set(now);
        if result == "passed" {
            self.last_success.set(now);
        }
    }

    pub(crate) fn changed(&self, to: CheckStatus) {
        self.changes.with_label_values(&[to.name()]).inc();
    }
}

fn number(status: CheckStatus) -> i64 {
    match status {
        CheckStatus::Pass => 0,
        CheckStatus::Warn => 1,
        CheckStatus::Fail => 2,
        CheckStatus::Unknown | CheckStatus::Error => 3,
        CheckStatus::Skip => 4,
    }
}

/// Every metric of the preflight-probe binary, for `docs/metrics.md`.
#[must_use]
pub fn metric_inventory() -> Vec<MetricDoc> {
    let registry = Registry::new("preflight_probe", crate::BUILD);
    let _ = Metrics::new(&registry);
    baft_bus::register_metrics(&registry);
    registry.inventory()
}
