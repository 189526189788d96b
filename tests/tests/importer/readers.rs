//! Readers while the importer publishes.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::support::{Place, Seen, gaps, look, open, read, remote};

#[test]
fn a_long_reader_sees_one_state_through_fifty_publications() {
    let remote = remote("round 0");
    let place = Place::new();
    let _process = place.follow(&remote.bare(), &["--poll", "1h", "--keep-for", "0s"], &[]);
    place.wait_for("round 0");
    let long = open(&place.db()).unwrap();
    let first = read(&long);
    let stop = Arc::new(AtomicBool::new(false));
    let (db, stopped) = (place.db(), stop.clone());
    let others = std::thread::spawn(move || {
        let mut last = Seen { generation: 0, text: String::new() };
        let mut looks = 0;
        while !stopped.load(Ordering::Relaxed) {
            let seen = look(&db).expect("there is always something to read");
            assert!(seen.generation >= last.generation, "{seen:?} after {last:?}");
            last = seen;
            looks += 1;
        }
        looks
    });
    for round in 1..=50 {
        let text = format!("round {round}");
        remote.commit(&[("data/gaps.yaml", &gaps(&text))]);
        place.wait_for(&text);
        // The same process, the same path, a second connection: it must not get the old file.
        assert_eq!(read(&long), first, "what a reader has open never changes");
    }
    stop.store(true, Ordering::Relaxed);
    assert!(others.join().unwrap() > 50);
    assert!(place.generations().len() <= 5, "{:?}", place.generations());
}
