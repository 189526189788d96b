//! Documents made from the code: configuration and metrics tables.

use crate::metrics::MetricDoc;

/// The section of `docs/configuration.md` for one binary: every flag, its variable, default and meaning.
#[must_use]
pub fn configuration_markdown(name: &str, command: &clap::Command) -> String {
    let _ = command;
    format!("## {name}\n")
}

/// The section of `docs/metrics.md` for one binary.
#[must_use]
pub fn metrics_markdown(name: &str, inventory: &[MetricDoc]) -> String {
    let _ = inventory;
    format!("## {name}\n")
}
