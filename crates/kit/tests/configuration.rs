//! What every program promises to those who configure it, on a real process.

#![allow(clippy::unwrap_used, clippy::expect_used)]

#[allow(dead_code)]
mod support;

use std::process::Output;

use support::{command, run};

fn standard_error(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

fn printed(arguments: &[&str], environment: &[(&str, &str)]) -> String {
    let output = run(command().args(arguments).arg("--print-config").envs(environment.iter().copied()));
    assert_eq!(output.status.code(), Some(0), "{}", standard_error(&output));
    String::from_utf8(output.stdout).unwrap()
}

/// The value and source that `--print-config` shows for a flag.
fn shown(text: &str, flag: &str) -> Vec<String> {
    let line = text.lines().find(|line| line.starts_with(flag)).unwrap_or_else(|| panic!("no {flag} in {text}"));
    line.split_whitespace().skip(1).map(str::to_owned).collect()
}

#[test]
fn print_config_shows_every_value_and_where_it_came_from() {
    let text = printed(&["--shutdown-grace", "3s"], &[("BAFT_LOG_LEVEL", "debug")]);
    assert_eq!(shown(&text, "--shutdown-grace"), ["3s", "flag"]);
    assert_eq!(shown(&text, "--log-level"), ["debug", "env", "BAFT_LOG_LEVEL"]);
    assert_eq!(shown(&text, "--admin-addr"), ["127.0.0.1:9199", "default"]);
    assert_eq!(shown(&text, "--repo"), ["(not", "set)", "default"]);
    assert_eq!(shown(&text, "--paused"), ["false", "default"]);
    assert!(!text.contains("print-config") && !text.contains("--help"), "{text}");
}

#[test]
fn a_flag_beats_its_variable() {
    let text = printed(&["--link", "mine"], &[("EXAMPLE_LINK", "other")]);
    assert_eq!(shown(&text, "--link"), ["mine", "flag"]);
}

#[test]
fn an_empty_variable_counts_as_unset() {
    let empty = [("EXAMPLE_LINK", ""), ("BAFT_SHUTDOWN_GRACE", ""), ("EXAMPLE_REPO", ""), ("EXAMPLE_PAUSED", "")];
    let text = printed(&[], &empty);
    assert_eq!(shown(&text, "--link"), ["current", "default"]);
    assert_eq!(shown(&text, "--shutdown-grace"), ["25s", "default"]);
    assert_eq!(shown(&text, "--repo"), ["(not", "set)", "default"]);
    assert_eq!(shown(&text, "--paused"), ["false", "default"]);
}

#[test]
fn a_switch_understands_what_people_write_in_variables() {
    for (value, effective) in [("1", "1"), ("yes", "yes"), ("true", "true"), ("0", "0"), ("off", "off")] {
        let text = printed(&[], &[("EXAMPLE_PAUSED", value)]);
        assert_eq!(shown(&text, "--paused"), [effective, "env", "EXAMPLE_PAUSED"]);
    }
}

#[test]
fn no_secret_is_ever_printed() {
    let repo = "https://user:hunter2@example.com/x.git?token=hunter2";
    let environment = [("EXAMPLE_PASSWORD", "hunter2"), ("EXAMPLE_REPO", repo)];
    let text = printed(&[], &environment);
    assert_eq!(shown(&text, "--password"), ["***", "env", "EXAMPLE_PASSWORD"]);
    assert_eq!(shown(&text, "--repo")[0], "https://***@example.com/x.git?token=***");
    assert!(!text.contains("hunter2"), "{text}");
    for arguments in [&["--help"][..], &["--no-such-flag"], &[repo], &["--link", repo]] {
        let output = run(command().args(arguments).envs(environment));
        let said = String::from_utf8_lossy(&output.stdout).into_owned() + &standard_error(&output);
        assert!(!said.contains("hunter2"), "{arguments:?} says {said}");
    }
}

#[test]
fn a_bad_value_is_one_line_with_the_flag_the_value_and_what_is_allowed() {
    for (arguments, line) in [
        (
            ["--shutdown-grace", "soon"],
            "error: --shutdown-grace: 'soon' is not allowed; use a duration such as 250ms, 10s, 2m or 1h30m, or a \
             number of seconds\n",
        ),
        (["--log-format", "xml"], "error: --log-format: 'xml' is not allowed; use one of auto, text, json\n"),
        (["--link", "a/b"], "error: --link: 'a/b' is not allowed; use a plain name without slashes\n"),
    ] {
        let output = run(command().args(arguments));
        assert_eq!((output.status.code(), standard_error(&output).as_str()), (Some(78), line));
    }
}

#[test]
fn a_bad_value_from_the_environment_is_named_by_its_variable() {
    let output = run(command().env("BAFT_ADMIN_ADDR", "localhost"));
    assert_eq!(output.status.code(), Some(78));
    let line = standard_error(&output);
    assert!(
        line.starts_with("error: BAFT_ADMIN_ADDR (--admin-addr): 'localhost' is not allowed; use an address"),
        "{line}"
    );
    assert_eq!(line.lines().count(), 1, "{line}");
}

#[test]
fn a_command_line_that_is_not_understood_ends_with_2() {
    for arguments in [&["--no-such-flag"][..], &["no-such-task"], &["--link"]] {
        let output = run(command().args(arguments));
        assert_eq!(output.status.code(), Some(2), "{}", standard_error(&output));
    }
    assert_eq!(run(command().arg("--help")).status.code(), Some(0));
}
