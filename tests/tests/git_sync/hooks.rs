//! Who is told after a commit was published.

use std::time::Duration;

use baft_tests::{GitRemote, wait_until};

use crate::support::{Listener, Place, SOON, lines, script};

#[test]
fn the_program_runs_in_the_checkout_for_every_commit_and_again_after_a_restart() {
    let (remote, first) = GitRemote::with_files(&[("a", "1")]);
    let place = Place::new();
    let log = place.path("log");
    let hook = script(&place, "hook", &format!("echo $GITSYNC_HASH $(basename $(pwd)) $(cat a) >> {}", log.display()));
    let arg = format!("--exechook-command={hook}");
    let process = place.start(&remote.url(), &[&arg]);
    let ran = |commit: &str, text: &str| {
        let line = format!("{commit} {commit} {text}");
        wait_until(&line, SOON, || lines(&log).contains(&line).then_some(()));
    };
    ran(&first, "1");
    let second = remote.commit(&[("a", "2")]);
    ran(&second, "2");
    assert_eq!(lines(&log).len(), 2, "once per commit");
    wait_until("the count", SOON, || {
        (place.metric("git_sync_hook_run_count_total{name=\"exechook\",status=\"success\"}") == 2.0).then_some(())
    });
    drop(process); // killed
    let _process = place.start(&remote.url(), &[&arg]);
    wait_until("the run after the restart", SOON, || (lines(&log).len() == 3).then_some(()));
    assert!(lines(&log)[2].starts_with(&second));
}

#[test]
fn the_program_is_run_again_until_it_succeeds_and_a_slow_one_is_stopped() {
    let (remote, first) = GitRemote::with_files(&[("a", "1")]);
    let place = Place::new();
    let log = place.path("log");
    let text = format!("echo x >> {0}; case $(wc -l < {0}) in 1) exit 1;; 2) sleep 100;; esac", log.display());
    let hook = format!("--exechook-command={}", script(&place, "hook", &text));
    let _process = place.start(&remote.url(), &[&hook, "--exechook-backoff=50ms", "--exechook-timeout=300ms"]);
    place.expect(&remote, &first);
    wait_until("the success", SOON, || {
        (place.metric("git_sync_hook_run_count_total{name=\"exechook\",status=\"success\"}") == 1.0).then_some(())
    });
    assert_eq!(lines(&log).len(), 3);
    assert_eq!(place.metric("git_sync_hook_run_count_total{name=\"exechook\",status=\"error\"}"), 2.0);
}

#[test]
fn with_one_time_the_hooks_run_once_and_their_failure_is_the_exit_code() {
    let (remote, _) = GitRemote::with_files(&[("a", "1")]);
    let place = Place::new();
    let log = place.path("log");
    let good = script(&place, "good", &format!("echo x >> {}", log.display()));
    let bad = script(&place, "bad", &format!("echo x >> {}; exit 1", log.display()));
    let (code, _) = place.once(&remote.url(), &[&format!("--exechook-command={good}")]);
    assert_eq!((code, lines(&log).len()), (0, 1));
    let second = remote.commit(&[("a", "2")]);
    let hears = script(&place, "hears", &format!("echo $GITSYNC_HASH >> {}", log.display()));
    let (code, _) = place.once(&remote.url(), &[&format!("--exechook-command={hears}")]);
    assert_eq!((code, lines(&log)), (0, vec!["x".to_owned(), second]), "only what the sync came to");
    let (code, text) = place.once(&remote.url(), &[&format!("--exechook-command={bad}")]);
    assert_eq!((code, lines(&log).len()), (1, 3), "{text}");
    let (code, _) = place.once(&remote.url(), &["--exechook-command=/no/such/program"]);
    assert_eq!(code, 1);
}

