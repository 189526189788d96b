//! What comes after what. Pure: [`step`] takes where a cycle is and what has just happened, and says what to do next.
//!
//! The order is the promise. Capture comes first and never depends on anything that follows. Nothing of upstream wins over local content before
//! that is confirmed to be on the remote ([`Effect::Park`] before [`Effect::Materialise`]). Nothing is pushed that has not landed, except to a
//! rescue branch. Every loop is bounded.

use super::{Extent, Pause};

/// What a cycle is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Goal {
    /// How far to go.
    pub extent: Extent,
    /// Whether the pause after failures is kept.
    pub pause: Pause,
    /// Whether there is such a pause now.
    pub paused: Paused,
    /// How often a lost race is run again.
    pub retries: u32,
}

/// Whether the remote is being left alone after failures.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Paused {
    /// No.
    No,
    /// Yes, for a while longer.
    Yes,
}

/// Where a cycle is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct State {
    goal: Goal,
    waiting: Effect,
    landing: Landing,
    upstream: Upstream,
    races: u32,
    rounds: u32,
    refusals: u32,
}

/// Whether branch, index and files may be moved.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Landing {
    Free,
    Blocked,
}

/// Whether the remote was asked in this cycle.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Upstream {
    Asked,
    Assumed,
}

/// What to do next.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Effect {
    /// Finish what a journal says was begun, and see what a person did to the branch.
    Repair,
    /// Find changes and capture them.
    Capture,
    /// Move branch and index to what was captured.
    Land,
    /// Ask the remote.
    Fetch,
    /// Bring upstream and the branch together, in memory.
    Integrate,
    /// Put what upstream will win over on the remote.
    Park,
    /// Bring the result into files, index and branch.
    Materialise,
    /// Push what cannot land, or not to its branch, to the rescue namespace.
    Rescue,
    /// Push the branch.
    Push,
    /// Close rescue branches that upstream contains.
    Close,
    /// Nothing more.
    Rest,
}

/// What happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Input {
    /// The step did what it should, or had nothing to do.
    Done,
    /// Landing: there was nothing, the remote has everything, and who rang knows of nothing else.
    Nothing,
    /// Landing: what landed goes on from where the remote was when it last answered. The push finds out whether it still is there.
    Ahead,
    /// It failed; the cycle's report says how.
    Failed,
    /// Landing: somebody is at work in the clone.
    Blocked,
    /// Integrating: there is a result, without conflict.
    Merged,
    /// Integrating: upstream wins over something.
    Conflict,
    /// Integrating: upstream's history was rewritten and nobody agreed to follow.
    Rewritten,
    /// Materialising: some files were being changed meanwhile; they have to be captured and brought together with upstream.
    Busy,
    /// Pushing: somebody was faster.
    Raced,
    /// Pushing: the server refused some content, which was taken out. There is something left to push.
    Refused,
    /// Pushing: the branch is closed to us.
    Protected,
}

/// Files may become busy again and again; after this many rounds the next cycle goes on.
const MOST_ROUNDS: u32 = 3;
/// Each refusal takes something out; this many are dealt with in one cycle.
const MOST_REFUSALS: u32 = 8;

/// Where a cycle begins.
#[must_use]
pub fn start(goal: Goal) -> (State, Effect) {
    let state = State {
        goal,
        waiting: Effect::Repair,
        landing: Landing::Free,
        upstream: Upstream::Asked,
        races: 0,
        rounds: 0,
        refusals: 0,
    };
    (state, Effect::Repair)
}

/// The next step. Whatever the input, the walk ends in [`Effect::Rest`].
#[must_use]
pub fn step(state: State, input: Input) -> (State, Effect) {
    let mut state = state;
    let effect = next(&mut state, input);
    state.waiting = effect;
    (state, effect)
}

