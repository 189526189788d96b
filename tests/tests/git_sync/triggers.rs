//! What makes it look at once.

use baft_tests::{GitRemote, Port, wait_until};
use hmac::{Hmac, Mac};
use rustix::process::Signal;

use crate::support::{Place, SOON, http};

#[test]
fn a_signal_makes_it_look_at_once() {
    for (flag, signal) in
        [("--period=1h", Signal::HUP), ("--sync-on-signal=SIGUSR1", Signal::USR1), ("--sync-on-signal=1", Signal::HUP)]
    {
        let (remote, first) = GitRemote::with_files(&[("a", "1")]);
        let place = Place::new();
        let process = place.start(&remote.url(), &["--period=1h", flag][usize::from(flag == "--period=1h")..]);
        place.expect(&remote, &first);
        let second = remote.commit(&[("a", "2")]);
        process.signal(signal);
        place.expect(&remote, &second);
    }
}

#[test]
fn the_first_sync_may_be_tried_more_often() {
    let remote = GitRemote::new();
    let place = Place::new();
    let _process = place.start(&remote.url(), &["--period=1h", "--init-period=50ms", "--max-backoff=100ms"]);
    wait_until("two failures", SOON, || (place.metric("baft_git_sync_consecutive_failures") >= 2.0).then_some(()));
    let first = remote.commit(&[("a", "1")]);
    place.expect(&remote, &first);
}

fn sign(secret: &str, body: &[u8]) -> String {
    let mut mac = Hmac::<sha2::Sha256>::new_from_slice(secret.as_bytes()).unwrap();
    mac.update(body);
    hex::encode(mac.finalize().into_bytes())
}

