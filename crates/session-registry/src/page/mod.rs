//! The status page: sessions, git, database, checks and events at a glance, for people who would rather look.
//!
//! The server renders everything. Without scripts the page is a table that loads itself again; with them one stream
//! (server-sent events) brings the changed middle of the page. It only reads, and works while nobody is asked only as
//! much as somebody looks.

mod door;
mod paint;
mod tail;
mod view;

use std::net::SocketAddr;
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::http::{HeaderValue, header};
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{Html, IntoResponse, Response};
use axum::routing::get;
use baft_kit::SecretFile;
use baft_kit::config::ConfigError;
use futures_util::{Stream, StreamExt, stream};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::registry::Registry;
use door::Door;
use paint::Painter;

/// How many people may watch at once; each holds a connection.
const WATCHERS: usize = 64;
/// Nothing on the page comes from elsewhere, and nobody may frame it.
const POLICY: &str = "default-src 'none'; style-src 'self'; script-src 'self'; connect-src 'self'; img-src data:; \
                      base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// Where the page is served, and who may look.
#[derive(Debug, Clone)]
pub struct PageSettings {
    /// Where to listen.
    pub addr: SocketAddr,
    /// What people must show; nobody must on loopback.
    pub token: Option<SecretFile>,
}

impl PageSettings {
    /// Checks that a page which others can reach has a token.
    ///
    /// # Errors
    /// It has none.
    pub fn new(addr: SocketAddr, token: Option<SecretFile>) -> Result<Self, ConfigError> {
        if token.is_none() && !addr.ip().is_loopback() {
            let allowed = "a loopback address, or --page-token-file with what people must show";
            return Err(ConfigError::new("--page-addr", addr, allowed));
        }
        Ok(Self { addr, token })
    }
}

/// A page being served.
#[derive(Debug)]
pub struct Page {
    /// Where it is; tells the port when port 0 was asked for.
    pub local_addr: SocketAddr,
    listener: TcpListener,
    settings: PageSettings,
}

impl Page {
    /// Takes the address.
    ///
    /// # Errors
    /// It is taken or not ours.
    pub async fn bind(settings: PageSettings) -> Result<Self, ConfigError> {
        let failed = |error: std::io::Error| ConfigError::new("--page-addr", settings.addr, error.to_string());
        let listener = TcpListener::bind(settings.addr).await.map_err(failed)?;
        let local_addr = listener.local_addr().map_err(failed)?;
        Ok(Self { local_addr, listener, settings })
    }

    /// Serves what `registry` knows until `shutdown`.
    pub(crate) async fn serve(self, registry: Registry, shutdown: CancellationToken) {
        let painter = Painter::new(registry, WATCHERS);
        let door = Door::new(self.settings.token, self.local_addr);
        let seen = Looks { painter: painter.clone(), shutdown: shutdown.clone() };
        let router = Router::new()
            .route("/", get(whole))
            .route("/live", get(live))
            .with_state(seen)
            .layer(axum::middleware::from_fn_with_state(door, door::guard))
            .route("/page.css", get(async || asset("text/css; charset=utf-8", include_str!("page.css"))))
            .route("/page.js", get(async || asset("text/javascript; charset=utf-8", include_str!("page.js"))))
            .layer(axum::middleware::map_response(harden));
        tracing::info!(url = %format_args!("http://{}/", self.local_addr), "status page");
        let ended = shutdown.clone().cancelled_owned();
        let serving = async {
            if let Err(error) = axum::serve(self.listener, router).with_graceful_shutdown(ended).await {
                tracing::error!(%error, "the status page stopped");
            }
        };
        tokio::join!(serving, painter.work(shutdown.clone()));
    }
}

#[derive(Debug, Clone)]
struct Looks {
    painter: Painter,
    shutdown: CancellationToken,
}

async fn whole(State(looks): State<Looks>) -> Html<String> {
    let middle = looks.painter.now().await;
    Html(view::whole(&middle))
}

async fn live(State(looks): State<Looks>) -> Response {
    let Some(watcher) = looks.painter.watch() else {
        return (axum::http::StatusCode::TOO_MANY_REQUESTS, "too many people are watching; load the page instead\n")
            .into_response();
    };
    let events = pictures(watcher).take_until(looks.shutdown.cancelled_owned());
    Sse::new(events).keep_alive(KeepAlive::new().interval(Duration::from_secs(15))).into_response()
}

fn pictures(watcher: paint::Watcher) -> impl Stream<Item = Result<Event, std::convert::Infallible>> {
    stream::unfold(watcher, |mut watcher| async move {
        let picture = watcher.next().await?;
        Some((Ok(Event::default().event("middle").data(&*picture)), watcher))
    })
}

fn asset(kind: &'static str, text: &'static str) -> Response {
    ([(header::CONTENT_TYPE, kind)], text).into_response()
}

async fn harden(mut response: Response) -> Response {
    let headers = response.headers_mut();
    for (name, value) in [
        (header::CONTENT_SECURITY_POLICY, POLICY),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::REFERRER_POLICY, "no-referrer"),
        (header::CACHE_CONTROL, "no-store"),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    response
}
