//! How the fleet is doing, and how that is said: pure, so that it can be tested without a terminal.

mod agent;
mod sessions;

use std::net::SocketAddr;
use std::time::{Duration, SystemTime};

use baft_commit_agent::Status as AgentStatus;
use baft_duckdb_importer::Status as ImportStatus;
use baft_git_sync::Status as SyncStatus;
use baft_preflight_probe::Status as ProbeStatus;
use baft_preflight_probe::render::counts;
use baft_session_registry::Status as SessionStatus;

use super::server;
use crate::output::{Style, bytes, count, elapsed, one_line, short_commit, shorten};

/// A remote that was not looked at for this long is worth a word.
const LONG: Duration = Duration::from_secs(15);

/// What is known right now.
#[derive(Debug, Clone, Default)]
pub struct Board {
    /// git-sync; nothing when there is no remote.
    pub sync: Option<Part<SyncStatus>>,
    /// commit-agent; nothing when nobody commits.
    pub agent: Option<Part<AgentStatus>>,
    /// The importer.
    pub import: Part<ImportStatus>,
    /// The preflight-probe.
    pub probe: Part<ProbeStatus>,
    /// The session-registry; nothing without NATS.
    pub sessions: Option<Part<SessionStatus>>,
    /// Where the status page is served.
    pub page: Option<SocketAddr>,
    /// The private nats-server; nothing without one.
    pub nats: Option<Broker>,
    /// It is ending.
    pub stopping: bool,
}

/// A daemon of this process.
#[derive(Debug, Clone, Default)]
pub struct Part<T> {
    /// What it says about itself.
    pub status: T,
    /// Why it is not running, until it runs again.
    pub down: Option<String>,
    /// How often it had to be started again.
    pub restarts: u32,
}

/// The private nats-server.
#[derive(Debug, Clone)]
pub struct Broker {
    /// Where it listens.
    pub address: String,
    /// How it is doing.
    pub state: server::State,
}

/// How a line begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Light {
    Good,
    Busy,
    Bad,
}

impl Board {
    /// Whether there is a database, everything of the followed commit is in it, and requests are answered.
    #[must_use]
    pub fn ready(&self) -> bool {
        let nats = self.nats.as_ref().is_none_or(|nats| matches!(nats.state, server::State::Running { .. }));
        let import = &self.import.status.import;
        let in_step = match &self.sync {
            None => true,
            Some(sync) => sync.status.head.is_some_and(|head| import.commit.as_deref() == Some(&head.to_string())),
        };
        // A clone that cannot be made keeps nobody from reading.
        let agent = self
            .agent
            .as_ref()
            .is_none_or(|agent| agent.status.engine.is_some() || agent.status.closed.is_some() || agent.down.is_some());
        nats && import.generation.is_some() && in_step && agent
    }

    /// The lines that are redrawn, none wider than `width`.
    #[must_use]
    pub fn live(&self, now: SystemTime, style: Style, width: usize) -> Vec<String> {
        let mut lines = Vec::new();
        if let Some(sync) = &self.sync {
            lines.push(entry("git", sync_line(sync, now)));
        }
        if let Some(agent) = &self.agent {
            lines.push(entry("commit", agent::line(agent)));
        }
        lines.push(entry("import", import_line(&self.import, now)));
        let rows = self.rows();
        if !rows.is_empty() {
            lines.push((String::new(), None, rows));
        }
        for file in self.import.status.import.quarantined.iter().take(3) {
            let text = format!("{}:{} {}", file.path, file.line, one_line(&file.message));
            lines.push((String::new(), Some(Light::Bad), text));
        }
        if let Some(line) = self.sessions.as_ref().and_then(sessions::line) {
            lines.push(entry("session", line));
        }
        if let Some(nats) = &self.nats {
            lines.push(entry("nats", nats_line(nats)));
        }
        lines.extend(probe_line(&self.probe).map(|line| entry("checks", line)));
        lines.extend(self.page.map(|addr| entry("page", (Light::Good, format!("http://{addr}/")))));
        lines.into_iter().map(|(name, light, text)| paint(&name, light, &text, style, width)).collect()
    }

