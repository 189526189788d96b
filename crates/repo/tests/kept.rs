//! Looks at a real remote over HTTP that follow each other closely: one connection, and nothing else is different.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::time::{Duration, Instant};

use baft_kit::SecretFile;
use baft_repo::transport::{Class, Libgit2, Password, Remote, RemoteRef, Transport, TransportError};
use baft_repo::{Oid, Settings};
use baft_tests::GitRemote;
use baft_tests::git::{Fault, GitHttp};

/// One who looks at one remote again and again.
struct Follower {
    transport: Libgit2,
    remote: Remote,
}

impl Follower {
    /// Has looked often enough to keep its connection.
    fn of(http: &GitHttp) -> Self {
        Self::with(Remote { url: http.url(), deadline: Some(Duration::from_secs(20)), ..Remote::default() })
    }

    fn with(remote: Remote) -> Self {
        baft_repo::init(&Settings { io_timeout: Duration::from_secs(4), ..Settings::default() }).unwrap();
        let follower = Self { transport: Libgit2::new(), remote };
        follower.look().unwrap();
        follower.look().unwrap();
        follower
    }

    fn look(&self) -> Result<Vec<RemoteRef>, TransportError> {
        self.transport.list(&self.remote)
    }

    fn main(&self) -> Oid {
        self.look().unwrap().into_iter().find(|r| r.name == "refs/heads/main").unwrap().oid
    }

    fn class(&self) -> Class {
        self.look().unwrap_err().class
    }
}

#[test]
fn looks_that_follow_each_other_share_a_connection_and_see_what_libgit2_sees() {
    let (source, _) = GitRemote::with_files(&[("a", "1")]);
    let http = source.serve_http();
    let follower = Follower::of(&http);
    assert_eq!((http.connections(), http.requests()), (2, 2), "libgit2's, and the one that is kept");
    for round in 0..5 {
        let head: Oid = source.commit(&[("a", &round.to_string())]).parse().unwrap();
        source.git(&["tag", "-a", "-m", "a tag", &format!("v{round}")]);
        source.git(&["push", "-q", "--tags", "origin"]);
        assert_eq!(follower.main(), head);
        let there = Libgit2::new().list(&Remote { url: source.url(), ..Remote::default() }).unwrap();
        assert_eq!(follower.look().unwrap(), there);
        assert!(there.iter().any(|r| r.name == "HEAD" && r.target.as_deref() == Some("refs/heads/main")));
    }
    assert_eq!((http.connections(), http.requests()), (2, 12));
}

#[test]
fn a_repository_that_loses_all_its_refs_has_none() {
    let (source, _) = GitRemote::with_files(&[("a", "1")]);
    let http = source.serve_http();
    let follower = Follower::of(&http);
    let refs = source.bare().join("refs/heads/main");
    std::fs::remove_file(refs).unwrap();
    assert_eq!(follower.look(), Ok(Vec::new()));
    assert_eq!(http.connections(), 2);
}

#[test]
fn a_connection_that_the_server_closed_is_opened_again_without_a_word() {
    let (source, _) = GitRemote::with_files(&[("a", "1")]);
    let http = source.serve_http();
    let follower = Follower::of(&http);
    for round in 0..3 {
        http.cut();
        follower.look().unwrap();
        follower.look().unwrap();
        assert_eq!((http.connections(), http.requests()), (3 + round, 4 + 2 * round));
    }
}

#[test]
fn a_password_that_changes_is_used_from_the_next_look_and_a_wrong_one_is_shown_once() {
    let (source, _) = GitRemote::with_files(&[("a", "1")]);
    let http = source.serve_http();
    http.require_login(Some(("robot", "secret-1")));
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("password");
    std::fs::write(&file, "secret-1\n").unwrap();
    let mut remote = Remote { url: http.url(), ..Remote::default() };
    remote.credentials.username = Some("robot".to_owned());
    remote.credentials.password = Some(Password::File(SecretFile::new(&file)));
    let follower = Follower::with(remote);
    let (requests, connections) = (http.requests(), http.connections());
    follower.look().unwrap();
    assert_eq!(http.requests(), requests + 1, "the server need not ask again");
    for round in 2..5 {
        http.require_login(Some(("robot", &format!("secret-{round}"))));
        let refused = http.refused();
        let error = follower.look().unwrap_err();
        assert_eq!(error.class, Class::Auth);
        assert!(error.message.contains("refused our credentials") && !error.message.contains("secret-"), "{error}");
        assert_eq!(http.refused(), refused + 1, "a wrong password is shown once");
        std::fs::write(&file, format!("secret-{round}\n")).unwrap();
        follower.look().unwrap();
    }
    std::fs::remove_file(&file).unwrap();
    let error = follower.look().unwrap_err();
    assert!(error.class == Class::Auth && error.message.contains("password"), "{error}");
    assert_eq!(http.connections(), connections);
}

