//! What is accepted, refused and said.

use baft_tests::{GitRemote, Process};

use crate::support::{Place, SOON};

fn run(args: &[&str], env: &[(&str, &str)]) -> (i32, String) {
    let mut process = Process::spawn_bin("git-sync", args, env);
    let status = process.wait(SOON);
    (status.code().unwrap_or(-1), process.logs())
}

#[test]
fn what_cannot_be_honoured_ends_with_78_and_one_line() {
    for (args, words) in [
        (&["--root=/r"][..], "GITSYNC_REPO"),
        (&["--repo=/x/y"], "GITSYNC_ROOT"),
        (&["--repo=/x/y", "--root=/r", "--submodules=recursive"], "--submodules"),
        (&["--repo=/x/y", "--root=/r", "--sparse-checkout-file=/x"], "--sparse-checkout-file"),
        (&["--repo=/x/y", "--root=/r", "--git-config=a.b:c"], "--git-config"),
        (&["--repo=/x/y", "--root=/r", "--branch=main"], "--ref"),
        (&["--repo=/x/y", "--root=/r", "--period=1ms"], "10ms"),
        (&["--repo=/x/y", "--root=/r", "--link=mirror.git"], "--link"),
        (&["--repo=/x/y", "--root=/r", "--sync-on-signal=SIGFOO"], "--sync-on-signal"),
    ] {
        let (code, log) = run(args, &[]);
        assert_eq!(code, 78, "{args:?}: {log}");
        let line = log.lines().find(|line| line.contains(words));
        assert!(line.is_some(), "{args:?}: {log}");
    }
    let (code, log) = run(&["--repo=/x/y", "--root=/r", "--no-such-flag"], &[]);
    assert_eq!(code, 2, "{log}");
    assert!(log.contains("--no-such-flag"), "{log}");
}

#[test]
fn what_a_full_clone_satisfies_is_accepted_with_a_notice_and_variables_work() {
    let (remote, first) = GitRemote::with_files(&[("a", "1")]);
    let place = Place::new();
    let root = place.root();
    let mut process = Process::spawn_bin(
        "git-sync",
        ["--depth=1", "--add-user", "--git-gc=auto"],
        &[
            ("GITSYNC_REPO", &remote.url()),
            ("GITSYNC_ROOT", root.to_str().unwrap()),
            ("GITSYNC_LINK", "link"),
            ("GITSYNC_ONE_TIME", "true"),
            ("GITSYNC_SUBMODULES", "off"),
            ("GITSYNC_FILTER", "blob:none"),
            ("GITSYNC_EXECHOOK_COMMAND", ""),
            ("GIT_SYNC_DEST", "old"),
        ],
    );
    assert!(process.wait(SOON).success(), "{}", process.logs());
    place.expect(&remote, &first);
    for words in ["--depth changes nothing", "--submodules=off", "--filter", "--add-user", "--git-gc", "GITSYNC_DEST"] {
        assert!(process.logs().contains(words), "{words}: {}", process.logs());
    }
}

#[test]
fn the_configuration_is_shown_without_secrets_and_help_exists() {
    let (code, text) =
        run(&["--repo=https://me:hunter2@host/x.git", "--root=/r", "--print-config"], &[("GITSYNC_PERIOD", "3s")]);
    assert_eq!(code, 0, "{text}");
    assert!(text.contains("GITSYNC_PERIOD") && !text.contains("hunter2"), "{text}");
    for flag in ["--help", "--man", "--version"] {
        assert_eq!(run(&[flag], &[]).0, 0, "{flag}");
    }
}

#[test]
fn a_second_git_sync_on_the_same_root_is_turned_away() {
    let (remote, first) = GitRemote::with_files(&[("a", "1")]);
    let place = Place::new();
    let mut process = place.start(&remote.url(), &[]);
    place.expect(&remote, &first);
    let (code, log) = place.once(&remote.url(), &["--admin-addr=127.0.0.1:0"]);
    assert_eq!(code, 75, "{log}");
    assert!(log.contains(&process.id().to_string()), "says who has it: {log}");
    assert!(process.terminate(SOON).success());
    assert_eq!(place.once(&remote.url(), &[]).0, 0);
}
