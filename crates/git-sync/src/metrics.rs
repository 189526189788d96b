//! What git-sync counts: kubernetes/git-sync's names with their meaning, and ours.

use baft_kit::metrics::{
    Counter, CounterVec, Gauge, Histogram, HistogramVec, IntGauge, MetricDoc, Metrics as Registry, SECONDS,
};

/// The metrics of one git-sync.
#[derive(Debug, Clone)]
#[allow(missing_docs, reason = "each has its help text below")]
pub struct Metrics {
    pub their_duration: HistogramVec,
    pub their_count: CounterVec,
    pub their_fetches: Counter,
    pub their_askpass: CounterVec,
    pub their_github_app: CounterVec,
    pub their_hooks: CounterVec,
    pub checks: CounterVec,
    pub check_seconds: Histogram,
    pub publish_seconds: Histogram,
    pub phase_seconds: HistogramVec,
    pub published: Counter,
    pub forced: Counter,
    pub failures: CounterVec,
    pub failures_in_a_row: IntGauge,
    pub last_success: Gauge,
    pub fetched_bytes: Counter,
    pub fetched_objects: Counter,
    pub triggers: CounterVec,
    pub webhooks: CounterVec,
    pub files_written: Counter,
    pub files_linked: Counter,
    pub files_altered: Counter,
    pub mirrors_rebuilt: Counter,
    pub mirrors_compacted: Counter,
    pub checkouts: IntGauge,
    pub unannounced: IntGauge,
}

impl Metrics {
    /// Registers them.
    #[must_use]
    pub fn new(registry: &Registry) -> Self {
        let r = registry;
        let metrics = Self {
            their_duration: r.raw_histogram_vec(
                "git_sync_duration_seconds",
                "How long looks at the remote took, by status (success, error, noop); kubernetes/git-sync's name",
                SECONDS,
                &["status"],
            ),
            their_count: r.raw_counter_vec(
                "git_sync_count_total",
                "How many looks at the remote ended, by status (success, error, noop); kubernetes/git-sync's name",
                &["status"],
            ),
            their_fetches: r.raw_counter(
                "git_fetch_count_total",
                "How many fetches were made; kubernetes/git-sync's name",
            ),
            their_askpass: r.raw_counter_vec(
                "git_sync_askpass_calls",
                "How many calls of --askpass-url ended, by status (success, error); kubernetes/git-sync's name",
                &["status"],
            ),
            their_github_app: r.raw_counter_vec(
                "git_sync_refresh_github_app_token_count",
                "How many times a GitHub App token was asked for, by status (success, error); kubernetes/git-sync's name",
                &["status"],
            ),
            their_hooks: r.raw_counter_vec(
                "git_sync_hook_run_count_total",
                "How many hook runs ended, by name (exechook, pre-publish-exechook, webhook) and status (success, error); kubernetes/git-sync's name",
                &["name", "status"],
            ),
            checks: r.counter_vec(
                "checks_total",
                "How many looks at the remote ended, by result (unchanged, published, failed)",
                &["result"],
            ),
            check_seconds: r.histogram(
                "unchanged_check_duration_seconds",
                "How long looks took that found nothing new",
                SECONDS,
            ),
            publish_seconds: r.histogram(
                "publish_duration_seconds",
                "From the beginning of the look to the flipped link, for looks that found something new",
                SECONDS,
            ),
            phase_seconds: r.histogram_vec(
                "phase_duration_seconds",
                "How long the parts of a look took, by phase (ask, fetch, checkout, flip)",
                SECONDS,
                &["phase"],
            ),
            published: r.counter("published_total", "How many times the link was flipped"),
            forced: r.counter("forced_total", "How many of them did not contain the commit before: rewritten history"),
            failures: r.counter_vec(
                "failures_total",
                "How many looks failed, by class (auth, network, not_found, corrupt, disk, timeout, other)",
                &["class"],
            ),
            failures_in_a_row: r.int_gauge("consecutive_failures", "How many looks have failed since the last success"),
            last_success: r.gauge(
                "last_success_timestamp_seconds",
                "When a look last succeeded, in seconds since 1970; 0 before the first",
            ),
            fetched_bytes: r.counter("fetched_bytes_total", "Bytes received by fetches"),
            fetched_objects: r.counter("fetched_objects_total", "Objects received by fetches"),
            triggers: r.counter_vec(
                "triggers_total",
                "How many looks began, by what caused them (poll, webhook, request, push)",
                &["trigger"],
            ),
            webhooks: r.counter_vec(
                "webhooks_total",
                "How many webhooks came, by result (accepted, ping, replay, unsigned, forged, no_secret)",
                &["result"],
            ),
            files_written: r.counter("checkout_files_written_total", "Files written into checkouts"),
            files_linked: r.counter("checkout_files_linked_total", "Files that checkouts share with the one before"),
            files_altered: r.counter(
                "checkout_files_altered_total",
                "Files of checkouts that somebody had changed; they were written afresh in the next one",
            ),
            mirrors_compacted: r.counter("mirror_compacted_total", "How many times the mirror's packs were made one"),
            mirrors_rebuilt: r.counter("mirror_rebuilt_total", "How many times a damaged mirror was set aside and cloned again"),
            checkouts: r.int_gauge("checkouts", "Checkouts on disk"),
            unannounced: r.int_gauge("events_unannounced", "Published steps that the broker has not acknowledged yet"),
        };
        // Alerts compare with these before anything happened.
        for status in ["success", "error", "noop"] {
            metrics.their_count.with_label_values(&[status]);
        }
        metrics
    }
}

/// Every metric of the git-sync binary, for `docs/metrics.md`.
#[must_use]
pub fn metric_inventory() -> Vec<MetricDoc> {
    let registry = Registry::new("git_sync", crate::BUILD);
    let _ = Metrics::new(&registry);
    baft_bus::register_metrics(&registry);
    registry.inventory()
}
