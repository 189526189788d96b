//! A request that is repeated with the same id is answered with the result of the first time.
//!
//! The record lives in the bucket `REQUESTS`, which forgets after an hour. It is claimed before the work starts, kept
//! fresh while it goes on, and replaced by the result before the answer goes out. Failures that may be different next
//! time are forgotten, so that a retry tries again.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use sha2::{Digest, Sha256};
use tokio::sync::watch;

use crate::connection::Bus;
use crate::kv::{Bucket, Entry, WriteError};
use crate::request::{Code, RequestError};

/// A claim that was not refreshed for this long belongs to a process that is gone.
const ABANDONED_AFTER: Duration = Duration::from_secs(60);
const REFRESH: Duration = Duration::from_secs(20);
/// A larger result is not remembered.
const MAX_REMEMBERED: usize = 512 * 1024;

type Outcome = Result<Value, RequestError>;

/// What is written under a request's key.
#[derive(Debug, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "snake_case")]
enum Record {
    Running { owner: String, input: String },
    Done { input: String, result: Value },
    Failed { input: String, error: RequestError },
}

/// The memory of one service.
pub(super) struct Memory {
    bucket: Bucket,
    /// This process, different after every start.
    owner: String,
    running: Mutex<HashMap<String, watch::Receiver<Option<Outcome>>>>,
}

/// A claimed request: to be [`Memory::conclude`]d.
pub(super) struct Claim {
    key: String,
    input: String,
    revision: u64,
    outcome: watch::Sender<Option<Outcome>>,
}

/// What to do with a request.
pub(super) enum Verdict {
    /// Nobody did it yet: do it, then conclude the claim.
    Do(Claim),
    /// It is done, or was done by somebody in the meantime.
    Answer(Outcome),
}

impl Memory {
    pub(super) fn new(bus: &Bus) -> Self {
        Self { bucket: Bucket::open(bus, "REQUESTS"), owner: ulid::Ulid::new().to_string(), running: Mutex::default() }
    }

    /// The key of a request: per endpoint and principal, so that nobody reads another's result by guessing its id.
    pub(super) fn key(service: &str, endpoint: &str, principal: Option<&str>, id: &str) -> String {
        let principal = principal.map_or(String::new(), |principal| format!("as {principal}"));
        format!("{service}.{endpoint}.{}", digest(format!("{principal}\n{id}").as_bytes()))
    }

    /// Claims a request, or waits for its result until the caller's deadline when it is being worked on already.
    pub(super) async fn claim(&self, key: &str, body: &[u8], deadline: Option<Instant>) -> Verdict {
        match self.try_claim(key, &digest(body), deadline).await {
            Ok(verdict) => verdict,
            Err(error) => Verdict::Answer(Err(error)),
        }
    }

    async fn try_claim(&self, key: &str, input: &str, deadline: Option<Instant>) -> Result<Verdict, RequestError> {
        let outcome = watch::Sender::new(None);
        let other = {
            let mut running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
            match running.get(key) {
                Some(other) => Some(other.clone()),
                None => {
                    running.insert(key.to_owned(), outcome.subscribe());
                    None
                }
            }
        };
        if let Some(mut other) = other {
            // The same request is being worked on in this process: wait for its result. Its end without a result is a
            // failure that may be different next time.
            let wait = other.wait_for(Option::is_some);
            let outcome = match deadline {
                Some(deadline) => match tokio::time::timeout_at(deadline.into(), wait).await {
                    Ok(outcome) => outcome,
                    // Nobody waits for this answer any more; it must not keep a place from others.
                    Err(_) => return Err(in_progress()),
                },
                None => wait.await,
            };
            return match outcome {
                Ok(outcome) => Ok(Verdict::Answer(outcome.clone().unwrap_or_else(|| Err(in_progress())))),
                Err(_) => Err(in_progress()),
            };
        }
        let mut claim = Claim { key: key.to_owned(), input: input.to_owned(), revision: 0, outcome };
        let result = self.claim_in_bucket(&mut claim).await;
        if !matches!(result, Ok(None)) {
            self.forget_running(key);
        }
        match result {
            Ok(None) => Ok(Verdict::Do(claim)),
            Ok(Some(outcome)) => {
                claim.outcome.send_replace(Some(outcome.clone()));
                Ok(Verdict::Answer(outcome))
            }
            Err(error) => Err(error),
        }
    }

