//! What the page says. Everything that comes from people or other programs is escaped.

use baft_bus::RequestError;
use baft_bus::payload::{
    CommitStatus, GitStatus, ImportStatus, SessionChecks, SessionRecord, SessionState, SessionStatusResponse, Standing,
};
use maud::{DOCTYPE, Markup, PreEscaped, html};

use super::tail::Line;

/// Without scripts the page is loaded again after so many seconds.
const RELOAD: u32 = 15;

/// What is seen at one moment.
#[derive(Debug)]
pub(super) struct View {
    pub at: String,
    pub connected: bool,
    pub status: Result<SessionStatusResponse, RequestError>,
    pub clones: Vec<CommitStatus>,
    pub events: Vec<Line>,
}

/// The page around its middle.
pub(super) fn whole(middle: &str) -> String {
    html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                title { "Baft" }
                link rel="icon" href="data:,";
                link rel="stylesheet" href="page.css";
                noscript { meta http-equiv="refresh" content=(RELOAD); }
            }
            body {
                header {
                    h1 { "Baft" }
                    p id="link" aria-live="polite" { "loads itself again every " (RELOAD) " seconds" }
                }
                main id="middle" { (PreEscaped(middle)) }
                script src="page.js" {}
            }
        }
    }
    .into_string()
}

/// The middle, without line breaks: it travels as one line.
pub(super) fn middle(view: &View) -> String {
    let page = html! {
        p.quiet { "as of " time datetime=(view.at) { (clock(&view.at)) } " UTC" }
        @if !view.connected {
            p.bad role="alert" { "NATS is not connected: this is what was known last. Edits are still captured and committed." }
        }
        @match &view.status {
            Err(error) => p.bad role="alert" { (error.message) @if let Some(hint) = &error.hint { " — " (hint) } },
            Ok(status) => {
                (sessions(status))
                div.cards {
                    (git(status.published.as_ref(), &view.clones))
                    (database(status.database.as_ref()))
                }
                div.cards { (checks(status.preflight.as_ref())) (services(status)) }
            }
        }
        (events(&view.events))
    };
    page.into_string().replace(['\n', '\r'], " ")
}

fn sessions(status: &SessionStatusResponse) -> Markup {
    let more = status.total.saturating_sub(status.sessions.len() as u64);
    html! {
        h2 { "Sessions " small { (status.total) } }
        @if status.sessions.is_empty() {
            p.quiet { "Nobody is working now. " code { "baft session start" } " begins a session." }
        } @else {
            div.scroll { table.sessions {
                thead { tr { th { "Session" } th { "Analyst" } th { "Objective" } th { "State" } th { "Clone" } th { "Client" } th { "Since" } th { "Last active" } } }
                tbody { @for record in &status.sessions { (session(record)) } }
            } }
            @if more > 0 { p.quiet { "and " (more) " more: " code { "baft session list" } } }
        }
    }
}

fn session(record: &SessionRecord) -> Markup {
    let class = match record.state {
        SessionState::Active => "good",
        SessionState::Lost | SessionState::EndedUnpushed | SessionState::Reaped => "bad",
        _ => "warn",
    };
    html! {
        tr {
            td { code { (record.session_id) } }
            td { (record.analyst) }
            td { (record.objective) }
            td { span class=(class) { (record.state.name()) } @if !record.reason.is_empty() { " " span.quiet { (record.reason) } } }
            td { (record.agent.as_deref().unwrap_or("–")) }
            td { (record.client.name) " " (record.client.version) }
            td.nowrap { time datetime=(record.started_at) { (clock(&record.started_at)) } }
            td.nowrap { time datetime=(record.last_active_at) { (clock(&record.last_active_at)) } }
        }
    }
}

fn git(published: Option<&GitStatus>, clones: &[CommitStatus]) -> Markup {
    html! {
        section {
            h2 { "Git" }
            table { tbody {
                @if let Some(git) = published {
                    tr { th { "Published" } td { (commit(git.head.as_deref())) " of " (git.reference)
                        @if let Some(behind @ 1..) = git.behind { " " span.warn { (behind) " behind the remote" } }
                        @if git.failures > 0 { " " span.bad { (git.failures) " failed attempts" } }
                    } }
                    @if let Some(at) = &git.last_success_at { tr { th { "Synced" } td { (clock(at)) } } }
                } @else {
                    tr { th { "Published" } td.bad { "git-sync does not answer" } }
                }
                @for clone in clones {
                    tr { th { "Clone " (clone.agent) } td {
                        span class=(if clone.check.state == Standing::Current { "good" } else { "warn" }) { (clone.check.message) }
                        @if clone.unpushed > 0 { br; span.warn { (clone.unpushed) " commits to push" } }
                        @if !clone.held.is_empty() { br; span.warn { (clone.held.len()) " files held back: " code { "baft commit status" } } }
                        @if !clone.parked.is_empty() { br; span.warn { (clone.parked.len()) " rescue branches" } }
                        @for problem in &clone.problems { br; span.bad { (problem) } }
                    } }
                }
            } }
        }
    }
}

