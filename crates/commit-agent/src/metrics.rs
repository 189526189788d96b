//! What commit-agent counts.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use baft_kit::metrics::{
    Counter, CounterVec, Gauge, HistogramVec, IntGauge, IntGaugeVec, MetricDoc, Metrics as Registry, SECONDS,
};

use crate::engine::{Blocked, Cycle, Notice, Status, Trigger};
use crate::gates::Reason;

/// The metrics of one commit-agent.
#[derive(Debug, Clone)]
#[allow(missing_docs, reason = "each has its help text below")]
pub struct Metrics {
    pub cycles: CounterVec,
    pub cycle_seconds: HistogramVec,
    pub failures: CounterVec,
    pub captured: Counter,
    pub commits: Counter,
    pub pushes: Counter,
    pub brought_in: Counter,
    pub parked_total: CounterVec,
    pub returned: Counter,
    pub stale_saves: Counter,
    pub applies: CounterVec,
    pub logins: CounterVec,
    pub last_success: Gauge,
    pub last_fetch: Gauge,
    pub last_push: Gauge,
    pub last_scan: Gauge,
    pub unpushed: IntGauge,
    pub backlog_age: Gauge,
    pub oldest_uncaptured: Gauge,
    pub index_lock_age: Gauge,
    pub rescue_branches: IntGauge,
    pub held: IntGaugeVec,
    pub troubles: IntGauge,
    pub unannounced: IntGauge,
    pub repo_state: IntGaugeVec,
    pub watch_degraded: IntGauge,
    pub live_sessions: IntGauge,
}

/// What the clone can be in; the engine's words.
const STATES: &[&str] = &[
    "normal",
    "index_lock",
    "merge",
    "revert",
    "cherry_pick",
    "bisect",
    "rebase",
    "am",
    "detached",
    "other_branch",
    "conflicts",
    "index",
    "rewritten",
];

const REASONS: &[(Reason, &str)] = &[
    (Reason::Secret, "secret"),
    (Reason::Size, "size"),
    (Reason::Junk, "junk"),
    (Reason::Unparsable, "unparsable"),
    (Reason::MassDelete, "mass_delete"),
    (Reason::Refused, "refused"),
];

impl Metrics {
    /// Registers them.
    #[must_use]
    pub fn new(r: &Registry) -> Self {
        let metrics = Self {
            cycles: r.counter_vec(
                "cycles_total",
                "How many cycles ended, by what caused them (timer, watch, request, session_ended, upstream, shutdown) and result (success, failed)",
                &["trigger", "result"],
            ),
            cycle_seconds: r.histogram_vec(
                "cycle_duration_seconds",
                "How long cycles took, by what caused them",
                SECONDS,
                &["trigger"],
            ),
            failures: r.counter_vec(
                "step_failures_total",
                "How many steps failed, by step (capture, land, fetch, integrate, park, materialise, push) and class (auth, network, not_found, race, policy, protected, corrupt, disk, gone, other)",
                &["step", "class"],
            ),
            captured: r.counter("captures_total", "How many times changed files were captured"),
            commits: r.counter("commits_total", "How many commits landed on the branch"),
            pushes: r.counter("pushes_total", "How many times the remote took what was pushed"),
            brought_in: r.counter("brought_in_files_total", "How many files were changed because upstream changed them"),
            parked_total: r.counter_vec(
                "parked_total",
                "How many times work went to a rescue branch, by kind (conflict, refused, dropped, rewritten)",
                &["kind"],
            ),
            returned: r.counter("returned_total", "How many rescue branches came back into the branch by themselves"),
            stale_saves: r.counter(
                "stale_saves_total",
                "How many files were saved with the text from before upstream's change came in",
            ),
            applies: r.counter_vec("applies_total", "How many edits by request ended, by result (applied, refused)", &["result"]),
            logins: r.counter_vec(
                "login_calls_total",
                "How many times a login was asked for at --askpass-url or of a GitHub App, by status (success, error)",
                &["status"],
            ),
            last_success: r.gauge("last_success_timestamp_seconds", "When a cycle last succeeded, in seconds since 1970; 0 before the first"),
            last_fetch: r.gauge("last_fetch_success_timestamp_seconds", "When the remote last answered, in seconds since 1970; 0 before the first time"),
            last_push: r.gauge("last_push_success_timestamp_seconds", "When the remote last had everything, in seconds since 1970; 0 before the first time"),
            last_scan: r.gauge("last_scan_timestamp_seconds", "When the whole clone was last looked through, in seconds since 1970; 0 before the first time"),
            unpushed: r.int_gauge("unpushed_commits", "Commits on the branch that the remote does not have"),
            backlog_age: r.gauge("push_backlog_age_seconds", "How long there have been unpushed commits; 0 when there are none"),
            oldest_uncaptured: r.gauge("oldest_uncaptured_change_seconds", "How long the oldest change waits to be captured; 0 when none does"),
            index_lock_age: r.gauge("index_lock_age_seconds", "How long somebody else has held index.lock; 0 when nobody does"),
            rescue_branches: r.int_gauge("rescue_branches", "Rescue branches with work that is not back in the branch"),
            held: r.int_gauge_vec(
                "quarantined_files",
                "Files that are held back, by reason (secret, size, junk, unparsable, mass_delete, refused)",
                &["reason"],
            ),
            troubles: r.int_gauge("unreadable_paths", "Paths that could not be captured in the last cycle; everything else was"),
            unannounced: r.int_gauge("events_unannounced", "Events that the broker has not acknowledged yet"),
            repo_state: r.int_gauge_vec("repo_state", "1 for the state the clone is in: normal, or what landing waits for", &["state"]),
            watch_degraded: r.int_gauge("watch_degraded", "1 while saved files cannot be watched and are looked for instead"),
            live_sessions: r.int_gauge("live_sessions", "Live sessions on this clone, as far as is known"),
        };
        // Alerts compare with these before anything happened.
        metrics.show_state("normal");
        for (_, name) in REASONS {
            metrics.held.with_label_values(&[name]);
        }
        metrics
    }

