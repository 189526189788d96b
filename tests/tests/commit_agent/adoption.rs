//! Whose clone it is.

use baft_tests::GitRemote;
use baft_tests::git::git;
use baft_tests::wait_until;

use crate::support::{Desk, SOON, on_remote, wait_for_remote};

#[test]
fn somebodys_own_clone_is_left_alone_until_they_agree() {
    let (remote, first) = GitRemote::with_files(&[("a.yaml", "a: 1\n")]);
    let desk = Desk::new();
    desk.clone_by_hand(&remote.url());
    desk.save("a.yaml", "a: mine\n");
    let mut refused = desk.start(&remote.url(), &[]);
    assert_eq!(refused.wait(SOON).code(), Some(78), "{}", refused.logs());
    assert!(refused.logs().contains(&desk.clone().display().to_string()), "{}", refused.logs());
    assert_eq!((desk.git(&["rev-parse", "HEAD"]), on_remote(&remote, "a.yaml").as_deref()), (first, Some("a: 1\n")));
    assert!(!desk.clone().join(".git/baft").exists(), "nothing was written");
    let mut agent = desk.ready(&remote.url(), &["--adopt"]);
    wait_for_remote(&remote, "a.yaml", "a: mine\n");
    assert!(agent.terminate(SOON).success());
    // Once is enough.
    let _agent = desk.ready(&remote.url(), &[]);
}

#[test]
fn without_a_url_the_clones_own_remote_is_used() {
    let (remote, _) = GitRemote::with_files(&[("a.yaml", "a: 1\n")]);
    let desk = Desk::new();
    desk.clone_by_hand(&remote.url());
    let _agent = desk.ready("", &["--adopt"]);
    desk.save("a.yaml", "a: 2\n");
    wait_for_remote(&remote, "a.yaml", "a: 2\n");
}

#[test]
fn a_folder_that_was_emptied_is_a_fault_and_no_fresh_start() {
    let (remote, _) = GitRemote::with_files(&[("a.yaml", "a: 1\n"), ("b.yaml", "b: 1\n")]);
    let desk = Desk::new();
    let mut agent = desk.ready(&remote.url(), &[]);
    // As when a volume is not mounted any more: everything is gone, and then comes back.
    let aside = desk.path("aside");
    std::fs::rename(desk.clone(), &aside).unwrap();
    std::fs::create_dir(desk.clone()).unwrap();
    agent.signal(rustix::process::Signal::HUP);
    wait_until("the fault to show", SOON, || (desk.get("/readyz").0 == 503).then_some(()));
    assert!(agent.is_running());
    assert_eq!(on_remote(&remote, "b.yaml").as_deref(), Some("b: 1\n"));
    std::fs::remove_dir_all(desk.clone()).unwrap();
    std::fs::rename(&aside, desk.clone()).unwrap();
    agent.signal(rustix::process::Signal::HUP);
    wait_until("the agent to go on", SOON, || (desk.get("/readyz").0 == 200).then_some(()));
    desk.save("a.yaml", "a: 2\n");
    agent.signal(rustix::process::Signal::HUP);
    wait_for_remote(&remote, "a.yaml", "a: 2\n");
    assert_eq!(on_remote(&remote, "b.yaml").as_deref(), Some("b: 1\n"));
}

#[test]
fn what_cannot_be_looked_after_is_refused_at_the_start_in_one_line() {
    let (remote, _) = GitRemote::with_files(&[("a.yaml", "a: 1\n")]);
    remote.commit(&[("a.yaml", "a: 2\n")]);
    let desk = Desk::new();
    git(desk.clone().parent().unwrap(), &["clone", "-q", "--depth=1", &remote.file_url(), "clone"]);
    let mut agent = desk.start(&remote.url(), &["--adopt"]);
    assert_eq!(agent.wait(SOON).code(), Some(78), "{}", agent.logs());
    assert!(agent.logs().contains("shallow"), "{}", agent.logs());
}
