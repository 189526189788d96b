//! Every flag of kubernetes/git-sync v4, and what becomes of it here. No flag is ignored in silence: it means the same, differs in a documented
//! way, is accepted with a notice because a full clone satisfies it anyway, or is refused with one line.

use baft_kit::config::ConfigError;

use crate::args::OtherArgs;

/// What becomes of a flag of theirs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// It means the same.
    Same,
    /// It means nearly the same; the table says what differs.
    Differs,
    /// It is accepted and changes nothing, because what it asks for holds anyway.
    Accepted,
    /// It is refused (or every value but the harmless one is).
    Refused,
}

impl Verdict {
    /// The word in `docs/git-sync.md`.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Same => "same",
            Self::Differs => "differs",
            Self::Accepted => "accepted",
            Self::Refused => "refused",
        }
    }
}

/// Their flags, without the dashes, in the order of the table in `docs/git-sync.md`.
pub const THEIRS: &[(&str, Verdict)] = {
    use Verdict::{Accepted, Differs, Refused, Same};
    &[
        ("repo", Same),
        ("ref", Differs),
        ("depth", Accepted),
        ("filter", Accepted),
        ("submodules", Refused),
        ("sparse-checkout-file", Refused),
        ("root", Differs),
        ("link", Same),
        ("stale-worktree-timeout", Differs),
        ("group-write", Differs),
        ("add-user", Accepted),
        ("period", Differs),
        ("one-time", Same),
        ("sync-timeout", Same),
        ("sync-on-signal", Differs),
        ("init-period", Same),
        ("init-max-failures", Same),
        ("max-failures", Differs),
        ("exechook-command", Same),
        ("exechook-timeout", Same),
        ("exechook-backoff", Same),
        ("pre-publish-exechook-command", Differs),
        ("pre-publish-exechook-timeout", Same),
        ("pre-publish-exechook-backoff", Differs),
        ("webhook-url", Same),
        ("webhook-method", Same),
        ("webhook-success-status", Same),
        ("webhook-timeout", Same),
        ("webhook-backoff", Same),
        ("touch-file", Same),
        ("error-file", Same),
        ("username", Same),
        ("password-file", Same),
        ("credential", Differs),
        ("askpass-url", Differs),
        ("cookie-file", Same),
        ("ssh-key-file", Same),
        ("ssh-known-hosts", Same),
        ("ssh-known-hosts-file", Same),
        ("github-app-private-key-file", Same),
        ("github-app-application-id", Same),
        ("github-app-client-id", Same),
        ("github-app-installation-id", Same),
        ("github-base-url", Same),
        ("git", Accepted),
        ("git-config", Refused),
        ("git-config-add", Refused),
        ("git-gc", Accepted),
        ("http-bind", Same),
        ("http-metrics", Same),
        ("http-pprof", Refused),
        ("verbose", Differs),
        ("man", Differs),
        ("version", Same),
        ("help", Same),
        ("branch", Refused),
        ("rev", Refused),
        ("dest", Refused),
        ("wait", Refused),
        ("timeout", Refused),
        ("max-sync-failures", Refused),
        ("change-permissions", Refused),
        ("password", Refused),
        ("ssh", Refused),
        ("sync-hook-command", Refused),
    ]
};

/// Refuses what cannot be honoured; gives one notice for each flag that is accepted and changes nothing.
///
/// # Errors
/// The first flag that cannot be honoured.
pub fn check(args: &OtherArgs) -> Result<Vec<String>, ConfigError> {
    let refuse = |flag: &str, value: &str, allowed: &str| Err(ConfigError::new(flag, value, allowed));
    let old = [
        ("--branch", &args.branch, "--ref"),
        ("--rev", &args.rev, "--ref"),
        ("--dest", &args.dest, "--link"),
        ("--wait", &args.wait, "--period"),
        ("--timeout", &args.timeout, "--sync-timeout"),
        ("--max-sync-failures", &args.max_sync_failures, "--max-failures"),
        ("--change-permissions", &args.change_permissions, "--group-write"),
        ("--sync-hook-command", &args.sync_hook_command, "--exechook-command"),
        ("--ssh", &args.ssh, "an ssh:// URL in --repo, and drop the flag"),
    ];
    for (flag, value, instead) in old {
        if let Some(value) = value {
            return refuse(flag, value, &format!("{instead} (this flag was already deprecated)"));
        }
    }
    if args.password.is_some() {
        return refuse("--password", "***", "--password-file or the variable GITSYNC_PASSWORD");
    }
    if let Some(mode) = args.submodules.as_deref().filter(|mode| *mode != "off") {
        return refuse("--submodules", mode, "off (submodules are not checked out)");
    }
    if let Some(file) = &args.sparse_checkout_file {
        return refuse("--sparse-checkout-file", file, "no sparse checkout (checkouts are always complete)");
    }
    for (flag, value) in [("--git-config", &args.git_config), ("--git-config-add", &args.git_config_add)] {
        if let Some(value) = value {
            return refuse(flag, value, "this program's own flags (it runs no git command that could be configured)");
        }
    }
    if args.http_pprof == Some(true) {
        return refuse("--http-pprof", "true", "false (there is no Go profiler here)");
    }
    let mut notices = Vec::new();
    let mut notice = |flag: &str, why: &str| notices.push(format!("{flag} changes nothing: {why}"));
    if args.depth.is_some() {
        notice("--depth", "the mirror has the whole history, so every depth is satisfied");
    }
    if args.filter.is_some() {
        notice("--filter", "the mirror has all objects");
    }
    if args.submodules.is_some() {
        notice("--submodules=off", "submodules are never checked out");
    }
    if args.add_user.is_some() {
        notice("--add-user", "SSH works here without an entry in /etc/passwd");
    }
    if args.git.is_some() {
        notice("--git", "no git command is run");
    }
    if args.git_gc.is_some() {
        notice("--git-gc", "nothing is collected while readers may need it");
    }
    Ok(notices)
}

