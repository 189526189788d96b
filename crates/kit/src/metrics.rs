//! Metrics of one daemon, and the list of them that the documents are made from.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use prometheus::core::Collector;
use prometheus::{Encoder, HistogramOpts, Opts, Registry, TextEncoder};
use serde::Serialize;

use crate::build::BuildInfo;

pub use prometheus::{
    Gauge, GaugeVec, Histogram, HistogramVec, IntCounter as Counter, IntCounterVec as CounterVec, IntGauge, IntGaugeVec,
};

/// Buckets for things that take from a millisecond to a minute, in seconds.
pub const SECONDS: &[f64] = &[0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0];

/// What kind of number a metric is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum MetricKind {
    /// Only grows.
    Counter,
    /// Goes up and down.
    Gauge,
    /// A distribution.
    Histogram,
}

impl std::fmt::Display for MetricKind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Counter => "counter",
            Self::Gauge => "gauge",
            Self::Histogram => "histogram",
        })
    }
}

/// One line of `docs/metrics.md`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct MetricDoc {
    /// The full name.
    pub name: String,
    /// Counter, gauge or histogram.
    pub kind: MetricKind,
    /// Its labels.
    pub labels: Vec<String>,
    /// What it says.
    pub help: String,
}

/// The metrics of one daemon: a registry and an inventory. Clones share both.
///
/// Registering a name twice gives the metric that is already there; registering it as something else is a mistake in
/// the program and panics in debug builds (in release builds the second is not exported, and the log says so).
#[derive(Clone)]
pub struct Metrics {
    shared: Arc<Shared>,
}

struct Shared {
    prefix: String,
    registry: Registry,
    entries: Mutex<BTreeMap<String, Entry>>,
}

struct Entry {
    doc: MetricDoc,
    collector: Box<dyn std::any::Any + Send>,
}

impl std::fmt::Debug for Metrics {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Metrics").field("prefix", &self.shared.prefix).finish_non_exhaustive()
    }
}

