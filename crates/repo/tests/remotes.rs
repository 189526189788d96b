//! Real remotes over paths, HTTP and SSH: what works works, and what fails fails soon, once, and with a class.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::time::{Duration, Instant};

use baft_kit::{Secret, SecretFile};
use baft_repo::transport::{
    Class, Credentials, KnownHosts, Libgit2, Login, LoginSource, Password, PushSpec, Remote, Transport,
};
use baft_repo::{Oid, Repo, RepoError, Settings};
use baft_tests::GitRemote;
use baft_tests::git::{Fault, HostKey};
use tempfile::TempDir;

const REFSPEC: &str = "+refs/heads/main:refs/baft/upstream";

fn start() -> (TempDir, Repo) {
    baft_repo::init(&Settings { io_timeout: Duration::from_secs(4), ..Settings::default() }).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let repo = Repo::create_bare(folder.path().join("mirror.git")).unwrap();
    (folder, repo)
}

fn remote(url: impl Into<String>) -> Remote {
    Remote { url: url.into(), deadline: Some(Duration::from_secs(20)), ..Remote::default() }
}

fn fetch(repo: &Repo, remote: &Remote) -> Result<Oid, Class> {
    let report = Libgit2::new().fetch(repo, remote, &[REFSPEC.to_owned()]).map_err(|e| {
        assert!(!e.to_string().contains("secret"), "{e}");
        e.class
    })?;
    let main = report.refs.iter().find(|r| r.name == "refs/heads/main").unwrap().oid;
    assert_eq!(repo.find_ref("refs/baft/upstream").unwrap(), Some(main));
    Ok(main)
}

fn list_class(remote: &Remote) -> Class {
    Libgit2::new().list(remote).unwrap_err().class
}

#[test]
fn a_path_a_file_url_and_http_list_and_fetch_alike() {
    let (source, first) = GitRemote::with_files(&[("a", "1")]);
    let first: Oid = first.parse().unwrap();
    source.git(&["tag", "-a", "v1", "-m", "annotated"]);
    source.git(&["push", "-q", "origin", "v1"]);
    let http = source.serve_http();
    for url in [source.url(), source.file_url(), http.url()] {
        let (_folder, repo) = start();
        let remote = remote(url);
        let refs = Libgit2::new().list(&remote).unwrap();
        let find = |name: &str| refs.iter().find(|r| r.name == name).unwrap_or_else(|| panic!("{name} in {refs:?}"));
        let head: Oid = source.head().parse().unwrap();
        assert_eq!(find("refs/heads/main").oid, head);
        assert_eq!(find("refs/tags/v1^{}").oid, first, "tags are peeled");
        assert_ne!(find("refs/tags/v1").oid, first);
        assert_eq!((find("HEAD").oid, find("HEAD").target.as_deref()), (head, Some("refs/heads/main")));
        assert_eq!(fetch(&repo, &remote), Ok(head));
        let next: Oid = source.commit(&[("a", &format!("edit {}", remote.url))]).parse().unwrap();
        assert_eq!(fetch(&repo, &remote), Ok(next));
        assert_eq!(repo.diff(Some(head), next).unwrap().len(), 1);
        assert!(repo.is_ancestor(head, next).unwrap());
    }
}

#[test]
fn history_that_was_rewritten_is_followed() {
    let (source, first) = GitRemote::with_files(&[("a", "1")]);
    source.commit(&[("a", "2")]);
    let (_folder, repo) = start();
    let http = source.serve_http();
    let before = fetch(&repo, &remote(http.url())).unwrap();
    let after: Oid = source.force_push(1, &[("a", "3")]).parse().unwrap();
    assert_eq!(fetch(&repo, &remote(http.url())), Ok(after));
    assert!(!repo.is_ancestor(before, after).unwrap());
    assert!(repo.is_ancestor(first.parse().unwrap(), after).unwrap());
    assert!(repo.contains(before), "what was published stays readable");
}

