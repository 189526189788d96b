//! What the bus counts, under the daemon's own names.

use baft_kit::metrics::{Counter, CounterVec, HistogramVec, IntGauge, Metrics, SECONDS};

/// Handles of all metrics of the bus. Without a daemon's registry they count into one nobody reads.
#[derive(Clone, Debug)]
pub(crate) struct BusMetrics {
    pub(crate) connected: IntGauge,
    pub(crate) connects: Counter,
    pub(crate) slow_consumers: Counter,
    pub(crate) violations: Counter,
    pub(crate) published: CounterVec,
    pub(crate) publish_failures: CounterVec,
    pub(crate) announced_at: IntGauge,
    pub(crate) handled: CounterVec,
    pub(crate) requests: CounterVec,
    pub(crate) request_seconds: HistogramVec,
    pub(crate) in_flight: IntGauge,
}

impl BusMetrics {
    pub(crate) fn new(metrics: Option<&Metrics>) -> Self {
        let unread;
        let metrics = match metrics {
            Some(metrics) => metrics,
            None => {
                unread = Metrics::new("bus", baft_kit::build_info!("bus"));
                &unread
            }
        };
        Self {
            connected: metrics
                .raw_int_gauge("baft_nats_connected", "1 while connected to a NATS server that was checked"),
            connects: metrics.counter("nats_connects_total", "Connections made to NATS"),
            slow_consumers: metrics.counter(
                "nats_slow_consumers_total",
                "Messages dropped because a subscription was not read fast enough",
            ),
            violations: metrics
                .counter("nats_permission_violations_total", "Operations the NATS server refused this user"),
            published: metrics.counter_vec("events_published_total", "Events stored by the server", &["type"]),
            publish_failures: metrics.counter_vec(
                "events_publish_failures_total",
                "Attempts to publish an event that failed",
                &["type"],
            ),
            announced_at: metrics.raw_int_gauge(
                "baft_announce_last_success_timestamp_seconds",
                "When everything there was to announce had last been announced, in seconds since 1970",
            ),
            handled: metrics.counter_vec(
                "events_handled_total",
                "Events handled, by outcome: ok, retry, parked",
                &["consumer", "outcome"],
            ),
            requests: metrics.counter_vec(
                "requests_total",
                "Requests answered, by endpoint and code (ok or an error code)",
                &["endpoint", "code"],
            ),
            request_seconds: metrics.histogram_vec(
                "request_duration_seconds",
                "Time to answer a request",
                SECONDS,
                &["endpoint"],
            ),
            in_flight: metrics.int_gauge("requests_in_flight", "Requests being worked on"),
        }
    }
}

/// Registers everything the bus counts, as connecting does: for the list of a daemon's metrics.
pub fn register_metrics(metrics: &Metrics) {
    let _handles = BusMetrics::new(Some(metrics));
}
