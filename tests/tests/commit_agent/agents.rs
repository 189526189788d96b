//! Several agents on one branch.

use baft_tests::git::git;
use baft_tests::{GitRemote, wait_until};

use crate::support::{Desk, SOON, on_remote, wait_for_file};

#[test]
fn two_agents_see_each_others_work_and_nothing_is_forced() {
    let (remote, first) = GitRemote::with_files(&[("a.yaml", "a: 0\n"), ("b.yaml", "b: 0\n")]);
    let (ann, bob) = (Desk::named("ann"), Desk::named("bob"));
    let _agents = [ann.ready(&remote.url(), &["--schedule=1s"]), bob.ready(&remote.url(), &["--schedule=1s"])];
    for n in 1..=5 {
        ann.save("a.yaml", &format!("a: {n}\n"));
        bob.save("b.yaml", &format!("b: {n}\n"));
        wait_until("both edits on the remote", SOON, || {
            let both = (on_remote(&remote, "a.yaml")?, on_remote(&remote, "b.yaml")?);
            (both == (format!("a: {n}\n"), format!("b: {n}\n"))).then_some(())
        });
    }
    wait_for_file(&ann, "b.yaml", "b: 5\n");
    wait_for_file(&bob, "a.yaml", "a: 5\n");
    git(&remote.bare(), &["merge-base", "--is-ancestor", &first, "main"]);
    assert_eq!(git(&remote.bare(), &["for-each-ref", "--format=%(refname)", "refs/heads/rescue"]), "");
}

#[test]
fn a_second_agent_on_one_clone_is_refused_in_one_line() {
    let (remote, _) = GitRemote::with_files(&[("a.yaml", "a: 1\n")]);
    let desk = Desk::new();
    let _agent = desk.ready(&remote.url(), &[]);
    let mut second = desk.start(&remote.url(), &["--admin-addr=127.0.0.1:0"]);
    assert_eq!(second.wait(SOON).code(), Some(75), "{}", second.logs());
    assert_eq!(desk.get("/readyz").0, 200);
}
