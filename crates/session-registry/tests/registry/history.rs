//! What became of sessions, as the request tells it.

use baft_bus::Bus;
use baft_bus::payload::*;
use baft_tests::NatsServer;
use serde_json::{Value, json};

use crate::support::*;

/// The stream of session events takes nothing more while `Closed`, as when its disk is full.
enum Stream {
    Closed,
    Open,
}

async fn set_stream(server: &NatsServer, to: Stream) {
    let user = (baft_tests::nats::USER.into(), baft_tests::nats::PASSWORD.into());
    let plain = async_nats::ConnectOptions::with_user_and_password(user.0, user.1);
    let plain = plain.connect(server.bare_url()).await.unwrap();
    let api = async |call: &str, body: String| -> Value {
        let answer = plain.request(format!("$JS.API.STREAM.{call}.BAFT_SESSION_EVENTS"), body.into()).await.unwrap();
        let answer: Value = serde_json::from_slice(&answer.payload).unwrap();
        assert_eq!(answer["error"], Value::Null, "{call}");
        answer
    };
    let info = api("INFO", String::new()).await;
    let (most, discard) = match to {
        Stream::Closed => (info["state"]["messages"].as_i64().unwrap(), "new"),
        Stream::Open => (-1, "old"),
    };
    let mut config = info["config"].clone();
    config["max_msgs"] = json!(most);
    config["discard"] = json!(discard);
    api("UPDATE", config.to_string()).await;
}

async fn history(bus: &Bus, request: Value) -> Vec<(String, u64, SessionState)> {
    let answer: SessionHistoryResponse = ask(bus, "history", &request).await.unwrap();
    answer.transitions.into_iter().map(|step| (step.record.session_id, step.number, step.to)).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_history_has_the_newest_steps_although_no_event_can_tell_them() {
    use SessionState::{Active, Ended, Ending, Starting};
    let (server, bus) = server().await;
    let registry = Registry::start(&server.url(), impatient()).await;
    start(&bus, &named("sunday")).await;
    events_tell_the_bucket(&bus).await;
    set_stream(&server, Stream::Closed).await;

    let monday = start(&bus, &named("monday")).await;
    let of_monday = || history(&bus, json!({ "session_id": "monday" }));
    let step = |number, to| ("monday".to_owned(), number, to);
    assert_eq!(of_monday().await, [step(1, Starting), step(2, Active)]);
    end(&bus, "monday", &monday.epoch).await.unwrap();
    let whole = [step(1, Starting), step(2, Active), step(3, Ending), step(4, Ended)];
    assert_eq!(of_monday().await, whole);
    assert_eq!(history(&bus, json!({ "session_id": "monday", "limit": 2 })).await, whole[2..]);
    let of_all = history(&bus, json!({ "limit": 5 })).await;
    assert_eq!((&of_all[0], &of_all[1..]), (&("sunday".to_owned(), 2, Active), &whole[..]));
    let told: Vec<_> = events(&bus).await.into_iter().map(|(_, step)| step.record.session_id).collect();
    assert_eq!(told, ["sunday", "sunday"], "this test is about steps that are not told");

    // A registry that did not see them happen has them too.
    registry.stop().await;
    let registry = Registry::start(&server.url(), impatient()).await;
    assert_eq!(of_monday().await, whole);

    set_stream(&server, Stream::Open).await;
    events_tell_the_bucket(&bus).await;
    assert_eq!(of_monday().await, whole, "each once, told and still carried");
    registry.stop().await;
}
