//! A process of its own, because libgit2's home folder is process-global.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use baft_repo::Settings;
use baft_repo::transport::{Credentials, KnownHosts, Libgit2, Remote, Transport};
use baft_tests::GitRemote;
use baft_tests::git::HostKey;

#[test]
fn a_server_is_asked_for_the_key_that_known_hosts_has() {
    let (source, _) = GitRemote::with_files(&[("a", "1")]);
    let Some(ssh) = source.serve_ssh(HostKey::EcdsaKnownOfTwo) else { return };
    let folder = tempfile::tempdir().unwrap();
    let settings = Settings {
        known_hosts: Some(ssh.known_hosts()),
        home: Some(folder.path().join("home")),
        ..Settings::default()
    };
    baft_repo::init(&settings).unwrap();
    let remote = Remote {
        url: ssh.url(),
        known_hosts: KnownHosts::File(ssh.known_hosts()),
        credentials: Credentials { ssh_keys: vec![ssh.key()], ..Credentials::default() },
        ..Remote::default()
    };
    assert!(!Libgit2::new().list(&remote).unwrap().is_empty());
}
