//! Following a long request while it runs.

use async_nats::Subscriber;
use futures_util::StreamExt;
use serde::de::DeserializeOwned;

use crate::connection::Bus;
use crate::error::BusError;

/// What a daemon reports about one request as it goes along; best effort, never the result.
#[derive(Debug)]
pub struct Progress {
    messages: Subscriber,
}

impl Progress {
    /// The next report that can be read as `T`; nothing when there will be none any more.
    pub async fn next<T: DeserializeOwned>(&mut self) -> Option<T> {
        while let Some(message) = self.messages.next().await {
            if let Ok(report) = serde_json::from_slice(&message.payload) {
                return Some(report);
            }
        }
        None
    }
}

impl Bus {
    /// Follows the request of this id. Begin before asking: nothing is repeated.
    ///
    /// # Errors
    /// There is no connection.
    pub async fn progress(&self, request_id: &str) -> Result<Progress, BusError> {
        let messages = self.subscribe(&self.prefix().progress(request_id), None).await?;
        Ok(Progress { messages })
    }
}
