//! One cycle: the steps that the [`machine`] asks for, done one after the other, and what each came to.

use std::time::Instant;

use super::{
    Agent, Blocked, Class, Cycle, Extent, Flush, Order, Step, StepError, Trigger, fault, machine, push, saved,
};

impl Agent {
    /// Capture, land, fetch, integrate, materialise, push: as far as it gets and is asked to. Never panics, never loses anything.
    pub fn cycle(&mut self, order: &Order) -> Cycle {
        self.begin(order);
        if let Err(fault) = self.check_present() {
            self.fail(Step::Capture, &fault);
            return self.end();
        }
        if self.saved.get().stale.is_empty() {
            self.blocked = None;
        }
        let paused = self.retry_at.is_some_and(|at| at > Instant::now());
        let goal = machine::Goal {
            extent: order.extent,
            pause: order.pause,
            paused: if paused { machine::Paused::Yes } else { machine::Paused::No },
            retries: self.settings.push.retries,
        };
        let (mut state, mut effect) = machine::start(goal);
        while effect != machine::Effect::Rest {
            let input = self.perform(effect, order);
            let performed = effect;
            (state, effect) = machine::step(state, input);
            if (performed, input, effect) == (machine::Effect::Push, machine::Input::Raced, machine::Effect::Rest) {
                self.gave_way();
            }
        }
        self.end()
    }

    pub(super) fn begin(&mut self, order: &Order) {
        self.report = Cycle::default();
        self.errors.clear();
        self.blocked = None;
        self.meanwhile = push::Meanwhile::Capture;
        self.order_deadline = order.deadline;
        // What a session claims by path must not be taken by another while a remote keeps us waiting.
        self.order_session = order.session.clone().filter(|_| order.paths.is_none());
        if order.trigger == Trigger::Shutdown
            || order.trigger == Trigger::Request && order.flush == Flush::Now && order.paths.is_none()
        {
            // Nobody waits for hints that are still under way.
            self.tree.suspect_all();
        }
    }

    fn end(&mut self) -> Cycle {
        let mut report = std::mem::take(&mut self.report);
        report.held = self.held();
        report.blocked.clone_from(&self.blocked);
        report.errors.clone_from(&self.errors);
        report.unpushed = self.unpushed();
        let retry =
            self.retry_at.map(|at| at.saturating_duration_since(Instant::now())).filter(|_| report.unpushed > 0);
        report.next_due = [self.next_rest(), retry].into_iter().flatten().min();
        self.order_deadline = None;
        report
    }

    fn perform(&mut self, effect: machine::Effect, order: &Order) -> machine::Input {
        use machine::{Effect, Input};
        let done = |result: Result<(), fault::Fault>| result.map(|()| Input::Done);
        if effect != Effect::Fetch {
            self.meanwhile = push::Meanwhile::Capture;
        }
        if matches!(effect, Effect::Repair | Effect::Land | Effect::Push)
            && let Err(fault) = self.check_recent()
        {
            self.fail(Step::Capture, &fault);
        }
        let (step, result) = match effect {
            Effect::Repair => (Step::Land, done(self.repair())),
            Effect::Capture => (Step::Capture, done(self.capture(order))),
            Effect::Land => (Step::Land, self.land().and_then(|()| self.landed(order))),
            Effect::Fetch => (Step::Fetch, done(self.fetch())),
            Effect::Integrate => (Step::Integrate, self.integrate()),
            Effect::Park => (Step::Park, done(self.park())),
            Effect::Materialise => (Step::Materialise, self.materialise()),
            Effect::Rescue => (Step::Park, done(self.rescue())),
            Effect::Push => (Step::Push, self.push()),
            Effect::Close => (Step::Park, done(self.close())),
            Effect::Rest => return Input::Done,
        };
        match result {
            Ok(input) => {
                if effect == Effect::Land {
                    self.meanwhile = push::Meanwhile::Land;
                }
                self.note_success(effect, input, order);
                input
            }
            Err(fault) => match &fault.blocked {
                Some(blocked) => {
                    self.blocked = Some(blocked.clone());
                    Input::Blocked
                }
                None => {
                    self.fail(step, &fault);
                    if matches!(effect, Effect::Fetch | Effect::Park | Effect::Rescue | Effect::Push) {
                        self.pause();
                    }
                    Input::Failed
                }
            },
        }
    }

