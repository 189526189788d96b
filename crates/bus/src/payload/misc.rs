//! Payloads every daemon shares.

use serde::{Deserialize, Serialize};

use crate::event::Payload;

/// No content: `{}` or an empty body.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Empty {}

/// `daemon.started`: best effort.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DaemonStarted {
    /// The daemon, for example `git-sync`.
    pub name: String,
    /// Which one, when several run.
    pub instance: String,
    /// Its version.
    pub version: String,
}

impl Payload for DaemonStarted {
    const TYPE: &'static str = "daemon.started";
    const VERSION: (u16, u16) = (1, 0);
}

/// `daemon.stopping`: best effort.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DaemonStopping {
    /// The daemon, for example `git-sync`.
    pub name: String,
    /// Which one, when several run.
    pub instance: String,
    /// Its version.
    pub version: String,
}

impl Payload for DaemonStopping {
    const TYPE: &'static str = "daemon.stopping";
    const VERSION: (u16, u16) = (1, 0);
}