#[test]
fn passwords_are_read_on_every_use_and_shown_once() {
    let (source, _) = GitRemote::with_files(&[("a", "1")]);
    let http = source.serve_http();
    http.require_login(Some(("robot", "secret-1")));
    let (folder, repo) = start();
    let file = folder.path().join("password");
    std::fs::write(&file, "secret-1\n").unwrap();
    let mut remote = remote(http.url());
    assert_eq!(list_class(&remote), Class::Auth, "without credentials");
    remote.credentials.username = Some("robot".to_owned());
    remote.credentials.password = Some(Password::File(SecretFile::new(&file)));
    fetch(&repo, &remote).unwrap();
    http.require_login(Some(("robot", "secret-2")));
    let refused = http.refused();
    assert_eq!(list_class(&remote), Class::Auth);
    assert_eq!(http.refused(), refused + 1, "a wrong password is shown once");
    std::fs::write(&file, "secret-2\n").unwrap();
    fetch(&repo, &remote).unwrap();
    std::fs::remove_file(&file).unwrap();
    let error = Libgit2::new().list(&remote).unwrap_err();
    assert!(error.class == Class::Auth && error.message.contains("password"), "{error}");
}

#[derive(Debug)]
struct Askpass(Result<&'static str, &'static str>);

impl LoginSource for Askpass {
    fn login(&self) -> Result<Login, String> {
        let password = Secret::new(self.0.map_err(str::to_owned)?);
        Ok(Login { username: "robot".to_owned(), password })
    }
}

#[test]
fn a_login_source_goes_first_and_its_failure_is_told() {
    let (source, _) = GitRemote::with_files(&[("a", "1")]);
    let http = source.serve_http();
    http.require_login(Some(("robot", "minted")));
    let mut remote = remote(http.url());
    remote.credentials.login = Some(std::sync::Arc::new(Askpass(Ok("minted"))));
    remote.credentials.password = Some(Password::Value(Secret::new("secret")));
    Libgit2::new().list(&remote).unwrap();
    assert_eq!(http.refused(), 0);
    remote.credentials.login = Some(std::sync::Arc::new(Askpass(Err("the token server is closed"))));
    let error = Libgit2::new().list(&remote).unwrap_err();
    assert!(error.class == Class::Auth && error.message.contains("the token server is closed"), "{error}");
}

#[test]
fn credentials_in_the_url_work_and_never_show() {
    let (source, _) = GitRemote::with_files(&[("a", "1")]);
    let http = source.serve_http();
    http.require_login(Some(("robot", "hunter2")));
    let (_folder, repo) = start();
    let mut remote = remote(http.url().replace("http://", "http://robot:hunter2@"));
    fetch(&repo, &remote).unwrap();
    http.require_login(Some(("robot", "changed")));
    remote.credentials.password = Some(Password::Value(Secret::new("other-secret")));
    let error = Libgit2::new().list(&remote).unwrap_err();
    assert_eq!(error.class, Class::Auth);
    assert!(!error.to_string().contains("hunter2") && !error.to_string().contains("other-secret"), "{error}");
}

#[test]
fn cookies_are_sent_when_they_are_meant_for_the_remote() {
    let (source, _) = GitRemote::with_files(&[("a", "1")]);
    let http = source.serve_http();
    http.require_cookie("o=token");
    let (folder, repo) = start();
    let mut remote = remote(http.url());
    assert_eq!(list_class(&remote), Class::Auth);
    let file = folder.path().join("cookies");
    std::fs::write(&file, "127.0.0.1\tFALSE\t/\tFALSE\t0\to\ttoken\n").unwrap();
    remote.credentials.cookie_file = Some(file);
    assert!(!Libgit2::new().list(&remote).unwrap().is_empty());
    fetch(&repo, &remote).unwrap();
}

#[test]
fn every_bad_answer_has_its_class_and_leaves_the_mirror_usable() {
    let (source, _) = GitRemote::with_files(&[("a", "1")]);
    let http = source.serve_http();
    let (_folder, repo) = start();
    let remote = remote(http.url());
    let first = fetch(&repo, &remote).unwrap();
    let large: String =
        (0..200_000).map(|n: u32| char::from(b'a' + (n.wrapping_mul(2_654_435_761) >> 27) as u8 % 26)).collect();
    source.commit(&[("large", &large)]);
    for (fault, class) in [
        (Fault::Status(401), Class::Auth),
        (Fault::Status(403), Class::Auth),
        (Fault::Status(404), Class::NotFound),
        (Fault::Status(429), Class::Refused),
        (Fault::Status(500), Class::Network),
        (Fault::Status(503), Class::Network),
        (Fault::Truncate, Class::Network),
        (Fault::TruncatePack, Class::Network),
    ] {
        http.fault(fault);
        assert_eq!(fetch(&repo, &remote), Err(class), "{fault:?}");
        assert_eq!(repo.find_ref("refs/baft/upstream").unwrap(), Some(first), "{fault:?}");
    }
    http.fault(Fault::None);
    fetch(&repo, &remote).unwrap();
}

