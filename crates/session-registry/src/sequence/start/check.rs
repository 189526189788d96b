//! Whether a request to start can be carried out at all.

use baft_bus::payload::{Person, SessionStartRequest};
use baft_bus::subject::{is_session_id, is_token};
use baft_bus::{Code, RequestError};

/// Longest objective, names, and how many paths may be claimed.
const LONGEST_TEXT: usize = 2000;
const LONGEST_NAME: usize = 200;
const MOST_CLAIMS: usize = 100;

/// Whether a request can be carried out at all.
pub(super) fn check(request: &SessionStartRequest) -> Result<(), RequestError> {
    if let Some(id) = request.session_id.as_deref().filter(|id| !is_session_id(id)) {
        return Err(invalid(format!("session_id: `{}` is none", id.escape_default()))
            .hint("use a letter or digit, then up to 63 letters, digits, _ and -"));
    }
    if let Some(id) = request.parent.as_deref().filter(|id| !is_session_id(id)) {
        return Err(invalid(format!("parent: `{}` is no session", id.escape_default())));
    }
    if let Some(agent) = request.agent.as_deref().filter(|agent| !is_token(agent)) {
        return Err(invalid(format!("agent: `{}` is no commit-agent", agent.escape_default()))
            .hint("`nats micro ls` shows those there are"));
    }
    let client = &request.client;
    let transcript = request.transcript.as_ref();
    let names = [
        ("analyst", request.analyst.as_deref()),
        ("client.kind", Some(client.kind.as_str())),
        ("client.name", Some(client.name.as_str())),
        ("client.version", Some(client.version.as_str())),
        ("client.host", Some(client.host.as_str())),
        ("transcript.sha256", transcript.and_then(|transcript| transcript.sha256.as_deref())),
    ];
    let texts = [
        ("objective", request.objective.as_deref()),
        ("transcript.uri", transcript.map(|transcript| transcript.uri.as_str())),
    ];
    let limits = [(&names[..], LONGEST_NAME), (&texts[..], LONGEST_TEXT)];
    for (values, limit) in limits {
        for (name, value) in values {
            plain(name, value.unwrap_or_default(), limit)?;
        }
    }
    if let Some(Person { name, email }) = &request.author {
        plain("author.name", name, LONGEST_NAME)?;
        plain("author.email", email, LONGEST_NAME)?;
        if name.trim().is_empty() || format!("{name}{email}").contains(['<', '>', '\n']) {
            return Err(invalid(
                "author: a name is needed, and neither < nor > may be in it or the address".to_owned(),
            ));
        }
    }
    if request.claims.len() > MOST_CLAIMS {
        return Err(invalid(format!("claims: at most {MOST_CLAIMS} paths")));
    }
    for claim in &request.claims {
        plain("claims", claim, LONGEST_TEXT)?;
        let outside = claim.starts_with('/') || claim.split('/').any(|part| part == ".." || part == ".git");
        if claim.is_empty() || outside {
            return Err(invalid(format!("claims: `{}` is no path in the repository", claim.escape_default())));
        }
    }
    Ok(())
}

pub(in crate::sequence) fn plain(name: &str, value: &str, limit: usize) -> Result<(), RequestError> {
    if value.len() > limit {
        return Err(invalid(format!("{name}: longer than {limit} bytes")));
    }
    if value.chars().any(|c| c.is_control() && c != '\n' && c != '\t') {
        return Err(invalid(format!("{name}: it has control characters")));
    }
    Ok(())
}

pub(crate) fn invalid(message: String) -> RequestError {
    RequestError::new(Code::InvalidArgument, message)
}

#[cfg(test)]
mod tests {
    use baft_bus::payload::SessionClient;

    use super::*;

    #[test]
    fn what_could_become_part_of_a_path_or_a_header_is_refused() {
        let bad = |request: SessionStartRequest| check(&request).unwrap_err().code == Code::InvalidArgument;
        let none = SessionStartRequest::default;
        assert!(check(&none()).is_ok());
        for id in ["../evil", "a b", "", "*", ">", "a.b", "a\nb"] {
            assert!(bad(SessionStartRequest { session_id: Some(id.to_owned()), ..none() }), "{id:?}");
            assert!(bad(SessionStartRequest { agent: Some(id.to_owned()), ..none() }), "{id:?}");
        }
        for claim in ["/etc", "a/../b", ".git/config", ""] {
            assert!(bad(SessionStartRequest { claims: vec![claim.to_owned()], ..none() }), "{claim:?}");
        }
        assert!(bad(SessionStartRequest { analyst: Some("a\r\nb".to_owned()), ..none() }));
        assert!(bad(SessionStartRequest { objective: Some("x".repeat(LONGEST_TEXT + 1)), ..none() }));
        let client = SessionClient { host: "h\0".to_owned(), ..SessionClient::default() };
        assert!(bad(SessionStartRequest { client, ..none() }));
        let author = Some(Person { name: "A <x>".to_owned(), email: String::new() });
        assert!(bad(SessionStartRequest { author, ..none() }));
    }
}
