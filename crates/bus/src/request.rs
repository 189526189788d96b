//! Asking a daemon.

use std::time::Duration;

use async_nats::Message;
use async_nats::header::HeaderMap;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::connection::Bus;
use crate::error::BusError;
use crate::headers;
use crate::subject::is_token;

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

impl Code {
    /// The word that goes into bodies and metrics.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::InvalidArgument => "invalid_argument",
            Self::Forbidden => "forbidden",
            Self::NotFound => "not_found",
            Self::Conflict => "conflict",
            Self::Gone => "gone",
            Self::TooLarge => "too_large",
            Self::Unprocessable => "unprocessable",
            Self::Overloaded => "overloaded",
            Self::Internal => "internal",
            Self::Unavailable => "unavailable",
            Self::Timeout => "timeout",
        }
    }

    /// The code of a number from `Nats-Service-Error-Code`.
    fn from_number(number: u16) -> Self {
        const ALL: [Code; 11] = [
            Code::InvalidArgument,
            Code::Forbidden,
            Code::NotFound,
            Code::Conflict,
            Code::Gone,
            Code::TooLarge,
            Code::Unprocessable,
            Code::Overloaded,
            Code::Internal,
            Code::Unavailable,
            Code::Timeout,
        ];
        let other = if (400..500).contains(&number) { Self::InvalidArgument } else { Self::Internal };
        ALL.into_iter().find(|code| code.number() == number).unwrap_or(other)
    }
}

impl std::fmt::Display for Code {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
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
        let subject = match &options.principal {
            None => self.prefix().request(suffix),
            Some(principal) if is_token(principal) => self.prefix().request_as(suffix, principal),
            Some(principal) => {
                let text = format!("`{}` is no principal: use A-Z a-z 0-9 _ -", principal.escape_default());
                return Err(RequestError::new(Code::InvalidArgument, text));
            }
        };
        let body = serde_json::to_vec(request)
            .map_err(|error| RequestError::new(Code::InvalidArgument, format!("the request is not JSON: {error}")))?;
        let mut headers = HeaderMap::new();
        let timeout = i64::try_from(options.timeout.as_millis()).unwrap_or(i64::MAX);
        // The later of the two: whoever is asked must not take a request for late because a clock here was set.
        let now = baft_kit::time::unix_millis_of_both().into_iter().max().unwrap_or_default();
        let deadline = now.saturating_add(timeout);
        headers::set(&mut headers, headers::DEADLINE, &deadline.to_string());
        if let Some(id) = &options.request_id {
            headers::set(&mut headers, headers::REQUEST_ID, id);
        }
        let answer =
            self.ask(&subject, headers, body.into(), options.timeout).await.map_err(|error| explain(suffix, error))?;
        read_answer(&answer)
    }
}

fn read_answer<Resp: DeserializeOwned>(answer: &Message) -> Result<Resp, RequestError> {
    let header = |name| answer.headers.as_ref().and_then(|headers| headers::get(headers, name));
    let code = header(headers::SERVICE_ERROR_CODE);
    let text = header(headers::SERVICE_ERROR);
    if code.is_some() || text.is_some() {
        #[derive(Deserialize)]
        struct Failed {
            error: RequestError,
        }
        // A service that is not ours may answer with headers alone.
        return Err(serde_json::from_slice::<Failed>(&answer.payload).map_or_else(
            |_| {
                let code = code.and_then(|code| code.parse().ok()).map_or(Code::Internal, Code::from_number);
                RequestError::new(code, text.unwrap_or("the service gave no reason"))
            },
            |failed| failed.error,
        ));
    }
    serde_json::from_slice(&answer.payload).map_err(|error| {
        RequestError::new(Code::Internal, format!("the answer is not understood: {error}"))
            .hint("the daemon may have another version than this program")
    })
}

/// What went wrong on the way, in the words of a request.
fn explain(suffix: &str, error: BusError) -> RequestError {
    match error {
        BusError::NoStream { subject } => {
            let daemon = daemon_of(suffix);
            RequestError::new(Code::Unavailable, format!("{daemon} is not running (nobody answers on `{subject}`)"))
                .hint(format!("start {daemon}, and check that it uses the same NATS server and subject prefix"))
        }
        BusError::Timeout { after, .. } => {
            RequestError::new(Code::Timeout, format!("{} did not answer within {after:?}", daemon_of(suffix)))
                .hint("it may still be working on it: ask for the status, or repeat with the same request id")
        }
        BusError::NotPermitted { violation } => {
            RequestError::new(Code::Forbidden, format!("the NATS user may not ask `{suffix}`: {violation}"))
                .hint("use a user with that permission")
        }
        BusError::TooLarge { .. } => RequestError::new(Code::TooLarge, error.to_string()),
        error => RequestError::new(Code::Unavailable, error.to_string()),
    }
}

fn daemon_of(suffix: &str) -> &str {
    match suffix.split('.').next().unwrap_or_default() {
        "git" => "git-sync",
        "commit" => "commit-agent",
        "import" => "duckdb-importer",
        "preflight" => "preflight-probe",
        "session" => "session-registry",
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_and_names_of_codes_lead_back_to_the_code() {
        for number in [400, 403, 404, 409, 410, 413, 422, 429, 500, 503, 504] {
            let code = Code::from_number(number);
            assert_eq!(code.number(), number);
            assert_eq!(serde_json::to_value(code).unwrap(), code.name());
        }
        assert_eq!(Code::from_number(418), Code::InvalidArgument);
        assert_eq!(Code::from_number(502), Code::Internal);
    }

    #[test]
    fn a_daemon_that_is_not_there_is_called_by_its_name() {
        let error = explain("import.run", BusError::NoStream { subject: "baft.import.run".into() });
        assert_eq!(error.code, Code::Unavailable);
        assert!(error.message.starts_with("duckdb-importer is not running") && error.retryable, "{error}");
    }
}
