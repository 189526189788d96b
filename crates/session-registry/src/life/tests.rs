use baft_bus::payload::{Liveness, SessionClient};
use proptest::prelude::*;

use super::*;

pub(crate) fn stored(id: &str, state: SessionState) -> StoredSession {
    StoredSession {
        record: SessionRecord {
            session_id: id.to_owned(),
            epoch: Epoch { incarnation: "01A".to_owned(), revision: 5 },
            state,
            analyst: "ann".to_owned(),
            principal: None,
            author: None,
            client: SessionClient::default(),
            objective: String::new(),
            tier: 2,
            liveness: Liveness::Activity,
            agent: None,
            claims: Vec::new(),
            repo: None,
            branch: None,
            base_commit: None,
            head_commit: None,
            operations: 0,
            started_at: "2026-03-01T09:30:00.000Z".to_owned(),
            last_active_at: "2026-03-01T09:30:00.000Z".to_owned(),
            ended_at: None,
            reason: String::new(),
            transcript: None,
            parent: None,
        },
        steps: 0,
        opened: false,
        request_id: None,
        task: None,
        pending: Vec::new(),
    }
}

const INPUTS: [Input; 12] = [
    Input::Opened,
    Input::StartFailed,
    Input::SignOfLife,
    Input::Quiet(Quiet::Suspect),
    Input::Quiet(Quiet::Lost),
    Input::Quiet(Quiet::Reap),
    Input::TakenOver,
    Input::EndBegins,
    Input::EndStops,
    Input::EndedPushed,
    Input::EndedUnpushed,
    Input::PushArrived,
];

#[test]
fn a_session_that_is_over_stays_over() {
    for state in [SessionState::Ended, SessionState::Reaped] {
        for input in INPUTS {
            assert_eq!(step(state, input), Step::Gone, "{state:?} {input:?}");
        }
    }
    for input in INPUTS {
        let next = step(SessionState::EndedUnpushed, input);
        let may = [Step::Gone, Step::Stay, Step::Go(SessionState::Ended)];
        assert!(may.contains(&next), "{input:?} {next:?}");
    }
}

#[test]
fn a_lost_session_comes_back_with_a_sign_of_life() {
    for state in [SessionState::Suspect, SessionState::Lost] {
        assert_eq!(step(state, Input::SignOfLife), Step::Go(SessionState::Active));
    }
}

#[test]
fn nobody_is_reaped_who_was_not_lost_before() {
    for state in SessionState::ALL {
        let next = step(state, Input::Quiet(Quiet::Reap));
        assert_eq!(next == Step::Go(SessionState::Reaped), state == SessionState::Lost, "{state:?} {next:?}");
    }
}

#[test]
fn silence_never_ends_a_sequence_that_is_under_way() {
    for state in [SessionState::Starting, SessionState::Ending] {
        for quiet in [Quiet::Suspect, Quiet::Lost, Quiet::Reap] {
            assert_eq!(step(state, Input::Quiet(quiet)), Step::Stay);
        }
        assert_eq!(step(state, Input::TakenOver), Step::Busy);
        assert_eq!(step(state, Input::EndBegins), Step::Busy);
    }
}

#[test]
fn every_step_is_told_by_one_event() {
    let tell = |from, to| {
        let mut session = stored("s", from);
        session = moved(&session, to, "why", "now");
        Telling::of(&session.pending[0])
    };
    assert_eq!(tell(SessionState::Starting, SessionState::Active), Telling::Started);
    assert_eq!(tell(SessionState::Suspect, SessionState::Active), Telling::Changed);
    assert_eq!(tell(SessionState::Active, SessionState::Ending), Telling::Changed);
    assert_eq!(tell(SessionState::Ending, SessionState::EndedUnpushed), Telling::Ended);
    assert_eq!(tell(SessionState::EndedUnpushed, SessionState::Ended), Telling::Ended);
    assert_eq!(tell(SessionState::Lost, SessionState::Reaped), Telling::Ended);
}

proptest! {
    /// Whatever happens in whatever order: the steps count up, live and over do not mix, and the events lead back to
    /// the record.
    #[test]
    fn any_life_can_be_told_again_from_its_events(inputs in proptest::collection::vec(0..INPUTS.len(), 0..60)) {
        let mut session = stored("s", SessionState::Starting);
        note(&mut session, None, "t");
        let mut over = false;
        let mut told = Vec::new();
        for input in inputs {
            if let Step::Go(to) = step(session.record.state, INPUTS[input]) {
                prop_assert!(!(over && to.is_live()), "came back from the dead");
                session = moved(&session, to, "why", "t");
                over = over || !to.is_live();
            }
            told.append(&mut session.pending);
        }
        told.append(&mut session.pending);
        prop_assert_eq!(session.record.ended_at.is_some(), over);
        let numbers: Vec<u64> = told.iter().map(|step| step.number).collect();
        prop_assert_eq!(numbers, (1..=session.steps).collect::<Vec<_>>());
        prop_assert_eq!(rebuilt(told.iter().rev()), vec![settled(session.record)]);
    }

    /// Only a takeover changes the epoch, so nothing else can make it smaller.
    #[test]
    fn no_step_touches_the_epoch(state in 0..SessionState::ALL.len(), input in 0..INPUTS.len()) {
        let session = stored("s", SessionState::ALL[state]);
        if let Step::Go(to) = step(session.record.state, INPUTS[input]) {
            prop_assert_eq!(moved(&session, to, "", "").record.epoch, session.record.epoch);
        }
    }
}
