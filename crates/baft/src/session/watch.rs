//! `baft session watch`: a keeper that beats for its session and says what its holder should know.

use std::time::Duration;

use baft_bus::Code;
use baft_bus::payload::{SessionHeartbeatRequest, SessionHeartbeatResponse, SessionOrder, SessionState};
use serde_json::json;
use tokio::time::MissedTickBehavior;

use super::client::Client;
use crate::cli::{Shape, WatchArgs};
use crate::failure::Failure;
use crate::output::Out;

/// How often it beats when nobody says.
const USUAL: Duration = Duration::from_secs(30);

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
    let mut news = News { shape: args.fleet.shape(), session_id, state: None, orders: Vec::new(), away: false };
    let mut interrupted = Box::pin(tokio::signal::ctrl_c());
    loop {
        tokio::select! {
            _ = &mut interrupted => return Ok(()),
            _ = beats.tick() => {}
        }
        let answer = client.try_ask::<_, SessionHeartbeatResponse>("heartbeat", &request).await;
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

/// Says what is new, once.
struct News {
    shape: Shape,
    session_id: String,
    state: Option<SessionState>,
    orders: Vec<SessionOrder>,
    away: bool,
}

impl News {
    fn heard(&mut self, answer: &SessionHeartbeatResponse) -> Result<(), Failure> {
        if std::mem::take(&mut self.away) {
            self.say("back", "session-registry answers again")?;
        }
        if self.state.replace(answer.state) != Some(answer.state) {
            self.say("state", answer.state.name())?;
        }
        for order in answer.orders.iter().filter(|order| !self.orders.contains(order)) {
            match order {
                SessionOrder::Sync => {
                    self.say("sync", "The framework has new commits from remote. Run `baft session sync`.")?;
                }
                SessionOrder::Diverged => {
                    self.say("diverged", "Framework has diverged from remote. Manual resolution needed.")?;
                }
                SessionOrder::Stop => self.say("stop", "The session is being ended: stop editing.")?,
                SessionOrder::Unknown => {}
            }
        }
        self.orders.clone_from(&answer.orders);
        Ok(())
    }

    fn away(&mut self, why: &str) -> Result<(), Failure> {
        if !std::mem::replace(&mut self.away, true) {
            self.say("away", why)?;
        }
        Ok(())
    }

    fn say(&self, what: &str, message: &str) -> Result<(), Failure> {
        let mut out = Out::new();
        match self.shape {
            Shape::Json => {
                let line = json!({ "session_id": self.session_id, "what": what, "message": message });
                out.line(line.to_string())?;
            }
            Shape::Text => out.line(format!("{}: {message}", self.session_id))?,
        }
        out.flush()
    }
}