    /// `None` when the claim is ours.
    async fn claim_in_bucket(&self, claim: &mut Claim) -> Result<Option<Outcome>, RequestError> {
        let running = bytes_of(&Record::Running { owner: self.owner.clone(), input: claim.input.clone() });
        for _ in 0..3 {
            match self.bucket.create(&claim.key, running.clone()).await {
                Ok(revision) => {
                    claim.revision = revision;
                    return Ok(None);
                }
                Err(WriteError::Conflict { .. }) => {}
                Err(error) => return Err(no_memory(&error)),
            }
            let Some(entry) = self.bucket.get(&claim.key).await.map_err(|error| no_memory(&error))? else {
                continue;
            };
            let record = serde_json::from_slice(&entry.value).map_err(|error| no_memory(&error))?;
            let (Record::Running { input, .. } | Record::Done { input, .. } | Record::Failed { input, .. }) = &record;
            if *input != claim.input {
                return Err(RequestError::new(
                    Code::Conflict,
                    "this request id was used for a request with another body",
                )
                .hint("use a new request id for a new request"));
            }
            match record {
                Record::Done { result, .. } => return Ok(Some(Ok(result))),
                Record::Failed { error, .. } => return Ok(Some(Err(error))),
                // The own record without a task behind it is left from a handler that failed half-way.
                Record::Running { owner, .. } if owner == self.owner || is_abandoned(&entry) => {
                    match self.bucket.update(&claim.key, running.clone(), entry.revision).await {
                        Ok(revision) => {
                            claim.revision = revision;
                            return Ok(None);
                        }
                        Err(WriteError::Conflict { .. }) => {}
                        Err(error) => return Err(no_memory(&error)),
                    }
                }
                Record::Running { .. } => return Err(in_progress()),
            }
        }
        Err(in_progress())
    }

    /// Runs the work of a claim and remembers its outcome.
    pub(super) async fn carry_out(&self, mut claim: Claim, work: impl Future<Output = Outcome>) -> Outcome {
        let outcome = {
            tokio::pin!(work);
            let mut refresh = tokio::time::interval_at(tokio::time::Instant::now() + REFRESH, REFRESH);
            loop {
                tokio::select! {
                    outcome = &mut work => break outcome,
                    _ = refresh.tick() => self.refresh(&mut claim).await,
                }
            }
        };
        if let Err(error) = self.remember(&claim, &outcome).await {
            tracing::warn!(key = %claim.key, %error, "the result of a request could not be remembered");
        }
        claim.outcome.send_replace(Some(outcome.clone()));
        self.forget_running(&claim.key);
        outcome
    }

    async fn refresh(&self, claim: &mut Claim) {
        let record = bytes_of(&Record::Running { owner: self.owner.clone(), input: claim.input.clone() });
        match self.bucket.update(&claim.key, record, claim.revision).await {
            Ok(revision) => claim.revision = revision,
            Err(error) => tracing::warn!(key = %claim.key, %error, "the claim of a request could not be kept fresh"),
        }
    }

    async fn remember(&self, claim: &Claim, outcome: &Outcome) -> Result<(), WriteError> {
        let input = claim.input.clone();
        let record = match outcome {
            Ok(result) => Record::Done { input, result: result.clone() },
            // A defect may be gone after an upgrade.
            Err(error) if error.retryable || error.code == Code::Internal => {
                return self.bucket.delete_at(&claim.key, claim.revision).await;
            }
            Err(error) => Record::Failed { input, error: error.clone() },
        };
        let bytes = bytes_of(&record);
        if bytes.len() > MAX_REMEMBERED {
            return self.bucket.delete_at(&claim.key, claim.revision).await;
        }
        self.bucket.update(&claim.key, bytes, claim.revision).await.map(drop)
    }

    fn forget_running(&self, key: &str) {
        self.running.lock().unwrap_or_else(PoisonError::into_inner).remove(key);
    }
}

fn is_abandoned(entry: &Entry) -> bool {
    chrono::DateTime::parse_from_rfc3339(&entry.created).is_ok_and(|written| {
        let age = chrono::Utc::now().signed_duration_since(written);
        age.to_std().is_ok_and(|age| age > ABANDONED_AFTER)
    })
}

fn in_progress() -> RequestError {
    RequestError::new(Code::Conflict, "a request with this id is still being worked on")
        .hint("ask again in a moment with the same request id")
        .retryable()
}

fn no_memory(error: &dyn std::fmt::Display) -> RequestError {
    RequestError::new(Code::Unavailable, format!("results of requests cannot be remembered right now: {error}"))
        .hint("ask again later with the same request id, or without one if repeating does no harm")
}

fn bytes_of(record: &Record) -> Bytes {
    // Records hold strings and JSON values only, which always serialise.
    serde_json::to_vec(record).unwrap_or_default().into()
}

fn digest(bytes: &[u8]) -> String {
    Sha256::digest(bytes)[..16].iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_key_tells_principals_and_endpoints_apart() {
        let keys = [
            Memory::key("s", "e", None, "1"),
            Memory::key("s", "e", Some("a"), "1"),
            Memory::key("s", "e", Some("b"), "1"),
            Memory::key("s", "f", None, "1"),
            Memory::key("s", "e", None, "2"),
        ];
        let distinct: std::collections::HashSet<&String> = keys.iter().collect();
        assert_eq!(distinct.len(), keys.len());
    }
}
