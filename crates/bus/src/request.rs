//! Asking a daemon.

use std::time::Duration;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::connection::Bus;

/// Why a request failed; the same words in bodies, headers and exit messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Code {
    /// The request is not understood.
    InvalidArgument,
    /// The caller may not do this.
    Forbidden,
    /// What it is about does not exist.
    NotFound,
    /// It contradicts the current state.
    Conflict,
    /// What it is about has ended.
    Gone,
    /// The request or its answer is too large.
    TooLarge,
    /// Understood, but it cannot be done as asked.
    Unprocessable,
    /// Too much work under way.
    Overloaded,
    /// A defect of the daemon.
    Internal,
    /// The daemon or something it needs is not there.
    Unavailable,
    /// Not done in time; it may still be done.
    Timeout,
}

impl Code {
    /// The number that goes into `Nats-Service-Error-Code`.
    #[must_use]
    pub fn number(self) -> u16 {
        match self {
            Self::InvalidArgument => 400,
            Self::Forbidden => 403,
            Self::NotFound => 404,
            Self::Conflict => 409,
            Self::Gone => 410,
            Self::TooLarge => 413,
            Self::Unprocessable => 422,
            Self::Overloaded => 429,
            Self::Internal => 500,
            Self::Unavailable => 503,
            Self::Timeout => 504,
        }
    }
}

/// A failed request, as a handler returns it and a caller receives it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("{message}")]
pub struct RequestError {
    /// What kind of failure.
    pub code: Code,
    /// What failed, on what.
    pub message: String,
    /// What to do about it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
    /// May the same request succeed later?
    #[serde(default)]
    pub retryable: bool,
}

impl RequestError {
    /// A failure without a hint; retryable when overloaded, unavailable or timed out.
    #[must_use]
    pub fn new(code: Code, message: impl Into<String>) -> Self {
        Self {
            code,
            message: message.into(),
            hint: None,
            retryable: matches!(code, Code::Overloaded | Code::Unavailable | Code::Timeout),
        }
    }

    /// Adds what to do about it.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// Says that the same request may succeed later.
    #[must_use]
    pub fn retryable(mut self) -> Self {
        self.retryable = true;
        self
    }
}

/// How to ask.
#[derive(Clone, Debug)]
pub struct RequestOptions {
    /// How long the caller waits; sent along, so that the daemon does not do what nobody waits for.
    pub timeout: Duration,
    /// Makes a changing request safe to repeat: the daemon answers a known id with the remembered result.
    pub request_id: Option<String>,
    /// Ask in the name of this principal: on `<subject>.as.<principal>`.
    pub principal: Option<String>,
}

impl RequestOptions {
    /// Nothing but a time limit.
    #[must_use]
    pub fn timeout(timeout: Duration) -> Self {
        Self { timeout, request_id: None, principal: None }
    }
}

impl Bus {
    /// Asks on `<prefix>.<suffix>` and decodes the answer.
    ///
    /// # Errors
    /// What the daemon answered, or `unavailable` when it is not running, `timeout` when it did not answer in time,
    /// `forbidden` when NATS does not permit it.
    pub async fn request<Req, Resp>(&self, suffix: &str, request: &Req, timeout: Duration) -> Result<Resp, RequestError>
    where
        Req: Serialize + Sync,
        Resp: DeserializeOwned,
    {
        self.request_with(suffix, request, RequestOptions::timeout(timeout)).await
    }

    /// [`Self::request`] with more options.
    ///
    /// # Errors
    /// As [`Self::request`].
    pub async fn request_with<Req, Resp>(
        &self,
        suffix: &str,
        request: &Req,
        options: RequestOptions,
    ) -> Result<Resp, RequestError>
    where
        Req: Serialize + Sync,
        Resp: DeserializeOwned,
    {
        todo!()
    }
}
