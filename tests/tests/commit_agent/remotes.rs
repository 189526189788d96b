//! Saved, committed, pushed; and what others push, brought in: over every kind of remote.

use baft_tests::git::{Fault, HostKey, git};
use baft_tests::{GitRemote, wait_until};

use crate::support::{Desk, SOON, newest, on_remote, wait_for_file, wait_for_remote};

/// A saved file reaches the remote, a pushed one the clone.
fn both_ways(desk: &Desk, remote: &GitRemote, url: &str, args: &[&str]) {
    let mut agent = desk.ready(url, args);
    assert_eq!(desk.read("data/a.yaml").as_deref(), Some("a: 1\n"), "the clone was made");
    desk.save("data/a.yaml", "a: 2\n");
    wait_for_remote(remote, "data/a.yaml", "a: 2\n");
    remote.git(&["pull", "-q", "origin", "main"]);
    remote.commit(&[("data/b.yaml", "b: 1\n")]);
    // Somebody says that there is something new.
    agent.signal(rustix::process::Signal::HUP);
    wait_for_file(desk, "data/b.yaml", "b: 1\n");
    assert!(agent.terminate(SOON).success(), "{}", agent.logs());
    git(&desk.clone(), &["fsck", "--strict"]);
    assert_eq!(git(&desk.clone(), &["status", "--porcelain"]), "");
}

#[test]
fn over_a_path_and_a_file_url() {
    for file_url in [false, true] {
        let (remote, _) = GitRemote::with_files(&[("data/a.yaml", "a: 1\n")]);
        let url = if file_url { remote.file_url() } else { remote.url() };
        both_ways(&Desk::new(), &remote, &url, &[]);
    }
}

#[test]
fn over_http_with_a_password_from_a_file_under_our_own_variables() {
    let (remote, _) = GitRemote::with_files(&[("data/a.yaml", "a: 1\n")]);
    let http = remote.serve_http();
    http.require_login(Some(("me", "s3cret")));
    let desk = Desk::new();
    let file = desk.path("password");
    std::fs::write(&file, "s3cret\n").unwrap();
    both_ways(&desk, &remote, &http.url(), &["--username=me", &format!("--password-file={}", file.display())]);
    let env =
        [("BAFT_GIT_USERNAME", "me"), ("BAFT_GIT_PASSWORD", "s3cret"), ("GITSYNC_PASSWORD", "of another program")];
    let mut agent = desk.start_with(&http.url(), &["--one-time"], &env);
    assert!(agent.wait(SOON).success(), "{}", agent.logs());
    assert!(!agent.logs().contains("s3cret"), "{}", agent.logs());
}

#[test]
fn over_ssh_with_a_key_and_known_hosts() {
    let (remote, _) = GitRemote::with_files(&[("data/a.yaml", "a: 1\n")]);
    let Some(ssh) = remote.serve_ssh(HostKey::Ed25519) else { return };
    let key = format!("--ssh-key-file={}", ssh.key().display());
    let known = format!("--ssh-known-hosts-file={}", ssh.known_hosts().display());
    both_ways(&Desk::new(), &remote, &ssh.url(), &[&key, &known]);
}

#[test]
fn a_remote_that_is_away_costs_nothing_but_time() {
    let (remote, _) = GitRemote::with_files(&[("a.yaml", "a: 1\n")]);
    let http = remote.serve_http();
    let desk = Desk::new();
    let mut agent = desk.ready(&http.url(), &[]);
    for fault in [Fault::Status(503), Fault::RefusePush(403), Fault::TruncatePack] {
        http.fault(fault);
        let text = format!("a: {fault:?}\n");
        desk.save("a.yaml", &text);
        wait_until("the commit in the clone", SOON, || {
            (git(&desk.clone(), &["show", "main:a.yaml"]) == text.trim_end()).then_some(())
        });
        assert!(agent.is_running());
        http.fault(Fault::None);
        wait_for_remote(&remote, "a.yaml", &text);
    }
    assert!(desk.metric("unpushed_commits") == 0.0);
}