#[test]
fn signed_webhooks_make_it_look_and_others_are_turned_away() {
    let (remote, first) = GitRemote::with_files(&[("a", "1")]);
    let place = Place::new();
    let port = Port::lease();
    let secret = place.path("secret");
    std::fs::write(&secret, "one\n").unwrap();
    let args = [
        "--period=1h".to_owned(),
        format!("--webhook-secret-file={}", secret.display()),
        format!("--http-bind={}", port.address()),
    ];
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    let _process = place.start(&remote.url(), &args);
    place.expect(&remote, &first);
    let send =
        |headers: &[(&str, &str)], body: &[u8]| http(port.address(), "POST", "/webhook", headers, body).unwrap().0;

    let second = remote.commit(&[("a", "2")]);
    let body = format!(r#"{{"after":"{second}"}}"#);
    let signature = format!("sha256={}", sign("one", body.as_bytes()));
    assert_eq!(send(&[], body.as_bytes()), 401);
    assert_eq!(send(&[("X-Hub-Signature-256", &signature)], b"another body"), 403);
    assert_eq!(send(&[("X-Gitlab-Token", "two")], b"x"), 403);
    assert_eq!(send(&[("X-Gitlab-Token", "one")], &vec![b'x'; (1 << 20) + 1]), 413);
    assert_eq!(place.shown().as_deref(), Some(first.as_str()), "none of these looked");
    assert_eq!(send(&[("X-Hub-Signature-256", &signature)], body.as_bytes()), 202);
    place.expect(&remote, &second);
    let looks = place.metric("baft_git_sync_triggers_total{trigger=\"webhook\"}");
    assert_eq!(send(&[("X-Hub-Signature-256", &signature)], body.as_bytes()), 200, "a replay is ignored");
    let ping = [("X-Hub-Signature-256", signature.as_str()), ("X-GitHub-Event", "ping")];
    assert_eq!(send(&ping, body.as_bytes()), 200);
    assert_eq!(place.metric("baft_git_sync_triggers_total{trigger=\"webhook\"}"), looks);

    // The secret is rotated without a restart; the admin server takes webhooks, too.
    std::fs::write(&secret, "two\n").unwrap();
    let third = remote.commit(&[("a", "3")]);
    assert_eq!(send(&[("X-Gitea-Signature", &sign("one", b"3"))], b"3"), 403);
    let gitea = [("X-Gitea-Signature", sign("two", b"3"))];
    let headers: Vec<(&str, &str)> = gitea.iter().map(|(name, value)| (*name, value.as_str())).collect();
    assert_eq!(http(place.admin.address(), "POST", "/webhook", &headers, b"3").unwrap().0, 202);
    place.expect(&remote, &third);
    let fourth = remote.commit(&[("a", "4")]);
    assert_eq!(send(&[("X-Gitlab-Token", "two")], b"4"), 202);
    place.expect(&remote, &fourth);
    std::fs::remove_file(&secret).unwrap();
    assert_eq!(send(&[("X-Gitlab-Token", "two")], b"5"), 503);
}

#[test]
fn a_burst_costs_one_fetch() {
    let (remote, first) = GitRemote::with_files(&[("a", "1")]);
    let place = Place::new();
    let secret = place.path("secret");
    std::fs::write(&secret, "one").unwrap();
    let arg = format!("--webhook-secret-file={}", secret.display());
    let process = place.start(&remote.url(), &["--period=1h", &arg]);
    place.expect(&remote, &first);
    let (fetches, looks) =
        (place.metric("git_fetch_count_total"), place.metric("git_sync_duration_seconds_count{status=\"noop\"}"));
    let second = remote.commit(&[("a", "2")]);
    let senders: Vec<_> = (0..8)
        .map(|sender| {
            let addr = place.admin.address();
            std::thread::spawn(move || {
                for n in 0..25 {
                    let body = format!("{sender} {n}");
                    http(addr, "POST", "/webhook", &[("X-Gitlab-Token", "one")], body.as_bytes()).unwrap();
                }
            })
        })
        .collect();
    for _ in 0..50 {
        process.signal(Signal::HUP);
    }
    for sender in senders {
        sender.join().unwrap();
    }
    place.expect(&remote, &second);
    assert_eq!(place.metric("baft_git_sync_webhooks_total{result=\"accepted\"}"), 200.0);
    assert_eq!(place.metric("git_fetch_count_total") - fetches, 1.0);
    let looked = place.metric("git_sync_duration_seconds_count{status=\"noop\"}") - looks;
    assert!(looked < 150.0, "{looked} looks for 250 rings");
}

#[test]
fn http_says_503_until_the_first_sync_and_200_from_then_on_also_after_a_restart() {
    let remote = GitRemote::new();
    let place = Place::new();
    let port = Port::lease();
    let bind = format!("--http-bind={}", port.address());
    let args = [bind.as_str(), "--http-metrics"];
    let process = place.start(&remote.url(), &args);
    let root = || http(port.address(), "GET", "/", &[], b"").map_or(0, |(status, _)| status);
    wait_until("an answer", SOON, || (root() == 503).then_some(()));
    assert_eq!(place.get("/readyz").0, 503);
    assert_eq!(place.get("/livez").0, 200);
    let first = remote.commit(&[("a", "1")]);
    place.wait_for(&first);
    wait_until("200", SOON, || (root() == 200).then_some(()));
    assert!(http(port.address(), "GET", "/metrics", &[], b"").unwrap().1.contains("git_sync_count_total"));
    assert_eq!(place.get("/readyz").0, 200);
    let healthy = baft_tests::Process::spawn_bin(
        "git-sync",
        ["healthcheck"],
        &[("BAFT_ADMIN_ADDR", &place.admin.address().to_string())],
    )
    .wait(SOON);
    assert!(healthy.success());
    drop(process);
    let _process = place.start(&remote.url(), &args);
    wait_until("200 again", SOON, || (root() == 200).then_some(()));
}

#[test]
fn readiness_goes_when_the_remote_has_not_answered_for_three_periods() {
    let (remote, first) = GitRemote::with_files(&[("a", "1")]);
    let place = Place::new();
    let _process = place.start(&remote.url(), &["--period=100ms"]);
    place.expect(&remote, &first);
    wait_until("ready", SOON, || (place.get("/readyz").0 == 200).then_some(()));
    let aside = remote.bare().with_extension("aside");
    std::fs::rename(remote.bare(), &aside).unwrap();
    let report = wait_until("not ready", SOON, || Some(place.get("/readyz")).filter(|(status, _)| *status == 503));
    assert!(report.1.contains("remote"), "{}", report.1);
    assert_eq!(place.shown(), Some(first), "readers keep what they have");
    std::fs::rename(&aside, remote.bare()).unwrap();
    wait_until("ready again", SOON, || (place.get("/readyz").0 == 200).then_some(()));
}
