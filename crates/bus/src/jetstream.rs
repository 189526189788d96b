//! One exchange with the server, and the few calls of the JetStream API that Baft needs.
//!
//! The API is plain request and reply in JSON. Speaking it directly keeps fields of newer servers intact when a stream
//! is updated, and keeps deadline, error code and permission mapping in one place.

use std::sync::PoisonError;
use std::time::{Duration, Instant};

use async_nats::header::HeaderMap;
use async_nats::{Message, Request, RequestErrorKind, Subscriber};
use bytes::Bytes;
use serde::Deserialize;
use serde_json::Value;

use crate::connection::{Bus, DEADLINE};
use crate::error::BusError;

/// `err_code` values of the server.
pub(crate) const WRONG_LAST_SEQUENCE: u64 = 10071;
pub(crate) const STREAM_NOT_FOUND: u64 = 10059;
pub(crate) const CONSUMER_NOT_FOUND: u64 = 10014;
pub(crate) const NO_MESSAGE_FOUND: u64 = 10037;

/// The server's confirmation that a message is stored.
#[derive(Debug, Deserialize)]
pub(crate) struct Stored {
    pub(crate) seq: u64,
}

/// How long an answer waits for a connection; few callers wait longer.
const ANSWER_PATIENCE: Duration = Duration::from_secs(30);

impl Bus {
    /// Sends a request and waits for the reply. Sheds the load when there is no connection: a request that is queued
    /// now would be sent after the reconnect, when nobody waits for it any more.
    pub(crate) async fn ask(
        &self,
        subject: &str,
        headers: HeaderMap,
        body: Bytes,
        deadline: Duration,
    ) -> Result<Message, BusError> {
        if !self.is_up() {
            return Err(self.disconnected());
        }
        let request = Request::new().headers(headers).payload(body);
        self.exchange(subject, request, deadline).await
    }

    /// [`Self::ask`] with a reply subject of its own, for answers that arrive under the subject they were stored with.
    pub(crate) async fn pull(&self, subject: &str, body: Bytes, deadline: Duration) -> Result<Message, BusError> {
        if !self.is_up() {
            return Err(self.disconnected());
        }
        let request = Request::new().payload(body).inbox(self.inner.client.new_inbox());
        self.exchange(subject, request, deadline).await
    }

    async fn exchange(&self, subject: &str, request: Request, deadline: Duration) -> Result<Message, BusError> {
        let since = Instant::now();
        let bytes = request.payload.as_ref().map_or(0, Bytes::len);
        let request = request.timeout(None);
        let mut violations = self.inner.violations.subscribe();
        // The library's own timer starts only after the request is queued, and queueing can block.
        let answer = tokio::time::timeout(deadline, self.inner.client.send_request(subject.to_owned(), request));
        tokio::pin!(answer);
        loop {
            let result = tokio::select! {
                biased;
                result = &mut answer => result,
                // A refused publish is never answered: the server's complaint comes on its own.
                changed = violations.changed() => match (changed, self.violation(subject, since)) {
                    (Ok(()), None) => continue,
                    (Ok(()), Some(violation)) => return Err(BusError::NotPermitted { violation }),
                    (Err(_), _) => return Err(BusError::Closed),
                },
            };
            return match result {
                Ok(Ok(message)) => Ok(message),
                Ok(Err(error)) => Err(match error.kind() {
                    RequestErrorKind::NoResponders => BusError::NoStream { subject: subject.to_owned() },
                    RequestErrorKind::MaxPayloadExceeded => BusError::TooLarge {
                        what: format!("the message to {subject}"),
                        bytes,
                        limit: self.inner.client.max_payload(),
                    },
                    RequestErrorKind::TimedOut => timed_out(subject, deadline),
                    _ => self.disconnected(),
                }),
                Err(_) => match self.violation(subject, since) {
                    Some(violation) => Err(BusError::NotPermitted { violation }),
                    None if !self.is_up() => Err(self.disconnected()),
                    None => Err(timed_out(subject, deadline)),
                },
            };
        }
    }

    fn violation(&self, subject: &str, since: Instant) -> Option<String> {
        self.inner.recent_violations.lock().unwrap_or_else(PoisonError::into_inner).about(subject, since)
    }

