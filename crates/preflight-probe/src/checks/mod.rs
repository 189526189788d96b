//! The built-in checks, by what they look at. Each takes the run and gives a finding; none changes anything.

pub mod daemons;
pub mod database;
pub mod environment;
pub mod git;
pub mod host;
pub mod model;
pub mod nats;

use std::time::Duration;

/// Gets a page: status and the beginning of the body.
pub(crate) async fn http_get(url: &str, timeout: Duration) -> Result<(u16, String), String> {
    let url = url.to_owned();
    let work = tokio::task::spawn_blocking(move || {
        let agent: ureq::Agent = ureq::Agent::config_builder()
            .timeout_global(Some(timeout))
            .http_status_as_error(false)
            .user_agent("baft-preflight-probe")
            .build()
            .into();
        let mut response = agent.get(&url).call().map_err(|error| error.to_string())?;
        let status = response.status().as_u16();
        let body = response.body_mut().with_config().limit(1 << 20).read_to_string();
        Ok((status, body.map_err(|error| error.to_string())?))
    });
    work.await.map_err(|error| error.to_string())?
}
