//! Reconciling on a schedule, whatever the doorbells say.

use baft_kit::schedule::Schedule;
use tokio_util::sync::CancellationToken;

use super::Ring;
use super::orders::Bell;

/// Rings at the scheduled times until cancelled.
pub(super) async fn ring(schedule: Schedule, bell: Bell, shutdown: CancellationToken) {
    loop {
        tokio::select! {
            // In the middle of the spread: the interval as it was given.
            () = tokio::time::sleep(schedule.pause(chrono::Utc::now(), 0.5)) => bell.ring(Ring::Schedule),
            () = shutdown.cancelled() => return,
        }
    }
}
