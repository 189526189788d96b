//! The commit-agent of a fleet: which clone it looks after, and whether somebody agreed to that.

use std::io::{self, BufRead, IsTerminal, Write};
use std::path::{Path, PathBuf};

use baft_commit_agent::engine::{Adopt, Signature};
use baft_commit_agent::{Config, Watch};
use baft_kit::log::redact_url;
use baft_repo::Oid;
use baft_repo::access::LoginConfig;
use baft_repo::transport::{Libgit2, Remote, Transport};

use super::sample::{Whose, git};
use crate::cli::UpArgs;
use crate::failure::Failure;
use crate::output::{count, one_line};
use crate::workspace::Workspace;

/// Longest lists before the question.
const SHOWN: usize = 12;

/// What the fleet's commit-agent is told.
#[derive(Debug, Clone)]
pub struct AgentPlan {
    config: Config,
    branch: Branch,
}

/// Which branch it commits to.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Branch {
    /// This one.
    Known(String),
    /// Whatever the remote means by this; asked once, and remembered beside the clone.
    Asked { reference: String, memory: PathBuf },
}

impl AgentPlan {
    /// A clone in the workspace, made by the agent.
    ///
    /// # Errors
    /// The machine's name cannot be made the agent's.
    pub fn of_remote(
        clone: PathBuf,
        remote: Remote,
        login: Option<LoginConfig>,
        reference: &str,
        args: &UpArgs,
    ) -> Result<Self, Failure> {
        let mut name = clone.file_name().unwrap_or_default().to_owned();
        name.push(".branch");
        let memory = clone.with_file_name(name);
        let mut config = config(&clone, remote, args)?;
        config.login = login;
        Ok(Self { config, branch: Branch::Asked { reference: reference.to_owned(), memory } })
    }

    /// Where people edit.
    #[must_use]
    pub fn clone_folder(&self) -> &Path {
        &self.config.settings.clone
    }

    /// The clone was made by us, though not by the agent.
    pub fn adopt(&mut self) {
        self.config.settings.adopt = Adopt::Allow;
    }

    /// Who makes logins when the remote asks for one.
    pub fn log_in_with(&mut self, login: Option<LoginConfig>) {
        self.config.login = login;
    }

    /// The agent's name.
    #[must_use]
    pub fn name(&self) -> &str {
        self.config.settings.agent.as_str()
    }

    /// The configuration, with the branch found out. Blocks while the remote is asked.
    ///
    /// # Errors
    /// The remote cannot be asked, or has no such branch.
    pub fn settle(&self) -> Result<Config, String> {
        let mut config = self.config.clone();
        match &self.branch {
            Branch::Known(branch) => config.settings.branch.clone_from(branch),
            Branch::Asked { reference, memory } => {
                config.settings.branch = match std::fs::read_to_string(memory) {
                    Ok(branch) if !branch.trim().is_empty() => branch.trim().to_owned(),
                    _ => {
                        let branch = ask(&config.settings.remote, reference)?;
                        if let Some(parent) = memory.parent() {
                            std::fs::create_dir_all(parent).map_err(|error| error.to_string())?;
                        }
                        baft_kit::durable::write_file(memory, branch.as_bytes()).map_err(|error| error.to_string())?;
                        branch
                    }
                };
            }
        }
        Ok(config)
    }
}

/// Whether something that is followed can be committed to: a commit cannot.
#[must_use]
pub fn can_commit_to(reference: &str) -> bool {
    reference.parse::<Oid>().is_err() && !reference.starts_with("refs/tags/")
}

fn ask(remote: &Remote, reference: &str) -> Result<String, String> {
    let refs = Libgit2::new().list(remote).map_err(|error| error.to_string())?;
    let branch = |name: &str| name.strip_prefix("refs/heads/").map(str::to_owned);
    let found = match reference {
        "HEAD" => refs.iter().find(|entry| entry.name == "HEAD").and_then(|head| {
            let target = head.target.as_deref().and_then(branch);
            // A server that does not say: a branch with the same commit.
            target.or_else(|| refs.iter().filter(|entry| entry.oid == head.oid).find_map(|entry| branch(&entry.name)))
        }),
        name => {
            let full = if name.starts_with("refs/") { name.to_owned() } else { format!("refs/heads/{name}") };
            refs.iter().find(|entry| entry.name == full).and_then(|entry| branch(&entry.name))
        }
    };
    found.ok_or_else(|| format!("{} has no branch {reference} to commit to", redact_url(&remote.url)))
}