    /// The pause after failures grows with failures alone: new edits neither shorten nor lengthen it.
    fn pause(&mut self) {
        if self.retry_at.is_none_or(|at| at <= Instant::now()) || self.backoff.failures() == 0 {
            self.retry_at = Some(Instant::now() + self.backoff.next_delay());
        }
    }

    /// Others were faster as often as we try in one cycle. Once in a while that happens; again and again it is trouble, a lock that somebody left
    /// on the remote for instance.
    fn gave_way(&mut self) {
        self.pause();
        if self.backoff.failures() > 2 {
            let message = format!(
                "{} could not be moved on the remote in {} attempts: others are faster, or a lock was left there",
                self.settings.branch, self.settings.push.retries
            );
            self.fail(Step::Push, &fault::Fault::new(Class::Race, message));
        }
    }

    fn note_success(&mut self, effect: machine::Effect, input: machine::Input, order: &Order) {
        use machine::{Effect, Input};
        match (effect, input) {
            (Effect::Push, Input::Done) => {
                self.backoff.reset();
                self.retry_at = None;
            }
            (Effect::Fetch, Input::Done) if order.extent == Extent::Pull => {
                self.backoff.reset();
                self.retry_at = None;
            }
            (Effect::Push, Input::Protected) => self.pause(),
            (Effect::Integrate, Input::Rewritten) => self.blocked = Some(Blocked::Rewritten),
            _ => {}
        }
    }

    pub(super) fn fail(&mut self, step: Step, fault: &fault::Fault) {
        tracing::warn!(
            step = step.as_str(),
            class = fault.class.as_str(),
            error = fault.message,
            "a step did not get through"
        );
        self.errors.push(StepError { step, class: fault.class, message: fault.message.clone() });
    }

    /// Moves branch and index to what was captured.
    pub(super) fn land(&mut self) -> Result<(), fault::Fault> {
        if let Some(blocked) = self.odd_state()? {
            return Err(fault::Fault::blocked(blocked));
        }
        let mut tries = 0;
        loop {
            let (branch, tip) = (self.branch()?, self.tip()?);
            if branch == tip {
                break;
            }
            match self.shift(branch, tip, saved::Touch::Nothing) {
                Ok(_) => {
                    for commit in self.commits(tip, &[Some(branch)])? {
                        let parent = self.repo.commit_info(commit).map_err(fault::fault)?.parents.first().copied();
                        let shown = self.shown_commit(commit, parent)?;
                        self.report.landed.push(shown);
                    }
                    break;
                }
                Err(fault) if fault.class == Class::Race && tries < 3 => {
                    tries += 1;
                    self.repair()?;
                }
                Err(fault) => return Err(fault),
            }
        }
        self.settle()
    }

    /// What the watch told of is a save, not that upstream moved. What nobody commits (editors save files beside files) is no reason to ask the
    /// remote; and what is committed is pushed without asking first, where nothing else waits: a push says by itself when upstream has moved.
    fn landed(&self, order: &Order) -> Result<machine::Input, fault::Fault> {
        let saved = self.saved.get();
        let waits = !saved.stale.is_empty() || !saved.parked.is_empty() || saved.rewritten.is_some();
        let (tip, branch, upstream) = (self.tip()?, self.branch()?, self.upstream()?);
        if order.trigger != Trigger::Watch || waits || tip != branch || upstream.is_none() {
            return Ok(machine::Input::Done);
        }
        let known = upstream == self.remote_has(&self.names.branch);
        Ok(match (upstream == Some(branch), self.report.captured.is_empty() && self.report.landed.is_empty()) {
            (true, true) => machine::Input::Nothing,
            (false, _) if known => machine::Input::Ahead,
            _ => machine::Input::Done,
        })
    }
}
