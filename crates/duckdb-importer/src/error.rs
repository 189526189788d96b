//! What can go wrong, for the person who reads it.

/// Why an importer could not do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum ImporterError {
    /// It was stopped while the request waited.
    #[error("the importer has stopped; start it again and repeat the request")]
    Stopped,
}
