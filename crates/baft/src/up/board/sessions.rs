//! The line about sessions: only when there are any, or something is wrong.

use baft_session_registry::Status;

use super::{Light, Part, down};
use crate::output::{count, one_line};

pub(super) fn line(part: &Part<Status>) -> Option<(Light, String)> {
    if let Some(reason) = &part.down {
        return Some((Light::Bad, format!("session-registry ended and is started again: {}", one_line(reason))));
    }
    let status = &part.status;
    if let Some(problem) = &status.problem {
        return Some((Light::Bad, one_line(problem)));
    }
    let silent = if status.silent > 0 { format!(", {} silent", status.silent) } else { String::new() };
    let unpushed = if status.unpushed > 0 { format!(", {} not pushed yet", status.unpushed) } else { String::new() };
    (status.live + status.unpushed > 0)
        .then(|| (Light::Good, format!("{}{silent}{unpushed}", count(status.live, "session"))))
}

pub(super) fn news(part: Option<&Part<Status>>, before: Option<&Part<Status>>) -> Vec<String> {
    let live = |part: Option<&Part<Status>>| part.map(|part| part.status.live).unwrap_or_default();
    let mut news = Vec::new();
    if live(part) != live(before) {
        news.push(format!("sessions: {}", count(live(part), "session")));
    }
    let reason = |part: Option<&Part<Status>>| part.and_then(|part| part.down.clone());
    news.extend(down("session-registry", reason(part).as_ref(), reason(before).as_ref()));
    news
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sessions_get_a_line_only_when_there_are_any() {
        let mut part = Part::<Status>::default();
        assert!(line(&part).is_none());
        part.status = Status { live: 2, silent: 1, ..Status::default() };
        assert_eq!(line(&part), Some((Light::Good, "2 sessions, 1 silent".to_owned())));
        assert_eq!(news(Some(&part), None), ["sessions: 2 sessions"]);
        part.down = Some("NATS refused".to_owned());
        assert!(line(&part).unwrap().1.contains("started again"));
    }
}