macro_rules! kinds {
    ($($(#[$doc:meta])* $plain:ident, $raw:ident, $vec:ident, $raw_vec:ident => $type:ident, $vec_type:ident, $kind:ident;)*) => {
        impl Metrics {$(
            $(#[$doc])*
            ///
            /// Registers `baft_<daemon>_<name>`.
            pub fn $plain(&self, name: &str, help: &str) -> $type {
                self.$raw(&self.full(name), help)
            }

            $(#[$doc])*
            ///
            /// Registers `name` as it is, for names others gave.
            pub fn $raw(&self, name: &str, help: &str) -> $type {
                let doc = MetricDoc::new(name, MetricKind::$kind, &[], help);
                self.register(doc, || $type::with_opts(Opts::new(name, help)))
            }

            $(#[$doc])*
            ///
            /// Registers `baft_<daemon>_<name>`, one per value of the labels; keep those few.
            pub fn $vec(&self, name: &str, help: &str, labels: &[&str]) -> $vec_type {
                self.$raw_vec(&self.full(name), help, labels)
            }

            $(#[$doc])*
            ///
            /// Registers `name` as it is, one per value of the labels; keep those few.
            pub fn $raw_vec(&self, name: &str, help: &str, labels: &[&str]) -> $vec_type {
                let doc = MetricDoc::new(name, MetricKind::$kind, labels, help);
                self.register(doc, || $vec_type::new(Opts::new(name, help), labels))
            }
        )*}
    };
}

kinds! {
    /// A number that only grows; its name ends in `_total`.
    counter, raw_counter, counter_vec, raw_counter_vec => Counter, CounterVec, Counter;
    /// A whole number that goes up and down.
    int_gauge, raw_int_gauge, int_gauge_vec, raw_int_gauge_vec => IntGauge, IntGaugeVec, Gauge;
    /// A number that goes up and down.
    gauge, raw_gauge, gauge_vec, raw_gauge_vec => Gauge, GaugeVec, Gauge;
}

impl Metrics {
    /// The metrics of the daemon called `daemon` (with underscores: `git_sync`), with `baft_build_info` and
    /// `baft_start_time_seconds` already in them.
    #[must_use]
    pub fn new(daemon: &str, build: BuildInfo) -> Self {
        let shared = Shared {
            prefix: format!("baft_{}", daemon.replace('-', "_")),
            registry: Registry::new(),
            entries: Mutex::default(),
        };
        let metrics = Self { shared: Arc::new(shared) };
        let labels = ["name", "version", "revision", "rustc"];
        let help = "Always 1; the labels say which program this is";
        let info = metrics.raw_int_gauge_vec("baft_build_info", help, &labels);
        info.with_label_values(&[build.name, build.version, build.revision, build.rustc]).set(1);
        let help = "When the process started, in seconds since 1970";
        metrics.raw_int_gauge("baft_start_time_seconds", help).set(crate::time::unix_seconds());
        metrics
    }

    /// A distribution, registered as `baft_<daemon>_<name>`; [`SECONDS`] suits most durations.
    pub fn histogram(&self, name: &str, help: &str, buckets: &[f64]) -> Histogram {
        self.raw_histogram(&self.full(name), help, buckets)
    }

    /// A distribution, registered as `name`.
    pub fn raw_histogram(&self, name: &str, help: &str, buckets: &[f64]) -> Histogram {
        let doc = MetricDoc::new(name, MetricKind::Histogram, &[], help);
        self.register(doc, || Histogram::with_opts(HistogramOpts::new(name, help).buckets(buckets.to_vec())))
    }

    /// Distributions by label, registered as `baft_<daemon>_<name>`.
    pub fn histogram_vec(&self, name: &str, help: &str, buckets: &[f64], labels: &[&str]) -> HistogramVec {
        self.raw_histogram_vec(&self.full(name), help, buckets, labels)
    }

    /// Distributions by label, registered as `name`.
    pub fn raw_histogram_vec(&self, name: &str, help: &str, buckets: &[f64], labels: &[&str]) -> HistogramVec {
        let doc = MetricDoc::new(name, MetricKind::Histogram, labels, help);
        self.register(doc, || HistogramVec::new(HistogramOpts::new(name, help).buckets(buckets.to_vec()), labels))
    }

    /// Every metric registered so far, by name.
    #[must_use]
    pub fn inventory(&self) -> Vec<MetricDoc> {
        let entries = self.shared.entries.lock().unwrap_or_else(PoisonError::into_inner);
        entries.values().map(|entry| entry.doc.clone()).collect()
    }

    /// The exposition text that `/metrics` serves.
    #[must_use]
    pub fn render(&self) -> String {
        let mut text = Vec::with_capacity(8 * 1024);
        // Fails only when the buffer does, and a vector does not.
        if let Err(error) = TextEncoder::new().encode(&self.shared.registry.gather(), &mut text) {
            tracing::error!(%error, "cannot encode the metrics");
        }
        String::from_utf8(text).unwrap_or_default()
    }

    fn full(&self, name: &str) -> String {
        format!("{}_{name}", self.shared.prefix)
    }

    fn register<C>(&self, doc: MetricDoc, make: impl FnOnce() -> prometheus::Result<C>) -> C
    where
        C: Collector + Clone + Send + 'static,
    {
        let mut entries = self.shared.entries.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = entries.get(&doc.name)
            && known.doc.labels == doc.labels
            && let Some(collector) = known.collector.downcast_ref::<C>()
        {
            return collector.clone();
        }
        let name = doc.name.clone();
        #[allow(clippy::expect_used, reason = "a metric's name, labels and buckets are constants of the program")]
        let collector = make().expect("metric names and labels are valid Prometheus names");
        if let Err(error) = self.shared.registry.register(Box::new(collector.clone())) {
            debug_assert!(false, "metric {name} is registered as two different things: {error}");
            tracing::error!(%name, %error, "metric registered as two different things; the second is not exported");
            return collector;
        }
        entries.insert(name, Entry { doc, collector: Box::new(collector.clone()) });
        collector
    }
}

impl MetricDoc {
    fn new(name: &str, kind: MetricKind, labels: &[&str], help: &str) -> Self {
        let labels = labels.iter().map(|&label| label.to_owned()).collect();
        Self { name: name.to_owned(), kind, labels, help: help.to_owned() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn metrics() -> Metrics {
        Metrics::new("git_sync", crate::build_info!("git-sync"))
    }

    #[test]
    fn every_daemon_says_what_it_is_and_when_it_started() {
        let text = metrics().render();
        assert!(text.contains("baft_build_info{name=\"git-sync\",revision="), "{text}");
        assert!(text.contains("\nbaft_start_time_seconds 1"), "{text}");
    }

    #[test]
    fn names_carry_the_daemon_unless_others_gave_them() {
        let metrics = metrics();
        metrics.counter("fetches_total", "Fetches").inc();
        metrics.raw_counter_vec("git_sync_count_total", "Syncs", &["status"]).with_label_values(&["ok"]).inc_by(2);
        metrics.histogram("fetch_seconds", "Fetch time", SECONDS).observe(0.2);
        metrics.raw_gauge("baft_ratio", "A ratio").set(0.5);
        let text = metrics.render();
        for line in [
            "baft_git_sync_fetches_total 1",
            "git_sync_count_total{status=\"ok\"} 2",
            "baft_git_sync_fetch_seconds_count 1",
            "baft_ratio 0.5",
        ] {
            assert!(text.contains(line), "{line} is not in {text}");
        }
    }

    #[test]
    fn the_inventory_lists_what_has_no_value_yet() {
        let metrics = metrics();
        let _unused = metrics.histogram_vec("sync_seconds", "Sync time", SECONDS, &["trigger"]);
        let inventory = metrics.inventory();
        let doc = inventory.iter().find(|doc| doc.name == "baft_git_sync_sync_seconds").unwrap();
        assert_eq!((doc.kind, doc.labels.as_slice()), (MetricKind::Histogram, &["trigger".to_owned()][..]));
        assert_eq!(inventory.len(), 3);
    }

    #[test]
    fn the_same_metric_twice_is_one_metric() {
        let metrics = metrics();
        metrics.raw_int_gauge("baft_nats_connected", "Link").set(1);
        metrics.clone().raw_int_gauge("baft_nats_connected", "Link").inc();
        assert!(metrics.render().contains("baft_nats_connected 2"));
    }

    #[test]
    #[should_panic(expected = "registered as two different things")]
    fn the_same_name_for_two_things_is_a_mistake() {
        let metrics = metrics();
        let _first = metrics.counter("syncs_total", "Syncs");
        let _second = metrics.int_gauge("syncs_total", "Syncs");
    }
}
