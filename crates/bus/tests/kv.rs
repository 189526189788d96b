//! Exactly one writer wins, whatever happens to the acknowledgements.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod common;

use std::time::Duration;

use baft_bus::BusError;
use baft_bus::kv::{Bucket, WriteError};
use baft_tests::wait_until_async;
use bytes::Bytes;
use common::{SOON, api, connect, plain, ready};
use serde_json::Value;

fn text(text: &str) -> Bytes {
    Bytes::copy_from_slice(text.as_bytes())
}

#[tokio::test]
async fn of_many_writers_with_the_same_revision_exactly_one_wins() {
    let (server, bus) = ready().await;
    let bucket = Bucket::open(&bus, "SESSIONS");
    let other = Bucket::open(&connect(&server, "baft").await, "SESSIONS");
    for key in ["a", "s.01J"] {
        let creates = (0..20).map(|n| {
            let bucket = if n % 2 == 0 { bucket.clone() } else { other.clone() };
            async move { bucket.create(key, text(&n.to_string())).await }
        });
        let results = futures_util::future::join_all(creates).await;
        let revisions: Vec<u64> = results.iter().filter_map(|result| result.as_ref().ok()).copied().collect();
        assert_eq!(revisions.len(), 1, "{results:?}");
        assert!(results.iter().all(|result| matches!(result, Ok(_) | Err(WriteError::Conflict { .. }))));
        let revision = revisions[0];
        let (one, two) =
            tokio::join!(bucket.update(key, text("one"), revision), other.update(key, text("two"), revision));
        assert!(one.is_ok() != two.is_ok(), "{one:?} {two:?}");
        let entry = bucket.get(key).await.unwrap().unwrap();
        assert_eq!(entry.value, if one.is_ok() { text("one") } else { text("two") });
        assert_eq!(entry.revision, one.or(two).unwrap());
        assert!(entry.created.contains('T'), "{}", entry.created);
    }
}

#[tokio::test]
async fn a_write_whose_acknowledgement_was_lost_is_recognised_as_won() {
    let (server, bus) = ready().await;
    let bucket = Bucket::open(&bus, "SESSIONS");
    // The server takes the first attempt when it wakes up, after the client has given up waiting for it; the second
    // attempt then meets the first one's result.
    server.freeze();
    let create = tokio::spawn({
        let bucket = bucket.clone();
        async move { bucket.create("key", text("mine")).await }
    });
    tokio::time::sleep(Duration::from_millis(6500)).await;
    server.thaw();
    let revision = create.await.unwrap().expect("won");
    let entry = bucket.get("key").await.unwrap().unwrap();
    assert_eq!((entry.value, entry.revision), (text("mine"), revision));
    assert_eq!(revision, 1, "written once");
}

#[tokio::test]
async fn a_key_recreated_over_an_expiry_marker_expires_again() {
    let (_server, bus) = ready().await;
    let bucket = Bucket::open(&bus, "SESSIONS");
    let gone = || async { bucket.get("lock").await.unwrap().is_none().then_some(()) };
    for round in 1..=3 {
        let revision = bucket.create_with_ttl("lock", text("held"), Duration::from_millis(900)).await.unwrap();
        assert!(revision >= round);
        assert!(matches!(
            bucket.create_with_ttl("lock", text("mine"), Duration::from_secs(1)).await.unwrap_err(),
            WriteError::Conflict { .. }
        ));
        wait_until_async("the lock to expire", SOON, gone).await;
    }
    // Also over the marker of a delete.
    bucket.create("lock", text("for ever")).await.unwrap();
    bucket.delete("lock").await.unwrap();
    bucket.create_with_ttl("lock", text("held"), Duration::from_secs(1)).await.unwrap();
    wait_until_async("the lock to expire", SOON, gone).await;
}

#[tokio::test]
async fn deleting_creating_again_and_listing_fit_together() {
    let (_server, bus) = ready().await;
    let bucket = Bucket::open(&bus, "SESSIONS");
    assert_eq!(bucket.keys().await.unwrap(), Vec::<String>::new());
    assert!(bucket.get("a").await.unwrap().is_none());
    let first = bucket.create("a", text("1")).await.unwrap();
    bucket.create("b.c", text("2")).await.unwrap();
    let mut keys = bucket.keys().await.unwrap();
    keys.sort();
    assert_eq!(keys, ["a", "b.c"]);
    assert!(matches!(bucket.delete_at("a", first + 99).await.unwrap_err(), WriteError::Conflict { .. }));
    bucket.delete_at("a", first).await.unwrap();
    assert!(bucket.get("a").await.unwrap().is_none());
    assert_eq!(bucket.keys().await.unwrap(), ["b.c"]);
    assert!(matches!(bucket.update("a", text("x"), first).await.unwrap_err(), WriteError::Conflict { .. }));
    let again = bucket.create("a", text("3")).await.unwrap();
    assert!(again > first);
    assert_eq!(bucket.get("a").await.unwrap().unwrap().value, text("3"));
}

#[tokio::test]
async fn a_key_or_time_that_cannot_be_is_refused_before_it_is_sent() {
    let (_server, bus) = ready().await;
    let bucket = Bucket::open(&bus, "SESSIONS");
    for key in ["", ".", "a.", ".a", "a..b", "a b", "a*", ">", "a\r\nb", "é"] {
        assert!(matches!(bucket.create(key, text("x")).await.unwrap_err(), WriteError::Invalid(_)), "{key:?}");
    }
    let error = bucket.create_with_ttl("a", text("x"), Duration::ZERO).await.unwrap_err();
    assert!(matches!(error, WriteError::Invalid(_)));
}