fn next(state: &mut State, input: Input) -> Effect {
    use {Effect as E, Input as I};
    let network =
        state.goal.extent != Extent::Local && (state.goal.paused == Paused::No || state.goal.pause == Pause::Ignore);
    let pushes = state.goal.extent == Extent::Push;
    match (state.waiting, input) {
        // A journal that cannot be finished now (somebody holds the index) does not stop captures.
        (E::Repair, I::Done) => E::Capture,
        (E::Repair, _) => {
            state.landing = Landing::Blocked;
            E::Capture
        }
        // Whatever was captured before can still land and be pushed.
        (E::Capture, _) if state.landing == Landing::Free => E::Land,
        (E::Capture, _) if network => E::Fetch,
        (E::Land, I::Ahead) if network && pushes => {
            state.upstream = Upstream::Assumed;
            E::Integrate
        }
        (E::Land, I::Done | I::Ahead) if network => E::Fetch,
        (E::Land, I::Blocked | I::Failed) if network => {
            state.landing = Landing::Blocked;
            E::Fetch
        }
        (E::Fetch, I::Done) if state.landing == Landing::Free => E::Integrate,
        (E::Fetch, I::Done) if pushes => E::Rescue,
        (E::Integrate, I::Merged) => E::Materialise,
        (E::Integrate, I::Conflict) => E::Park,
        (E::Integrate, I::Rewritten) if pushes => E::Rescue,
        (E::Integrate, I::Done) if pushes => E::Push,
        (E::Park, I::Done) => E::Materialise,
        (E::Materialise, I::Busy) if state.rounds < MOST_ROUNDS => {
            state.rounds += 1;
            E::Capture
        }
        (E::Materialise, I::Done | I::Busy) if pushes => E::Push,
        (E::Materialise, I::Blocked) if pushes => {
            state.landing = Landing::Blocked;
            E::Rescue
        }
        (E::Push, I::Done) => E::Close,
        // Nobody was faster: only nobody had asked.
        (E::Push, I::Raced) if state.upstream == Upstream::Assumed => {
            state.upstream = Upstream::Asked;
            E::Fetch
        }
        (E::Push, I::Raced) if state.races < state.goal.retries => {
            state.races += 1;
            E::Fetch
        }
        (E::Push, I::Refused) if state.refusals < MOST_REFUSALS => {
            state.refusals += 1;
            E::Push
        }
        (E::Push, I::Protected) => E::Rescue,
        _ => E::Rest,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn goal(extent: Extent) -> Goal {
        Goal { extent, pause: Pause::Keep, paused: Paused::No, retries: 5 }
    }

    /// Walks with these inputs, then only with failures; the effects in order.
    fn walk(goal: Goal, inputs: &[Input]) -> Vec<Effect> {
        let (mut state, mut effect) = start(goal);
        let mut effects = vec![effect];
        let mut inputs = inputs.iter();
        while effect != Effect::Rest {
            let input = inputs.next().copied().unwrap_or(Input::Failed);
            (state, effect) = step(state, input);
            effects.push(effect);
            assert!(effects.len() < 200, "{effects:?}");
        }
        effects
    }

    #[test]
    fn an_ordinary_cycle_captures_lands_integrates_and_pushes() {
        use Effect::*;
        let inputs =
            [Input::Done, Input::Done, Input::Done, Input::Done, Input::Merged, Input::Done, Input::Done, Input::Done];
        let expected = [Repair, Capture, Land, Fetch, Integrate, Materialise, Push, Close, Rest];
        assert_eq!(walk(goal(Extent::Push), &inputs), expected);
    }

    #[test]
    fn a_person_at_work_stops_landing_but_neither_capture_nor_rescue() {
        use Effect::*;
        let inputs = [Input::Done, Input::Done, Input::Blocked, Input::Done, Input::Done];
        assert_eq!(walk(goal(Extent::Push), &inputs), [Repair, Capture, Land, Fetch, Rescue, Rest]);
    }

    #[test]
    fn a_saved_file_that_is_not_to_be_committed_is_no_reason_to_ask_the_remote() {
        use Effect::*;
        assert_eq!(
            walk(goal(Extent::Push), &[Input::Done, Input::Done, Input::Nothing]),
            [Repair, Capture, Land, Rest]
        );
    }

    #[test]
    fn what_goes_on_from_where_the_remote_was_is_pushed_at_once_and_the_remote_asked_only_when_it_moved() {
        use Effect::*;
        let begin = [Input::Done, Input::Done, Input::Ahead, Input::Done];
        let pushed = [&begin[..], &[Input::Done, Input::Done]].concat();
        assert_eq!(walk(goal(Extent::Push), &pushed), [Repair, Capture, Land, Integrate, Push, Close, Rest]);
        let moved = [&begin[..], &[Input::Raced, Input::Done, Input::Merged, Input::Done, Input::Done]].concat();
        let expected = [Repair, Capture, Land, Integrate, Push, Fetch, Integrate, Materialise, Push, Close, Rest];
        assert_eq!(walk(goal(Extent::Push), &[moved, vec![Input::Done]].concat()), expected);
        assert_eq!(walk(goal(Extent::Pull), &begin)[..4], [Repair, Capture, Land, Fetch], "who pulls wants to know");
    }

    #[test]
    fn a_lost_race_is_run_again_a_bounded_number_of_times() {
        let mut inputs = vec![Input::Done; 4];
        for _ in 0..20 {
            inputs.extend([Input::Done, Input::Raced, Input::Done]);
        }
        let pushes = walk(goal(Extent::Push), &inputs).iter().filter(|effect| **effect == Effect::Push).count();
        assert_eq!(pushes, 6);
    }

    fn inputs() -> impl Strategy<Value = Vec<Input>> {
        use Input::*;
        let one = prop_oneof![
            Just(Done),
            Just(Nothing),
            Just(Ahead),
            Just(Failed),
            Just(Blocked),
            Just(Merged),
            Just(Conflict),
            Just(Rewritten),
            Just(Busy),
            Just(Raced),
            Just(Refused),
            Just(Protected)
        ];
        proptest::collection::vec(one, 0..120)
    }

    fn goals() -> impl Strategy<Value = Goal> {
        let extent = prop_oneof![Just(Extent::Local), Just(Extent::Pull), Just(Extent::Push)];
        let pause = prop_oneof![Just(Pause::Keep), Just(Pause::Ignore)];
        let paused = prop_oneof![Just(Paused::No), Just(Paused::Yes)];
        (extent, pause, paused, 0..8_u32).prop_map(|(extent, pause, paused, retries)| Goal {
            extent,
            pause,
            paused,
            retries,
        })
    }

    proptest! {
        #[test]
        fn every_walk_ends_and_keeps_the_promises(goal in goals(), inputs in inputs()) {
            let (mut state, mut effect) = start(goal);
            let mut history = vec![(effect, None)];
            let mut inputs = inputs.into_iter();
            while effect != Effect::Rest {
                let input = inputs.next().unwrap_or(Input::Failed);
                (state, effect) = step(state, input);
                let (before, _) = *history.last().unwrap();
                match effect {
                    // Upstream wins over nothing that is not on the remote, and nothing is written without a result.
                    Effect::Materialise => prop_assert!(
                        (before, input) == (Effect::Park, Input::Done) || (before, input) == (Effect::Integrate, Input::Merged)
                    ),
                    Effect::Push => prop_assert!(goal.extent == Extent::Push && !history.iter().any(|(_, input)| *input == Some(Input::Blocked))),
                    Effect::Fetch => prop_assert!(goal.extent != Extent::Local && (goal.paused == Paused::No || goal.pause == Pause::Ignore)),
                    _ => {}
                }
                history.push((effect, Some(input)));
                prop_assert!(history.len() < 400);
            }
            prop_assert_eq!(history[1].0, Effect::Capture, "capture depends on nothing");
        }
    }
}