fn database(database: Option<&ImportStatus>) -> Markup {
    html! {
        section {
            h2 { "Database" }
            table { tbody {
                @if let Some(status) = database {
                    tr { th { "Generation" } td {
                        @match &status.generation { Some(generation) => (generation.number), None => "none yet" }
                        @if let Some(at) = &status.published_at { " at " (clock(at)) }
                    } }
                    tr { th { "Commit" } td { (commit(status.commit.as_deref())) } }
                    tr { th { "Rows" } td {
                        @for (n, (name, rows)) in status.rows.iter().enumerate() { @if n > 0 { ", " } (rows) " " (name) }
                    } }
                    @for file in &status.quarantined {
                        tr { th.bad { "Quarantined" } td { code { (file.path) ":" (file.line) } " " (file.message) } }
                    }
                } @else {
                    tr { th { "Generation" } td.bad { "duckdb-importer does not answer" } }
                }
            } }
        }
    }
}

fn checks(checks: Option<&SessionChecks>) -> Markup {
    html! {
        section {
            h2 { "Checks" }
            @match checks {
                None => p.warn { "preflight-probe does not answer" },
                Some(checks) => {
                    p class=(if checks.failed > 0 { "bad" } else if checks.warnings > 0 { "warn" } else { "good" }) {
                        (checks.passed) "/" (checks.total) " checks passed"
                        @if checks.warnings > 0 { ", " (checks.warnings) " warnings" }
                        @if checks.failed > 0 { ", " (checks.failed) " failed" }
                    }
                    ul { @for problem in &checks.problems { li { (problem) } } }
                }
            }
        }
    }
}

fn services(status: &SessionStatusResponse) -> Markup {
    html! {
        section {
            h2 { "Services" }
            table { tbody { @for service in &status.services {
                tr { th { (service.name) } td class=(if service.up { "good" } else { "bad" }) { (if service.up { "up" } else { "down" }) } td { (service.message) } }
            } } }
        }
    }
}

fn events(events: &[Line]) -> Markup {
    html! {
        h2 { "Events " small { "newest first" } }
        @if events.is_empty() {
            p.quiet { "Nothing was heard yet." }
        } @else {
            div.scroll { table.events { tbody { @for line in events {
                tr { td { (clock(&line.time)) } td { (line.kind) } td { (line.said) } }
            } } } }
        }
    }
}

fn commit(oid: Option<&str>) -> Markup {
    let short = oid.map_or("–", |oid| oid.get(..10).unwrap_or(oid));
    html! { code title=[oid] { (short) } }
}

/// `2026-11-21T10:35:13.123Z` as `2026-11-21 10:35:13`.
fn clock(at: &str) -> String {
    at.get(..19).unwrap_or(at).replace('T', " ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::life::tests::stored;

    fn view(objective: &str) -> View {
        let mut record = stored("session-1", SessionState::Active).record;
        record.objective = objective.to_owned();
        let status = SessionStatusResponse {
            sessions: vec![record],
            total: 3,
            clone: None,
            published: None,
            database: None,
            preflight: None,
            services: Vec::new(),
        };
        View {
            at: "2026-11-21T10:35:13.1Z".to_owned(),
            connected: true,
            status: Ok(status),
            clones: Vec::new(),
            events: Vec::new(),
        }
    }

    #[test]
    fn what_people_write_cannot_become_markup_or_break_the_stream() {
        let page = middle(&view("<script>alert(1)</script>\n\nevent: evil\r\n'\""));
        assert!(!page.contains("<script") && page.contains("&lt;script&gt;"), "{page}");
        assert!(!page.contains(['\n', '\r']));
    }

    #[test]
    fn it_says_what_is_missing_and_how_many_more_there_are() {
        let page = middle(&View { connected: false, ..view("look") });
        for said in
            ["git-sync does not answer", "duckdb-importer does not answer", "and 2 more", "NATS is not connected"]
        {
            assert!(page.contains(said), "{said}: {page}");
        }
    }
}
