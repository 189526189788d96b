//! The status page of session-registry: the real program, a real broker, a real browser.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::net::SocketAddr;
use std::time::Duration;

use baft_bus::Bus;
use baft_bus::payload::{SessionEndResponse, SessionStartResponse};
use baft_tests::browser::{Browser, Scripts};
use baft_tests::nats::NatsServer;
use baft_tests::ports::Port;
use baft_tests::process::{Process, wait_until};
use baft_tests::web;
use serde_json::{Value, json};

const SOON: Duration = Duration::from_secs(30);

struct Stage {
    _registry: Process,
    nats: NatsServer,
    page: Port,
}

impl Stage {
    fn start(more: &[&str]) -> Self {
        let nats = NatsServer::start();
        let page = Port::lease();
        let given = [
            format!("--nats-url={}", nats.url()),
            format!("--page-addr={}", page.address()),
            "--admin-addr=127.0.0.1:0".to_owned(),
        ];
        let arguments = given.into_iter().chain(more.iter().map(|argument| (*argument).to_owned()));
        let registry = Process::spawn_bin("session-registry", arguments, &[]);
        let stage = Self { _registry: registry, nats, page };
        wait_until("the page", SOON, || (web::get(stage.page.address(), "/page.css").0 == 200).then_some(()));
        stage
    }

    fn addr(&self) -> SocketAddr {
        self.page.address()
    }

    fn url(&self) -> String {
        format!("http://{}/", self.addr())
    }
}

async fn begin(bus: &Bus, analyst: &str, objective: &str) -> SessionStartResponse {
    let request = json!({"analyst": analyst, "objective": objective, "client": {"name": "test", "version": "1"}});
    let started = std::time::Instant::now();
    loop {
        match bus.request("session.start", &request, SOON).await {
            Ok(answer) => return answer,
            Err(error) if started.elapsed() > SOON => panic!("{error:?}"),
            // Nobody answers yet.
            Err(_) => tokio::time::sleep(Duration::from_millis(50)).await,
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn people_see_sessions_come_and_go_without_loading_the_page_again() {
    let stage = Stage::start(&[]);
    let bus = stage.nats.client().await;
    let first = begin(&bus, "alice", "Check the <b>gaps</b> of module 3").await;
    let Some(browser) = Browser::start(Scripts::On) else { return };
    browser.open(&stage.url());
    for text in ["alice", "Check the <b>gaps</b> of module 3", &first.session_id, "active", "git-sync does not answer"]
    {
        browser.wait_for(text);
    }
    browser.wait_for("live");
    // Would be gone after a reload.
    let _ = browser.eval("window.still = 1");
    let second = begin(&bus, "bob", "Mend the traps").await;
    browser.wait_for(&second.session_id);
    browser.wait_for("session.started");
    if let Ok(path) = std::env::var("BAFT_SCREENSHOT") {
        std::fs::write(path, browser.screenshot()).unwrap();
    }
    let end = json!({"session_id": second.session_id, "epoch": second.epoch});
    let _: SessionEndResponse = bus.request("session.end", &end, SOON).await.unwrap();
    wait_until("the ended session to leave the table", SOON, || {
        let rows = browser.eval("document.querySelector('table.sessions').innerText");
        (!rows.as_str().unwrap_or("bob").contains("bob")).then_some(())
    });
    assert_eq!(browser.eval("window.still"), json!(1));
    assert_eq!(browser.eval("document.querySelectorAll('b').length"), json!(0), "what people write is text");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_scripts_the_page_is_a_table_that_loads_itself_again() {
    let stage = Stage::start(&[]);
    let bus = stage.nats.client().await;
    let session = begin(&bus, "alice", "Look").await;
    // What a program that is no browser gets: everything.
    let (status, page) = web::get(stage.addr(), "/");
    assert!(status == 200 && page.contains(&session.session_id) && page.contains("http-equiv=\"refresh\""), "{page}");
    let Some(browser) = Browser::start(Scripts::Off) else { return };
    browser.open(&stage.url());
    browser.wait_for(&session.session_id);
    browser.wait_for("loads itself again every 15 seconds");
    let second = begin(&bus, "bob", "Look as well").await;
    browser.wait_for(&second.session_id);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn with_a_token_only_who_shows_it_sees_anything() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("token");
    std::fs::write(&file, "open-sesame\n").unwrap();
    let stage = Stage::start(&[&format!("--page-token-file={}", file.display())]);
    let _bus = stage.nats.client().await;
    for path in ["/", "/live", "/?token=wrong", "/live?token=open-sesame"] {
        assert_eq!(web::get(stage.addr(), path).0, 401, "{path}");
    }
    let Some(browser) = Browser::start(Scripts::On) else { return };
    browser.open(&format!("{}?token=open-sesame", stage.url()));
    browser.wait_for("Nobody is working now");
    assert_eq!(browser.address(), stage.url(), "the token leaves the address bar");
    browser.wait_for("live");
    // Another token, and the old cookie is worth nothing.
    std::fs::write(&file, "another\n").unwrap();
    browser.open(&stage.url());
    browser.wait_for("show the page's token");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_page_says_when_nats_is_away_and_goes_on_when_it_is_back() {
    let mut stage = Stage::start(&[]);
    let bus = stage.nats.client().await;
    let session = begin(&bus, "alice", "Look").await;
    stage.nats.stop();
    wait_until("the page to say so", SOON, || {
        let (status, page) = web::get(stage.addr(), "/");
        (status == 200 && page.contains("NATS is not connected")).then_some(())
    });
    stage.nats.restart();
    wait_until("the page to show the session again", SOON, || {
        let (_, page) = web::get(stage.addr(), "/");
        (!page.contains("NATS is not connected") && page.contains(&session.session_id)).then_some(())
    });
    let _: Value = bus.request("session.list", &json!({}), SOON).await.unwrap();
}