/// The variables kubernetes/git-sync v3 used, for a warning: `GIT_SYNC_REPO` and its like are not read.
#[must_use]
pub fn outdated_variables(names: impl Iterator<Item = String>) -> Vec<String> {
    let mut found: Vec<_> = names
        .filter_map(|name| {
            let rest = name.strip_prefix("GIT_SYNC_")?;
            Some(format!("{name} is not read; the name is GITSYNC_{rest} since version 4"))
        })
        .collect();
    found.sort();
    found
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use clap::{CommandFactory, Parser};

    use super::*;
    use crate::args::Cli;

    fn other(args: &[&str]) -> Result<Vec<String>, String> {
        let cli = Cli::try_parse_from([&["git-sync"], args].concat()).unwrap();
        check(&cli.other).map_err(|error| error.to_string())
    }

    #[test]
    fn what_cannot_be_honoured_is_refused_with_one_line_and_what_holds_anyway_is_said() {
        for (args, word) in [
            (&["--submodules=recursive"][..], "off"),
            (&["--sparse-checkout-file=x"], "complete"),
            (&["--git-config", "a.b:c"], "no git command"),
            (&["--http-pprof"], "false"),
            (&["--branch", "main"], "--ref"),
            (&["--wait=30"], "--period"),
            (&["--ssh"], "ssh://"),
        ] {
            let error = other(args).unwrap_err();
            assert!(error.contains(word) && !error.contains('\n'), "{error}");
        }
        let error = other(&["--password=hunter2"]).unwrap_err();
        assert!(!error.contains("hunter2"), "{error}");
        let notices = other(&["--depth=1", "--submodules=off", "--filter=blob:none", "--git-gc=always", "--add-user"]);
        assert_eq!(notices.unwrap().len(), 5);
        assert!(other(&[]).unwrap().is_empty());
    }

    #[test]
    fn every_flag_of_theirs_exists_here() {
        let mut command = Cli::command();
        command.build();
        let ours: BTreeSet<_> = command.get_arguments().filter_map(clap::Arg::get_long).collect();
        for (flag, _) in THEIRS {
            assert!(ours.contains(flag), "--{flag} is not known to the command line");
        }
    }

    #[test]
    fn the_table_in_the_documentation_says_what_the_code_does() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/git-sync.md");
        let text = std::fs::read_to_string(path).unwrap();
        let rows: Vec<(String, String)> = text
            .lines()
            .filter_map(|line| {
                let mut cells = line.strip_prefix("| `--")?.split('|').map(str::trim);
                let flag = cells.next()?.split('`').next()?.to_owned();
                Some((flag, cells.next()?.to_owned()))
            })
            .collect();
        let expected: Vec<_> =
            THEIRS.iter().map(|(flag, verdict)| ((*flag).to_owned(), verdict.word().to_owned())).collect();
        assert_eq!(rows, expected, "the table in docs/git-sync.md and THEIRS differ");
        // And what is neither theirs nor documented does not exist.
        let mut command = Cli::command();
        command.build();
        for arg in command.get_arguments().filter(|arg| !arg.is_hide_set()) {
            let Some(long) = arg.get_long() else { continue };
            let theirs = THEIRS.iter().any(|(flag, _)| *flag == long);
            assert!(theirs || text.contains(&format!("`--{long}`")), "--{long} is missing in docs/git-sync.md");
        }
    }

    #[test]
    fn names_of_version_3_are_pointed_out() {
        let names = ["GIT_SYNC_REPO", "GITSYNC_REPO", "PATH"].map(str::to_owned);
        let found = outdated_variables(names.into_iter());
        assert_eq!(found, ["GIT_SYNC_REPO is not read; the name is GITSYNC_REPO since version 4"]);
    }
}
