//! Every request gets an answer, and a bad one harms nobody.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod common;

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use async_nats::HeaderMap;
use baft_bus::payload::Empty;
use baft_bus::{Bus, Code, Endpoint, Link, NatsArgs, RequestError, RequestOptions, Service, ServiceHandle, topology};
use baft_tests::{NatsServer, Wire, wait_until_async};
use common::{SOON, connect, identity, plain, ready};
use futures_util::StreamExt;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

#[derive(Serialize, Deserialize)]
struct Work {
    #[serde(default)]
    what: String,
}

/// A service whose `work` counts, and waits at a gate when told `slow`.
struct Fixture {
    entered: Arc<AtomicU32>,
    done: Arc<AtomicU32>,
    gate: Arc<Semaphore>,
    shutdown: CancellationToken,
    handle: ServiceHandle,
}

impl Fixture {
    /// Waits until so many requests have reached the handler.
    async fn entered(&self, count: u32) {
        wait_until_async("the handler to be busy", SOON, || async {
            (self.entered.load(Ordering::SeqCst) >= count).then_some(())
        })
        .await;
    }
}

async fn serve(bus: &Bus, require_principal: bool) -> Fixture {
    let (entered, done) = (Arc::new(AtomicU32::new(0)), Arc::new(AtomicU32::new(0)));
    let gate = Arc::new(Semaphore::new(0));
    let shutdown = CancellationToken::new();
    let work = {
        let (entered, done, gate) = (entered.clone(), done.clone(), gate.clone());
        move |context: baft_bus::RequestContext, request: Work| {
            let (entered, done, gate) = (entered.clone(), done.clone(), gate.clone());
            async move {
                entered.fetch_add(1, Ordering::SeqCst);
                context.progress(&json!({ "started": request.what })).await;
                match request.what.as_str() {
                    "slow" => gate.acquire().await.unwrap().forget(),
                    "panic" => panic!("a defect"),
                    "missing" => {
                        return Err(RequestError::new(
                            Code::NotFound,
                            "nothing is called \"a\r\nNats-Rollup: all\r\n\"",
                        )
                        .hint("look\nelsewhere"));
                    }
                    "unavailable" => return Err(RequestError::new(Code::Unavailable, "not now")),
                    "huge" => return Ok(json!("x".repeat(2 << 20))),
                    _ => {}
                }
                let number = done.fetch_add(1, Ordering::SeqCst) + 1;
                Ok(json!({ "number": number, "principal": context.principal }))
            }
        }
    };
    let handle = Service::new(bus, "git-sync", "0.1.0", "keeps a mirror")
        .require_principal(require_principal)
        .max_in_flight(4)
        .endpoint(Endpoint::query("status", "git.status"), |_, _: Empty| async { Ok(json!({ "fine": true })) })
        .endpoint(Endpoint::command("sync", "git.sync"), work)
        .start(shutdown.clone());
    tokio::time::timeout(SOON, handle.ready()).await.unwrap();
    Fixture { entered, done, gate, shutdown, handle }
}

async fn work(bus: &Bus, what: &str) -> Result<Value, RequestError> {
    bus.request("git.sync", &json!({ "what": what }), SOON).await
}

fn with_id(id: &str) -> RequestOptions {
    RequestOptions { request_id: Some(id.to_owned()), ..RequestOptions::timeout(SOON) }
}