    /// Counts a cycle.
    pub(crate) fn count(&self, trigger: Trigger, seconds: f64, cycle: &Cycle) {
        let name = trigger_name(trigger);
        let result = if cycle.errors.is_empty() { "success" } else { "failed" };
        self.cycles.with_label_values(&[name, result]).inc();
        self.cycle_seconds.with_label_values(&[name]).observe(seconds);
        for error in &cycle.errors {
            self.failures.with_label_values(&[error.step.as_str(), error.class.as_str()]).inc();
        }
        self.captured.inc_by(cycle.captured.len() as u64);
        self.commits.inc_by(cycle.landed.len() as u64);
        self.pushes.inc_by(u64::from(cycle.pushed.is_some()));
        self.brought_in.inc_by(cycle.brought_in.as_ref().map_or(0, |brought| brought.changes.len() as u64));
        for parked in &cycle.parked {
            self.parked_total.with_label_values(&[&crate::status::parked_payload(parked).kind]).inc();
        }
        for notice in &cycle.notices {
            match notice {
                Notice::StaleSave { .. } => self.stale_saves.inc(),
                Notice::Returned { .. } => self.returned.inc(),
                Notice::UpstreamRewritten { .. } => {}
            }
        }
        self.troubles.set(i64::try_from(cycle.troubles.len()).unwrap_or(i64::MAX));
    }

    /// Shows how the engine is doing.
    pub(crate) fn show(&self, status: &Status, backlog: Option<Duration>) {
        let seconds = |age: Option<Duration>| age.map_or(0.0, |age| age.as_secs_f64());
        let count = |count: usize| i64::try_from(count).unwrap_or(i64::MAX);
        self.last_fetch.set(timestamp(status.last_fetch));
        self.last_push.set(timestamp(status.last_push));
        self.last_scan.set(timestamp(status.last_scan));
        self.unpushed.set(count(status.unpushed));
        self.backlog_age.set(seconds(backlog));
        self.oldest_uncaptured.set(seconds(status.oldest_uncaptured));
        self.index_lock_age.set(seconds(status.index_lock_age));
        self.rescue_branches.set(count(status.parked.len()));
        for (reason, name) in REASONS {
            let held = status.held.iter().filter(|held| held.hold.reason == *reason).count();
            self.held.with_label_values(&[name]).set(count(held));
        }
        self.show_state(status.blocked.as_ref().map_or("normal", Blocked::as_str));
    }

    fn show_state(&self, now: &str) {
        let known = STATES.iter().copied().filter(|state| *state != now).map(|state| (state, 0));
        for (state, value) in known.chain([(now, 1)]) {
            self.repo_state.with_label_values(&[state]).set(value);
        }
    }
}

pub(crate) fn timestamp(time: Option<SystemTime>) -> f64 {
    time.and_then(|time| time.duration_since(UNIX_EPOCH).ok()).map_or(0.0, |since| since.as_secs_f64())
}

pub(crate) fn trigger_name(trigger: Trigger) -> &'static str {
    match trigger {
        Trigger::Timer => "timer",
        Trigger::Watch => "watch",
        Trigger::Request => "request",
        Trigger::SessionEnded => "session_ended",
        Trigger::Upstream => "upstream",
        Trigger::Shutdown => "shutdown",
    }
}

/// Every metric of the commit-agent binary, for `docs/metrics.md`.
#[must_use]
pub fn metric_inventory() -> Vec<MetricDoc> {
    let registry = Registry::new("commit_agent", crate::BUILD);
    let _ = Metrics::new(&registry);
    baft_bus::register_metrics(&registry);
    registry.inventory()
}
