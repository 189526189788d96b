//! Places where a test makes the process die, to see that every order of steps can be cut anywhere.
//!
//! `BAFT_FAILPOINT=name:abort[:n]` kills the process the *n*-th time it passes `name`; `…:error[:n]` makes the step fail from the *n*-th time on.
//! `…:wait[:n]` makes a file `$BAFT_FAILPOINT_DIR/reached` the *n*-th time and goes on when it is removed, so that a test can do something in between.
//! Only in builds with debug assertions: a released program has none of it.

use std::io;

/// Passes the place, or dies, or fails.
#[cfg(debug_assertions)]
pub(super) fn hit(name: &'static str) -> io::Result<()> {
    use std::sync::OnceLock;
    use std::sync::atomic::{AtomicU32, Ordering};

    enum Action {
        Abort,
        Error,
        Wait,
    }
    static WANTED: OnceLock<Option<(String, Action, u32)>> = OnceLock::new();
    static PASSED: AtomicU32 = AtomicU32::new(0);
    let wanted = WANTED.get_or_init(|| {
        let text = std::env::var("BAFT_FAILPOINT").ok()?;
        let mut words = text.split(':');
        let name = words.next()?.to_owned();
        let action = match words.next() {
            Some("error") => Action::Error,
            Some("wait") => Action::Wait,
            _ => Action::Abort,
        };
        Some((name, action, words.next().and_then(|n| n.parse().ok()).unwrap_or(1)))
    });
    let Some((_, action, from)) = wanted.as_ref().filter(|(wanted, ..)| wanted == name) else { return Ok(()) };
    let passed = PASSED.fetch_add(1, Ordering::Relaxed) + 1;
    if passed < *from {
        return Ok(());
    }
    match action {
        Action::Wait if passed == *from => {
            let reached =
                std::path::PathBuf::from(std::env::var_os("BAFT_FAILPOINT_DIR").unwrap_or_default()).join("reached");
            std::fs::write(&reached, "")?;
            while reached.exists() {
                std::thread::sleep(std::time::Duration::from_millis(2));
            }
            Ok(())
        }
        Action::Wait => Ok(()),
        Action::Abort => {
            let _ = rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::KILL);
            std::process::abort()
        }
        Action::Error => Err(io::Error::other(format!("failpoint {name}"))),
    }
}

/// Nothing.
#[cfg(not(debug_assertions))]
#[inline(always)]
pub(super) fn hit(_name: &'static str) -> io::Result<()> {
    Ok(())
}

/// Every place, for tests that go through all of them.
pub const FAILPOINTS: &[&str] = &[
    "capture.blobs",
    "capture.commit",
    "capture.ref",
    "held.ref",
    "land.journal",
    "land.staged",
    "land.index",
    "land.branch",
    "land.landed",
    "land.pending",
    "move.prepared",
    "move.replace",
    "move.replaced_one",
    "move.replaced",
    "move.stale",
    "fetch.before",
    "fetch.after",
    "park.ref",
    "park.record",
    "park.pushed",
    "park.confirmed",
    "integrate.commit",
    "push.before",
    "push.after",
    "push.recorded",
    "settle.exchanged",
    "quarantine.held",
    "apply.pending",
    "close.branch",
];