#[tokio::test]
async fn a_bucket_that_is_not_there_is_an_error_that_says_what_to_run() {
    let (server, bus) = ready().await;
    let gone = api(&plain(&server).await, "STREAM.DELETE.KV_BAFT_SESSIONS", Value::Null).await;
    assert_eq!(gone["success"], true);
    let bucket = Bucket::open(&bus, "SESSIONS");
    for error in [bucket.get("a").await.unwrap_err(), bucket.create("a", text("x")).await.unwrap_err()] {
        assert!(matches!(&error, WriteError::Bus(BusError::NoStream { .. })), "{error:?}");
        assert!(error.to_string().contains("baft admin init"));
    }
}

#[tokio::test]
async fn who_follows_a_bucket_knows_what_it_holds_also_after_the_broker_was_gone() {
    use baft_bus::kv::Change;
    use std::collections::BTreeMap;
    use std::sync::{Arc, Mutex};

    let (mut server, bus) = ready().await;
    let bucket = Bucket::open(&bus, "SESSIONS");
    bucket.create("s.a", text("1")).await.unwrap();
    let known: Arc<Mutex<BTreeMap<String, Bytes>>> = Arc::default();
    let (copy, following, shutdown) = (Arc::clone(&known), bucket.clone(), tokio_util::sync::CancellationToken::new());
    let stop = shutdown.clone();
    let follower = tokio::spawn(async move {
        let mut fresh = BTreeMap::new();
        let mut collecting = false;
        following
            .follow(stop, |change| {
                let mut known = copy.lock().unwrap();
                match change {
                    Change::Begin => (fresh, collecting) = (BTreeMap::new(), true),
                    Change::Current => (*known, collecting) = (std::mem::take(&mut fresh), false),
                    Change::Is(key, entry) if collecting => drop(fresh.insert(key, entry.value)),
                    Change::Is(key, entry) => drop(known.insert(key, entry.value)),
                    Change::Gone(key) if collecting => drop(fresh.remove(&key)),
                    Change::Gone(key) => drop(known.remove(&key)),
                }
            })
            .await;
    });
    let knows = |expected: &'static [(&'static str, &'static str)]| {
        let known = Arc::clone(&known);
        async move {
            let expected: BTreeMap<String, Bytes> =
                expected.iter().map(|(key, value)| ((*key).to_owned(), text(value))).collect();
            wait_until_async(&format!("{expected:?}"), SOON * 3, || async {
                (*known.lock().unwrap() == expected).then_some(())
            })
            .await;
        }
    };
    knows(&[("s.a", "1")]).await;
    bucket.create("s.b", text("2")).await.unwrap();
    knows(&[("s.a", "1"), ("s.b", "2")]).await;
    bucket.delete("s.a").await.unwrap();
    knows(&[("s.b", "2")]).await;
    server.kill();
    server.restart();
    bus.wait_connected(SOON).await.unwrap();
    bucket.create("s.c", text("3")).await.unwrap();
    knows(&[("s.b", "2"), ("s.c", "3")]).await;
    shutdown.cancel();
    follower.await.unwrap();
}

#[tokio::test]
async fn a_bucket_can_be_followed_from_any_position() {
    let (_server, bus) = ready().await;
    let bucket = Bucket::open(&bus, "SESSIONS");
    assert_eq!(bucket.changes(1).await.unwrap(), []);
    let first = bucket.create("s.a", Bytes::from("1")).await.unwrap();
    for n in 0..600 {
        bucket.create(&format!("s.n{n}"), Bytes::from("x")).await.unwrap();
    }
    let second = bucket.update("s.a", Bytes::from("2"), first).await.unwrap();
    bucket.delete("s.n0").await.unwrap();
    let mut seen = std::collections::BTreeMap::new();
    let mut next = 1;
    loop {
        let changes = bucket.changes(next).await.unwrap();
        let Some(last) = changes.last() else { break };
        assert!(changes.is_sorted_by_key(|change| change.revision));
        next = last.revision + 1;
        seen.extend(changes.into_iter().map(|change| (change.key.clone(), change)));
    }
    assert_eq!(seen.len(), 601);
    assert_eq!((seen["s.a"].revision, seen["s.a"].entry.as_ref().unwrap().value.as_ref()), (second, &b"2"[..]));
    assert_eq!(seen["s.n0"].entry, None);
    let position = bucket.position().await.unwrap();
    assert_eq!(position.last + 1, next);
    assert!(!position.created.is_empty());
    let newest = bucket.newest("s.a").await.unwrap().unwrap();
    assert_eq!((newest.revision, newest.value.as_ref()), (second, &b"2"[..]));
    assert_eq!((bucket.newest("s.n0").await.unwrap(), bucket.newest("s.none").await.unwrap()), (None, None));
}

#[tokio::test]
async fn the_bell_has_rung_by_the_time_a_write_is_acknowledged() {
    let (server, bus) = ready().await;
    let bucket = Bucket::open(&bus, "SESSIONS");
    let mut bell = bucket.bell().await.unwrap();
    let other = Bucket::open(&connect(&server, "other").await, "SESSIONS");
    for n in 0..50 {
        let key = format!("s.{n}");
        let revision = other.create(&key, Bytes::from("1")).await.unwrap();
        other.update(&key, Bytes::from("2"), revision).await.unwrap();
        // Something that comes over the same connection after the acknowledgement.
        bucket.position().await.unwrap();
        let rung: Vec<_> = bell.drain().into_iter().map(|ring| (ring.key, ring.expected)).collect();
        assert_eq!(rung, [(key.clone(), Some(0)), (key, Some(revision))]);
    }
    assert!(bus.connection().is_some());
}
