//! The words of commits.

use baft_repo::RepoPath;

use super::{AgentName, SessionStamp, Templates};

/// Says on a commit which agent made it.
pub(super) const AGENT_TRAILER: &str = "Baft-Agent";
/// And for which session.
pub(super) const SESSION_TRAILER: &str = "Session";
/// Names a file that was saved with the text from before upstream's change.
const TAKES_BACK_TRAILER: &str = "Takes-Back";
/// So many of them are named.
const MOST_TAKEN_BACK: usize = 20;
/// More paths are counted, not named.
const MOST_NAMED: usize = 3;

/// A commit's message: from the template, with trailers.
pub(super) fn message(
    templates: &Templates,
    agent: &AgentName,
    session: Option<&SessionStamp>,
    words: Option<&str>,
    paths: &[RepoPath],
) -> String {
    let date = baft_kit::time::now_rfc3339();
    let files = names(paths);
    let words = words.map(str::trim).filter(|words| !words.is_empty()).map_or_else(|| files.clone(), str::to_owned);
    let (first, rest) = words.split_once('\n').unwrap_or((&words, ""));
    let template = if session.is_some() { &templates.session } else { &templates.auto };
    let mut text = template.clone();
    for (name, value) in [
        ("{session}", session.map_or("", |session| session.id.as_str())),
        ("{date}", date.get(..10).unwrap_or(&date)),
        ("{count}", &paths.len().to_string()),
        ("{files}", &files),
        ("{agent}", agent.as_str()),
        // Last, so that braces in a person's words stay what they are.
        ("{message}", first),
    ] {
        text = text.replace(name, value);
    }
    let rest = rest.trim();
    if !rest.is_empty() {
        text.push_str("\n\n");
        text.push_str(rest);
    }
    trailers(&text, agent, session)
}

/// A text with the trailers of an agent.
pub(super) fn trailers(text: &str, agent: &AgentName, session: Option<&SessionStamp>) -> String {
    let mut text = format!("{}\n\n{AGENT_TRAILER}: {agent}\n", text.trim_end());
    if let Some(session) = session {
        text.push_str(&format!("{SESSION_TRAILER}: {}\n", one_line(&session.id)));
        if let Some(epoch) = &session.epoch {
            text.push_str(&format!("Session-Epoch: {}\n", one_line(epoch)));
        }
    }
    text
}

/// Says at the end of a message which files take upstream's changes back.
pub(super) fn add_takes_back<'a>(message: &mut String, paths: impl Iterator<Item = &'a RepoPath>) {
    for path in paths.take(MOST_TAKEN_BACK) {
        message.push_str(&format!("{TAKES_BACK_TRAILER}: {}\n", one_line(path.as_str())));
    }
}

/// Which files a message says that of.
pub(super) fn takes_back(message: &str) -> Vec<String> {
    let last = message.trim_end().rsplit("\n\n").next().unwrap_or_default();
    let named = last.lines().filter_map(|line| line.strip_prefix(TAKES_BACK_TRAILER)?.strip_prefix(": "));
    named.map(str::to_owned).collect()
}

fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

fn names(paths: &[RepoPath]) -> String {
    let named: Vec<&str> = paths.iter().take(MOST_NAMED).map(RepoPath::as_str).collect();
    match paths.len() {
        0 => "nothing".to_owned(),
        count if count <= MOST_NAMED => named.join(", "),
        count => format!("{} and {} more", named.join(", "), count - MOST_NAMED),
    }
}

/// What a trailer of a message says.
pub(super) fn trailer(message: &str, name: &str) -> Option<String> {
    let last = message.trim_end().rsplit("\n\n").next()?;
    last.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": ").map(str::to_owned))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn paths(names: &[&str]) -> Vec<RepoPath> {
        names.iter().map(|name| RepoPath::new(*name).unwrap()).collect()
    }

    #[test]
    fn a_commit_of_nobody_names_its_files() {
        let agent = AgentName::new("main").unwrap();
        let text = message(&Templates::default(), &agent, None, None, &paths(&["a", "b", "c", "d"]));
        assert!(text.starts_with("Auto-commit: a, b, c and 1 more — 2"), "{text}");
        assert_eq!(trailer(&text, AGENT_TRAILER).as_deref(), Some("main"));
        assert_eq!(trailer(&text, SESSION_TRAILER), None);
    }

    #[test]
    fn what_takes_upstreams_change_back_is_named_among_the_trailers() {
        let agent = AgentName::new("main").unwrap();
        let mut text = message(&Templates::default(), &agent, None, None, &paths(&["a", "b"]));
        assert!(takes_back(&text).is_empty());
        add_takes_back(&mut text, paths(&["a", "b c"]).iter());
        assert_eq!(takes_back(&text), ["a", "b c"]);
        assert_eq!(trailer(&text, AGENT_TRAILER).as_deref(), Some("main"));
    }

    #[test]
    fn a_session_is_named_and_no_word_of_it_becomes_a_trailer() {
        let agent = AgentName::new("main").unwrap();
        let session = SessionStamp { id: "s1\nBaft-Agent: other".to_owned(), epoch: None, author: None };
        let text = message(&Templates::default(), &agent, Some(&session), Some("fix {date}\n\nwhy"), &paths(&["a"]));
        assert_eq!(trailer(&text, SESSION_TRAILER).as_deref(), Some("s1 Baft-Agent: other"));
        assert_eq!(trailer(&text, AGENT_TRAILER).as_deref(), Some("main"));
        assert!(text.contains("\n\nwhy\n\n"), "{text}");
    }
}