#[test]
fn a_remote_that_hangs_or_trickles_costs_no_more_than_the_deadline() {
    let (source, _) = GitRemote::with_files(&[("a", "1")]);
    let http = source.serve_http();
    let (_folder, repo) = start();
    let remote = Remote { deadline: Some(Duration::from_millis(700)), ..remote(http.url()) };
    for fault in [Fault::Hang, Fault::HangInPack, Fault::Trickle(50)] {
        http.fault(fault);
        let begun = Instant::now();
        assert_eq!(fetch(&repo, &remote), Err(Class::Timeout), "{fault:?}");
        assert!(begun.elapsed() < Duration::from_secs(3), "{fault:?} took {:?}", begun.elapsed());
    }
}

#[test]
fn a_remote_that_is_gone_is_not_found_or_not_reached() {
    let (source, _) = GitRemote::with_files(&[("a", "1")]);
    let (_folder, _) = start();
    let error = Libgit2::new().list(&remote("/nowhere/at/all.git")).unwrap_err();
    assert_eq!(error.class, Class::NotFound, "{error}");
    assert_eq!(list_class(&remote("file:///nowhere/at/all.git")), Class::NotFound);
    let http = source.serve_http();
    let url = http.url();
    drop(http);
    assert_eq!(list_class(&remote(url)), Class::Network);
    assert_eq!(list_class(&remote("http://does-not-exist.invalid/a.git")), Class::Network);
    assert_eq!(list_class(&remote("ext::sh -c true")), Class::Unsupported);
}

#[test]
fn credentials_do_not_follow_a_redirect_to_another_server() {
    let (source, _) = GitRemote::with_files(&[("a", "1")]);
    let other = source.serve_http();
    other.require_login(Some(("robot", "secret")));
    let http = source.serve_http();
    let prefix: &'static str = Box::leak(format!("http://localhost:{}", other.port()).into_boxed_str());
    http.fault(Fault::Redirect(prefix));
    let mut remote = remote(http.url());
    remote.credentials.username = Some("robot".to_owned());
    remote.credentials.password = Some(Password::Value(Secret::new("secret")));
    assert_eq!(list_class(&remote), Class::Auth);
    assert_eq!(other.refused(), 0, "nothing was shown to the other server");
}

#[test]
fn ssh_works_with_a_key_from_a_file_and_a_known_host() {
    let (source, head) = GitRemote::with_files(&[("a", "1")]);
    let Some(ssh) = source.serve_ssh(HostKey::Ed25519) else { return };
    let (_folder, repo) = start();
    let mut remote = remote(ssh.url());
    remote.known_hosts = KnownHosts::File(ssh.known_hosts());
    remote.credentials = Credentials { ssh_keys: vec![ssh.stranger_key(), ssh.key()], ..Credentials::default() };
    assert_eq!(fetch(&repo, &remote), Ok(head.parse().unwrap()));
    let next: Oid = source.commit(&[("a", "2")]).parse().unwrap();
    assert_eq!(fetch(&repo, &remote), Ok(next));
}

#[test]
fn ssh_offers_each_key_once_and_then_gives_up() {
    let (source, _) = GitRemote::with_files(&[("a", "1")]);
    let Some(ssh) = source.serve_ssh(HostKey::Ed25519) else { return };
    start();
    let mut remote = remote(ssh.url());
    remote.known_hosts = KnownHosts::File(ssh.known_hosts());
    assert_eq!(list_class(&remote), Class::Auth, "no key");
    remote.credentials.ssh_keys = vec![ssh.stranger_key()];
    let before = ssh.offers();
    let begun = Instant::now();
    assert_eq!(list_class(&remote), Class::Auth);
    assert!(begun.elapsed() < Duration::from_secs(10));
    assert!(ssh.offers() - before <= 2, "{} offers of one key", ssh.offers() - before);
}

