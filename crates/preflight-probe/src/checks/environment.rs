//! Python, uv, repositories, packages and variables: what the Python actors of a workstation need.

use std::sync::Arc;

use crate::finding::Finding;
use crate::run::{Ran, Run};
use crate::words::first_line;

/// The oldest Python the actors run on.
const OLDEST: (u32, u32) = (3, 11);
/// Where the repositories come from.
const FORGE: &str = "https://github.com/IranTransitionProject";

const NO_ACTORS: &str = "no Python actors here";

pub(crate) async fn python(run: Arc<Run>) -> Finding {
    if !run.scene.has_actors() {
        return Finding::skip(format!("Python: {NO_ACTORS}"));
    }
    let hint = "install Python 3.11 or later: uv python install 3.12 --default (or your system's package manager)";
    let said = match run.output("python3", |command| _ = command.arg("--version")).await {
        Ok(said) => said,
        Err(Ran::Missing) => return Finding::fail("Python is not installed", hint),
        Err(Ran::Failed(why)) => return Finding::fail(format!("Python does not run: {why}"), hint),
    };
    let version = said.trim().trim_start_matches("Python ").to_owned();
    match numbers(&version) {
        Some(found) if found >= OLDEST => Finding::pass(format!("Python {version}")).with("version", version),
        Some(_) => Finding::fail(format!("Python {version} is too old: 3.11 or later is needed"), hint),
        None => Finding::unknown(format!("Python gives no version: {}", first_line(&said)), hint),
    }
}

fn numbers(version: &str) -> Option<(u32, u32)> {
    let mut parts = version.split('.');
    Some((parts.next()?.parse().ok()?, parts.next()?.parse().ok()?))
}

pub(crate) async fn uv(run: Arc<Run>) -> Finding {
    if !run.scene.has_actors() {
        return Finding::skip(format!("uv: {NO_ACTORS}"));
    }
    let hint = "install it: curl -LsSf https://astral.sh/uv/install.sh | sh (or: python3 -m pip install uv)";
    match run.output("uv", |command| _ = command.arg("--version")).await {
        Ok(said) => {
            let version = said.split_whitespace().nth(1).unwrap_or_default().to_owned();
            Finding::pass(format!("uv {version}")).with("version", version)
        }
        Err(Ran::Missing) => Finding::fail("uv is not installed", hint),
        Err(Ran::Failed(why)) => Finding::fail(format!("uv does not run: {why}"), hint),
    }
}

pub(crate) async fn repositories(run: Arc<Run>) -> Finding {
    let scene = &run.scene;
    let (mut found, mut missing) = (Vec::new(), Vec::new());
    match (scene.data(), &scene.fleet) {
        (Some(path), _) => found.push(path.file_name().unwrap_or_default().to_string_lossy().into_owned()),
        // Read from the remote, edited elsewhere.
        (None, Some(fleet)) => found.push(fleet.follows.clone()),
        (None, None) => missing.push("framework"),
    }
    if scene.has_actors() {
        match ["loom", "heddle"].into_iter().find(|name| scene.beside(name).is_some()) {
            Some(name) => found.push(name.to_owned()),
            None => missing.push("loom"),
        }
        match scene.beside("baft") {
            Some(_) => found.push("baft".to_owned()),
            None => missing.push("baft"),
        }
    }
    if missing.is_empty() {
        return Finding::pass(format!("Repos: {}", found.join(", "))).with("found", found);
    }
    let Some(root) = &scene.root else {
        return Finding::fail(
            "Repos: nothing says where they are",
            "export ITP_ROOT=<the folder with the repositories>, or start a fleet with `baft up`",
        );
    };
    let clones: Vec<String> =
        missing.iter().map(|name| format!("git clone {FORGE}/{name}.git {}", root.join(name).display())).collect();
    Finding::fail(format!("Repos missing in {}: {}", root.display(), missing.join(", ")), clones.join("\n"))
        .with("missing", missing)
}

pub(crate) async fn packages(run: Arc<Run>) -> Finding {
    if !run.scene.has_actors() {
        return Finding::skip(format!("Dependencies: {NO_ACTORS}"));
    }
    let Some(baft) = run.scene.beside("baft") else {
        return Finding::skip_because("BAFT-E003", "Dependencies: not checked, because the repository baft is missing");
    };
    // Either name of the actors' framework will do. Without --no-sync, looking would install.
    let program = "try:\n    import heddle\nexcept ImportError:\n    import loom\nimport baft";
    let said = run.output("uv", |command| {
        command.args(["run", "--no-sync", "python", "-c", program]).current_dir(&baft);
    });
    match said.await {
        Ok(_) => Finding::pass("Dependencies installed"),
        Err(why) => {
            let why = match why {
                Ran::Missing => "uv is not installed".to_owned(),
                Ran::Failed(text) => text,
            };
            Finding::fail(
                "Dependencies are not installed: loom (or heddle) and baft cannot be imported",
                format!("cd {} && uv sync", baft.display()),
            )
            .with("said", why)
        }
    }
}

pub(crate) async fn variables(run: Arc<Run>) -> Finding {
    let scene = &run.scene;
    let mut needed = Vec::new();
    if scene.fleet.is_none() || scene.has_actors() {
        needed.extend([
            ("ITP_ROOT", "<the folder with the repositories>"),
            ("BAFT_WORKSPACE", "<the folder with itp.duckdb>"),
        ]);
    }
    if scene.has_actors() {
        needed.push(("ANTHROPIC_API_KEY", "<your key>"));
    }
    if needed.is_empty() {
        return Finding::skip("Environment variables: the running fleet says where everything is");
    }
    let missing: Vec<_> = needed.iter().filter(|(name, _)| !scene.variables.contains(*name)).collect();
    if missing.is_empty() {
        return Finding::pass("Environment variables set");
    }
    let names: Vec<&str> = missing.iter().map(|(name, _)| *name).collect();
    let hints: Vec<String> = missing.iter().map(|(name, value)| format!("export {name}={value}")).collect();
    Finding::fail(format!("Environment variables not set: {}", names.join(", ")), hints.join("\n"))
        .with("missing", names)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_compared_as_numbers() {
        assert!(
            numbers("3.9.18") < Some(OLDEST) && numbers("3.11.0rc1") >= Some(OLDEST) && numbers("4.0") > Some(OLDEST)
        );
        assert_eq!(numbers("unknown"), None);
    }
}