#[tokio::test]
async fn stock_tools_find_the_service_and_can_ask_it_with_an_empty_body() {
    let (server, bus) = ready().await;
    let _service = serve(&bus, false).await;
    let client = plain(&server).await;
    let info: Value =
        serde_json::from_slice(&client.request("$SRV.INFO.git-sync", "".into()).await.unwrap().payload).unwrap();
    assert_eq!((&info["type"], &info["version"]), (&json!("io.nats.micro.v1.info_response"), &json!("0.1.0")));
    let mut endpoints: Vec<(&str, &str)> = info["endpoints"]
        .as_array()
        .unwrap()
        .iter()
        .map(|endpoint| (endpoint["name"].as_str().unwrap(), endpoint["subject"].as_str().unwrap()))
        .collect();
    endpoints.sort_unstable();
    assert_eq!(
        endpoints,
        [("status", "baft.git.status"), ("sync", "baft.git.sync"), ("sync-as", "baft.git.sync.as.*")]
    );
    for body in ["", "{}", " \n"] {
        let answer = client.request("baft.git.status", body.into()).await.unwrap();
        assert_eq!(serde_json::from_slice::<Value>(&answer.payload).unwrap(), json!({ "fine": true }));
    }
    let _ = work(&bus, "missing").await.unwrap_err();
    let stats: Value =
        serde_json::from_slice(&client.request("$SRV.STATS.git-sync", "".into()).await.unwrap().payload).unwrap();
    let sync = stats["endpoints"].as_array().unwrap().iter().find(|endpoint| endpoint["name"] == "sync").unwrap();
    assert_eq!((&sync["num_requests"], &sync["num_errors"]), (&json!(1), &json!(1)));
    assert!(sync["last_error"].as_str().unwrap().starts_with("404:nothing is called"));
}

#[tokio::test]
async fn a_flood_is_answered_with_overloaded_and_the_rest_goes_on() {
    let (_server, bus) = ready().await;
    let service = serve(&bus, false).await;
    let slow: Vec<_> = (0..4)
        .map(|_| {
            let bus = bus.clone();
            tokio::spawn(async move { work(&bus, "slow").await })
        })
        .collect();
    service.entered(4).await;
    let asked = Instant::now();
    let flood = (0..200).map(|_| work(&bus, "quick"));
    for result in futures_util::future::join_all(flood).await {
        let error = result.unwrap_err();
        assert_eq!((error.code, error.retryable), (Code::Overloaded, true));
    }
    assert!(asked.elapsed() < Duration::from_secs(3));
    service.gate.add_permits(4);
    for one in slow {
        one.await.unwrap().unwrap();
    }
    work(&bus, "quick").await.unwrap();
}

