//! The clone people edit in, and git-sync's remote.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use baft_bus::payload::Standing;

use crate::finding::Finding;
use crate::run::{Ran, Run};
use crate::words::{age, count};

/// How a clone stands, whoever was asked.
struct Compared {
    ahead: u64,
    behind: u64,
    known: bool,
}

/// The clone, or why there is nothing to look at.
fn clone(run: &Run) -> Result<PathBuf, Box<Finding>> {
    let name = run.scene.data_name();
    let Some(path) = run.scene.data() else {
        if run.scene.fleet.is_some() {
            return Err(Box::new(Finding::skip(format!("{name}: nobody edits a clone on this machine"))));
        }
        return Err(Box::new(Finding::skip_because(
            "BAFT-E003",
            format!("{name}: not checked, because it was not found"),
        )));
    };
    if path.join(".git").exists() { Ok(path) } else { Err(Box::new(Finding::skip(format!("{name} is no git clone")))) }
}

async fn git(run: &Run, path: &Path, arguments: &[&str]) -> Result<String, Ran> {
    let said = run.output("git", |command| {
        command.arg("-C").arg(path).args(arguments);
        // Looking takes no lock, and asks nobody for a password.
        command.env("GIT_OPTIONAL_LOCKS", "0").env("GIT_TERMINAL_PROMPT", "0").env("LC_ALL", "C");
        if std::env::var_os("GIT_SSH_COMMAND").is_none() {
            command.env("GIT_SSH_COMMAND", "ssh -o BatchMode=yes -o ConnectTimeout=10");
        }
        for variable in ["GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE"] {
            command.env_remove(variable);
        }
    });
    said.await
}

fn cannot(run: &Run, ran: Ran) -> Finding {
    let name = run.scene.data_name();
    match ran {
        Ran::Missing => Finding::unknown(format!("{name}: git is not installed"), "install git"),
        Ran::Failed(why) => Finding::unknown(
            format!("{name}: git cannot tell: {why}"),
            "check the network and the credentials: git fetch must work in the clone",
        ),
    }
}

pub(crate) async fn clean(run: Arc<Run>) -> Finding {
    let name = run.scene.data_name();
    let dirty = match &run.scene.agent {
        Some(agent) => match run.agent(agent).await {
            Ok(check) => Some(check.dirty_files),
            Err(_) => None,
        },
        None => None,
    };
    let (files, hint) = match (dirty, clone(&run)) {
        (Some(files), _) => (files, "baft commit now (or leave it to commit-agent)".to_owned()),
        (None, Err(finding)) => return *finding,
        (None, Ok(path)) => match git(&run, &path, &["status", "--porcelain", "--untracked-files=all"]).await {
            Ok(listed) => {
                let shown = path.display();
                (listed.lines().count() as u64, format!("git -C {shown} add -A && git -C {shown} commit"))
            }
            Err(why) => return cannot(&run, why),
        },
    };
    match files {
        0 => Finding::pass(format!("{name} has no uncommitted changes")),
        files => Finding::warn(format!("{name} has uncommitted changes ({})", count(files, "file")), hint)
            .with("files", files),
    }
}

pub(crate) async fn current(run: Arc<Run>) -> Finding {
    let name = run.scene.data_name();
    let from_agent = match &run.scene.agent {
        Some(agent) => match run.agent(agent).await {
            Ok(check) => {
                Some(Compared { ahead: check.ahead, behind: check.behind, known: check.state != Standing::Unknown })
            }
            Err(error) => {
                return Finding::unknown(
                    format!("{name}: commit-agent cannot tell: {}", error.message),
                    error.hint.clone().unwrap_or_else(|| "`baft commit status` says more".to_owned()),
                );
            }
        },
        None => None,
    };
    let (compared, pull) = match (from_agent, clone(&run)) {
        (Some(compared), _) => (compared, "baft session sync".to_owned()),
        (None, Err(finding)) => return *finding,
        (None, Ok(path)) => match compare(&run, &path).await {
            Ok(Some(compared)) => (compared, format!("git -C {} pull --ff-only", path.display())),
            Ok(None) => return Finding::skip(format!("{name} follows no remote branch")),
            Err(why) => return cannot(&run, why),
        },
    };
    let Compared { ahead, behind, known } = compared;
    if !known {
        return Finding::unknown(format!("{name}: not compared with the remote yet"), "baft commit status --fetch");
    }
    let finding = match (ahead, behind) {
        (0, 0) => Finding::pass(format!("{name} up-to-date with remote")),
        (ahead, 0) => {
            Finding::pass(format!("{name} up-to-date with remote ({} not yet pushed)", count(ahead, "local commit")))
        }
        (0, behind) => Finding::warn(format!("{name} is {} behind remote", count(behind, "commit")), pull),
        (ahead, behind) => Finding::warn(
            format!("{name} has diverged from remote ({ahead} ahead, {behind} behind)"),
            pull.replace("--ff-only", "--rebase"),
        ),
    };
    finding.with("ahead", ahead).with("behind", behind)
}

/// Asks the remote and counts, as the specification does it.
async fn compare(run: &Run, path: &Path) -> Result<Option<Compared>, Ran> {
    let Ok(upstream) = git(run, path, &["rev-parse", "--abbrev-ref", "--symbolic-full-name", "@{upstream}"]).await
    else {
        return Ok(None);
    };
    git(run, path, &["fetch", "--quiet", "--no-tags"]).await?;
    let counted = git(run, path, &["rev-list", "--left-right", "--count", &format!("HEAD...{upstream}")]).await?;
    let mut numbers = counted.split_whitespace().map(str::parse);
    match (numbers.next(), numbers.next()) {
        (Some(Ok(ahead)), Some(Ok(behind))) => Ok(Some(Compared { ahead, behind, known: true })),
        _ => Err(Ran::Failed(format!("`{counted}` is no pair of counts"))),
    }
}

/// Longer without a successful look at the remote is a failure.
const SILENCE: Duration = Duration::from_secs(600);

pub(crate) async fn remote(run: Arc<Run>) -> Finding {
    let status = match run.git().await {
        Ok(status) => status,
        Err(error) => return Finding::unknown(format!("git-sync: {error}"), "see BAFT-S001"),
    };
    let last = status.last_success_at.as_deref().and_then(|time| chrono::DateTime::parse_from_rfc3339(time).ok());
    let ago = last.map(|time| SystemTime::now().duration_since(time.into()).unwrap_or_default());
    let hint = "git-sync's log names the cause (network, credentials, a branch that is gone): kubectl logs, or up.log";
    match ago {
        None => Finding::fail(format!("git-sync has never reached {}", status.repo), hint),
        Some(ago) if ago > SILENCE => Finding::fail(
            format!(
                "git-sync last reached {} {} ago, with {} since",
                status.repo,
                age(ago),
                count(status.failures.into(), "failure")
            ),
            hint,
        ),
        Some(ago) => Finding::pass(format!("git-sync reaches {} (last {} ago)", status.repo, age(ago))),
    }
    .with("failures", status.failures)
}