#[test]
fn a_host_key_that_is_not_the_known_one_is_refused_before_any_key_is_offered() {
    let (source, _) = GitRemote::with_files(&[("a", "1")]);
    let Some(ssh) = source.serve_ssh(HostKey::Ed25519) else { return };
    let (folder, _) = start();
    let mut remote = remote(ssh.url());
    remote.credentials.ssh_keys = vec![ssh.key()];
    let nobody = folder.path().join("nobody");
    std::fs::write(&nobody, "").unwrap();
    for (known_hosts, word) in [
        (KnownHosts::File(ssh.wrong_known_hosts()), "not the one in"),
        (KnownHosts::File(nobody), "is not in"),
        (KnownHosts::File("/nowhere".into()), "cannot read"),
        (KnownHosts::None, "no known hosts"),
    ] {
        remote.known_hosts = known_hosts;
        let error = Libgit2::new().list(&remote).unwrap_err();
        assert!(error.class == Class::Auth && error.message.contains(word), "{error}");
    }
    assert_eq!(ssh.offers(), 0);
    remote.known_hosts = KnownHosts::Any;
    Libgit2::new().list(&remote).unwrap();
}

#[test]
fn a_push_is_a_compare_and_swap_and_every_ref_gets_its_verdict() {
    let (source, first) = GitRemote::with_files(&[("a", "1")]);
    let http = source.serve_http();
    let (_folder, _) = start();
    let work = Repo::open(source.work()).unwrap();
    let (first, next): (Oid, Oid) = (first.parse().unwrap(), source.commit_only(&[("a", Some(b"2"))]).parse().unwrap());
    let spec = |expected: Option<Oid>| PushSpec { new: Some(next), name: "refs/heads/main".to_owned(), expected };
    let bare = Repo::open(source.bare()).unwrap();
    for url in [http.url(), source.url()] {
        let error = Libgit2::new().push(&work, &remote(&url), &[spec(Some(next))]).unwrap_err();
        assert_eq!(error.class, Class::Moved, "{url}: {error}");
        assert_eq!(bare.resolve("refs/heads/main").unwrap(), first);
        let answers = Libgit2::new().push(&work, &remote(&url), &[spec(Some(first))]).unwrap();
        assert_eq!(answers[0].rejected, None, "{url}");
        assert_eq!(bare.resolve("refs/heads/main").unwrap(), next);
        bare.set_ref("refs/heads/main", first, Some(next), "back").unwrap();
    }
    // A hook that says no: libgit2's push is Ok, the verdict is not.
    let hook = source.bare().join("hooks/update");
    std::fs::create_dir_all(hook.parent().unwrap()).unwrap();
    std::fs::write(&hook, "#!/bin/sh\nexit 1\n").unwrap();
    std::fs::set_permissions(&hook, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    let answers = Libgit2::new().push(&work, &remote(http.url()), &[spec(Some(first))]).unwrap();
    assert!(answers[0].rejected.is_some(), "{answers:?}");
    assert_eq!(bare.resolve("refs/heads/main").unwrap(), first);
}

#[test]
fn a_repository_everybody_may_write_to_is_not_opened_and_refs_move_only_from_where_they_were() {
    let (source, first) = GitRemote::with_files(&[("a", "1")]);
    let (_folder, _) = start();
    let repo = Repo::open(source.bare()).unwrap();
    let first: Oid = first.parse().unwrap();
    repo.set_ref("refs/baft/x", first, None, "new").unwrap();
    let next: Oid = source.commit(&[("a", "2")]).parse().unwrap();
    let moved = repo.set_ref("refs/baft/x", next, None, "again").unwrap_err();
    assert!(matches!(moved, RepoError::Moved { actual: Some(actual), .. } if actual == first), "{moved}");
    repo.set_ref("refs/baft/x", next, Some(first), "on").unwrap();
    assert!(repo.set_ref("refs/baft/x", first, Some(first), "late").is_err());
    assert!(matches!(Repo::open("/nowhere"), Err(RepoError::NotARepository { .. })));
    assert!(matches!(Repo::open(source.bare().join("refs")), Err(RepoError::NotARepository { .. })));
}
