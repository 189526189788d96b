//! `preflight.run` and `preflight.status`: what a probe can be asked over NATS.

use std::time::Duration;

use baft_bus::payload::{Empty, PreflightRunRequest};
use baft_bus::{Bus, Code, Endpoint, RequestError, Service, ServiceHandle};
use tokio_util::sync::CancellationToken;

use crate::daemon::Handle;
use crate::engine::Order;
use crate::scene::Profile;

/// Most checks one request can name.
const MOST: usize = 100;
/// Checks of one request after the other; more would falsify each other's times.
const AT_ONCE: usize = 8;

/// Starts answering.
pub(crate) fn serve(bus: &Bus, handle: &Handle, timeout: Duration, shutdown: CancellationToken) -> ServiceHandle {
    let (asked, told) = (handle.clone(), handle.clone());
    Service::new(bus, "preflight-probe", env!("CARGO_PKG_VERSION"), "Checks whether everything that is needed is there")
        .max_in_flight(AT_ONCE)
        .endpoint(Endpoint::query("run", "preflight.run"), move |context, request: PreflightRunRequest| {
            let handle = asked.clone();
            async move {
                let order = order(request, context.time_left(timeout).min(timeout))?;
                handle.run(&order).await
            }
        })
        .endpoint(Endpoint::query("status", "preflight.status"), move |_, _: Empty| {
            let last = told.last();
            async move {
                last.ok_or_else(|| {
                    RequestError::new(Code::Unavailable, "the first round of checks is still under way")
                        .hint("ask again in a moment, or ask preflight.run")
                })
            }
        })
        .start(shutdown)
}

fn order(request: PreflightRunRequest, deadline: Duration) -> Result<Order, RequestError> {
    let invalid = |message: String| RequestError::new(Code::InvalidArgument, message);
    let profile = match &request.profile {
        None => None,
        Some(name) => Some(
            Profile::named(name)
                .ok_or_else(|| invalid(format!("profile: `{}` is none: local or cluster", name.escape_default())))?,
        ),
    };
    if request.only.len() > MOST {
        return Err(invalid(format!("only: at most {MOST} checks can be named")));
    }
    // The answer has to be on its way before the caller gives up.
    let deadline = deadline.mul_f64(0.9);
    Ok(Order { profile, only: request.only, deadline, ..Order::default() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_profile_that_is_none_and_a_list_without_end_are_refused() {
        let ask = |profile: Option<&str>, only: usize| {
            let request = PreflightRunRequest { profile: profile.map(str::to_owned), only: vec!["x".to_owned(); only] };
            order(request, Duration::from_secs(10)).map(|order| order.profile)
        };
        assert_eq!(ask(Some("cluster"), 1).unwrap(), Some(Profile::Cluster));
        assert_eq!(ask(None, 0).unwrap(), None);
        assert_eq!(ask(Some("x\r\n"), 0).unwrap_err().code, Code::InvalidArgument);
        assert_eq!(ask(None, 101).unwrap_err().code, Code::InvalidArgument);
    }
}