#[test]
fn a_program_that_fails_before_publishing_keeps_the_commit_back() {
    let (remote, first) = GitRemote::with_files(&[("good", "1")]);
    let place = Place::new();
    let hook = script(&place, "check", "test -e good && test $(basename $(pwd)) = $GITSYNC_HASH");
    let arg = format!("--pre-publish-exechook-command={hook}");
    let _process = place.start(&remote.url(), &[&arg]);
    place.expect(&remote, &first);
    remote.git(&["rm", "-q", "good"]);
    let bad = remote.commit(&[("other", "1")]);
    wait_until("the refusal", SOON, || {
        (place.metric("git_sync_hook_run_count_total{name=\"pre-publish-exechook\",status=\"error\"}") >= 2.0)
            .then_some(())
    });
    assert_eq!(place.shown(), Some(first));
    assert_ne!(place.shown(), Some(bad));
    let mended = remote.commit(&[("good", "2")]);
    place.expect(&remote, &mended);
}

#[test]
fn a_url_is_called_for_every_commit_until_it_says_yes() {
    let (remote, first) = GitRemote::with_files(&[("a", "1")]);
    let place = Place::new();
    let listener = Listener::start(|n| (if n == 1 { 500 } else { 200 }, String::new()));
    let url = format!("--webhook-url={}", listener.url());
    let _process = place.start(&remote.url(), &[&url, "--webhook-backoff=50ms", "--webhook-method=put"]);
    wait_until("two calls", SOON, || (listener.count() == 2).then_some(()));
    let second = remote.commit(&[("a", "2")]);
    wait_until("the third", SOON, || (listener.count() == 3).then_some(()));
    let heard = listener.heard.lock().unwrap().clone();
    for (request, commit) in heard.iter().zip([&first, &first, &second]) {
        assert!(request.starts_with("PUT / "), "{request}");
        assert!(request.to_lowercase().contains(&format!("gitsync-hash: {commit}")), "{request}");
    }
}

#[test]
fn fire_and_forget_takes_any_answer_and_one_time_reports_a_refusal() {
    let (remote, _) = GitRemote::with_files(&[("a", "1")]);
    let place = Place::new();
    let listener = Listener::start(|_| (404, String::new()));
    let url = format!("--webhook-url={}", listener.url());
    assert_eq!(place.once(&remote.url(), &[&url, "--webhook-success-status=0"]).0, 0);
    assert_eq!(place.once(&remote.url(), &[&url, "--webhook-success-status=-1"]).0, 0);
    assert_eq!(place.once(&remote.url(), &[&url]).0, 1);
    assert_eq!(place.once(&remote.url(), &[&url, "--webhook-success-status=404"]).0, 0);
    assert_eq!(place.once(&remote.url(), &["--webhook-url=http://127.0.0.1:9/", "--webhook-success-status=0"]).0, 0);
    assert_eq!(listener.count(), 4);
}

#[test]
fn the_touch_file_moves_when_something_was_published_and_the_error_file_says_what_failed() {
    let (remote, first) = GitRemote::with_files(&[("a", "1")]);
    let place = Place::new();
    let (touch, error) = (place.root().join("touched"), place.path("sub/error"));
    let error_arg = format!("--error-file={}", error.display());
    let _process = place.start(&remote.url(), &["--touch-file=touched", &error_arg]);
    place.expect(&remote, &first);
    let touched = || std::fs::metadata(&touch).ok().and_then(|meta| meta.modified().ok());
    let before = wait_until("the touch file", SOON, touched);
    std::thread::sleep(Duration::from_millis(300)); // several looks that find nothing
    assert_eq!(touched(), Some(before));
    assert!(!error.exists());
    let aside = remote.bare().with_extension("aside");
    std::fs::rename(remote.bare(), &aside).unwrap();
    let text = wait_until("the error file", SOON, || std::fs::read_to_string(&error).ok());
    let json: serde_json::Value = serde_json::from_str(&text).unwrap();
    assert!(
        json["Err"].as_str().is_some_and(|message| !message.is_empty()) && json["Args"]["class"] == "not_found",
        "{json}"
    );
    std::fs::rename(&aside, remote.bare()).unwrap();
    wait_until("the error file to go", SOON, || (!error.exists()).then_some(()));
    let second = remote.commit(&[("a", "2")]);
    place.expect(&remote, &second);
    wait_until("a new touch", SOON, || (touched() != Some(before)).then_some(()));
}
