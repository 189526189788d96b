//! Everything commit-agent is told, checked: [`Config`], from the command line or from whoever embeds it.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use baft_kit::SecretFile;
use baft_kit::config::ConfigError;
use baft_kit::schedule::Schedule;
use baft_repo::access::{LoginConfig, Variables};
use baft_repo::transport::Remote;
use globset::{Glob, GlobSet, GlobSetBuilder};

use crate::args::{Cli, WordsArgs};
use crate::engine::{Adopt, AgentName, Push, Scope, Settings, Signature, Templates};
use crate::signing::SshSigner;

/// Whether saved files ring.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Watch {
    /// No: the schedule, requests and events do.
    #[default]
    Off,
    /// Yes.
    On,
}

/// How long it runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Runs {
    /// Until told to stop.
    #[default]
    Forever,
    /// One cycle.
    Once,
}

/// Everything commit-agent is told.
#[derive(Debug, Clone)]
pub struct Config {
    /// What the engine is told. The remote's deadline is set for each conversation.
    pub settings: Settings,
    /// When it works, whatever else rings.
    pub schedule: Schedule,
    /// Whether saved files ring.
    pub watch: Watch,
    /// How long it runs.
    pub runs: Runs,
    /// Longest time of one conversation with the remote.
    pub git_timeout: Duration,
    /// How long the end may take.
    pub grace: Duration,
    /// Accept changing requests only in the name of a principal.
    pub require_principal: bool,
    /// Certificate authorities (PEM) to trust instead of the system's.
    pub ca_file: Option<PathBuf>,
    /// Who makes logins when the remote asks for one.
    pub login: Option<LoginConfig>,
}

/// The schedule when nothing is said.
pub const INTERVAL: Duration = Duration::from_secs(900);

impl Config {
    /// The defaults of the command line.
    #[must_use]
    pub fn new(clone: impl Into<PathBuf>, remote: Remote, agent: AgentName) -> Self {
        Self {
            settings: Settings::new(clone, remote, agent),
            schedule: Schedule::Every(INTERVAL),
            watch: Watch::Off,
            runs: Runs::Forever,
            git_timeout: Duration::from_secs(120),
            grace: Duration::from_secs(25),
            require_principal: false,
            ca_file: None,
            login: None,
        }
    }

    /// What the command line says.
    ///
    /// # Errors
    /// The first setting that cannot work.
    pub fn from_cli(cli: &Cli) -> Result<Self, ConfigError> {
        let place = &cli.place;
        let clone = place
            .clone
            .as_deref()
            .ok_or_else(|| ConfigError::new("--clone (BAFT_CLONE)", "", "the folder of the working clone"))?;
        let clone = std::path::absolute(clone)
            .map_err(|error| ConfigError::new("--clone", clone.display(), format!("another folder ({error})")))?;
        let url = match &place.repo {
            Some(url) => url.clone(),
            None => origin(&clone, &place.remote)?,
        };
        let (remote, login) = baft_repo::access::remote(&url, &cli.access, Variables::Own)?;
        let mut config = Self::new(clone, remote, agent_name(place.agent.as_deref())?);
        let settings = &mut config.settings;
        settings.remote_name = named("--remote", &place.remote)?;
        settings.branch = named("--branch", place.branch.strip_prefix("refs/heads/").unwrap_or(&place.branch))?;
        settings.rescue_prefix = rescue_prefix(&place.rescue_prefix, &settings.branch)?;
        settings.adopt = if place.adopt { Adopt::Allow } else { Adopt::Refuse };
        settings.scope =
            Scope { include: globs("--include", &place.include)?, exclude: globs("--exclude", &place.exclude)? };
        settings.quiet = cli.schedule.quiet;
        settings.max_wait = cli.schedule.max_wait;
        if settings.max_wait < settings.quiet {
            let value = baft_kit::config::show_duration(settings.max_wait);
            return Err(ConfigError::new("--max-wait", value, "at least --quiet"));
        }
        settings.push = Push {
            retries: cli.schedule.push_retries,
            backoff: (Duration::from_secs(1), cli.schedule.max_backoff.max(Duration::from_secs(1))),
        };
        words(settings, &cli.words)?;
        settings.gates.max_file_bytes = cli.gates.max_file_size;
        settings.gates.max_deleted_percent = cli.gates.max_deletions;
        config.schedule = Schedule::parse("--schedule", &cli.schedule.schedule)?;
        if matches!(config.schedule, Schedule::Every(every) if every < Duration::from_secs(1)) {
            return Err(ConfigError::new("--schedule", &cli.schedule.schedule, "an interval of at least 1s"));
        }
        config.watch = if cli.schedule.watch { Watch::On } else { Watch::Off };
        config.runs = if cli.schedule.one_time { Runs::Once } else { Runs::Forever };
        config.git_timeout = cli.schedule.git_timeout;
        if config.git_timeout < Duration::from_secs(1) {
            let value = baft_kit::config::show_duration(config.git_timeout);
            return Err(ConfigError::new("--git-timeout", value, "at least 1s"));
        }
        config.grace = cli.common.shutdown_grace;
        config.require_principal = cli.nats.require_principal;
        config.ca_file = cli.access.git_ca_file.clone();
        config.login = login;
        Ok(config)
    }

