//! Ollama and the model the actors ask for.

use std::sync::Arc;
use std::time::Duration;

use serde::Deserialize;

use super::http_get;
use crate::finding::Finding;
use crate::run::Run;
use crate::scene::DEFAULT_OLLAMA;

#[derive(Deserialize)]
struct Tags {
    #[serde(default)]
    models: Vec<Model>,
}

#[derive(Deserialize)]
struct Model {
    name: String,
}

fn url(run: &Run) -> String {
    run.scene.ollama.as_deref().unwrap_or(DEFAULT_OLLAMA).trim_end_matches('/').to_owned()
}

/// `localhost:11434`.
fn shown(url: &str) -> String {
    let redacted = baft_kit::log::redact_url(url);
    redacted.split_once("://").map_or(redacted.as_str(), |(_, rest)| rest).to_owned()
}

async fn tags(url: &str) -> Result<Vec<String>, String> {
    let (status, body) = http_get(&format!("{url}/api/tags"), Duration::from_secs(5)).await?;
    if status != 200 {
        return Err(format!("it answers {status}"));
    }
    let tags: Tags = serde_json::from_str(&body).map_err(|_| "its answer is not Ollama's".to_owned())?;
    Ok(tags.models.into_iter().map(|model| model.name).collect())
}

pub(crate) async fn reachable(run: Arc<Run>) -> Finding {
    if run.scene.ollama.is_none() && !run.scene.has_actors() {
        return Finding::skip("Ollama: no actors here that would use it, and OLLAMA_URL is not set");
    }
    let url = url(&run);
    match run.tags(tags(&url)).await {
        Ok(models) => Finding::pass(format!("Ollama reachable ({})", shown(&url))).with("models", models.len()),
        Err(why) => Finding::fail(
            format!("Ollama is not reachable ({}): {why}", shown(&url)),
            "start it: ollama serve (or correct OLLAMA_URL)",
        ),
    }
}

pub(crate) async fn present(run: Arc<Run>) -> Finding {
    let wanted = run.scene.ollama_model.as_str();
    let url = url(&run);
    match run.tags(tags(&url)).await {
        Ok(models) if models.iter().any(|name| same(name, wanted)) => Finding::pass(format!("Ollama model: {wanted}")),
        Ok(models) => Finding::fail(format!("Ollama has no model {wanted}"), format!("ollama pull {wanted}"))
            .with("models", models.to_vec()),
        Err(why) => Finding::unknown(format!("Ollama's models are not known: {why}"), "start it: ollama serve"),
    }
}

/// A name without a tag means `latest`.
fn same(name: &str, wanted: &str) -> bool {
    let full = |name: &str| if name.contains(':') { name.to_owned() } else { format!("{name}:latest") };
    full(name) == full(wanted)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_model_without_a_tag_is_the_latest_and_nothing_else() {
        assert!(same("llama3.2:3b", "llama3.2:3b") && same("mistral:latest", "mistral"));
        assert!(!same("llama3.2:1b", "llama3.2:3b") && !same("llama3.2:3b", "llama3.2"));
        assert_eq!(shown("http://user:secret@localhost:11434"), "***@localhost:11434");
    }
}
