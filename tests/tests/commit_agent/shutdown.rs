//! The end: whatever was saved is captured, whatever the remote does.

use std::time::{Duration, Instant};

use baft_tests::git::{Fault, git};
use baft_tests::{GitRemote, wait_until};

use crate::support::{Desk, SOON, on_remote, wait_for_remote};

#[test]
fn what_was_saved_a_moment_ago_is_pushed_before_it_ends() {
    let (remote, _) = GitRemote::with_files(&[("a.yaml", "a: 1\n")]);
    let desk = Desk::new();
    let mut agent = desk.ready(&remote.url(), &["--watch=false", "--quiet=10s", "--max-wait=20s"]);
    desk.save("a.yaml", "a: 2\n");
    desk.save("b.yaml", "b: 1\n");
    assert!(agent.terminate(SOON).success(), "{}", agent.logs());
    assert_eq!(on_remote(&remote, "a.yaml").as_deref(), Some("a: 2\n"));
    assert_eq!(on_remote(&remote, "b.yaml").as_deref(), Some("b: 1\n"));
}

#[test]
fn a_remote_that_hangs_does_not_keep_it_from_capturing_within_its_time() {
    for fault in [Fault::Hang, Fault::HangInPush, Fault::Status(500)] {
        let (remote, _) = GitRemote::with_files(&[("a.yaml", "a: 1\n")]);
        let http = remote.serve_http();
        let desk = Desk::new();
        let mut agent = desk.ready(&http.url(), &["--shutdown-grace=6s", "--git-timeout=60s"]);
        http.fault(fault);
        desk.save("a.yaml", "a: 2\n");
        wait_until("a conversation that hangs", SOON, || {
            (git(&desk.clone(), &["show", "main:a.yaml"]) == "a: 2").then_some(())
        });
        // Saved while the remote hangs.
        desk.save("b.yaml", "b: 1\n");
        let began = Instant::now();
        let status = agent.terminate(Duration::from_secs(10));
        assert!(status.success(), "{fault:?}: {status}: {}", agent.logs());
        assert!(began.elapsed() < Duration::from_secs(8), "{:?}", began.elapsed());
        let captured = git(&desk.clone(), &["log", "--all", "--format=%H", "--", "b.yaml"]);
        assert_eq!(captured.lines().count(), 1, "{fault:?}: {}", agent.logs());
        http.fault(Fault::None);
        let _agent = desk.start(&http.url(), &[]);
        wait_for_remote(&remote, "b.yaml", "b: 1\n");
        assert_eq!(on_remote(&remote, "a.yaml").as_deref(), Some("a: 2\n"));
    }
}

#[test]
fn what_is_saved_while_the_remote_hangs_is_committed_all_the_same() {
    for fault in [Fault::Hang, Fault::HangInPush] {
        let (remote, _) = GitRemote::with_files(&[("a.yaml", "a: 1\n")]);
        let http = remote.serve_http();
        let desk = Desk::new();
        let agent = desk.ready(&http.url(), &["--git-timeout=120s"]);
        let committed = |text: &str| {
            wait_until("the commit", SOON, || (git(&desk.clone(), &["show", "main:a.yaml"]) == text).then_some(()));
        };
        http.fault(fault);
        desk.save("a.yaml", "a: 2\n");
        committed("a: 2");
        let began = Instant::now();
        for text in ["a: 3", "a: 4"] {
            desk.save("a.yaml", &format!("{text}\n"));
            committed(text);
        }
        assert!(began.elapsed() < Duration::from_secs(25), "{fault:?}: not when the conversation is given up");
        http.fault(Fault::None);
        http.cut();
        wait_for_remote(&remote, "a.yaml", "a: 4\n");
        drop(agent);
    }
}

#[test]
fn a_second_signal_ends_it_at_once() {
    let (remote, _) = GitRemote::with_files(&[("a.yaml", "a: 1\n")]);
    let http = remote.serve_http();
    let desk = Desk::new();
    let mut agent = desk.ready(&http.url(), &[]);
    http.fault(Fault::Hang);
    desk.save("a.yaml", "a: 2\n");
    wait_until("the commit", SOON, || (git(&desk.clone(), &["show", "main:a.yaml"]) == "a: 2").then_some(()));
    agent.signal(rustix::process::Signal::TERM);
    // Two signals at once are one.
    wait_until("it to be ending", SOON, || agent.logs().contains("shutting down").then_some(()));
    agent.signal(rustix::process::Signal::TERM);
    assert!(!agent.wait(Duration::from_secs(3)).success());
}
