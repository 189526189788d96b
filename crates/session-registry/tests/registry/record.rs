//! Histories: what was asked, what was answered and when; and the checker of the invariants.
//!
//! I1 at most one live epoch per session. I2 epochs only grow. I3 no acknowledged session disappears. I4 a beat with an
//! old epoch never succeeds. I5 the events told again are what the bucket holds (see `support::events_tell_the_bucket`).
//! I6 nobody is lost who beats in time while NATS can be reached. I7 every request ends by its deadline and a second.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use baft_bus::payload::{
    Epoch, IfLive, SessionHeartbeatResponse, SessionStartRequest, SessionStartResponse, SessionState,
};
use baft_bus::{Bus, Code, RequestError, RequestOptions};
use serde_json::json;

use crate::support::{ask_with, bucket, end, heartbeat};

/// What was asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Op {
    Start { taking_over: bool },
    Beat(Epoch),
    End(Epoch),
}

/// What came of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    Ok(Option<Epoch>, SessionState),
    /// Certainly nothing happened.
    Refused(Code),
    /// It may have happened.
    Unknown(String),
}

#[derive(Clone, Debug)]
pub struct Call {
    pub client: usize,
    pub session: String,
    pub op: Op,
    pub invoked: Instant,
    pub returned: Instant,
    pub deadline: Duration,
    pub outcome: Outcome,
}

/// A history that several clients write.
#[derive(Clone, Debug, Default)]
pub struct Recorder {
    calls: Arc<Mutex<Vec<Call>>>,
}

impl Recorder {
    pub fn calls(&self) -> Vec<Call> {
        self.calls.lock().unwrap().clone()
    }

    fn note(&self, client: usize, session: &str, op: Op, invoked: Instant, deadline: Duration, outcome: Outcome) {
        let call =
            Call { client, session: session.to_owned(), op, invoked, returned: Instant::now(), deadline, outcome };
        self.calls.lock().unwrap().push(call);
    }

    pub async fn start(
        &self,
        bus: &Bus,
        client: usize,
        request: &SessionStartRequest,
        options: RequestOptions,
    ) -> Result<SessionStartResponse, RequestError> {
        let (invoked, deadline) = (Instant::now(), options.timeout);
        let result: Result<SessionStartResponse, _> = ask_with(bus, "start", request, options).await;
        let outcome = match &result {
            Ok(started) => Outcome::Ok(Some(started.epoch.clone()), started.state),
            Err(error) => failed(error),
        };
        let session = match (&result, &request.session_id) {
            (Ok(started), _) => started.session_id.clone(),
            (Err(_), id) => id.clone().unwrap_or_default(),
        };
        let taking_over = request.if_live == IfLive::TakeOver;
        self.note(client, &session, Op::Start { taking_over }, invoked, deadline, outcome);
        result
    }

    pub async fn beat(
        &self,
        bus: &Bus,
        client: usize,
        session: &str,
        epoch: &Epoch,
        deadline: Duration,
    ) -> Result<SessionHeartbeatResponse, RequestError> {
        let invoked = Instant::now();
        let options = RequestOptions::timeout(deadline);
        let result: Result<SessionHeartbeatResponse, _> =
            ask_with(bus, "heartbeat", &heartbeat(session, epoch), options).await;
        let outcome = match &result {
            Ok(answer) => Outcome::Ok(None, answer.state),
            Err(error) => failed(error),
        };
        self.note(client, session, Op::Beat(epoch.clone()), invoked, deadline, outcome);
        result
    }

    pub async fn end(&self, bus: &Bus, client: usize, session: &str, epoch: &Epoch) {
        let invoked = Instant::now();
        let outcome = match end(bus, session, epoch).await {
            Ok(answer) => Outcome::Ok(None, answer.state),
            Err(error) => failed(&error),
        };
        self.note(client, session, Op::End(epoch.clone()), invoked, crate::support::SOON, outcome);
    }

    /// Checks I1 to I4 and I7 on what was recorded, and on what the bucket holds now.
    pub async fn check(&self, bus: &Bus) {
        let calls = self.calls();
        let found: BTreeMap<String, _> = bucket(bus)
            .await
            .into_iter()
            .map(|(_, stored)| (stored.record.session_id.clone(), stored.record))
            .collect();
        let mut sessions: BTreeMap<&str, Vec<&Call>> = BTreeMap::new();
        for call in &calls {
            let took = call.returned - call.invoked;
            assert!(took <= call.deadline + Duration::from_secs(1), "I7: {call:?} took {took:?}");
            sessions.entry(&call.session).or_default().push(call);
        }
        for (id, calls) in sessions {
            check_one(id, &calls);
            let acknowledged: Vec<&Epoch> = calls.iter().filter_map(|call| given(call)).collect();
            if let Some(newest) = acknowledged.iter().max() {
                let there = found.get(id).unwrap_or_else(|| panic!("I3: {id} was acknowledged and is gone"));
                assert!(there.epoch >= **newest, "I2/I3: {id} has {:?}, acknowledged was {newest:?}", there.epoch);
            }
        }
    }

    /// For people who want to see it: one line of JSON per call.
    pub fn lines(&self) -> String {
        let calls = self.calls();
        let Some(first) = calls.iter().map(|call| call.invoked).min() else { return String::new() };
        let at = |moment: Instant| moment.duration_since(first).as_micros() as u64;
        let line = |call: &Call| {
            json!({
                "client": call.client, "session": call.session, "op": format!("{:?}", call.op),
                "invoked_us": at(call.invoked), "returned_us": at(call.returned), "outcome": format!("{:?}", call.outcome),
            })
            .to_string()
        };
        calls.iter().map(line).collect::<Vec<_>>().join("\n")
    }
}

fn failed(error: &RequestError) -> Outcome {
    match error.code {
        Code::Timeout | Code::Unavailable | Code::Internal => Outcome::Unknown(error.message.clone()),
        code => Outcome::Refused(code),
    }
}

/// The epoch that a call was given.
fn given(call: &Call) -> Option<&Epoch> {
    match &call.outcome {
        Outcome::Ok(epoch, _) => epoch.as_ref(),
        _ => None,
    }
}

fn check_one(id: &str, calls: &[&Call]) {
    for earlier in calls {
        let Some(epoch) = given(earlier) else { continue };
        for later in calls {
            // Only what began after the other had returned certainly came after it.
            if later.invoked <= earlier.returned {
                continue;
            }
            if let Some(other) = given(later) {
                let same_request = other == epoch && matches!(later.op, Op::Start { taking_over: false });
                assert!(other > epoch || same_request, "I2: {id} had {epoch:?}, then {later:?}");
            }
            if let (Op::Beat(used) | Op::End(used), Outcome::Ok(..)) = (&later.op, &later.outcome) {
                assert!(used >= epoch, "I4: {id} was given {epoch:?} to another, then {later:?} was accepted");
            }
        }
    }
    // Two holders at once: each has beaten with success after the other was given its epoch.
    let holders: Vec<&Epoch> = calls.iter().filter_map(|call| given(call)).collect();
    for pair in calls.iter().flat_map(|one| calls.iter().map(move |other| (one, other))) {
        if let (Op::Beat(one), Outcome::Ok(..), Op::Beat(other), Outcome::Ok(..)) =
            (&pair.0.op, &pair.0.outcome, &pair.1.op, &pair.1.outcome)
        {
            let crossed = one < other && pair.0.invoked > pair.1.returned;
            assert!(!crossed, "I1: {id}: {other:?} was held, then {one:?} ({holders:?})");
        }
    }
}