fn config(clone: &Path, remote: Remote, args: &UpArgs) -> Result<Config, Failure> {
    let name = baft_commit_agent::default_name().map_err(|error| Failure::config(error.to_string()))?;
    let mut config = Config::new(clone, remote, name);
    config.watch = Watch::On;
    config.grace = args.shutdown_grace;
    // What is saved here is this person's work.
    let here = if clone.exists() { clone } else { Path::new(".") };
    let said = |key: &str| git(here, Whose::Theirs, &["config", key]).ok().filter(|value| !value.is_empty());
    if let (Some(name), Some(email)) = (said("user.name"), said("user.email")) {
        config.settings.auto_author = Signature { name, email };
    }
    Ok(config)
}

/// What became of the question whether a clone may be committed in.
#[derive(Debug, Clone)]
pub enum Consent {
    /// Yes, now or before.
    Given(Box<AgentPlan>),
    /// No; the clone is only read, and why.
    ReadOnly(String),
}

/// Shows what would be committed and pushed, and asks. Somebody who agreed once is not asked again.
///
/// # Errors
/// The clone cannot be looked at, or nobody can be asked.
pub fn consent(clone: &Path, remote: Remote, args: &UpArgs) -> Result<Consent, Failure> {
    let read_only = |why: &str| Ok(Consent::ReadOnly(why.to_owned()));
    if args.no_commit || args.once {
        return read_only("as asked");
    }
    let ask_git = |arguments: &[&str]| git(clone, Whose::Theirs, arguments).ok();
    let Some(branch) = ask_git(&["symbolic-ref", "--short", "HEAD"]) else {
        return read_only("it is on no branch");
    };
    if remote.url.is_empty() {
        return read_only("it has no remote called origin to push to");
    }
    let given = || -> Result<Consent, Failure> {
        let mut config = config(clone, remote.clone(), args)?;
        config.settings.adopt = Adopt::Allow;
        Ok(Consent::Given(Box::new(AgentPlan { config, branch: Branch::Known(branch.clone()) })))
    };
    if args.yes || clone.join(".git/baft/sentinel.json").exists() {
        return given();
    }
    if !io::stdin().is_terminal() {
        return read_only("nobody can be asked here; --yes has Baft commit and push");
    }
    let mut shown = vec![format!("{}, branch {branch} of {}:", clone.display(), redact_url(&remote.url))];
    let changed = ask_git(&["status", "--porcelain"]).unwrap_or_default();
    shown.extend(listed("would be committed", "file", &changed));
    let range = format!("refs/remotes/origin/{branch}..HEAD");
    let commits = ask_git(&["log", "--format=%h %s", &range]).unwrap_or_default();
    shown.extend(listed("would be pushed", "commit", &commits));
    if asked(&shown).map_err(|error| Failure::output(&error))? { given() } else { read_only("as asked") }
}

fn listed(what: &str, unit: &str, text: &str) -> Vec<String> {
    let all: Vec<&str> = text.lines().collect();
    let mut lines = vec![format!("  {what}: {}", count(all.len() as u64, unit))];
    lines.extend(all.iter().take(SHOWN).map(|line| format!("    {}", one_line(line))));
    if all.len() > SHOWN {
        lines.push(format!("    … and {} more", all.len() - SHOWN));
    }
    lines
}

fn asked(lines: &[String]) -> io::Result<bool> {
    let mut out = io::stdout().lock();
    for line in lines {
        writeln!(out, "{line}")?;
    }
    writeln!(out, "Secrets, huge files, broken YAML and leftovers of editors are held back.")?;
    write!(out, "Commit and push this, and whatever is saved from now on? [y/N] ")?;
    out.flush()?;
    let mut answer = String::new();
    io::stdin().lock().read_line(&mut answer)?;
    Ok(matches!(answer.trim().to_lowercase().as_str(), "y" | "yes"))
}

/// Where the working clones of a workspace are.
#[must_use]
pub fn clone_in(workspace: &Workspace, name: &str) -> PathBuf {
    workspace.work().join(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_commit_or_tag_cannot_be_committed_to() {
        assert!(can_commit_to("HEAD") && can_commit_to("main") && can_commit_to("refs/heads/main"));
        assert!(!can_commit_to("refs/tags/v1") && !can_commit_to(&"a".repeat(40)));
    }

    #[test]
    fn a_long_list_is_cut() {
        let text: String = (0..20).map(|n| format!(" M data/{n}.yaml\n")).collect();
        let lines = listed("would be committed", "file", &text);
        assert_eq!((lines.len(), lines[0].as_str()), (SHOWN + 2, "  would be committed: 20 files"));
        assert_eq!(lines.last().unwrap(), "    … and 8 more");
    }
}