    /// The repository as it may be shown.
    #[must_use]
    pub fn shown_repo(&self) -> String {
        baft_kit::log::redact_url(&self.settings.remote.url)
    }

    /// The branch, in full.
    #[must_use]
    pub fn reference(&self) -> String {
        format!("refs/heads/{}", self.settings.branch)
    }
}

/// Where a clone came from.
fn origin(clone: &Path, remote: &str) -> Result<String, ConfigError> {
    let needed = |why: String| ConfigError::new("--repo (BAFT_GIT_REPO)", "", format!("the remote's URL ({why})"));
    if !clone.join(".git").exists() {
        return Err(needed(format!("there is no clone at {} to ask", clone.display())));
    }
    let repo = baft_repo::Repo::open(clone).map_err(|error| needed(error.to_string()))?;
    match repo.remote_url(remote) {
        Ok(Some(url)) => Ok(url),
        Ok(None) => Err(needed(format!("{} has no remote {remote}", clone.display()))),
        Err(error) => Err(needed(error.to_string())),
    }
}

/// The given name, or one made of the host's.
fn agent_name(given: Option<&str>) -> Result<AgentName, ConfigError> {
    match given {
        Some(name) => AgentName::new(name).map_err(|error| ConfigError::new("--agent", name, error.to_string())),
        None => default_name(),
    }
}

/// The name of an agent that was given none: made of the host's.
///
/// # Errors
/// The host's name has nothing that could be part of it.
pub fn default_name() -> Result<AgentName, ConfigError> {
    let host = baft_kit::runtime::host_name();
    let allowed =
        |c: char| if c.is_ascii_alphanumeric() || matches!(c, '-' | '_') { c.to_ascii_lowercase() } else { '-' };
    let name: String = host.chars().map(allowed).skip_while(|c| !c.is_ascii_alphanumeric()).take(40).collect();
    AgentName::new(name).map_err(|_| {
        ConfigError::new("--agent", host, "a name: the host's own cannot be made one of a-z, 0-9, - and _")
    })
}

/// The part of a ref that a person names.
fn named(flag: &str, name: &str) -> Result<String, ConfigError> {
    let wrong = |c: char| c.is_ascii_control() || matches!(c, ' ' | '~' | '^' | ':' | '?' | '*' | '[' | '\\');
    let bad = name.is_empty()
        || name.starts_with(['-', '/', '.'])
        || name.ends_with(['/', '.'])
        || name.ends_with(".lock")
        || name.contains("..")
        || name.contains("//")
        || name.contains("@{")
        || name.contains(wrong);
    if bad { Err(ConfigError::new(flag, name, "a name git accepts")) } else { Ok(name.to_owned()) }
}

fn rescue_prefix(given: &str, branch: &str) -> Result<String, ConfigError> {
    let wrong = |allowed: &str| Err(ConfigError::new("--rescue-prefix", given, allowed));
    let prefix = given.trim_end_matches('/');
    if !prefix.starts_with("refs/") || named("--rescue-prefix", prefix).is_err() {
        return wrong("a full ref such as refs/heads/rescue");
    }
    let branch = format!("refs/heads/{branch}");
    if prefix == "refs/heads"
        || branch == prefix
        || branch.starts_with(&format!("{prefix}/"))
        || prefix.starts_with(&format!("{branch}/"))
    {
        return wrong("a place where the branch itself is not");
    }
    Ok(prefix.to_owned())
}

fn globs(flag: &str, patterns: &[String]) -> Result<GlobSet, ConfigError> {
    let mut set = GlobSetBuilder::new();
    for pattern in patterns.iter().filter(|pattern| !pattern.is_empty()) {
        set.add(Glob::new(pattern).map_err(|error| ConfigError::new(flag, pattern, error.kind().to_string()))?);
    }
    set.build().map_err(|error| ConfigError::new(flag, patterns.join(","), error.to_string()))
}