#[test]
fn a_push_whose_reply_was_lost_is_not_made_twice() {
    let (remote, first) = GitRemote::with_files(&[("a.yaml", "a: 1\n")]);
    let http = remote.serve_http();
    let desk = Desk::new();
    let _agent = desk.ready(&http.url(), &[]);
    http.fault(Fault::LosePushAnswer);
    desk.save("a.yaml", "a: 2\n");
    wait_for_remote(&remote, "a.yaml", "a: 2\n");
    http.fault(Fault::None);
    wait_until("the agent to know", SOON, || {
        (desk.metric("unpushed_commits") == 0.0 && desk.metric("last_push_success_timestamp_seconds") > 0.0)
            .then_some(())
    });
    let commits = git(&remote.bare(), &["rev-list", "--count", &format!("{first}..main")]);
    assert_eq!(commits, "1");
}

#[test]
fn an_automatic_commit_says_so_and_names_its_agent() {
    let (remote, _) = GitRemote::with_files(&[("a.yaml", "a: 1\n")]);
    let desk = Desk::new();
    let _agent = desk.ready(&remote.url(), &["--author=Ann <ann@example.org>"]);
    desk.save("a.yaml", "a: 2\n");
    wait_for_remote(&remote, "a.yaml", "a: 2\n");
    assert!(newest(&remote, "%s").starts_with("Auto-commit: "), "{}", newest(&remote, "%B"));
    assert_eq!(newest(&remote, "%an <%ae>"), "Ann <ann@example.org>");
    assert_eq!(newest(&remote, "%cn"), "baft commit-agent");
    assert_eq!(newest(&remote, "%(trailers:key=Baft-Agent,valueonly)"), "desk");
    assert_eq!(newest(&remote, "%(trailers:key=Session,valueonly)"), "");
}

#[test]
fn once_commits_and_pushes_what_is_there_and_says_by_its_exit_whether_the_remote_has_it() {
    let (remote, _) = GitRemote::with_files(&[("a.yaml", "a: 1\n")]);
    let http = remote.serve_http();
    let desk = Desk::new();
    let (code, log) = desk.once(&http.url(), &[]);
    assert_eq!(code, 0, "{log}");
    desk.save("a.yaml", "a: 2\n");
    http.fault(Fault::RefusePush(403));
    let (code, log) = desk.once(&http.url(), &[]);
    assert_eq!(code, 75, "{log}");
    assert!(log.contains("everything is captured"), "{log}");
    http.fault(Fault::None);
    let (code, log) = desk.once(&http.url(), &[]);
    assert_eq!((code, on_remote(&remote, "a.yaml").as_deref()), (0, Some("a: 2\n")), "{log}");
}

#[test]
fn what_is_set_can_be_seen_without_its_secrets_and_nonsense_ends_with_one_line() {
    let desk = Desk::new();
    let mut shown = desk.start("https://me:hunter2@example.org/x.git", &["--print-config"]);
    assert!(shown.wait(SOON).success());
    assert!(shown.stdout().contains("BAFT_CLONE") || shown.stdout().contains("clone"), "{}", shown.stdout());
    assert!(!shown.logs().contains("hunter2"), "{}", shown.logs());
    for (args, code) in [(&["--schedule=soon"][..], 78), (&["--agent=A B"], 78), (&["--no-such-flag"], 2)] {
        let mut refused = desk.start("/nowhere", args);
        assert_eq!(refused.wait(SOON).code(), Some(code), "{args:?}: {}", refused.logs());
    }
    assert!(!desk.clone().exists(), "nothing is made");
}

#[test]
fn it_reports_its_health() {
    let (remote, _) = GitRemote::with_files(&[("a.yaml", "a: 1\n")]);
    let desk = Desk::new();
    let _agent = desk.ready(&remote.url(), &[]);
    let (status, report) = desk.get("/readyz");
    assert_eq!(status, 200);
    for condition in ["clone", "cycle", "push"] {
        assert!(report.contains(&format!("\"{condition}\"")), "{report}");
    }
    let mut check = baft_tests::Process::spawn_bin(
        "commit-agent",
        [format!("--admin-addr={}", desk.admin.address()), "healthcheck".to_owned()],
        &[],
    );
    assert!(check.wait(SOON).success(), "{}", check.logs());
    assert_eq!(desk.metric("repo_state{state=\"normal\"}"), 1.0);
    assert!(desk.metric("last_success_timestamp_seconds") > 0.0);
}
