//! Places where a test makes the process die, to see that every order of steps can be cut anywhere.
//!
//! `BAFT_FAILPOINT=name:abort[:n]` kills the process the *n*-th time it passes `name`; `…:error[:n]` makes the step fail from the *n*-th time on.
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
    }
    static WANTED: OnceLock<Option<(String, Action, u32)>> = OnceLock::new();
    static PASSED: AtomicU32 = AtomicU32::new(0);
    let wanted = WANTED.get_or_init(|| {
        let text = std::env::var("BAFT_FAILPOINT").ok()?;
        let mut words = text.split(':');
        let name = words.next()?.to_owned();
        let action = match words.next() {
            Some("error") => Action::Error,
            _ => Action::Abort,
        };
        Some((name, action, words.next().and_then(|n| n.parse().ok()).unwrap_or(1)))
    });
    let Some((_, action, from)) = wanted.as_ref().filter(|(wanted, ..)| wanted == name) else { return Ok(()) };
    if PASSED.fetch_add(1, Ordering::Relaxed) + 1 < *from {
        return Ok(());
    }
    match action {
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
