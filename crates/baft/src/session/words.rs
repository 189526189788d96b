//! What a sequence came to, in the specification's words.

use baft_bus::payload::{
    SessionEndResponse, SessionStartResponse, SessionSyncCheckResponse, SessionSyncResponse, Standing,
};

use crate::failure::Failure;
use crate::output::{Out, count, one_line, short_commit};

type Said = Result<(), Failure>;

/// `Session started. Framework at commit …. DuckDB updated. All services reachable.`
pub fn started(out: &mut Out, answer: &SessionStartResponse) -> Said {
    let commit = match &answer.commit {
        Some(commit) => format!(" Framework at commit {}.", short_commit(commit)),
        None => " Framework has no commit yet.".to_owned(),
    };
    let database = if answer.import.is_some() { "DuckDB updated." } else { "DuckDB not updated." };
    let services = match &answer.preflight {
        Some(checks) if checks.failed == 0 => "All services reachable.",
        Some(_) => "Not all services are reachable.",
        None => "Services not checked.",
    };
    out.line(format!("Session started.{commit} {database} {services}"))?;
    out.line(format!("Session id: {}", answer.session_id))?;
    let problems = answer.preflight.iter().flat_map(|checks| &checks.problems);
    warnings(out, problems.chain(&answer.warnings))
}

/// `Framework changes committed and pushed.` or `No framework changes to commit.`
pub fn ended(out: &mut Out, answer: &SessionEndResponse) -> Said {
    let commit = answer.commit.as_deref().map(short_commit);
    let files = count(answer.files.len() as u64, "file");
    match (commit, answer.pushed) {
        (Some(commit), true) => out.line(format!("Framework changes committed and pushed. ({commit}, {files})"))?,
        (Some(commit), false) => {
            out.line(format!("Framework changes committed, not pushed yet. ({commit}, {files})"))?;
        }
        (None, true) => out.line("No framework changes to commit.")?,
        (None, false) => out.line("No framework changes to commit; earlier commits are not pushed yet.")?,
    }
    out.line(format!("Session {}: {}", answer.session_id, answer.state.name()))?;
    for file in &answer.held {
        out.line(format!("held back, in no commit: {} ({})", one_line(&file.path), one_line(&file.message)))?;
    }
    warnings(out, answer.warnings.iter())
}

/// `Framework has N new commits from remote. …` and its siblings.
pub fn compared(out: &mut Out, answer: &SessionSyncCheckResponse) -> Said {
    out.line(standing(answer.state, answer.ahead, answer.behind))
}

/// How clone and remote compare, in one sentence.
#[must_use]
pub fn standing(state: Standing, ahead: u64, behind: u64) -> String {
    match state {
        Standing::Current => "Framework is current.".to_owned(),
        Standing::Behind => {
            let commits = count(behind, "new commit");
            format!("Framework has {commits} from remote. Run `baft session sync` to pull and re-import.")
        }
        Standing::Ahead => format!("You have {} not yet pushed.", count(ahead, "local commit")),
        Standing::Diverged => "Framework has diverged from remote. Manual resolution needed.".to_owned(),
        Standing::Unknown => "It is not known how Framework compares with the remote.".to_owned(),
    }
}

/// `Synced to …. DuckDB updated.`
pub fn synced(out: &mut Out, answer: &SessionSyncResponse) -> Said {
    let commit = answer.commit.as_deref().map_or("nothing yet", short_commit);
    let database = if answer.import.is_some() { "DuckDB updated." } else { "DuckDB not updated." };
    out.line(format!("Synced to {commit}. {database}"))?;
    warnings(out, answer.warnings.iter())
}

fn warnings<'a>(out: &mut Out, all: impl Iterator<Item = &'a String>) -> Said {
    for warning in all {
        let style = out.style();
        out.line(format!("{} {}", style.yellow("warning:"), one_line(warning)))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_comparison_is_told_in_the_words_of_the_specification() {
        let said = [
            standing(Standing::Current, 0, 0),
            standing(Standing::Behind, 0, 3),
            standing(Standing::Behind, 0, 1),
            standing(Standing::Ahead, 2, 0),
            standing(Standing::Diverged, 2, 3),
        ];
        assert_eq!(
            said,
            [
                "Framework is current.",
                "Framework has 3 new commits from remote. Run `baft session sync` to pull and re-import.",
                "Framework has 1 new commit from remote. Run `baft session sync` to pull and re-import.",
                "You have 2 local commits not yet pushed.",
                "Framework has diverged from remote. Manual resolution needed.",
            ]
        );
    }
}
