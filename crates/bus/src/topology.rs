//! The streams and buckets Baft needs, as data; creating them and noticing when they differ.

use crate::connection::Bus;
use crate::error::BusError;

/// What [`ensure`] did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// The stream was created.
    Created {
        /// Its name.
        stream: String,
    },
    /// Settings that differed were put right.
    Updated {
        /// Its name.
        stream: String,
        /// What differed.
        fields: Vec<Drift>,
    },
}

/// One thing that is not as Baft needs it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Drift {
    /// The stream.
    pub stream: String,
    /// The setting; `exists` when the whole stream is missing.
    pub field: String,
    /// What Baft needs.
    pub wanted: String,
    /// What is there.
    pub found: String,
}

/// Creates what is missing and puts right what differs.
///
/// # Errors
/// When the server refuses.
pub async fn ensure(bus: &Bus) -> Result<Vec<Change>, BusError> {
    todo!()
}

/// Compares without changing anything.
///
/// # Errors
/// When the server does not answer.
pub async fn verify(bus: &Bus) -> Result<Vec<Drift>, BusError> {
    todo!()
}
