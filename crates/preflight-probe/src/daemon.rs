//! A probe put together: checks on a schedule, what lasts is said, and requests are answered.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use baft_bus::payload::{CheckReport, PreflightChanged, PreflightReport};
use baft_bus::{Bus, Code, Context, RequestError, ServiceHandle};
use baft_kit::live::Pulse;
use baft_kit::ready::Condition;
use rand::Rng;
use tokio::sync::{Mutex, watch};
use tokio::task::JoinHandle;

use crate::config::Config;
use crate::engine::{self, Order};
use crate::error::ProbeError;
use crate::metrics::Metrics;
use crate::requests;
use crate::scene::Scene;
use crate::steady::Steady;

/// How long the last answers may take at the end.
const FAREWELL: Duration = Duration::from_secs(3);
/// Beyond the time of a round, for what comes after it.
const SLACK: Duration = Duration::from_secs(30);

/// How a probe is doing.
#[derive(Debug, Clone, Default)]
pub struct Status {
    /// The last round of checks.
    pub report: Option<Arc<PreflightReport>>,
}

/// Speaks to a running probe.
#[derive(Debug, Clone)]
pub struct Handle {
    scene: Arc<Scene>,
    /// One round at a time.
    turn: Arc<Mutex<()>>,
    status: watch::Sender<Status>,
    metrics: Metrics,
}

impl Handle {
    /// How it is doing, and a way to wait for changes.
    #[must_use]
    pub fn status(&self) -> watch::Receiver<Status> {
        self.status.subscribe()
    }

    /// The last report.
    #[must_use]
    pub fn last(&self) -> Option<PreflightReport> {
        self.status.borrow().report.as_deref().cloned()
    }

    /// Checks now.
    ///
    /// # Errors
    /// The order names a check that is not there.
    pub async fn run(&self, order: &Order) -> Result<PreflightReport, RequestError> {
        let _turn = self.turn.lock().await;
        let report = engine::run(&self.scene, order)
            .await
            .map_err(|error| RequestError::new(Code::InvalidArgument, error.to_string()))?;
        // A part of the checks, or others than this probe's own, says nothing about the whole.
        if order.only.is_empty() && order.profile.is_none_or(|profile| profile == self.scene.profile) {
            self.metrics.show(&report);
            let shown = Arc::new(report.clone());
            self.status.send_modify(|status| status.report = Some(shown));
        }
        Ok(report)
    }
}

/// A running probe.
#[derive(Debug)]
pub struct Daemon {
    handle: Handle,
    pulse: Pulse,
    context: Context,
    work: JoinHandle<()>,
    service: Option<ServiceHandle>,
}

impl Daemon {
    /// Starts checking. Must be called on a tokio runtime.
    #[must_use]
    pub fn start(config: Config, context: Context) -> Self {
        let handle = Handle {
            scene: Arc::new(config.scene.clone()),
            turn: Arc::default(),
            status: watch::Sender::default(),
            metrics: Metrics::new(&context.metrics),
        };
        let checked = context.readiness.condition("checked");
        checked.not_ready("the first round of checks is under way");
        let pulse = Pulse::named("checks", config.timeout + SLACK);
        if let Some(bus) = &context.bus {
            bus.say_hello();
        }
        let service =
            context.bus.as_ref().map(|bus| requests::serve(bus, &handle, config.timeout, context.shutdown.clone()));
        let work = Work {
            config,
            handle: handle.clone(),
            pulse: pulse.clone(),
            checked,
            bus: context.bus.clone(),
            known: BTreeMap::new(),
        };
        let shutdown = context.shutdown.clone();
        let work = tokio::spawn(async move {
            shutdown.run_until_cancelled(work.run()).await;
        });
        Self { handle, pulse, context, work, service }
    }

    /// Speaks to it from anywhere.
    #[must_use]
    pub fn handle(&self) -> Handle {
        self.handle.clone()
    }

    /// The loop's sign of life.
    #[must_use]
    pub fn pulse(&self) -> Pulse {
        self.pulse.clone()
    }

    /// Waits for the end: after the shutdown. A round that is under way is abandoned; nothing depends on it.
    ///
    /// # Errors
    /// None so far; what a supervisor expects of a daemon.
    pub async fn finished(self) -> Result<(), ProbeError> {
        // It neither panics nor is it aborted.
        let _ = self.work.await;
        if let Some(service) = self.service {
            service.finished(FAREWELL).await;
        }
        if let Some(bus) = &self.context.bus {
            bus.say_farewell().await;
        }
        Ok(())
    }
}

struct Work {
    config: Config,
    handle: Handle,
    pulse: Pulse,
    checked: Condition,
    bus: Option<Bus>,
    known: BTreeMap<String, Steady>,
}

impl Work {
    async fn run(mut self) {
        let order = Order { deadline: self.config.timeout, ..Order::default() };
        loop {
            self.pulse.tick();
            // Without names in the order there is none that could be wrong.
            if let Ok(report) = self.handle.run(&order).await {
                self.checked.ready();
                for check in &report.checks {
                    self.look(check).await;
                }
            }
            let pause = self.config.schedule.pause(chrono::Utc::now(), rand::rng().random());
            self.pulse.busy_until(pause + self.config.timeout + SLACK);
            tokio::time::sleep(pause).await;
        }
    }

    /// Says what lasts.
    async fn look(&mut self, check: &CheckReport) {
        let steady = self.known.entry(check.id.clone()).or_default();
        let (next, change) = steady.step(check.status, self.config.thresholds);
        *steady = next;
        let Some((from, to)) = change else { return };
        self.handle.metrics.changed(to);
        tracing::info!(check = check.id, %from, %to, message = check.message, "a check has changed");
        if let Some(bus) = &self.bus {
            let changed = PreflightChanged {
                check: check.id.clone(),
                title: check.title.clone(),
                from,
                to,
                message: check.message.clone(),
                hint: check.hint.clone(),
            };
            bus.emit_best_effort(&changed).await;
        }
    }
}
