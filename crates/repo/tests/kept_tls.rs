//! Looks at a real remote over TLS. A process of its own, because the certificate authorities are process-global.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::time::Duration;

use baft_repo::Settings;
use baft_repo::transport::{Class, Libgit2, Remote, Transport};
use baft_tests::GitRemote;
use baft_tests::git::GitTls;

#[test]
fn one_handshake_is_enough_and_nobody_else_is_trusted() {
    let (source, _) = GitRemote::with_files(&[("a", "1")]);
    let http = source.serve_http();
    let (Some(front), Some(stranger)) = (GitTls::start(&http), GitTls::start(&http)) else { return };
    baft_repo::init(&Settings { ca_file: Some(front.authority()), ..Settings::default() }).unwrap();
    let remote = |url| Remote { url, deadline: Some(Duration::from_secs(20)), ..Remote::default() };

    let (transport, trusted) = (Libgit2::new(), remote(front.url()));
    let look = || transport.list(&trusted).unwrap();
    let (seen, before) = (look(), http.connections());
    for _ in 0..5 {
        assert_eq!(look(), seen);
    }
    assert_eq!(http.connections(), before + 1);

    // Closed without a word: noticed, and no descriptor is left behind (the server's own come and go meanwhile).
    let descriptors = || std::fs::read_dir("/proc/self/fd").unwrap().count();
    let before = descriptors();
    for _ in 0..20 {
        http.cut();
        assert_eq!(look(), seen);
        assert_eq!(look(), seen);
    }
    assert!(descriptors() < before + 10, "{before} descriptors became {}", descriptors());

    let (transport, requests) = (Libgit2::new(), http.requests());
    for _ in 0..3 {
        assert_eq!(transport.list(&remote(stranger.url())).unwrap_err().class, Class::Auth);
    }
    assert_eq!(http.requests(), requests);
}
