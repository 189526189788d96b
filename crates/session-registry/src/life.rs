//! The life of a session, as pure functions: which step follows from what happened, and what the record says then.

use baft_bus::payload::{Epoch, SessionRecord, SessionState, SessionTransition, StoredSession};

/// Steps of one session that may wait to be announced. A bucket that takes writes while the stream beside it takes
/// none is not a state to collect history in for ever.
const MOST_PENDING: usize = 64;

/// Something that happened to a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Input {
    /// The start is through.
    Opened,
    /// The start failed.
    StartFailed,
    /// A beat, a request of the session or a captured edit.
    SignOfLife,
    /// Nothing was heard for so long.
    Quiet(Quiet),
    /// Somebody else goes on with it.
    TakenOver,
    /// The end begins.
    EndBegins,
    /// The end was given up: the session goes on.
    EndStops,
    /// The end is through, and everything is on the remote.
    EndedPushed,
    /// The end is through, and the push is not.
    EndedUnpushed,
    /// What was not pushed at the end is on the remote now.
    PushArrived,
}

/// For how long nothing was heard.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Quiet {
    /// For a while.
    Suspect,
    /// For long.
    Lost,
    /// For so long that nobody comes back.
    Reap,
}

/// What follows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Nothing.
    Stay,
    /// Another state.
    Go(SessionState),
    /// That cannot be: it is over.
    Gone,
    /// That cannot be now: it is being started or ended.
    Busy,
}

/// Which step follows from what happened.
#[must_use]
pub fn step(state: SessionState, input: Input) -> Step {
    use SessionState::{Active, Ended, EndedUnpushed, Ending, Lost, Reaped, Starting, Suspect, Unknown};
    match (state, input) {
        (Starting, Input::Opened) => Step::Go(Active),
        (Starting, Input::StartFailed) => Step::Go(Ended),
        (Starting | Ending, Input::SignOfLife | Input::Quiet(_)) => Step::Stay,
        (Starting, _) => Step::Busy,

        (Active, Input::SignOfLife) => Step::Stay,
        (Suspect | Lost, Input::SignOfLife) => Step::Go(Active),
        (Active, Input::Quiet(Quiet::Suspect)) => Step::Go(Suspect),
        (Active | Suspect, Input::Quiet(Quiet::Lost | Quiet::Reap)) => Step::Go(Lost),
        (Lost, Input::Quiet(Quiet::Reap)) => Step::Go(Reaped),
        (Suspect | Lost, Input::Quiet(_)) => Step::Stay,
        (Active | Suspect | Lost, Input::TakenOver) => Step::Go(Active),
        (Active | Suspect | Lost, Input::EndBegins) => Step::Go(Ending),

        (Ending, Input::EndedPushed) => Step::Go(Ended),
        (Ending, Input::EndedUnpushed) => Step::Go(EndedUnpushed),
        (Ending, Input::EndStops) => Step::Go(Active),
        (Ending, _) => Step::Busy,

        (EndedUnpushed, Input::PushArrived) => Step::Go(Ended),
        (EndedUnpushed, Input::Quiet(_)) => Step::Stay,
        (EndedUnpushed | Ended | Reaped, _) => Step::Gone,

        // What a newer registry calls differently is left to it.
        (Unknown, Input::SignOfLife | Input::Quiet(_)) => Step::Stay,
        (Active | Suspect | Lost | Unknown, _) => Step::Busy,
    }
}

/// The session after a step: the state, the reason, and the step itself, to be announced.
#[must_use]
pub fn moved(stored: &StoredSession, to: SessionState, reason: &str, now: &str) -> StoredSession {
    let mut next = stored.clone();
    let from = next.record.state;
    next.record.state = to;
    next.record.reason = reason.to_owned();
    if !to.is_live() && next.record.ended_at.is_none() {
        next.record.ended_at = Some(now.to_owned());
    }
    note(&mut next, Some(from), now);
    next
}

/// Notes the step that the record has just made.
pub fn note(stored: &mut StoredSession, from: Option<SessionState>, now: &str) {
    stored.steps += 1;
    stored.pending.push(SessionTransition {
        number: stored.steps,
        from,
        to: stored.record.state,
        reason: stored.record.reason.clone(),
        at: now.to_owned(),
        record: stored.record.clone(),
    });
    if stored.pending.len() > MOST_PENDING {
        stored.pending.remove(0);
    }
}

/// Which event tells of a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Telling {
    /// `session.started`
    Started,
    /// `session.changed`
    Changed,
    /// `session.ended`
    Ended,
}

impl Telling {
    /// The event of a step.
    #[must_use]
    pub fn of(step: &SessionTransition) -> Self {
        match (step.from, step.to) {
            (_, to) if !to.is_live() && to != SessionState::Unknown => Self::Ended,
            (Some(SessionState::Starting), SessionState::Active) => Self::Started,
            _ => Self::Changed,
        }
    }
}

/// The id of the event that tells of a step: the same whoever derives it.
#[must_use]
pub fn event_id(step: &SessionTransition) -> String {
    let Epoch { incarnation, .. } = &step.record.epoch;
    format!("session:{}:{incarnation}:{}", step.record.session_id, step.number)
}

/// What the bucket holds, as the events tell it: of every session its last step. What beats and commits change
/// without a step is left out, see [`settled`].
#[must_use]
pub fn rebuilt<'a>(steps: impl IntoIterator<Item = &'a SessionTransition>) -> Vec<SessionRecord> {
    let mut last = std::collections::BTreeMap::new();
    for step in steps {
        let known = last.entry(step.record.session_id.clone()).or_insert(step);
        if (&step.record.epoch, step.number) >= (&known.record.epoch, known.number) {
            *known = step;
        }
    }
    last.into_values().map(|step| settled(step.record.clone())).collect()
}

/// A record without what changes between steps.
#[must_use]
pub fn settled(mut record: SessionRecord) -> SessionRecord {
    record.last_active_at = String::new();
    record.operations = 0;
    record.head_commit = None;
    record.transcript = None;
    record
}

#[cfg(test)]
pub(crate) mod tests;
