//! From what the engine did to what a request is answered. Pure.

use baft_bus::payload::{CommitApplyResponse, CommitPullResponse, CommitRunResponse};
use baft_bus::{Code, RequestError};

use crate::engine::{Applied, ApplyError, Blocked, Class, Cycle, Parked, ParkedKind, Step, StepError};
use crate::status::held_payload;

/// What did not work in a cycle, one line each.
pub(crate) fn problems(cycle: &Cycle) -> Vec<String> {
    let errors = cycle.errors.iter().map(ToString::to_string);
    let troubles = cycle.troubles.iter().map(|trouble| format!("{}: {}", trouble.path, trouble.message));
    let blocked = cycle.blocked.iter().map(waits);
    errors.chain(blocked).chain(troubles.take(20)).collect()
}

/// Why landing waits, and what ends that.
pub(crate) fn waits(blocked: &Blocked) -> String {
    match blocked {
        Blocked::IndexLock { age } => {
            format!("committing waits: a git command holds .git/index.lock, for {} s so far", age.as_secs())
        }
        Blocked::Operation(name) => format!("committing waits: a {} is under way in the clone", name.replace('_', " ")),
        Blocked::Detached => "committing waits: HEAD is on no branch in the clone".to_owned(),
        Blocked::OtherBranch(branch) => format!("committing waits: branch {branch} is checked out in the clone"),
        Blocked::Conflicts => "committing waits: the index has unresolved conflicts".to_owned(),
        Blocked::Index(reason) => format!("committing waits: the index cannot be used ({reason})"),
        Blocked::Rewritten => {
            "the remote's history was rewritten: `baft commit confirm --rewritten` follows it".to_owned()
        }
    }
}

/// The answer to `run`: for a session, what was committed in its name.
///
/// # Errors
/// Nothing could be captured.
pub(crate) fn run(cycle: &Cycle, session: Option<&str>) -> Result<CommitRunResponse, RequestError> {
    if let Some(error) = cycle.errors.iter().find(|error| error.step == Step::Capture) {
        return Err(step(error));
    }
    let theirs = || cycle.landed.iter().filter(|commit| session.is_none() || commit.session.as_deref() == session);
    let mut files: Vec<String> = theirs().flat_map(|commit| commit.paths.iter().map(ToString::to_string)).collect();
    files.sort();
    files.dedup();
    let pushing = cycle.errors.iter().any(|error| error.step == Step::Push || error.step == Step::Fetch);
    Ok(CommitRunResponse {
        commit: theirs().next_back().map(|commit| commit.oid.to_string()),
        files,
        held: cycle.held.iter().map(held_payload).collect(),
        pushed: cycle.unpushed == 0 && !pushing && cycle.blocked.is_none(),
        parked: conflict(cycle).map(|parked| parked.branch.clone()),
        problems: problems(cycle),
    })
}

/// The answer to `pull`.
///
/// # Errors
/// The remote cannot be asked, or local work had to give way.
pub(crate) fn pull(head: Option<baft_repo::Oid>, cycle: &Cycle) -> Result<CommitPullResponse, RequestError> {
    if let Some(parked) = conflict(cycle) {
        let paths: Vec<&str> = parked.paths.iter().map(baft_repo::RepoPath::as_str).collect();
        let message =
            format!("{} changed here and upstream; the local version is in {}", paths.join(", "), parked.branch);
        return Err(RequestError::new(Code::Conflict, message)
            .hint("the clone has upstream's version; docs/recovery.md says how the local one comes back"));
    }
    let stops = |error: &&StepError| error.step <= Step::Materialise && error.step != Step::Land;
    if let Some(error) = cycle.errors.iter().find(stops) {
        return Err(step(error));
    }
    let (old, new, changed) = match &cycle.brought_in {
        Some(brought) => (brought.old, Some(brought.new), brought.changes.len()),
        None => (head, head, 0),
    };
    Ok(CommitPullResponse {
        old: old.map(|oid| oid.to_string()),
        new: new.map(|oid| oid.to_string()),
        changed_files: changed as u64,
        parked: None,
        problems: problems(cycle),
    })
}

fn conflict(cycle: &Cycle) -> Option<&Parked> {
    cycle.parked.iter().find(|parked| parked.kind == ParkedKind::Conflict)
}

/// The answer to `apply`.
pub(crate) fn applied(applied: &Applied, cycle: &Cycle) -> CommitApplyResponse {
    let pushed = run(cycle, None).is_ok_and(|answer| answer.pushed);
    CommitApplyResponse {
        commit: Some(applied.commit.to_string()),
        paths: applied.paths.iter().map(ToString::to_string).collect(),
        pushed,
        problems: problems(cycle),
    }
}