    /// Publishes without waiting for anything but room in the queue, and not for long.
    pub(crate) async fn publish_core(&self, subject: &str, headers: HeaderMap, body: Bytes) -> Result<(), BusError> {
        if !self.is_up() {
            return Err(self.disconnected());
        }
        let publish = self.inner.client.publish_with_headers(subject.to_owned(), headers, body);
        match tokio::time::timeout(DEADLINE, publish).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(error)) => {
                Err(BusError::Protocol { operation: format!("publish to {subject}"), reason: error.to_string() })
            }
            Err(_) => Err(timed_out(subject, DEADLINE)),
        }
    }

    /// Publishes an answer, after waiting for the connection if need be: a question can arrive before a new connection
    /// counts as up, or the connection can be lost while the question is worked on. Whoever asks may still wait.
    pub(crate) async fn publish_answer(&self, reply: &str, headers: HeaderMap, body: Bytes) -> Result<(), BusError> {
        if !self.is_up() {
            self.wait_connected(ANSWER_PATIENCE).await?;
        }
        self.publish_core(reply, headers, body).await
    }

    /// Publishes into whatever stream covers the subject and waits until the message is stored.
    pub(crate) async fn publish_stored(
        &self,
        subject: &str,
        headers: HeaderMap,
        body: Bytes,
    ) -> Result<Stored, BusError> {
        let message = self.ask(subject, headers, body, DEADLINE).await?;
        let answer = api_answer(&format!("publish to {subject}"), &message.payload)?;
        serde_json::from_value(answer).map_err(|error| BusError::Protocol {
            operation: format!("publish to {subject}"),
            reason: error.to_string(),
        })
    }

    /// Subscribes, within the usual deadline; alone or sharing the messages with a group.
    pub(crate) async fn subscribe(&self, subject: &str, group: Option<&str>) -> Result<Subscriber, BusError> {
        if !self.is_up() {
            return Err(self.disconnected());
        }
        let client = &self.inner.client;
        let subscribe = async {
            match group {
                Some(group) => client.queue_subscribe(subject.to_owned(), group.to_owned()).await,
                None => client.subscribe(subject.to_owned()).await,
            }
        };
        let operation = || format!("subscribe to {subject}");
        match tokio::time::timeout(DEADLINE, subscribe).await {
            Ok(Ok(subscriber)) => Ok(subscriber),
            Ok(Err(error)) => Err(BusError::Protocol { operation: operation(), reason: error.to_string() }),
            Err(_) => Err(BusError::Timeout { operation: operation(), after: DEADLINE }),
        }
    }

    /// Waits until the server has dealt with a subscription made just now.
    ///
    /// The library only queues subscriptions, and a refusal comes unasked: so ask anything, whose answer comes after
    /// the server's reaction, and give the refusal a moment to get through.
    pub(crate) async fn confirm_subscription(&self, subject: &str) -> Result<(), BusError> {
        let now = Instant::now();
        let since = now.checked_sub(Duration::from_millis(200)).unwrap_or(now);
        match self.api("INFO", &Value::Null).await {
            Ok(_) | Err(BusError::JetStream { .. } | BusError::NotPermitted { .. } | BusError::NoStream { .. }) => {}
            Err(error) => return Err(error),
        }
        let mut violations = self.inner.violations.subscribe();
        let refused = async {
            loop {
                if let Some(violation) = self.violation(subject, since) {
                    return violation;
                }
                if violations.changed().await.is_err() {
                    std::future::pending::<()>().await;
                }
            }
        };
        match tokio::time::timeout(Duration::from_millis(20), refused).await {
            Ok(violation) => Err(BusError::NotPermitted { violation }),
            Err(_) => Ok(()),
        }
    }

    /// Calls `$JS.API.<call>`.
    pub(crate) async fn api(&self, call: &str, body: &Value) -> Result<Value, BusError> {
        if !self.is_up() {
            return Err(self.disconnected());
        }
        self.api_unchecked(call, body, DEADLINE).await
    }

    /// [`Self::api`] before the connection counts as up.
    pub(crate) async fn api_unchecked(&self, call: &str, body: &Value, deadline: Duration) -> Result<Value, BusError> {
        let body = if body.is_null() { Bytes::new() } else { Bytes::from(body.to_string()) };
        let message = self.exchange(&format!("$JS.API.{call}"), Request::new().payload(body), deadline).await?;
        api_answer(call, &message.payload)
    }
}

fn timed_out(subject: &str, after: Duration) -> BusError {
    BusError::Timeout { operation: format!("`{subject}`"), after }
}

fn api_answer(operation: &str, payload: &[u8]) -> Result<Value, BusError> {
    let answer: Value = serde_json::from_slice(payload)
        .map_err(|error| BusError::Protocol { operation: operation.to_owned(), reason: error.to_string() })?;
    match answer.get("error") {
        None | Some(Value::Null) => Ok(answer),
        Some(error) => Err(BusError::JetStream {
            operation: operation.to_owned(),
            code: error.get("err_code").and_then(Value::as_u64).unwrap_or_default(),
            description: error.get("description").and_then(Value::as_str).unwrap_or("no description").to_owned(),
        }),
    }
}

/// Is this the server's error with this code?
pub(crate) fn is_code(error: &BusError, wanted: u64) -> bool {
    matches!(error, BusError::JetStream { code, .. } if *code == wanted)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_with_an_error_is_an_error_with_its_code() {
        let error = api_answer("x", br#"{"error":{"code":400,"err_code":10071,"description":"wrong"}}"#).unwrap_err();
        assert!(is_code(&error, WRONG_LAST_SEQUENCE) && error.to_string().contains("wrong"), "{error}");
        assert!(api_answer("x", b"not json").is_err());
        assert!(api_answer("x", br#"{"seq":1}"#).is_ok());
    }
}