    /// The rows by type, most first.
    #[must_use]
    pub fn rows(&self) -> String {
        let mut rows: Vec<(&String, &u64)> = self.import.status.import.rows.iter().collect();
        rows.sort_by(|a, b| b.1.cmp(a.1).then(a.0.cmp(b.0)));
        rows.iter().map(|(kind, number)| format!("{kind} {number}")).collect::<Vec<_>>().join(" · ")
    }

    /// What is worth a line of its own, compared with what was known before.
    #[must_use]
    pub fn news(&self, before: &Self) -> Vec<String> {
        let mut news = Vec::new();
        if let Some(sync) = &self.sync {
            let old = before.sync.as_ref().map(|part| &part.status);
            if let Some(head) = sync.status.head.filter(|head| old.and_then(|old| old.head) != Some(*head)) {
                news.push(format!("git: {}", short_commit(&head.to_string())));
            }
            let failure = sync.status.failure.as_ref().map(|failure| &failure.message);
            let known = old.and_then(|old| old.failure.as_ref()).map(|failure| &failure.message);
            if failure != known {
                news.push(
                    failure.map_or_else(|| "git: works again".to_owned(), |text| format!("git: {}", one_line(text))),
                );
            }
            news.extend(down("git-sync", sync.down.as_ref(), before.sync.as_ref().and_then(|part| part.down.as_ref())));
        }
        if let Some(agent) = &self.agent {
            news.extend(agent::news(agent, before.agent.as_ref()));
        }
        let (import, old) = (&self.import.status, &before.import.status);
        if import.import.generation != old.import.generation && import.import.generation.is_some() {
            news.push(format!("import: {} ({})", self.published(), self.rows()));
        }
        if import.failure != old.failure {
            let text = import.failure.as_deref().map_or_else(|| "works again".to_owned(), one_line);
            news.push(format!("import: {text}"));
        }
        for file in &import.import.quarantined {
            if !old.import.quarantined.contains(file) {
                let text = one_line(&file.message);
                news.push(format!("import: quarantined {}:{} {text}", file.path, file.line));
            }
        }
        news.extend(down("duckdb-importer", self.import.down.as_ref(), before.import.down.as_ref()));
        news.extend(sessions::news(self.sessions.as_ref(), before.sessions.as_ref()));
        let state = |board: &Self| board.nats.as_ref().map(|nats| nats.state.clone());
        if let (Some(nats), true) = (&self.nats, state(self) != state(before)) {
            news.push(format!("nats: {}", nats_line(nats).1));
        }
        if let Some(addr) = self.page.filter(|addr| before.page != Some(*addr)) {
            news.push(format!("page: http://{addr}/"));
        }
        news
    }

    fn published(&self) -> String {
        let import = &self.import.status.import;
        let number = import.generation.as_ref().map_or(0, |generation| generation.number);
        let commit = import.commit.as_deref().map(|commit| format!(" of {}", short_commit(commit))).unwrap_or_default();
        let rows = count(import.rows.values().sum(), "row");
        let errors = match import.quarantined.len() as u64 {
            0 => String::new(),
            files => format!(", {} quarantined", count(files, "file")),
        };
        format!("generation {number}{commit}, {rows}{errors}, {}", bytes(import.bytes))
    }
}

type Entry = (String, Option<Light>, String);

fn entry(name: &str, (light, text): (Light, String)) -> Entry {
    (name.to_owned(), Some(light), text)
}