#[test]
fn a_remote_that_begins_to_ask_for_a_login_is_told_none_is_configured() {
    let (source, _) = GitRemote::with_files(&[("a", "1")]);
    let http = source.serve_http();
    let follower = Follower::of(&http);
    http.require_login(Some(("robot", "secret")));
    let error = follower.look().unwrap_err();
    assert!(error.class == Class::Auth && error.message.contains("none are configured"), "{error}");
    http.require_login(None);
    follower.look().unwrap();
    assert_eq!(http.connections(), 2);
}

#[test]
fn a_hang_or_a_trickle_on_the_kept_connection_costs_no_more_than_the_deadline() {
    let (source, _) = GitRemote::with_files(&[("a", "1")]);
    let http = source.serve_http();
    let mut follower = Follower::of(&http);
    for fault in [Fault::Hang, Fault::Trickle(50)] {
        follower.remote.deadline = Some(Duration::from_millis(700));
        http.fault(fault);
        let (begun, requests) = (Instant::now(), http.requests());
        assert_eq!(follower.class(), Class::Timeout, "{fault:?}");
        assert!(begun.elapsed() < Duration::from_secs(3), "{fault:?} took {:?}", begun.elapsed());
        assert_eq!(http.requests(), requests + 1, "{fault:?}: it is not asked again after the deadline");
        http.fault(Fault::None);
        follower.remote.deadline = Some(Duration::from_secs(20));
        let connections = http.connections();
        follower.look().unwrap();
        follower.look().unwrap();
        assert_eq!(http.connections(), connections + 1, "{fault:?}");
    }
}

#[test]
fn every_bad_answer_has_the_class_it_has_on_a_new_connection() {
    let (source, _) = GitRemote::with_files(&[("a", "1")]);
    let http = source.serve_http();
    for fault in [401, 403, 404, 429, 500, 503].map(Fault::Status).into_iter().chain([Fault::Truncate]) {
        let follower = Follower::of(&http);
        http.fault(fault);
        let new = Libgit2::new().list(&follower.remote).unwrap_err();
        let kept = follower.look().unwrap_err();
        assert_eq!(kept, new, "{fault:?}");
        http.fault(Fault::None);
        follower.look().unwrap();
    }
}

#[test]
fn a_server_that_goes_and_comes_back_is_followed_on() {
    let (source, head) = GitRemote::with_files(&[("a", "1")]);
    let http = source.serve_http();
    let port = http.port();
    let follower = Follower::of(&http);
    drop(http);
    for _ in 0..3 {
        assert_eq!(follower.class(), Class::Network);
    }
    let http = GitHttp::start_at(source.bare().parent().unwrap(), port);
    assert_eq!(follower.main(), head.parse().unwrap());
    let further = Follower::of(&http);
    let connections = http.connections();
    further.look().unwrap();
    assert_eq!(http.connections(), connections);
}

#[test]
fn a_redirect_is_left_to_libgit2_and_shows_nothing_to_the_other_server() {
    let (source, _) = GitRemote::with_files(&[("a", "1")]);
    let other = source.serve_http();
    let http = source.serve_http();
    let follower = Follower::of(&http);
    let prefix: &'static str = Box::leak(format!("http://localhost:{}", other.port()).into_boxed_str());
    http.fault(Fault::Redirect(prefix));
    follower.look().unwrap();
    assert_eq!(other.requests(), 1, "libgit2 followed it");
    other.require_login(Some(("robot", "secret")));
    assert_eq!(follower.class(), Class::Auth);
    assert_eq!(other.refused(), 0);
    http.fault(Fault::None);
    follower.look().unwrap();
}

#[test]
fn looks_at_once_do_not_wait_for_each_other() {
    let (source, head) = GitRemote::with_files(&[("a", "1")]);
    let http = source.serve_http();
    let follower = Follower::of(&http);
    http.fault(Fault::Hang);
    std::thread::scope(|scope| {
        let hanging = Follower {
            transport: follower.transport.clone(),
            remote: Remote { deadline: Some(Duration::from_secs(2)), ..follower.remote.clone() },
        };
        let requests = http.requests();
        let hanging = scope.spawn(move || hanging.class());
        while http.requests() == requests {
            std::thread::yield_now();
        }
        http.fault(Fault::None);
        assert_eq!(follower.main(), head.parse().unwrap());
        assert!(!hanging.is_finished());
        assert_eq!(hanging.join().unwrap(), Class::Timeout);
    });
}
