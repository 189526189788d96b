//! kill -9 at random moments, again and again, with readers watching and the broker listening.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use baft_tests::luck::{Luck, variable};
use baft_tests::{GitRemote, NatsServer};

use crate::events::{check_ranges, wait_for_event};
use crate::support::{Place, collect, files};

type Tree = BTreeMap<String, (String, String)>;
type Trees = Arc<Mutex<HashMap<String, Tree>>>;

/// Opens what the link shows, over and over, and compares every byte with what git has. Gives the number of looks.
fn read_for_ever(link: &Path, trees: &Trees, stop: &AtomicBool, looks: &AtomicUsize) {
    while !stop.load(Ordering::Relaxed) {
        // A reader resolves the link once and stays in what it found.
        let folder = std::fs::canonicalize(link).expect("the link always leads somewhere");
        let commit = folder.file_name().unwrap().to_str().unwrap().to_owned();
        let mut found = Tree::new();
        collect(&folder, "", &mut found).unwrap_or_else(|error| panic!("a reader of {commit} failed: {error}"));
        let trees = trees.lock().unwrap();
        let expected = trees.get(&commit).unwrap_or_else(|| panic!("{commit} was never pushed"));
        assert_eq!(&found, expected, "half a checkout of {commit}");
        looks.fetch_add(1, Ordering::Relaxed);
    }
}

fn commit(remote: &GitRemote, trees: &Trees, luck: &mut Luck, number: u64) -> String {
    let file = format!("d{}/f{}.yaml", luck.below(4), luck.below(8));
    let forced = number > 3 && luck.below(6) == 0;
    if forced {
        remote.git(&["reset", "-q", "--hard", "HEAD~1"]);
    }
    let text = format!("{number}\n").repeat(1 + luck.below(200) as usize);
    let oid = remote.commit_only(&[(file.as_str(), Some(text.as_bytes()))]);
    trees.lock().unwrap().insert(oid.clone(), remote.tree(&oid));
    remote.git(if forced { &["push", "-q", "--force", "origin", "main"] } else { &["push", "-q", "origin", "main"] });
    oid
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn readers_and_consumers_never_notice_a_crash() {
    let rounds = variable("BAFT_SOAK_ROUNDS").unwrap_or(20);
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap();
    let seed = variable("BAFT_SOAK_SEED").unwrap_or(now.as_nanos() as u64).max(1);
    eprintln!("git-sync kill loop: BAFT_SOAK_SEED={seed} BAFT_SOAK_ROUNDS={rounds}");
    let mut luck = Luck::new(seed);

    let nats = NatsServer::start();
    let _bus = nats.client().await;
    let remote = GitRemote::new();
    let trees: Trees = Arc::default();
    let mut number = 0;
    let mut last = commit(&remote, &trees, &mut luck, number);
    let place = Place::new();
    let url = nats.url();
    let start = || place.start_with(&remote.url(), &["--period=10ms", "--keep-checkouts=20"], &[("NATS_URL", &url)]);
    let mut process = start();
    place.wait_for(&last);

    let (stop, looks) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
    let readers: Vec<_> = (0..2)
        .map(|_| {
            let (link, trees, stop, looks) = (place.link(), trees.clone(), stop.clone(), looks.clone());
            std::thread::spawn(move || read_for_ever(&link, &trees, &stop, &looks))
        })
        .collect();

    for round in 0..rounds {
        for _ in 0..=luck.below(3) {
            number += 1;
            last = commit(&remote, &trees, &mut luck, number);
        }
        // From "has not even noticed" to "is done and tidying up".
        std::thread::sleep(Duration::from_micros(luck.below(120_000)));
        process.kill();
        if luck.below(3) == 0 {
            number += 1;
            last = commit(&remote, &trees, &mut luck, number);
        }
        process = start();
        if luck.below(4) > 0 {
            // Sometimes it is killed again before it has got over the last time.
            place.wait_for(&last);
        }
        assert!(readers.iter().all(|reader| !reader.is_finished()), "a reader failed in round {round}");
    }
    place.wait_for(&last);
    let events = wait_for_event(&nats, &last).await;
    stop.store(true, Ordering::Relaxed);
    for reader in readers {
        reader.join().expect("no reader ever failed");
    }
    check_ranges(&events, &last);
    assert_eq!(&files(&place.link()), trees.lock().unwrap().get(&last).unwrap());
    eprintln!(
        "{} commits, {} announced ranges, {} complete reads",
        number + 1,
        events.len(),
        looks.load(Ordering::Relaxed)
    );
    assert!(process.terminate(crate::support::SOON).success(), "{}", process.logs());
}
