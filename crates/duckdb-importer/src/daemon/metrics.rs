//! What the importer counts.

use baft_kit::metrics::{
    Counter, CounterVec, Histogram, HistogramVec, IntGauge, IntGaugeVec, MetricDoc, Metrics as Registry, SECONDS,
};

use super::{Outcome, Report, Ring};
use crate::generation::Manifest;

/// Handles on the importer's metrics. Clones are the same metrics.
#[derive(Debug, Clone)]
pub(super) struct Metrics {
    imports: CounterVec,
    duration: Histogram,
    phases: HistogramVec,
    changed: CounterVec,
    rings: CounterVec,
    rebuilds: Counter,
    pub(super) self_check_failures: Counter,
    rows: IntGaugeVec,
    generation: IntGauge,
    published: IntGauge,
    bytes: IntGauge,
    quarantined: IntGauge,
    errors: IntGauge,
    last_success: IntGauge,
    pub(super) watch_degraded: IntGauge,
    pub(super) unannounced: IntGauge,
}

impl Metrics {
    pub(super) fn new(r: &Registry) -> Self {
        let metrics = Self {
            imports: r.counter_vec(
                "imports_total",
                "Imports by result (unchanged, incremental, rebuilt, failed)",
                &["result"],
            ),
            duration: r.histogram("import_duration_seconds", "From noticing a change to its publication", SECONDS),
            phases: r.histogram_vec(
                "phase_duration_seconds",
                "Parts of the imports that published: look, copy, parse, write, seal, publish",
                SECONDS,
                &["phase"],
            ),
            changed: r.counter_vec(
                "rows_changed_total",
                "Entities by what happened to them (inserted, updated, deleted)",
                &["op"],
            ),
            rings: r.counter_vec(
                "doorbells_total",
                "Reasons to look at the source (poll, watch, rescan, event, request, schedule)",
                &["kind"],
            ),
            rebuilds: r.counter("rebuilds_total", "Generations that were built from nothing"),
            self_check_failures: r.counter(
                "self_check_failures_total",
                "Times that a database built anew differed from the one carried on; it must stay 0",
            ),
            rows: r.int_gauge_vec("entities", "Published entities by type", &["type"]),
            generation: r.int_gauge("generation", "Number of the published generation"),
            published: r
                .int_gauge("published_timestamp_seconds", "When the generation was published, in seconds since 1970"),
            bytes: r.int_gauge("database_bytes", "Size of the published file"),
            quarantined: r.int_gauge("files_quarantined", "Files whose newest version cannot be used"),
            errors: r.int_gauge("errors", "Errors in the data, as listed in _errors"),
            last_success: r.raw_int_gauge(
                "baft_import_last_success_timestamp_seconds",
                "When the source was last looked at with success, in seconds since 1970",
            ),
            watch_degraded: r
                .int_gauge("watch_degraded", "1 when file notifications do not work and files are polled instead"),
            unannounced: r
                .int_gauge("events_unannounced", "Published generations that the broker has not acknowledged yet"),
        };
        // Alerts compare with these before anything happened.
        for result in ["unchanged", "incremental", "rebuilt", "failed"] {
            metrics.imports.with_label_values(&[result]);
        }
        for ring in Ring::ALL {
            metrics.rings.with_label_values(&[ring.as_str()]);
        }
        metrics
    }

    pub(super) fn ring(&self, ring: Ring) {
        self.rings.with_label_values(&[ring.as_str()]).inc();
    }

    pub(super) fn failed(&self) {
        self.imports.with_label_values(&["failed"]).inc();
    }

    pub(super) fn succeeded(&self, report: &Report) {
        self.imports.with_label_values(&[report.outcome.as_str()]).inc();
        self.last_success.set(baft_kit::time::unix_seconds());
        if report.outcome == Outcome::Unchanged {
            return;
        }
        if report.outcome == Outcome::Rebuilt {
            self.rebuilds.inc();
        }
        self.duration.observe(report.duration.as_secs_f64());
        for (phase, duration) in &report.phases {
            self.phases.with_label_values(&[phase]).observe(duration.as_secs_f64());
        }
        let counts = &report.counts;
        for (op, count) in [("inserted", counts.inserted), ("updated", counts.updated), ("deleted", counts.deleted)] {
            self.changed.with_label_values(&[op]).inc_by(count);
        }
    }

    pub(super) fn published(&self, manifest: &Manifest) {
        let signed = |number: u64| i64::try_from(number).unwrap_or(i64::MAX);
        self.generation.set(signed(manifest.generation.number));
        self.bytes.set(signed(manifest.bytes));
        self.errors.set(signed(manifest.counts.errors));
        self.quarantined.set(signed(manifest.quarantined.len() as u64));
        if let Ok(at) = chrono::DateTime::parse_from_rfc3339(&manifest.published_at) {
            self.published.set(at.timestamp());
        }
        self.rows.reset();
        for (name, rows) in &manifest.rows {
            self.rows.with_label_values(&[name]).set(signed(*rows));
        }
    }
}

/// Every metric of the importer, for `docs/metrics.md`.
#[must_use]
pub fn metric_inventory() -> Vec<MetricDoc> {
    let registry = Registry::new("duckdb_importer", crate::BUILD);
    let _ = Metrics::new(&registry);
    baft_bus::register_metrics(&registry);
    baft_bus::register_metrics(&registry);
    registry.inventory()
}
