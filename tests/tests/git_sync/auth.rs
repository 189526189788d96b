//! What is shown to remotes that ask.

use std::process::Command;

use baft_tests::git::HostKey;
use baft_tests::{GitRemote, wait_until};

use crate::support::{Listener, Place, SOON};

#[test]
fn a_password_comes_from_the_url_a_file_a_variable_or_a_credential() {
    let (remote, first) = GitRemote::with_files(&[("a", "1")]);
    let http = remote.serve_http();
    http.require_login(Some(("me", "s3cret")));
    let place = Place::new();
    let file = place.path("password");
    std::fs::write(&file, "s3cret\n").unwrap();
    let file = format!("--password-file={}", file.display());
    let in_url = http.url().replace("http://", "http://me:s3cret@");
    let json = format!(r#"--credential={{"url":"{}","username":"me","password":"s3cret"}}"#, http.url());
    for (url, args) in [
        (in_url.as_str(), &["--link=a"][..]),
        (http.url().as_str(), &["--link=b", "--username=me", &file]),
        (http.url().as_str(), &["--link=c", &json]),
    ] {
        let (code, log) = place.once(url, args);
        assert_eq!(code, 0, "{log}");
        assert!(!log.contains("s3cret"), "{log}");
    }
    let mut process =
        place.start_with(&http.url(), &["--one-time", "--username=me"], &[("GITSYNC_PASSWORD", "s3cret")]);
    assert!(process.wait(SOON).success(), "{}", process.logs());
    place.expect(&remote, &first);
    let (code, log) = place.once(&http.url().replace("http://", "http://me:wrong@"), &["--ref=main"]);
    assert_eq!(code, 1);
    assert!(log.contains("auth") && !log.contains("wrong@"), "{log}");
}

#[test]
fn a_password_file_is_read_again_when_it_changes() {
    let (remote, first) = GitRemote::with_files(&[("a", "1")]);
    let http = remote.serve_http();
    http.require_login(Some(("me", "old")));
    let place = Place::new();
    let file = place.path("password");
    std::fs::write(&file, "old").unwrap();
    let _process = place.start(&http.url(), &["--username=me", &format!("--password-file={}", file.display())]);
    place.expect(&remote, &first);
    http.require_login(Some(("me", "new")));
    wait_until("a failure of class auth", SOON, || {
        (place.metric("baft_git_sync_failures_total{class=\"auth\"}") >= 1.0).then_some(())
    });
    std::fs::write(&file, "new").unwrap();
    let second = remote.commit(&[("a", "2")]);
    place.expect(&remote, &second);
}

#[test]
fn the_askpass_url_is_asked_and_may_be_wrong_or_away_for_a_while() {
    let (remote, first) = GitRemote::with_files(&[("a", "1")]);
    let http = remote.serve_http();
    http.require_login(Some(("me", "s3cret")));
    let place = Place::new();
    let askpass = Listener::start(|n| match n {
        1 => (500, String::new()),
        2 => (200, "username=me\npassword=wrong\n".to_owned()),
        n if n % 3 == 0 => (503, String::new()),
        _ => (200, "username=me\npassword=s3cret\n".to_owned()),
    });
    let _process = place.start(&http.url(), &[&format!("--askpass-url={}", askpass.url())]);
    place.expect(&remote, &first);
    let second = remote.commit(&[("a", "2")]);
    place.expect(&remote, &second);
    assert!(place.metric("git_sync_askpass_calls{status=\"error\"}") >= 1.0);
    assert!(place.metric("git_sync_askpass_calls{status=\"success\"}") >= 2.0);
}

#[test]
fn a_github_app_gets_a_token_and_keeps_it() {
    let place = Place::new();
    let key = place.path("key.pem");
    let made = Command::new("openssl").args(["genrsa", "-traditional", "-out"]).arg(&key).arg("2048").output();
    if !made.is_ok_and(|made| made.status.success()) {
        eprintln!("skipped: no openssl to make a key with");
        return;
    }
    let (remote, first) = GitRemote::with_files(&[("a", "1")]);
    let http = remote.serve_http();
    http.require_login(Some(("x-access-token", "t0ken")));
    let github = Listener::start(|_| (201, r#"{"token":"t0ken","expires_at":"2030-01-01T00:00:00Z"}"#.to_owned()));
    let args = [
        format!("--github-app-private-key-file={}", key.display()),
        "--github-app-client-id=Iv1.abc".to_owned(),
        "--github-app-installation-id=42".to_owned(),
        format!("--github-base-url={}", github.url()),
    ];
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    let _process = place.start(&http.url(), &args);
    place.expect(&remote, &first);
    let second = remote.commit(&[("a", "2")]);
    place.expect(&remote, &second);
    assert_eq!(github.count(), 1, "the token is kept");
    let request = github.heard.lock().unwrap()[0].clone();
    assert!(request.starts_with("POST /app/installations/42/access_tokens "), "{request}");
    let token = request.lines().find_map(|line| line.split_once("Bearer ").map(|(_, token)| token.trim())).unwrap();
    assert_eq!(token.split('.').count(), 3, "{request}");
    assert_eq!(place.metric("git_sync_refresh_github_app_token_count{status=\"success\"}"), 1.0);
}

#[test]
fn ssh_works_with_a_known_host_and_refuses_a_stranger() {
    let (remote, first) = GitRemote::with_files(&[("a", "1")]);
    let Some(ssh) = remote.serve_ssh(HostKey::Ed25519) else { return };
    let place = Place::new();
    let key = format!("--ssh-key-file={}", ssh.key().display());
    let known = format!("--ssh-known-hosts-file={}", ssh.known_hosts().display());
    let wrong = format!("--ssh-known-hosts-file={}", ssh.wrong_known_hosts().display());
    assert_eq!(place.once(&ssh.url(), &[&key, &wrong]).0, 1);
    assert_eq!(place.shown(), None);
    let stranger = format!("--ssh-key-file={}", ssh.stranger_key().display());
    assert_eq!(place.once(&ssh.url(), &[&stranger, &known]).0, 1);
    let (code, log) = place.once(&ssh.url(), &[&stranger, &key, &known]);
    assert_eq!(code, 0, "{log}");
    place.expect(&remote, &first);
    let second = remote.commit(&[("a", "2")]);
    assert_eq!(place.once(&ssh.url(), &[&key, &wrong, "--ssh-known-hosts=false"]).0, 0);
    place.expect(&remote, &second);
}