#[tokio::test]
async fn a_users_text_with_line_breaks_comes_back_as_an_error_and_crashes_nothing() {
    let (server, bus) = ready().await;
    let _service = serve(&bus, false).await;
    let error = work(&bus, "missing").await.unwrap_err();
    assert_eq!(error.code, Code::NotFound);
    assert_eq!(error.message, "nothing is called \"a\r\nNats-Rollup: all\r\n\"");
    assert_eq!(error.hint.as_deref(), Some("look\nelsewhere"));
    // The stock client sees the reason both in the body and in one header line.
    let answer = plain(&server).await.request("baft.git.sync", r#"{"what":"missing"}"#.into()).await.unwrap();
    let headers = answer.headers.unwrap();
    assert_eq!(headers.get("Nats-Service-Error-Code").unwrap().as_str(), "404");
    assert!(headers.get("Nats-Service-Error").unwrap().as_str().contains("nothing is called"));
    assert!(headers.get("Nats-Rollup").is_none());
    let body: Value = serde_json::from_slice(&answer.payload).unwrap();
    assert_eq!(body["error"]["code"], "not_found");
    work(&bus, "quick").await.unwrap();
}

#[tokio::test]
async fn whatever_comes_in_is_answered_and_the_next_request_is_served() {
    let (server, bus) = ready().await;
    let _service = serve(&bus, false).await;
    let client = plain(&server).await;
    let deep = "[".repeat(100_000);
    let long = format!("\"{}\"", "x".repeat(900_000));
    let bodies: Vec<Vec<u8>> = vec![
        b"not json".to_vec(),
        b"\xff\xfe\x00".to_vec(),
        b"[]".to_vec(),
        b"null".to_vec(),
        b"{\"what\":1}".to_vec(),
        b"{\"what\":1e999}".to_vec(),
        b"{\"what\":\"\\u0000\\r\\n\"".to_vec(),
        deep.into_bytes(),
        long.into_bytes(),
    ];
    for body in bodies {
        let answer = client.request("baft.git.sync", body.clone().into()).await.unwrap();
        let value: Value = serde_json::from_slice(&answer.payload).unwrap();
        assert_eq!(value["error"]["code"], "invalid_argument", "{value}");
    }
    for (name, value) in [("Baft-Deadline", "x"), ("Baft-Request-Id", "a b"), ("baft-request-id", ">")] {
        let mut headers = HeaderMap::new();
        headers.insert(name, value);
        let answer = client.request_with_headers("baft.git.sync", headers, "{}".into()).await.unwrap();
        assert_eq!(answer.headers.unwrap().get("Nats-Service-Error-Code").unwrap().as_str(), "400");
    }
    let error = work(&bus, "panic").await.unwrap_err();
    assert_eq!(error.code, Code::Internal);
    let error = work(&bus, "huge").await.unwrap_err();
    assert_eq!(error.code, Code::TooLarge);
    // Larger than the server takes: refused here, before it is sent.
    let error = bus.request::<Value, Value>("git.sync", &json!("x".repeat(2 << 20)), SOON).await.unwrap_err();
    assert_eq!(error.code, Code::TooLarge);
    work(&bus, "quick").await.unwrap();
}

#[tokio::test]
async fn what_nobody_waits_for_any_more_is_not_done() {
    let (server, bus) = ready().await;
    let service = serve(&bus, false).await;
    let mut headers = HeaderMap::new();
    headers.insert("Baft-Deadline", (baft_kit::time::unix_millis() - 60_000).to_string().as_str());
    let answer = plain(&server).await.request_with_headers("baft.git.sync", headers, "{}".into()).await.unwrap();
    assert_eq!(answer.headers.unwrap().get("Nats-Service-Error-Code").unwrap().as_str(), "504");
    assert_eq!(service.done.load(Ordering::SeqCst), 0);
    let error = bus.request::<Value, Value>("git.sync", &json!({ "what": "slow" }), Duration::from_millis(300)).await;
    let error = error.unwrap_err();
    assert_eq!((error.code, error.retryable), (Code::Timeout, true));
    service.gate.add_permits(1);
}

#[tokio::test]
async fn a_request_repeated_with_the_same_id_is_done_once_and_answered_the_same() {
    let (_server, bus) = ready().await;
    let service = serve(&bus, false).await;
    let ask = |what: &'static str, id: &'static str| {
        let bus = bus.clone();
        async move { bus.request_with::<_, Value>("git.sync", &json!({ "what": what }), with_id(id)).await }
    };
    let first = ask("quick", "id-1").await.unwrap();
    assert_eq!(ask("quick", "id-1").await.unwrap(), first);
    assert_eq!(service.done.load(Ordering::SeqCst), 1);
    assert_eq!(ask("quick", "id-2").await.unwrap()["number"], 2);
    // The same id for something else is a mistake of the caller.
    assert_eq!(ask("other", "id-1").await.unwrap_err().code, Code::Conflict);
    // Two at once: one does the work, both get its result.
    let (one, two) = (tokio::spawn(ask("slow", "id-3")), tokio::spawn(ask("slow", "id-3")));
    service.entered(3).await;
    service.gate.add_permits(1);
    assert_eq!(one.await.unwrap().unwrap(), two.await.unwrap().unwrap());
    assert_eq!(service.done.load(Ordering::SeqCst), 3);
    // What failed for good stays failed; what may work later is tried again.
    assert_eq!(ask("missing", "id-4").await.unwrap_err().code, Code::NotFound);
    assert_eq!(ask("missing", "id-4").await.unwrap_err().code, Code::NotFound);
    assert_eq!(ask("unavailable", "id-5").await.unwrap_err().code, Code::Unavailable);
    assert_eq!(ask("unavailable", "id-5").await.unwrap_err().code, Code::Unavailable);
    // A principal's results are its own.
    let options = RequestOptions { principal: Some("ann".into()), ..with_id("id-1") };
    let answer: Value = bus.request_with("git.sync", &json!({ "what": "quick" }), options).await.unwrap();
    assert_eq!(answer, json!({ "number": 4, "principal": "ann" }));
}

#[tokio::test]
async fn a_remembered_result_outlives_the_process_and_the_broker() {
    let (mut server, bus) = ready().await;
    let service = serve(&bus, false).await;
    let body = json!({ "what": "quick" });
    let first: Value = bus.request_with("git.sync", &body, with_id("id-1")).await.unwrap();
    service.shutdown.cancel();
    service.handle.finished(SOON).await;
    server.kill();
    server.restart();
    let bus = connect(&server, "git-sync").await;
    let service = serve(&bus, false).await;
    assert_eq!(bus.request_with::<_, Value>("git.sync", &body, with_id("id-1")).await.unwrap(), first);
    assert_eq!(service.done.load(Ordering::SeqCst), 0);
}

#[tokio::test]
async fn without_the_bucket_a_request_with_an_id_is_refused_rather_than_done_twice() {
    let server = NatsServer::start();
    let bus = connect(&server, "git-sync").await;
    let service = serve(&bus, false).await;
    let error = bus.request_with::<_, Value>("git.sync", &json!({}), with_id("id-1")).await.unwrap_err();
    assert_eq!(error.code, Code::Unavailable);
    assert!(error.message.contains("baft admin init"), "{error}");
    work(&bus, "quick").await.unwrap();
    assert_eq!(service.done.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn where_a_principal_is_required_only_the_subject_says_who_acts() {
    let (server, bus) = ready().await;
    let service = serve(&bus, true).await;
    let error = work(&bus, "quick").await.unwrap_err();
    assert_eq!(error.code, Code::Forbidden);
    assert!(error.hint.unwrap().contains("baft.git.sync.as."));
    let options = RequestOptions { principal: Some("ann".into()), ..RequestOptions::timeout(SOON) };
    let answer: Value = bus.request_with("git.sync", &json!({ "principal": "eve" }), options).await.unwrap();
    assert_eq!(answer["principal"], "ann");
    // Questions need none.
    bus.request::<_, Value>("git.status", &Empty {}, SOON).await.unwrap();
    let answer = plain(&server).await.request("baft.git.sync.as.a$b", "{}".into()).await.unwrap();
    assert_eq!(answer.headers.unwrap().get("Nats-Service-Error-Code").unwrap().as_str(), "400");
    let options = RequestOptions { principal: Some("a.b".into()), ..RequestOptions::timeout(SOON) };
    let error = bus.request_with::<_, Value>("git.sync", &json!({}), options).await.unwrap_err();
    assert_eq!(error.code, Code::InvalidArgument);
    assert_eq!(service.done.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn a_daemon_that_is_not_running_is_named_at_once() {
    let (_server, bus) = ready().await;
    let asked = Instant::now();
    let error = work(&bus, "quick").await.unwrap_err();
    assert_eq!(error.code, Code::Unavailable);
    assert!(error.message.starts_with("git-sync is not running"), "{error}");
    assert!(asked.elapsed() < Duration::from_secs(3));
}

#[tokio::test]
async fn progress_can_be_watched_under_the_request_id() {
    let (server, bus) = ready().await;
    let _service = serve(&bus, false).await;
    let mut progress = plain(&server).await.subscribe("baft.progress.id-9").await.unwrap();
    bus.request_with::<_, Value>("git.sync", &json!({ "what": "quick" }), with_id("id-9")).await.unwrap();
    let message = tokio::time::timeout(SOON, progress.next()).await.unwrap().unwrap();
    assert_eq!(serde_json::from_slice::<Value>(&message.payload).unwrap(), json!({ "started": "quick" }));
}

#[tokio::test]
async fn a_service_that_started_without_a_broker_answers_when_it_comes_and_after_each_restart() {
    let mut server = NatsServer::prepare();
    let bus = Bus::connect(&NatsArgs::for_url(&server.url()), identity("git-sync"), None).await.unwrap();
    let shutdown = CancellationToken::new();
    let service = Service::new(&bus, "git-sync", "0.1.0", "test")
        .endpoint(Endpoint::query("status", "git.status"), |_, _: Empty| async { Ok(json!({ "fine": true })) })
        .start(shutdown.clone());
    for round in 0..3 {
        server.restart();
        tokio::time::timeout(Duration::from_secs(20), service.ready()).await.unwrap();
        let caller = connect(&server, "baft").await;
        wait_until_async("an answer", Duration::from_secs(20), || async {
            caller.request::<_, Value>("git.status", &Empty {}, SOON).await.ok()
        })
        .await;
        if round == 2 {
            topology::ensure(&caller).await.unwrap();
        }
    }
    shutdown.cancel();
    service.finished(SOON).await;
}

#[tokio::test]
async fn an_answer_waits_for_the_connection_that_was_lost_meanwhile() {
    let server = NatsServer::start();
    let wire = Wire::to(server.port()).await;
    let bus = Bus::connect(&NatsArgs::for_url(&wire.url()), identity("git-sync"), None).await.unwrap();
    let service = serve(&bus, false).await;
    let caller = connect(&server, "baft").await;
    let asked =
        tokio::spawn(async move { caller.request::<_, Value>("git.sync", &json!({ "what": "slow" }), 3 * SOON).await });
    service.entered(1).await;
    wire.break_off(true);
    let mut link = bus.connected();
    tokio::time::timeout(SOON, link.wait_for(|link| *link != Link::Up)).await.unwrap().unwrap();
    service.gate.add_permits(1);
    wait_until_async("the work to be done", SOON, || async {
        (service.done.load(Ordering::SeqCst) == 1).then_some(())
    })
    .await;
    tokio::time::sleep(Duration::from_millis(100)).await;
    wire.break_off(false);
    assert_eq!(asked.await.unwrap().unwrap()["number"], 1);
}

#[tokio::test]
async fn a_shutdown_answers_what_is_under_way_and_takes_nothing_new() {
    let (server, bus) = ready().await;
    let service = serve(&bus, false).await;
    let caller = connect(&server, "baft").await;
    let under_way = tokio::spawn({
        let caller = caller.clone();
        async move { work(&caller, "slow").await }
    });
    service.entered(1).await;
    service.shutdown.cancel();
    wait_until_async("the endpoint to be gone", SOON, || async {
        matches!(work(&caller, "quick").await, Err(RequestError { code: Code::Unavailable, .. })).then_some(())
    })
    .await;
    service.gate.add_permits(1);
    under_way.await.unwrap().unwrap();
    let ended = Instant::now();
    service.handle.finished(SOON).await;
    assert!(ended.elapsed() < Duration::from_secs(3));
}

#[tokio::test]
async fn a_request_that_one_instance_works_on_is_not_begun_by_another() {
    let (server, bus) = ready().await;
    let one = serve(&bus, false).await;
    let two = serve(&connect(&server, "git-sync").await, false).await;
    let body = json!({ "what": "slow" });
    let caller = connect(&server, "baft").await;
    // Whichever instance a repetition lands on: it waits for its own work, or refuses what the other one does.
    let mut codes = Vec::new();
    for _ in 0..20 {
        let options = RequestOptions { timeout: Duration::from_millis(150), ..with_id("id-1") };
        let error = caller.request_with::<_, Value>("git.sync", &body, options).await.unwrap_err();
        assert!(error.retryable, "{error}");
        codes.push(error.code);
    }
    assert!(codes.iter().all(|code| matches!(code, Code::Timeout | Code::Conflict)), "{codes:?}");
    assert_eq!(one.entered.load(Ordering::SeqCst) + two.entered.load(Ordering::SeqCst), 1, "{codes:?}");
    one.gate.add_permits(1);
    two.gate.add_permits(1);
    let answer = wait_until_async("the result", SOON, || async {
        caller.request_with::<_, Value>("git.sync", &body, with_id("id-1")).await.ok()
    })
    .await;
    assert_eq!(answer["number"], 1);
}
