//! What can go wrong, made to go wrong.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::Command;

use baft_tests::wait_until;

use crate::support::{GAPS, Place, SOON, gaps, look, open, remote};

#[test]
fn a_second_importer_on_a_folder_refuses_with_one_line() {
    let remote = remote("one");
    let place = Place::new();
    let _first = place.follow(&remote.bare(), &[], &[]);
    place.wait_for("one");
    let (code, said) = place.import(&remote.bare(), &[]);
    assert_eq!((code, said.lines().count()), (75, 1), "{said}");
    assert!(said.contains("locked by another process"), "{said}");
    let mut second = place.follow(&remote.bare(), &[], &[]);
    assert_eq!(second.wait(SOON).code(), Some(75), "{}", second.logs());
}

#[test]
fn a_generation_that_somebody_changed_is_replaced_from_the_source() {
    let remote = remote("one");
    let place = Place::new();
    let _process = place.follow(&remote.bare(), &["--poll", "100ms"], &[]);
    place.wait_for("one");
    let file = fs::canonicalize(place.db()).unwrap();
    fs::set_permissions(&file, fs::Permissions::from_mode(0o644)).unwrap();
    let mut bytes = fs::read(&file).unwrap();
    let at = bytes.len() / 2;
    bytes[at..at + 64].fill(0xff);
    fs::write(&file, bytes).unwrap();
    // Nothing changed in the source; the next look finds it all the same.
    wait_until("a new generation", SOON, || (fs::canonicalize(place.db()).unwrap() != file).then_some(()));
    assert_eq!(look(&place.db()).unwrap().text, "one");
    assert!(place.metric("baft_duckdb_importer_rebuilds_total") >= 2.0);
}

/// A small file system of its own; nothing (with a printed reason) where it cannot be mounted.
struct SmallDisk(PathBuf);

impl SmallDisk {
    fn mount(at: PathBuf, megabytes: u32) -> Option<Self> {
        fs::create_dir_all(&at).unwrap();
        let size = format!("size={megabytes}m");
        let mounted = Command::new("mount").args(["-t", "tmpfs", "-o", &size, "tmpfs"]).arg(&at).output();
        if mounted.as_ref().is_ok_and(|output| output.status.success()) {
            return Some(Self(at));
        }
        eprintln!("skipped: a small tmpfs cannot be mounted here ({mounted:?})");
        None
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

#[test]
fn a_full_disk_stops_publishing_until_there_is_space_again() {
    let remote = remote("one");
    let place = Place::new();
    let Some(_disk) = SmallDisk::mount(place.workspace(), 64) else { return };
    let mut process = place.follow(&remote.bare(), &["--poll", "200ms"], &[]);
    place.wait_for("one");
    let ballast = place.workspace().join("ballast");
    // Until nothing fits any more.
    let mut file = fs::File::create(&ballast).unwrap();
    while std::io::Write::write_all(&mut file, &vec![0; 64 << 10]).is_ok() {}
    drop(file);
    remote.commit(&[("data/gaps.yaml", &gaps("two"))]);
    wait_until("the failure to be counted", SOON, || {
        (place.metric("baft_duckdb_importer_imports_total{result=\"failed\"}") >= 2.0).then_some(())
    });
    assert_eq!(look(&place.db()).unwrap().text, "one", "the old generation stays");
    let (status, report) = place.get("/readyz");
    assert_eq!(status, 503, "{report}");
    fs::remove_file(ballast).unwrap();
    place.wait_for("two");
    wait_until("readiness", SOON, || (place.get("/readyz").0 == 200).then_some(()));
    assert!(process.is_running());
    assert!(place.generations().iter().all(|name| !name.starts_with(".tmp")), "{:?}", place.generations());
    drop(process);
}

#[test]
fn lost_file_notifications_cost_time_only() {
    let remote = remote("one");
    let place = Place::new();
    let process = place.watch(&remote.work(), &["--poll", "1h"]);
    place.wait_for("one");
    // While it sleeps, more happens than the kernel's queue holds.
    let queue = fs::read_to_string("/proc/sys/fs/inotify/max_queued_events").unwrap();
    let queue: usize = queue.trim().parse().unwrap();
    process.freeze();
    let junk = remote.work().join("data/junk.txt");
    for n in 0..queue / 2 + 1000 {
        // Alternating names, so that the kernel cannot merge equal events.
        fs::write(junk.with_extension(if n % 2 == 0 { "a" } else { "b" }), "x").unwrap();
    }
    fs::write(remote.work().join("data/gaps.yaml"), gaps("two")).unwrap();
    process.thaw();
    place.wait_for("two");
    assert!(place.metric("baft_duckdb_importer_doorbells_total{kind=\"rescan\"}") >= 1.0, "the queue did not overflow");
}

#[test]
fn broken_and_hostile_files_are_quarantined_and_the_rest_goes_on() {
    let remote = remote("one");
    let place = Place::new();
    let _process = place.follow(&remote.bare(), &["--poll", "1h"], &[]);
    place.wait_for("one");
    let mut bomb = "a: &a [x,x,x,x,x,x,x,x,x,x]\n".to_owned();
    for (this, last) in ('b'..='j').zip('a'..='i') {
        bomb.push_str(&format!("{this}: &{this} [{}]\n", vec![format!("*{last}"); 10].join(",")));
    }
    let deep = "[".repeat(20_000);
    let good = gaps("two");
    let files: [(&str, Option<&[u8]>); 5] = [
        ("data/gaps.yaml", Some(good.as_bytes())),
        ("data/variables.yaml", Some(bomb.as_bytes())),
        ("data/traps.yaml", Some(deep.as_bytes())),
        ("data/scenarios.yaml", Some(b"entries:\n- id: \xff\xfe\n")),
        ("data/sessions.yaml", Some(b"entries:\n- number: 1\n- number: 1\n")),
    ];
    remote.commit_bytes(&files);
    place.wait_for("two");
    let errors: Vec<String> = {
        let connection = open(&place.db()).unwrap();
        let mut statement =
            connection.prepare("SELECT DISTINCT path FROM _errors WHERE severity = 'error' ORDER BY 1").unwrap();
        statement.query_map([], |row| row.get(0)).unwrap().map(Result::unwrap).collect()
    };
    assert_eq!(errors, ["data/scenarios.yaml", "data/sessions.yaml", "data/traps.yaml", "data/variables.yaml"]);
    assert_eq!(place.metric("baft_duckdb_importer_files_quarantined"), 3.0);
    assert_eq!(place.metric("baft_duckdb_importer_entities{type=\"gaps\"}"), GAPS as f64);
}
