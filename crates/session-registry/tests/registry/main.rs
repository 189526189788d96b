//! session-registry against a real nats-server: what it promises, and what it keeps when things break.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout, missing_docs)]

mod basics;
mod chaos;
mod clocks;
mod history;
mod hostile;
mod outages;
mod record;
mod replicas;
mod support;
