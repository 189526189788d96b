//! Headers that cannot crash anybody.
//!
//! `HeaderValue::from(&str)` of async-nats panics on CR and LF, so a user's text in a header would be a remote crash.
//! Everything that goes into a header goes through [`set`].

use async_nats::header::{HeaderMap, HeaderName, HeaderValue};

pub(crate) const MESSAGE_ID: &str = "Nats-Msg-Id";
pub(crate) const SERVICE_ERROR: &str = "Nats-Service-Error";
pub(crate) const SERVICE_ERROR_CODE: &str = "Nats-Service-Error-Code";
pub(crate) const REQUEST_ID: &str = "Baft-Request-Id";
pub(crate) const DEADLINE: &str = "Baft-Deadline";
pub(crate) const TRACEPARENT: &str = "traceparent";

/// Longer values are cut: a header is no place for a document.
const MAX_VALUE: usize = 1024;

/// Sets a header; control characters become spaces, and what is too long is cut.
pub(crate) fn set(headers: &mut HeaderMap, name: &str, value: &str) {
    let Ok(name) = name.parse::<HeaderName>() else {
        return;
    };
    let Ok(value) = clean(value).parse::<HeaderValue>() else {
        return;
    };
    headers.insert(name, value);
}

/// The first value of a header, compared without regard to case as CloudEvents asks.
pub(crate) fn get<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers
        .iter()
        .find(|(key, _)| AsRef::<str>::as_ref(key).eq_ignore_ascii_case(name))
        .and_then(|(_, values)| values.first())
        .map(HeaderValue::as_str)
}

fn clean(value: &str) -> String {
    let mut out: String = value.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    if out.len() > MAX_VALUE {
        let mut end = MAX_VALUE;
        while !out.is_char_boundary(end) {
            end -= 1;
        }
        out.truncate(end);
    }
    out.trim().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_with_line_breaks_cannot_add_a_header_or_panic() {
        let mut headers = HeaderMap::new();
        set(&mut headers, "X-Text", "a\r\nNats-Rollup: all\n\0b");
        let value = get(&headers, "x-text").unwrap();
        assert!(!value.contains(['\r', '\n', '\0']));
        assert_eq!(headers.len(), 1);
    }

    #[test]
    fn a_long_value_is_cut_between_characters() {
        let mut headers = HeaderMap::new();
        set(&mut headers, "X-Text", &"é".repeat(5000));
        assert!(get(&headers, "X-Text").unwrap().len() <= MAX_VALUE);
    }

    #[test]
    fn a_name_that_is_no_name_is_dropped() {
        let mut headers = HeaderMap::new();
        set(&mut headers, "bad name:\r\n", "x");
        assert!(headers.is_empty());
    }
}
