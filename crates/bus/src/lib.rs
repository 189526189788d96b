//! Baft's side of NATS: one connection per process, the names of everything on it, events that are not lost and
//! requests that always get an answer.
//!
//! This crate owns the connection ([`Bus`]), the subjects and streams ([`subject`], [`topology`]), the payload types
//! ([`payload`]) and their envelope ([`event`]), announcing ([`announce`]), consuming ([`consume`]), answering and asking
//! ([`service`], [`request`]) and the key-value helpers ([`kv`]). It is the only crate that may use async-nats.
//!
//! It never decides *what* to announce: a producer derives that from its own state (see [`announce::Ledger`]). Events
//! are doorbells; a lost, repeated or reordered one costs time, never correctness.

#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used))]

pub mod announce;
pub mod args;
mod auth;
pub mod certificate;
mod connection;
pub mod consume;
mod daemon;
mod error;
pub mod event;
mod headers;
pub mod history;
mod jetstream;
pub mod kv;
pub mod lag;
mod link;
mod metrics;
pub mod payload;
pub mod permissions;
mod progress;
pub mod request;
pub mod server_config;
pub mod service;
pub mod subject;
mod tls;
pub mod topology;

pub use announce::{Announcer, Ledger, LedgerError, Outgoing};
pub use args::NatsArgs;
pub use connection::{Bus, Identity, Link, unusable};
pub use consume::{Consumer, ConsumerSpec, Reject};
pub use daemon::{Context, Heard, connect_if_named, drain};
pub use error::BusError;
pub use event::{Event, Payload, RawEvent};
pub use metrics::register_metrics;
pub use progress::Progress;
pub use request::{Code, RequestError, RequestOptions};
pub use server_config::private_server_config;
pub use service::{Endpoint, RequestContext, Service, ServiceHandle};
pub use subject::Prefix;
