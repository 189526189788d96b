//! Who may look at the page.
//!
//! On loopback without a token: whoever is on this machine, as long as their browser asks for this machine by name or
//! number; a page elsewhere whose host name was pointed here (DNS rebinding) is refused. With a token: whoever shows it
//! as `Authorization: Bearer …`, or once as `/?token=…`, which becomes a cookie and leaves the address bar.

use std::net::{IpAddr, SocketAddr};

use axum::extract::{Query, Request, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use baft_kit::SecretFile;
use serde::Deserialize;
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

const COOKIE: &str = "baft_page";

#[derive(Debug, Clone)]
pub(super) struct Door {
    token: Option<SecretFile>,
    addr: SocketAddr,
}

/// What the first visit may carry.
#[derive(Debug, Deserialize)]
pub(super) struct Shown {
    token: Option<String>,
}

impl Door {
    pub(super) fn new(token: Option<SecretFile>, addr: SocketAddr) -> Self {
        Self { token, addr }
    }
}

pub(super) async fn guard(
    State(door): State<Door>,
    Query(shown): Query<Shown>,
    request: Request,
    next: Next,
) -> Response {
    let Some(file) = &door.token else {
        return if is_this_machine(request.headers(), door.addr) {
            next.run(request).await
        } else {
            (StatusCode::FORBIDDEN, "this page is for this machine: open it as http://127.0.0.1 with its port\n")
                .into_response()
        };
    };
    // Read for every request, so that it can be changed.
    let token = match file.read() {
        Ok(token) => token,
        Err(error) => {
            tracing::error!(%error, "somebody wants to see the status page and its token cannot be read");
            return (StatusCode::SERVICE_UNAVAILABLE, "the page's token cannot be read\n").into_response();
        }
    };
    let right = |given: &str| same(given, token.expose());
    if let Some(given) = shown.token.as_deref().filter(|_| request.uri().path() == "/") {
        if right(given) {
            let cookie = format!("{COOKIE}={}; HttpOnly; SameSite=Strict; Path=/", stamp(token.expose()));
            return (StatusCode::SEE_OTHER, [(header::LOCATION, "/".to_owned()), (header::SET_COOKIE, cookie)])
                .into_response();
        }
    } else if bearer(request.headers()).is_some_and(right)
        || cookie(request.headers()).is_some_and(|given| same(given, &stamp(token.expose())))
    {
        return next.run(request).await;
    }
    let how = "show the page's token: open /?token=… once, or send it as `Authorization: Bearer …`\n";
    (StatusCode::UNAUTHORIZED, [(header::WWW_AUTHENTICATE, "Bearer realm=\"baft\"")], how).into_response()
}

/// What the cookie holds: proof of having known the token, not the token.
fn stamp(token: &str) -> String {
    hex::encode(Sha256::digest(format!("baft status page\n{token}")))
}

fn same(given: &str, wanted: &str) -> bool {
    given.as_bytes().ct_eq(wanted.as_bytes()).into()
}

fn bearer(headers: &HeaderMap) -> Option<&str> {
    headers.get(header::AUTHORIZATION)?.to_str().ok()?.strip_prefix("Bearer ").map(str::trim)
}

fn cookie(headers: &HeaderMap) -> Option<&str> {
    let all = headers.get_all(header::COOKIE).iter().filter_map(|value| value.to_str().ok());
    all.flat_map(|line| line.split(';')).find_map(|pair| pair.trim().strip_prefix(COOKIE)?.strip_prefix('='))
}

fn is_this_machine(headers: &HeaderMap, addr: SocketAddr) -> bool {
    let Some(host) = headers.get(header::HOST).and_then(|host| host.to_str().ok()) else { return false };
    let name = host.strip_suffix(&format!(":{}", addr.port())).unwrap_or(host);
    let number = name.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>();
    name.eq_ignore_ascii_case("localhost") || number.is_ok_and(|ip| ip.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(host: &str) -> bool {
        let mut headers = HeaderMap::new();
        headers.insert(header::HOST, host.parse().unwrap());
        is_this_machine(&headers, SocketAddr::from(([127, 0, 0, 1], 9110)))
    }

    #[test]
    fn only_names_of_this_machine_are_answered_without_a_token() {
        for host in ["127.0.0.1:9110", "localhost:9110", "LOCALHOST", "[::1]:9110", "127.0.0.2"] {
            assert!(asked(host), "{host}");
        }
        for host in ["evil.example", "evil.example:9110", "127.0.0.1.evil.example:9110", "10.0.0.1:9110", ""] {
            assert!(!asked(host), "{host}");
        }
    }

    #[test]
    fn the_cookie_does_not_hold_the_token() {
        assert!(!stamp("open sesame").contains("sesame"));
        assert_ne!(stamp("one"), stamp("other"));
    }
}