/// A step that failed, as an answer.
pub(crate) fn step(error: &StepError) -> RequestError {
    let code = match error.class {
        Class::NotFound => Code::NotFound,
        Class::Auth | Class::Protected => Code::Forbidden,
        Class::Policy => Code::Unprocessable,
        Class::Race => Code::Conflict,
        Class::Network | Class::Disk | Class::Gone | Class::Corrupt | Class::Other => Code::Unavailable,
    };
    let error = RequestError::new(code, error.to_string());
    if code == Code::Conflict { error.retryable() } else { error }
}

/// An edit that was refused, as an answer.
pub(crate) fn refused(error: &ApplyError) -> RequestError {
    let message = error.to_string();
    match error {
        ApplyError::Invalid(_) => RequestError::new(Code::InvalidArgument, message),
        ApplyError::NotFound(_) => RequestError::new(Code::NotFound, message),
        ApplyError::Conflict(_) => RequestError::new(Code::Conflict, message)
            .hint("look at the newest version and ask again with its commit as base"),
        ApplyError::Refused { .. } => RequestError::new(Code::Unprocessable, message),
        ApplyError::Unavailable(_) => RequestError::new(Code::Unavailable, message),
    }
}

#[cfg(test)]
mod tests {
    use baft_repo::{Oid, RepoPath};

    use super::*;
    use crate::engine::{Confirmed, PathTrouble};

    fn oid(n: u8) -> Oid {
        Oid::from_bytes([n; 20])
    }

    fn failed(step: Step, class: Class) -> Cycle {
        Cycle { errors: vec![StepError { step, class, message: "why".to_owned() }], ..Cycle::default() }
    }

    fn parked() -> Parked {
        Parked {
            branch: "refs/heads/rescue/desk/1".to_owned(),
            commit: oid(1),
            kind: ParkedKind::Conflict,
            confirmed: Confirmed::Yes,
            paths: vec![RepoPath::new("a.yaml").unwrap()],
            base: None,
            theirs: Some(oid(2)),
            since: std::time::SystemTime::UNIX_EPOCH,
        }
    }

    #[test]
    fn a_remote_that_is_away_is_a_problem_of_a_run_and_the_failure_of_a_pull() {
        for step in [Step::Fetch, Step::Push] {
            let answer = run(&failed(step, Class::Network), None).unwrap();
            assert!(!answer.pushed && answer.problems.len() == 1);
        }
        let error = pull(Some(oid(1)), &failed(Step::Fetch, Class::Network)).unwrap_err();
        assert_eq!((error.code, error.retryable), (Code::Unavailable, true));
        let error = pull(None, &failed(Step::Fetch, Class::Auth)).unwrap_err();
        assert_eq!((error.code, error.retryable), (Code::Forbidden, false));
    }

    #[test]
    fn what_cannot_be_captured_fails_the_run() {
        assert_eq!(run(&failed(Step::Capture, Class::Disk), None).unwrap_err().code, Code::Unavailable);
    }

    #[test]
    fn a_pull_fails_with_a_conflict_only_when_there_is_one() {
        let quiet = pull(Some(oid(1)), &Cycle::default()).unwrap();
        assert_eq!((quiet.old.as_ref(), quiet.changed_files), (quiet.new.as_ref(), 0));
        let cycle = Cycle { parked: vec![parked()], ..Cycle::default() };
        let error = pull(Some(oid(1)), &cycle).unwrap_err();
        assert_eq!(error.code, Code::Conflict);
        assert!(error.message.contains("a.yaml") && error.message.contains("refs/heads/rescue/desk/1"));
        assert_eq!(run(&cycle, None).unwrap().parked.as_deref(), Some("refs/heads/rescue/desk/1"));
        let refused = Cycle { parked: vec![Parked { kind: ParkedKind::Refused, ..parked() }], ..Cycle::default() };
        assert!(pull(None, &refused).is_ok());
    }

    #[test]
    fn one_unreadable_file_is_a_problem_and_not_a_failure() {
        let troubles = vec![PathTrouble { path: "x".to_owned(), message: "permission denied".to_owned() }];
        let answer = run(&Cycle { troubles, ..Cycle::default() }, None).unwrap();
        assert_eq!((answer.pushed, answer.problems), (true, vec!["x: permission denied".to_owned()]));
    }
}
