//! What every daemon shares with the process it runs in, how it greets, and how it listens for doorbells.

use std::time::Duration;

use baft_kit::metrics::Metrics;
use baft_kit::ready::Readiness;
use tokio_util::sync::CancellationToken;

use crate::args::NatsArgs;
use crate::connection::{Bus, Identity};
use crate::consume::subscribe_live;
use crate::error::BusError;
use crate::event::{DecodeError, RawEvent};
use crate::payload::{DaemonStarted, DaemonStopping};

/// How long the connection may take before the start is announced.
const CONNECTED: Duration = Duration::from_secs(30);
/// How long the last words may take.
const FAREWELL: Duration = Duration::from_secs(3);
/// How long closing the connection may take at the end.
const DRAIN: Duration = Duration::from_secs(2);

/// [`Bus::connect`] for a daemon that works alone when no server is named.
///
/// # Errors
/// As [`Bus::connect`].
pub async fn connect_if_named(args: &NatsArgs, identity: Identity, metrics: &Metrics) -> Result<Option<Bus>, BusError> {
    match args.enabled() {
        true => Bus::connect(args, identity, Some(metrics)).await.map(Some),
        false => Ok(None),
    }
}

/// [`Bus::drain`] for a daemon that may work without a broker, at its end.
pub async fn drain(bus: Option<Bus>) {
    if let Some(bus) = bus {
        bus.drain(DRAIN).await;
    }
}

/// What a daemon shares with the process it runs in.
#[derive(Clone, Debug)]
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

/// What a listener hears.
#[derive(Debug)]
pub enum Heard {
    /// From now on it hears; anything may have happened before.
    Listening,
    /// An event.
    Event(Result<RawEvent, DecodeError>),
}

impl Bus {
    /// Announces the daemon's start in the background, as soon as there is a connection; best effort.
    pub fn say_hello(&self) {
        let bus = self.clone();
        tokio::spawn(async move {
            if bus.wait_connected(CONNECTED).await.is_ok() {
                let me = bus.identity();
                let (name, instance, version) = (me.name.clone(), me.instance.clone(), me.version.clone());
                bus.emit_best_effort(&DaemonStarted { name, instance, version }).await;
            }
        });
    }

    /// Announces the daemon's end, if there is a connection; best effort.
    pub async fn say_farewell(&self) {
        if self.is_up() {
            let me = self.identity();
            let (name, instance, version) = (me.name.clone(), me.instance.clone(), me.version.clone());
            let farewell = DaemonStopping { name, instance, version };
            let _ = tokio::time::timeout(FAREWELL, self.emit_best_effort(&farewell)).await;
        }
    }

    /// Listens for events as they happen until `shutdown`, whatever the connection does. For doorbells only: what
    /// happens while nobody listens is missed, and [`Heard::Listening`] says when that may have been.
    pub async fn listen(&self, kinds: &str, shutdown: CancellationToken, mut hear: impl FnMut(Heard)) {
        let listening = async {
            loop {
                if self.wait_connected(Duration::from_secs(3600)).await.is_err() {
                    continue;
                }
                match subscribe_live(self, kinds).await {
                    Ok(mut events) => {
                        hear(Heard::Listening);
                        while let Some(event) = events.next().await {
                            hear(Heard::Event(event));
                        }
                    }
                    Err(error) => tracing::debug!(%error, kinds, "cannot listen yet"),
                }
                tokio::time::sleep(Duration::from_secs(1)).await;
            }
        };
        tokio::select! {
            () = listening => {}
            () = shutdown.cancelled() => {}
        }
    }
}
