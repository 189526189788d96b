//! Events as they happen, for people.

use async_nats::Subscriber;
use futures_util::StreamExt;

use crate::connection::Bus;
use crate::error::BusError;
use crate::event::{DecodeError, RawEvent};

/// A live view of events, for people: nothing is stored or repeated.
#[derive(Debug)]
pub struct LiveEvents {
    messages: Subscriber,
}

impl LiveEvents {
    /// The next event; `None` when the connection is closed.
    pub async fn next(&mut self) -> Option<Result<RawEvent, DecodeError>> {
        let message = self.messages.next().await?;
        Some(RawEvent::from_message(&message.subject, message.headers.as_ref(), message.payload))
    }
}

/// Subscribes to events as they happen; `kinds` like `>` or `git.*`. Returns when the server knows the subscription.
///
/// # Errors
/// When there is no connection or no permission.
pub async fn subscribe_live(bus: &Bus, kinds: &str) -> Result<LiveEvents, BusError> {
    let subject = bus.prefix().event(kinds);
    let messages = bus.subscribe(&subject, None).await?;
    bus.confirm_subscription(&subject).await?;
    Ok(LiveEvents { messages })
}