fn sync_line(part: &Part<SyncStatus>, now: SystemTime) -> (Light, String) {
    if let Some(reason) = &part.down {
        return (Light::Bad, format!("git-sync ended and is started again: {}", one_line(reason)));
    }
    let status = &part.status;
    let head = status.head.map(|head| short_commit(&head.to_string()).to_owned());
    match (&status.failure, head) {
        (Some(failure), Some(head)) => (Light::Bad, format!("{head}, then: {}", one_line(&failure.message))),
        (Some(failure), None) => (Light::Bad, one_line(&failure.message)),
        (None, Some(head)) => {
            // It looks all the time; worth a word only when it has not for a while.
            let seen = status.last_success_at.as_deref().and_then(|time| age(time, now)).filter(|age| *age >= LONG);
            let seen = seen.map(|age| format!(", looked {} ago", elapsed(age))).unwrap_or_default();
            (Light::Good, format!("{head} ({}){seen}", status.reference))
        }
        (None, None) => (Light::Busy, "fetching for the first time".to_owned()),
    }
}

fn import_line(part: &Part<ImportStatus>, now: SystemTime) -> (Light, String) {
    if let Some(reason) = &part.down {
        return (Light::Bad, format!("the importer ended and is started again: {}", one_line(reason)));
    }
    let status = &part.status;
    let board = Board { import: part.clone(), ..Board::default() };
    let published = status.import.generation.as_ref().map(|_| board.published());
    if let Some(failure) = &status.failure {
        let failure = one_line(failure);
        return (Light::Bad, published.map_or(failure.clone(), |published| format!("{published}, then: {failure}")));
    }
    match published {
        Some(published) => {
            let seen = status.import.published_at.as_deref().and_then(|time| age(time, now));
            let seen = seen.map(|age| format!(", {}", ago(age))).unwrap_or_default();
            let light = if status.import.quarantined.is_empty() { Light::Good } else { Light::Busy };
            (light, format!("{published}{seen}"))
        }
        None if status.importing => (Light::Busy, "importing for the first time".to_owned()),
        None => (Light::Busy, "waiting for the first commit".to_owned()),
    }
}

fn nats_line(nats: &Broker) -> (Light, String) {
    match &nats.state {
        server::State::Starting => (Light::Busy, "starting".to_owned()),
        server::State::Running { .. } => (Light::Good, nats.address.clone()),
        server::State::Down { reason, .. } => (Light::Bad, format!("ended and is started again: {}", one_line(reason))),
        server::State::Ended => (Light::Busy, "stopped".to_owned()),
    }
}

/// How the last round of checks ended; `baft preflight` says more.
fn probe_line(part: &Part<ProbeStatus>) -> Option<(Light, String)> {
    let report = part.status.report.as_ref()?;
    let (sum, text) = (&report.summary, counts(&report.summary));
    Some(match (sum.failed, sum.warnings + sum.undecided) {
        (0, 0) => (Light::Good, text),
        (0, _) => (Light::Busy, text),
        _ => (Light::Bad, format!("{text}: baft preflight")),
    })
}

fn down(name: &str, now: Option<&String>, before: Option<&String>) -> Option<String> {
    match (now, before) {
        (Some(reason), None) => Some(format!("{name}: ended and is started again: {}", one_line(reason))),
        (None, Some(_)) => Some(format!("{name}: runs again")),
        _ => None,
    }
}

/// In whole seconds, so that it changes as the seconds do.
fn ago(age: Duration) -> String {
    match age.as_secs() {
        0 => "just now".to_owned(),
        seconds @ 1..10 => format!("{seconds} s ago"),
        _ => format!("{} ago", elapsed(age)),
    }
}

fn age(time: &str, now: SystemTime) -> Option<Duration> {
    let time: SystemTime = chrono::DateTime::parse_from_rfc3339(time).ok()?.into();
    // A clock that was set back makes it just now.
    Some(now.duration_since(time).unwrap_or_default())
}

