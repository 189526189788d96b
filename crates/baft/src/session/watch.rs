//! `baft session watch`: a keeper that beats for its session and says what its holder should know, as it happens.

use std::time::Duration;

use baft_bus::payload::{
    SessionHeartbeatRequest, SessionHeartbeatResponse, SessionOrder, SessionState, SessionSyncChecked,
    SessionTransition, Standing,
};
use baft_bus::{Bus, Code, Heard, Payload, RawEvent};
use serde_json::json;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;

use super::client::Client;
use super::words::standing;
use crate::cli::{Shape, WatchArgs};
use crate::events::{as_json, describe};
use crate::failure::Failure;
use crate::output::{one_line, print};

/// How often it beats when nobody says.
const USUAL: Duration = Duration::from_secs(30);
/// What the holder of a session wants to hear of.
const KINDS: [&str; 4] = ["session.*", "git.*", "import.*", "preflight.changed"];
/// So many events may wait to be shown; what comes on top of that is not shown.
const WAITING: usize = 1024;

/// Beats until Ctrl-C, or until the session is somebody else's or over.
///
/// # Errors
/// The session is somebody else's, over, or unknown. A registry that is away for a while is none: it goes on.
pub async fn run(args: &WatchArgs, client: &Client<'_>) -> Result<(), Failure> {
    let (session_id, epoch) = super::which(args.session_id.as_deref(), client)?;
    let Some(epoch) = epoch else {
        return Err(Failure::new(format!(
            "session {session_id} was not started from here, so there is nothing to prove it is yours"
        ))
        .hint("`baft session start --session-id … --take-over` takes it over"));
    };
    let told = client.kept.read().map(|kept| Duration::from_secs(kept.heartbeat_every_s));
    let every = args.every.or(told.filter(|every| !every.is_zero())).unwrap_or(USUAL);
    let mut beats = tokio::time::interval(every.max(Duration::from_millis(100)));
    beats.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let request = SessionHeartbeatRequest { session_id: session_id.clone(), epoch, operations: None, transcript: None };
    let mut news = News::of(args.fleet.shape(), session_id);
    let (_listening, mut events) = listen(&client.bus);
    let mut interrupted = Box::pin(tokio::signal::ctrl_c());
    loop {
        let beat = async {
            beats.tick().await;
            client.try_ask::<_, SessionHeartbeatResponse>("heartbeat", &request).await
        };
        tokio::pin!(beat);
        let answer = loop {
            tokio::select! {
                _ = &mut interrupted => return Ok(()),
                Some(event) = events.recv() => news.happened(&event)?,
                answer = &mut beat => break answer,
            }
        };
        match answer {
            Ok(answer) => {
                news.heard(&answer)?;
                if !answer.state.is_live() {
                    return Ok(());
                }
            }
            Err(error) if matches!(error.code, Code::Conflict | Code::Gone | Code::NotFound | Code::Forbidden) => {
                client.kept.forget(&news.session_id);
                return Err(error.into());
            }
            Err(error) => news.away(&error.message)?,
        }
    }
}

/// Events as they happen, until what is given first is dropped.
fn listen(bus: &Bus) -> (JoinSet<()>, mpsc::Receiver<RawEvent>) {
    let (sender, events) = mpsc::channel(WAITING);
    let mut listening = JoinSet::new();
    for kinds in KINDS {
        let (bus, sender) = (bus.clone(), sender.clone());
        listening.spawn(async move {
            let hear = |heard| {
                if let Heard::Event(Ok(event)) = heard {
                    let _ = sender.try_send(event);
                }
            };
            bus.listen(kinds, CancellationToken::new(), hear).await;
        });
    }
    (listening, events)
}

/// Says what is new, once.
struct News {
    shape: Shape,
    session_id: String,
    state: Option<SessionState>,
    orders: Vec<SessionOrder>,
    /// How the clone compares with its remote, as far as an event has told: an order says the same once more.
    compared: Option<Standing>,
    away: bool,
}

impl News {
    fn of(shape: Shape, session_id: String) -> Self {
        Self { shape, session_id, state: None, orders: Vec::new(), compared: None, away: false }
    }

    fn heard(&mut self, answer: &SessionHeartbeatResponse) -> Result<(), Failure> {
        if std::mem::take(&mut self.away) {
            self.say("back", "session-registry answers again")?;
        }
        if self.state.replace(answer.state) != Some(answer.state) {
            self.say("state", answer.state.name())?;
        }
        for order in answer.orders.iter().filter(|order| !self.orders.contains(order)) {
            match order {
                SessionOrder::Sync if self.compared == Some(Standing::Behind) => {}
                SessionOrder::Sync => {
                    self.say("sync", "The framework has new commits from remote. Run `baft session sync`.")?;
                }
                SessionOrder::Diverged if self.compared == Some(Standing::Diverged) => {}
                SessionOrder::Diverged => self.say("diverged", &standing(Standing::Diverged, 0, 0))?,
                SessionOrder::Stop => self.say("stop", "The session is being ended: stop editing.")?,
                SessionOrder::Unknown => {}
            }
        }
        self.orders.clone_from(&answer.orders);
        Ok(())
    }

    /// An event: of others' sessions, of this one's clone, of the remote and the database.
    fn happened(&mut self, event: &RawEvent) -> Result<(), Failure> {
        if let Ok(step) = serde_json::from_slice::<SessionTransition>(&event.data)
            && step.record.session_id == self.session_id
        {
            // The beats tell that.
            return Ok(());
        }
        if event.kind == SessionSyncChecked::TYPE {
            let Ok(told) = event.decode::<SessionSyncChecked>() else { return Ok(()) };
            let SessionSyncChecked { check, sessions } = told.data;
            if !sessions.contains(&self.session_id) {
                return Ok(());
            }
            self.compared = Some(check.state);
            return self.tell(event, &standing(check.state, check.ahead, check.behind));
        }
        self.tell(event, &describe(event))
    }

    fn away(&mut self, why: &str) -> Result<(), Failure> {
        if !std::mem::replace(&mut self.away, true) {
            self.say("away", why)?;
        }
        Ok(())
    }

    /// An event, in the given words.
    fn tell(&self, event: &RawEvent, message: &str) -> Result<(), Failure> {
        let message = one_line(message);
        match self.shape {
            Shape::Json => {
                let (what, session_id) = (&event.kind, &self.session_id);
                let line =
                    json!({ "session_id": session_id, "what": what, "message": message, "event": as_json(event) });
                print(&line.to_string())
            }
            Shape::Text => print(&format!("{}: {}: {message}", self.session_id, one_line(&event.kind))),
        }
    }

    fn say(&self, what: &str, message: &str) -> Result<(), Failure> {
        match self.shape {
            Shape::Json => {
                let line = json!({ "session_id": self.session_id, "what": what, "message": message });
                print(&line.to_string())
            }
            Shape::Text => print(&format!("{}: {message}", self.session_id)),
        }
    }
}
