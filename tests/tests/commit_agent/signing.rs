//! Signed commits, checked by git and ssh-keygen.

use std::process::Command;

use baft_tests::GitRemote;
use baft_tests::git::command;

use crate::support::{Desk, SOON, newest, wait_for_remote};

/// Makes a key; its path. Nothing (with a printed reason) when there is no ssh-keygen.
#[allow(clippy::print_stderr)]
fn key(desk: &Desk, name: &str, args: &[&str]) -> Option<String> {
    let path = desk.path(name);
    let made = Command::new("ssh-keygen").args(["-q", "-f", path.to_str().unwrap()]).args(args).status();
    if !made.is_ok_and(|status| status.success()) {
        eprintln!("no ssh-keygen here: signing is not tested");
        return None;
    }
    Some(path.to_str().unwrap().to_owned())
}

#[test]
fn every_commit_is_signed_with_the_mounted_key() {
    for (kind, bits) in [("ed25519", None), ("ecdsa", Some("256"))] {
        let (remote, _) = GitRemote::with_files(&[("a.yaml", "a: 1\n")]);
        let desk = Desk::new();
        let mut args = vec!["-N", "", "-t", kind];
        args.extend(bits.iter().flat_map(|bits| ["-b", bits]));
        let Some(key) = key(&desk, "key", &args) else { return };
        let _agent = desk.ready(&remote.url(), &[&format!("--signing-key-file={key}")]);
        desk.save("a.yaml", "a: 2\n");
        wait_for_remote(&remote, "a.yaml", "a: 2\n");
        let public = std::fs::read_to_string(format!("{key}.pub")).unwrap();
        let signers = desk.path("signers");
        std::fs::write(&signers, format!("commit-agent@baft.invalid namespaces=\"git\" {public}")).unwrap();
        let commit = newest(&remote, "%H");
        let verified = command(&remote.bare())
            .args(["-c", "gpg.format=ssh", "-c", &format!("gpg.ssh.allowedSignersFile={}", signers.display())])
            .args(["verify-commit", "-v", &commit])
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&verified.stderr);
        assert!(verified.status.success(), "{kind}: {said}");
        assert!(said.contains("Good \"git\" signature for commit-agent@baft.invalid"), "{said}");
    }
}

#[test]
fn a_key_that_cannot_sign_is_refused_at_the_start_without_being_shown() {
    let desk = Desk::new();
    let Some(locked) = key(&desk, "locked", &["-N", "hunter2", "-t", "ed25519"]) else { return };
    let nonsense = desk.path("nonsense");
    std::fs::write(&nonsense, "-----BEGIN NOTHING-----\nAAAA\n").unwrap();
    for (file, word) in
        [(locked.as_str(), "passphrase"), (nonsense.to_str().unwrap(), "OpenSSH"), ("/no/such/key", "read")]
    {
        let mut agent = desk.start("/nowhere", &[&format!("--signing-key-file={file}")]);
        assert_eq!(agent.wait(SOON).code(), Some(78), "{}", agent.logs());
        let log = agent.logs();
        assert!(log.contains("--signing-key-file") && log.contains(word) && log.lines().count() == 1, "{log}");
    }
}
