//! The daemon: doorbells in, generations out.

use std::time::Duration;

use baft_bus::Bus;
use baft_bus::payload::{Counts, Generation, ImportStatus};
use baft_kit::live::Pulse;
use baft_kit::metrics::Metrics;
use baft_kit::ready::Readiness;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::ImporterError;
use crate::config::Settings;

/// What an importer shares with the process it runs in.
#[derive(Clone)]
#[allow(missing_debug_implementations, reason = "the bus has none")]
pub struct Context {
    /// Where its metrics are registered.
    pub metrics: Metrics,
    /// Where its conditions are registered.
    pub readiness: Readiness,
    /// The broker; without one it works alone.
    pub bus: Option<Bus>,
    /// Cancelled when it must stop.
    pub shutdown: CancellationToken,
}

/// What an import came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// The generation that is published now.
    pub generation: Generation,
    /// The commit it was built from.
    pub commit: Option<String>,
    /// What changed.
    pub counts: Counts,
    /// Whether there was anything to publish.
    pub outcome: Outcome,
    /// From noticing to published.
    pub duration: Duration,
}

/// Whether an import had anything to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// Everything was published already.
    Unchanged,
    /// A generation was published with what changed.
    Incremental,
    /// A generation was published that was built from nothing.
    Rebuilt,
}

/// What is asked of an importer.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Request {
    /// Rebuild everything.
    pub full: bool,
    /// Import this commit instead of the one that is followed.
    pub commit: Option<String>,
}

/// How an importer is doing.
#[derive(Debug, Clone, Default)]
pub struct Status {
    /// What is published.
    pub import: ImportStatus,
    /// An import is under way.
    pub importing: bool,
    /// Why the last import failed; nothing when it did not.
    pub failure: Option<String>,
}

/// Speaks to a running importer.
#[derive(Debug, Clone)]
pub struct Handle {
    status: watch::Receiver<Status>,
}

impl Handle {
    /// How it is doing, and a way to wait for changes.
    #[must_use]
    pub fn status(&self) -> watch::Receiver<Status> {
        self.status.clone()
    }

    /// There may be something new in the source. Cheap; many nudges are one.
    pub fn nudge(&self) {}

    /// Imports now and waits for the result.
    ///
    /// # Errors
    /// The import failed; what was published stays.
    pub async fn import(&self, request: Request) -> Result<Report, ImporterError> {
        let _ = request;
        Err(ImporterError::Stopped)
    }
}

/// A running importer.
#[derive(Debug)]
pub struct Daemon {
    handle: Handle,
    pulse: Pulse,
}

impl Daemon {
    /// Locks the publish folder and starts following the source.
    ///
    /// # Errors
    /// Another importer has the folder, or it or the source cannot be used.
    pub fn start(settings: Settings, context: Context) -> Result<Self, ImporterError> {
        let _ = (settings, context);
        Err(ImporterError::Stopped)
    }

    /// Speaks to it from anywhere.
    #[must_use]
    pub fn handle(&self) -> Handle {
        self.handle.clone()
    }

    /// Its sign of life.
    #[must_use]
    pub fn pulse(&self) -> Pulse {
        self.pulse.clone()
    }

    /// Waits for the end: after the shutdown, or when going on makes no sense.
    ///
    /// # Errors
    /// Why going on makes no sense.
    pub async fn finished(self) -> Result<(), ImporterError> {
        Ok(())
    }
}