fn words(settings: &mut Settings, words: &WordsArgs) -> Result<(), ConfigError> {
    settings.committer = person("--committer", &words.committer)?;
    settings.auto_author = match &words.author {
        Some(author) => person("--author", author)?,
        None => settings.committer.clone(),
    };
    for (flag, template) in [("--session-message", &words.session_message), ("--auto-message", &words.auto_message)] {
        if template.trim().is_empty() {
            return Err(ConfigError::new(flag, template, "some words"));
        }
        check_template(flag, template)?;
    }
    settings.templates = Templates { session: words.session_message.clone(), auto: words.auto_message.clone() };
    if let Some(file) = &words.signing_key_file {
        let signer = SshSigner::open(SecretFile::new(file.clone()))
            .map_err(|error| ConfigError::new("--signing-key-file", file.display(), error))?;
        settings.signer = Some(Arc::new(signer));
    }
    Ok(())
}

/// What a template may ask for.
const FIELDS: &[&str] = &["session", "message", "date", "count", "files", "agent"];

fn check_template(flag: &str, template: &str) -> Result<(), ConfigError> {
    for part in template.split('{').skip(1) {
        let Some((field, _)) = part.split_once('}') else { continue };
        if !FIELDS.contains(&field) {
            return Err(ConfigError::new(flag, template, format!("only the fields {{{}}}", FIELDS.join("}, {"))));
        }
    }
    Ok(())
}

/// `Name <address>`.
fn person(flag: &str, text: &str) -> Result<Signature, ConfigError> {
    let wrong = || ConfigError::new(flag, text, "a name and an address: Name <name@example.org>");
    let (name, rest) = text.split_once('<').ok_or_else(wrong)?;
    let email = rest.trim_end().strip_suffix('>').ok_or_else(wrong)?;
    signature(name.trim(), email.trim()).ok_or_else(wrong)
}

/// A name and an address that git can write; nothing when it cannot.
pub(crate) fn signature(name: &str, email: &str) -> Option<Signature> {
    let good = |text: &str| !text.is_empty() && text.len() <= 200 && !text.contains(['<', '>', '\n', '\r', '\0']);
    (good(name) && good(email)).then(|| Signature { name: name.to_owned(), email: email.to_owned() })
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    fn config(args: &[&str]) -> Result<Config, String> {
        let base = ["commit-agent", "--clone", "/c", "--repo", "https://h/o/docs.git"];
        let named = args.iter().any(|arg| arg.starts_with("--agent"));
        let agent: &[&str] = if named { &[] } else { &["--agent", "desk"] };
        let cli = Cli::try_parse_from([&base, agent, args].concat()).unwrap();
        Config::from_cli(&cli).map_err(|error| error.to_string())
    }

    #[test]
    fn settings_that_cannot_work_are_refused_in_one_line_that_names_the_flag() {
        for (args, flag) in [
            (&["--agent=Ann's desk"][..], "--agent"),
            (&["--branch=a..b"], "--branch"),
            (&["--rescue-prefix=rescue"], "--rescue-prefix"),
            (&["--rescue-prefix=refs/heads"], "--rescue-prefix"),
            (&["--rescue-prefix=refs/heads/main/x"], "--rescue-prefix"),
            (&["--quiet=90s"], "--max-wait"),
            (&["--committer=nobody"], "--committer"),
            (&["--author=A <a"], "--author"),
            (&["--auto-message={who}"], "--auto-message"),
            (&["--session-message= "], "--session-message"),
            (&["--schedule=soon"], "--schedule"),
            (&["--schedule=10ms"], "--schedule"),
            (&["--git-timeout=1ms"], "--git-timeout"),
            (&["--include=a["], "--include"),
            (&["--signing-key-file=/no/such/key"], "--signing-key-file"),
            (&["--username=me"], "--username"),
        ] {
            let error = config(args).unwrap_err();
            assert!(error.starts_with(flag) && !error.contains('\n'), "{args:?}: {error}");
        }
    }

    #[test]
    fn what_is_given_arrives() {
        let config =
            config(&["--author=Ann <ann@example.org>", "--watch", "--branch=refs/heads/dev", "--adopt"]).unwrap();
        let settings = &config.settings;
        assert_eq!(settings.auto_author.to_string(), "Ann <ann@example.org>");
        assert_eq!((settings.branch.as_str(), settings.adopt), ("dev", Adopt::Allow));
        assert_eq!((config.watch, config.reference().as_str()), (Watch::On, "refs/heads/dev"));
        assert!(settings.scope.include.is_match("a/b.yaml") && settings.scope.include.is_match("b.yaml"));
    }

    #[test]
    fn without_a_url_the_clone_is_asked() {
        let cli = Cli::try_parse_from(["commit-agent", "--clone", "/no/such/clone", "--agent", "desk"]).unwrap();
        assert!(Config::from_cli(&cli).unwrap_err().to_string().contains("there is no clone at /no/such/clone"));
    }
}
