//! From libgit2's words to a class we can act on.

use git2::{Error, ErrorClass, ErrorCode};

use super::{Class, TransportError};

/// `doing` is `listing`, `fetching from`, `pushing to`; `remote` has no credentials in it any more.
pub(super) fn classify(error: &Error, doing: &str, remote: &str) -> TransportError {
    let text = error.message();
    let (class, hint) = class(error.code(), error.class(), text);
    let class = if status(text).is_some() { by_status(text).unwrap_or(class) } else { class };
    let error = TransportError::new(class, format!("{doing} {remote}: {}", baft_kit::log::redact_url(text)));
    match hint {
        Some(hint) => error.hint(hint),
        None => error,
    }
}

fn class(code: ErrorCode, class: ErrorClass, text: &str) -> (Class, Option<&'static str>) {
    let lower = text.to_lowercase();
    let says = |words: &[&str]| words.iter().any(|word| lower.contains(word));
    // A loose object that cannot be written loses its reason in libgit2: only "Write error" is left.
    let unwritten = lower == "write error" || says(&["failed to write out file", "error writing"]);
    if unwritten || says(&["no space left", "disk quota", "read-only file system"]) {
        return (Class::Disk, Some("free some room on the volume"));
    }
    if code == ErrorCode::Timeout || says(&["timed out", "timeout"]) {
        return (Class::Timeout, None);
    }
    if code == ErrorCode::Certificate || class == ErrorClass::Ssl {
        return (Class::Auth, Some("check the certificate authorities or known hosts"));
    }
    if code == ErrorCode::Auth || says(&["authentication", "authenticate", "username does not match"]) {
        return (Class::Auth, Some("check user name, password, token or key"));
    }
    if code == ErrorCode::NotFastForward {
        return (Class::Moved, None);
    }
    if says(&[
        "failed to resolve address",
        "failed to connect",
        "unexpected disconnection",
        "early eof",
        "unexpected eof",
        "connection",
    ]) {
        return (Class::Network, None);
    }
    match (class, code) {
        (ErrorClass::Net | ErrorClass::Http | ErrorClass::Ssh, ErrorCode::NotFound) => (Class::NotFound, None),
        _ if says(&[
            "repository not found",
            "not found",
            "does not exist",
            "could not find repository",
            "failed to resolve path",
            "does not appear to be a git",
        ]) =>
        {
            (Class::NotFound, Some("check the URL, and whether the credentials may see the repository"))
        }
        (ErrorClass::Net | ErrorClass::Http | ErrorClass::Ssh, _) | (_, ErrorCode::Eof) => (Class::Network, None),
        (ErrorClass::Indexer | ErrorClass::Zlib | ErrorClass::Odb | ErrorClass::Object, _) => (Class::Corrupt, None),
        (ErrorClass::Os, _) => (Class::Network, None),
        _ => (Class::Network, None),
    }
}

fn status(text: &str) -> Option<u16> {
    let (_, rest) = text.split_once("status code: ")?;
    rest.get(..3)?.parse().ok()
}

fn by_status(text: &str) -> Option<Class> {
    Some(match status(text)? {
        401 | 403 | 407 => Class::Auth,
        404 | 410 => Class::NotFound,
        429 => Class::Refused,
        _ => Class::Network,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failures_are_told_apart() {
        for (code, class, text, expected) in [
            (ErrorCode::GenericError, ErrorClass::Http, "unexpected http status code: 403", Class::Auth),
            (ErrorCode::GenericError, ErrorClass::Http, "unexpected http status code: 404", Class::NotFound),
            (ErrorCode::GenericError, ErrorClass::Http, "unexpected http status code: 429", Class::Refused),
            (ErrorCode::GenericError, ErrorClass::Http, "unexpected http status code: 500", Class::Network),
            (ErrorCode::Auth, ErrorClass::Callback, "the server refused our credentials", Class::Auth),
            (ErrorCode::Certificate, ErrorClass::Ssl, "the SSL certificate is invalid", Class::Auth),
            (ErrorCode::GenericError, ErrorClass::Net, "failed to resolve address for x", Class::Network),
            (ErrorCode::Timeout, ErrorClass::Net, "could not read from socket", Class::Timeout),
            (ErrorCode::GenericError, ErrorClass::Os, "write: No space left on device", Class::Disk),
            (ErrorCode::GenericError, ErrorClass::Indexer, "early EOF", Class::Network),
            (ErrorCode::GenericError, ErrorClass::Indexer, "packfile trailer mismatch", Class::Corrupt),
        ] {
            let error = Error::new(code, class, text);
            assert_eq!(classify(&error, "listing", "x").class, expected, "{text}");
        }
    }
}
