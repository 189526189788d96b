//! The daemons: does each answer?

use std::sync::Arc;

use serde_json::Value;

use crate::finding::Finding;
use crate::run::Run;

async fn alive(run: &Run, name: &str, question: &str) -> Finding {
    if !run.scene.expected.iter().any(|expected| expected == name) {
        return Finding::skip(format!("{name}: not part of this fleet"));
    }
    match run.ask::<Value>(question).await {
        Ok(_) => Finding::pass(format!("{name} answers")),
        Err(error) => Finding::fail(
            format!("{name} does not answer: {}", error.message),
            error.hint.unwrap_or_else(|| format!("look at the log of {name}")),
        ),
    }
}

pub(crate) async fn git_sync(run: Arc<Run>) -> Finding {
    alive(&run, "git-sync", "git.status").await
}

pub(crate) async fn commit_agent(run: Arc<Run>) -> Finding {
    let agent = run.scene.agent.clone().unwrap_or_else(|| "main".to_owned());
    alive(&run, "commit-agent", &format!("commit.{agent}.status")).await
}

pub(crate) async fn importer(run: Arc<Run>) -> Finding {
    alive(&run, "duckdb-importer", "import.status").await
}

pub(crate) async fn registry(run: Arc<Run>) -> Finding {
    alive(&run, "session-registry", "session.list").await
}
