//! kill -9 at random moments, again and again, with readers watching and the broker listening.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, SystemTime};

use baft_tests::NatsServer;
use baft_tests::luck::{Luck, variable};

use crate::events::wait_for_announced;
use crate::support::{Place, gaps, look, remote};

/// Opens what the link shows, over and over. Every state is checked to be whole, and none is older than the one before.
fn read_for_ever(db: &Path, stop: &AtomicBool, looks: &AtomicUsize) {
    let mut last = 0;
    while !stop.load(Ordering::Relaxed) {
        let seen = look(db).expect("there is always something to read");
        assert!(seen.generation >= last, "generation {} after {last}", seen.generation);
        last = seen.generation;
        looks.fetch_add(1, Ordering::Relaxed);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn readers_and_consumers_never_notice_a_crash() {
    let rounds = variable("BAFT_SOAK_ROUNDS").unwrap_or(20);
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap();
    let seed = variable("BAFT_SOAK_SEED").unwrap_or(now.as_nanos() as u64).max(1);
    eprintln!("importer kill loop: BAFT_SOAK_SEED={seed} BAFT_SOAK_ROUNDS={rounds}");
    let mut luck = Luck::new(seed);

    let nats = NatsServer::start();
    let _bus = nats.client().await;
    let remote = remote("commit 0");
    let place = Place::new();
    let url = nats.url();
    let start = || place.follow(&remote.bare(), &["--poll", "1h", "--keep-for", "0s"], &[("NATS_URL", &url)]);
    let mut process = start();
    place.wait_for("commit 0");

    let (stop, looks) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
    let readers: Vec<_> = (0..2)
        .map(|_| {
            let (db, stop, looks) = (place.db(), stop.clone(), looks.clone());
            std::thread::spawn(move || read_for_ever(&db, &stop, &looks))
        })
        .collect();

    let mut number = 0;
    let mut text = "commit 0".to_owned();
    for round in 0..rounds {
        for _ in 0..=luck.below(3) {
            number += 1;
            text = format!("commit {number}");
            remote.commit(&[("data/gaps.yaml", &gaps(&text))]);
        }
        // From "has not even noticed" to "is done and tidying up".
        std::thread::sleep(Duration::from_micros(luck.below(250_000)));
        process.kill();
        process = start();
        if luck.below(4) > 0 {
            // Sometimes it is killed again before it has got over the last time.
            place.wait_for(&text);
        }
        assert!(readers.iter().all(|reader| !reader.is_finished()), "a reader failed in round {round}");
    }
    place.wait_for(&text);
    let last = look(&place.db()).unwrap().generation;
    let numbers = wait_for_announced(&nats, last).await;
    stop.store(true, Ordering::Relaxed);
    for reader in readers {
        reader.join().expect("no reader ever failed");
    }
    assert_eq!(numbers, (1..=last).collect::<Vec<_>>(), "each generation once, in order");
    place.verify(&remote.bare());
    let leftovers: Vec<_> = place.generations().into_iter().filter(|name| name.starts_with(".tmp")).collect();
    assert!(leftovers.is_empty(), "{leftovers:?}");
    eprintln!("{} commits, {last} generations, {} complete reads", number + 1, looks.load(Ordering::Relaxed));
}
