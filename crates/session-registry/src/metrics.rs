//! What session-registry counts.

use baft_bus::payload::SessionState;
use baft_kit::metrics::{
    Counter, CounterVec, Gauge, HistogramVec, IntGauge, IntGaugeVec, MetricDoc, Metrics as Registry, SECONDS,
};

/// The metrics of one session-registry.
#[derive(Debug, Clone)]
#[allow(missing_docs, reason = "each has its help text below")]
pub struct Metrics {
    pub sessions: IntGaugeVec,
    pub transitions: CounterVec,
    pub beats: CounterVec,
    pub beats_written: Counter,
    pub conflicts: Counter,
    pub steps: CounterVec,
    pub step_seconds: HistogramVec,
    pub adopted: CounterVec,
    pub went_back: Counter,
    pub written_back: Counter,
    pub graces: Counter,
    pub unannounced: IntGauge,
    pub last_sweep: Gauge,
    pub last_catch_up: Gauge,
    pub marker_failures: Counter,
}

impl Metrics {
    /// Registers them.
    #[must_use]
    pub fn new(r: &Registry) -> Self {
        let metrics = Self {
            sessions: r.int_gauge_vec(
                "sessions",
                "Sessions by state: starting, active, suspect, lost, ending, ended_unpushed; and ended, reaped as long as they are kept",
                &["state"],
            ),
            transitions: r.counter_vec("transitions_total", "Steps in the lives of sessions that this registry wrote, by the state they led to", &["to"]),
            beats: r.counter_vec(
                "beats_total",
                "Signs of life, by result (acknowledged, refused, unavailable)",
                &["result"],
            ),
            beats_written: r.counter("beats_written_total", "Writes that persisted what beats had told"),
            conflicts: r.counter("write_conflicts_total", "Writes that lost against another one and were decided again"),
            steps: r.counter_vec(
                "steps_total",
                "Steps of sequences (register, pull, publish, import, preflight, commit, push, unregister), by how they went (done, skipped, warning, failed)",
                &["step", "state"],
            ),
            step_seconds: r.histogram_vec("step_duration_seconds", "How long steps of sequences took", SECONDS, &["step"]),
            adopted: r.counter_vec("adopted_sequences_total", "Sequences of registries that are gone, continued or closed here, by kind (start, end)", &["kind"]),
            went_back: r.counter("bucket_went_back_total", "How many times the bucket was found restored from a backup or made anew"),
            written_back: r.counter("sessions_written_back_total", "Sessions the bucket had lost and this registry remembered"),
            graces: r.counter("graces_total", "How many times everybody was given the whole time to be heard again: after a start, an outage or a pause"),
            unannounced: r.int_gauge("events_unannounced", "Events that the broker has not acknowledged yet"),
            last_sweep: r.gauge("last_sweep_timestamp_seconds", "When silent sessions were last looked for, in seconds since 1970; 0 before the first time"),
            last_catch_up: r.gauge("last_success_timestamp_seconds", "When the session bucket was last read to its end, in seconds since 1970; 0 before the first time"),
            marker_failures: r.counter("marker_failures_total", "Marker files that could not be written or removed"),
        };
        // Alerts compare with these before anything happened.
        for state in SessionState::ALL {
            metrics.sessions.with_label_values(&[state.name()]).set(0);
        }
        metrics
    }
}

/// Every metric of the session-registry binary, for `docs/metrics.md`.
#[must_use]
pub fn metric_inventory() -> Vec<MetricDoc> {
    let registry = Registry::new("session_registry", crate::BUILD);
    let _ = Metrics::new(&registry);
    baft_bus::register_metrics(&registry);
    registry.inventory()
}