fn paint(name: &str, light: Option<Light>, text: &str, style: Style, width: usize) -> String {
    let text = shorten(text, width.saturating_sub(11).max(20));
    match light {
        None => format!("  {name:<7}  {}", style.dim(&text)),
        Some(Light::Good) => format!("  {name:<7}{} {text}", style.green("●")),
        Some(Light::Busy) => format!("  {name:<7}{} {text}", style.yellow("●")),
        Some(Light::Bad) => format!("  {name:<7}{} {}", style.red("●"), style.red(&text)),
    }
}

#[cfg(test)]
mod tests {
    use baft_bus::payload::{Generation, QuarantinedFile};

    use super::*;

    fn board() -> Board {
        let mut board = Board { sync: Some(Part::default()), ..Board::default() };
        board.nats = Some(Broker { address: "127.0.0.1:15000".to_owned(), state: server::State::Running { pid: 7 } });
        board
    }

    fn published(board: &mut Board, number: u64) {
        let head = "a9993e364706816aba3e25717850c26c9cd0d89d";
        if let Some(sync) = &mut board.sync {
            sync.status.reference = "main".to_owned();
            sync.status.head = Some(head.parse().unwrap());
            sync.status.last_success_at = Some("2026-11-21T10:00:00Z".to_owned());
        }
        let import = &mut board.import.status.import;
        import.generation = Some(Generation { lineage: "L".to_owned(), number });
        import.commit = Some(head.to_owned());
        import.rows = [("gaps".to_owned(), 82), ("traps".to_owned(), 14), ("variables".to_owned(), 103)].into();
        import.bytes = 3 << 20;
        import.published_at = Some("2026-11-21T10:00:00.5Z".to_owned());
    }

    fn at(seconds: u64) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(1_795_255_200 + seconds)
    }

    #[test]
    fn the_display_says_what_is_served_and_how_old_it_is() {
        let mut board = board();
        published(&mut board, 12);
        let lines = board.live(at(3), Style::Plain, 100);
        assert_eq!(
            lines,
            [
                "  git    ● a9993e364706 (main)",
                "  import ● generation 12 of a9993e364706, 199 rows, 3.0 MiB, 2 s ago",
                "           variables 103 · gaps 82 · traps 14",
                "  nats   ● 127.0.0.1:15000",
            ]
        );
    }

    #[test]
    fn no_line_is_wider_than_the_terminal_and_no_data_steers_it() {
        let mut board = board();
        published(&mut board, 12);
        let message = "\u{1b}[2J very long ".repeat(20);
        board.import.status.import.quarantined =
            vec![QuarantinedFile { path: "data/gaps.yaml".to_owned(), line: 17, message }];
        for line in board.live(at(3), Style::Plain, 60) {
            assert!(line.chars().count() <= 60 && !line.contains('\u{1b}'), "{line:?}");
        }
    }

    #[test]
    fn it_is_ready_when_the_followed_commit_is_in_the_database_and_requests_are_answered() {
        let mut board = board();
        assert!(!board.ready());
        published(&mut board, 1);
        assert!(board.ready());
        board.import.status.import.commit = Some("0".repeat(40));
        assert!(!board.ready());
        published(&mut board, 2);
        board.nats.as_mut().unwrap().state = server::State::Starting;
        assert!(!board.ready());
    }

    #[test]
    fn news_is_told_once() {
        let before = board();
        let mut now = board();
        published(&mut now, 1);
        let news = now.news(&before);
        assert_eq!(news[0], "git: a9993e364706");
        assert!(news[1].starts_with("import: generation 1 of a9993e364706, 199 rows"), "{news:?}");
        assert_eq!(now.news(&now), Vec::<String>::new());
        let mut later = now.clone();
        later.import.down = Some("it panicked".to_owned());
        later.nats.as_mut().unwrap().state = server::State::Down { reason: "signal: 9".to_owned(), starts: 1 };
        assert_eq!(
            later.news(&now),
            ["duckdb-importer: ended and is started again: it panicked", "nats: ended and is started again: signal: 9"]
        );
        assert_eq!(now.news(&later), ["duckdb-importer: runs again", "nats: 127.0.0.1:15000"]);
    }
}
