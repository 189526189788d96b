//! Reading a request's headers and body, and writing the answer.

use std::time::{Duration, Instant};

use async_nats::header::HeaderMap;
use bytes::Bytes;
use serde_json::{Value, json};

use crate::headers;
use crate::request::{Code, RequestError};
use crate::subject::is_token;

/// Clocks of two machines differ a little; a request is refused only when its deadline passed longer ago than this.
const CLOCK_SKEW: Duration = Duration::from_secs(2);

/// What a request says about itself.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Said {
    pub(super) request_id: Option<String>,
    pub(super) deadline: Option<Instant>,
    pub(super) traceparent: Option<String>,
}

/// Reads the headers.
pub(super) fn read_headers(headers: Option<&HeaderMap>) -> Result<Said, RequestError> {
    let Some(headers) = headers else {
        return Ok(Said::default());
    };
    let request_id = headers::get(headers, headers::REQUEST_ID).map(str::to_owned);
    if request_id.as_deref().is_some_and(|id| !is_token(id)) {
        return Err(RequestError::new(
            Code::InvalidArgument,
            format!("{} is not usable: 1 to 128 of A-Z a-z 0-9 _ -", headers::REQUEST_ID),
        ));
    }
    let deadline = match headers::get(headers, headers::DEADLINE) {
        None => None,
        Some(text) => Some(read_deadline(text)?),
    };
    let traceparent = headers::get(headers, headers::TRACEPARENT).map(str::to_owned);
    Ok(Said { request_id, deadline, traceparent })
}

/// Milliseconds since 1970 to a point of the monotonic clock; too late is an error.
fn read_deadline(text: &str) -> Result<Instant, RequestError> {
    let millis: u64 = text.trim().parse().map_err(|_| {
        RequestError::new(
            Code::InvalidArgument,
            format!("{} must be milliseconds since 1970, not `{text}`", headers::DEADLINE),
        )
    })?;
    let clocks =
        baft_kit::time::unix_millis_of_both().map(|now| Duration::from_millis(now.try_into().unwrap_or_default()));
    match time_left(Duration::from_millis(millis), clocks) {
        // A deadline beyond what the clock can represent is none.
        Ok(left) => Ok(Instant::now() + left.min(Duration::from_secs(365 * 24 * 3600))),
        Err(late) => Err(RequestError::new(
            Code::Timeout,
            format!("the request came {:.1} s after its deadline and was not carried out", late.as_secs_f64()),
        )
        .hint("ask again; if it happens always, compare the clocks of the two machines")),
    }
}

/// How long until a deadline, by the clock that knows least of it; or how late it is, when every clock says so. A clock
/// that was set while we ran must neither make everything late nor let everything wait.
fn time_left(deadline: Duration, clocks: [Duration; 2]) -> Result<Duration, Duration> {
    let in_time = clocks.into_iter().filter(|now| deadline + CLOCK_SKEW >= *now);
    let left = in_time.map(|now| deadline.saturating_sub(now)).min();
    left.ok_or_else(|| clocks.into_iter().map(|now| now.saturating_sub(deadline)).min().unwrap_or_default())
}

/// Reads the body; an empty one is `{}`.
pub(super) fn read_body(body: &[u8]) -> Result<Value, RequestError> {
    if body.iter().all(u8::is_ascii_whitespace) {
        return Ok(json!({}));
    }
    // serde_json stops at 128 levels, so a deep body is an error and not a stack overflow.
    let not_understood = |reason: String| RequestError::new(Code::InvalidArgument, format!("the request is {reason}"));
    match serde_json::from_slice(body) {
        Ok(body @ Value::Object(_)) => Ok(body),
        // serde would take a list for a record, field by field.
        Ok(_) => Err(not_understood("no JSON object".to_owned())),
        Err(error) => Err(not_understood(format!("not JSON: {error}"))),
    }
}

/// The answer as it goes out: headers and body.
pub(super) fn write(result: &Result<Value, RequestError>, limit: usize) -> (HeaderMap, Bytes, &'static str) {
    match result {
        Ok(value) => {
            let body = value.to_string();
            if body.len() + 1024 > limit {
                let error = RequestError::new(
                    Code::TooLarge,
                    format!("the answer has {} bytes, the NATS server takes {limit}", body.len()),
                )
                .hint("ask for less at once");
                return write(&Err(error), limit);
            }
            let mut headers = HeaderMap::new();
            headers::set(&mut headers, "Content-Type", "application/json");
            (headers, body.into(), "ok")
        }
        Err(error) => {
            let mut headers = HeaderMap::new();
            headers::set(&mut headers, "Content-Type", "application/json");
            headers::set(&mut headers, headers::SERVICE_ERROR, &error.message);
            headers::set(&mut headers, headers::SERVICE_ERROR_CODE, &error.code.number().to_string());
            let mut error = error.clone();
            // A message that quotes a whole document must not keep its own answer from being sent.
            cut(&mut error.message, 16 * 1024);
            if let Some(hint) = &mut error.hint {
                cut(hint, 16 * 1024);
            }
            (headers, json!({ "error": error }).to_string().into(), error.code.name())
        }
    }
}

fn cut(text: &mut String, limit: usize) {
    if text.len() > limit {
        let mut end = limit;
        while !text.is_char_boundary(end) {
            end -= 1;
        }
        text.truncate(end);
        text.push('…');
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header(name: &str, value: &str) -> HeaderMap {
        let mut headers = HeaderMap::new();
        headers::set(&mut headers, name, value);
        headers
    }

    fn in_millis(offset: i64) -> String {
        (baft_kit::time::unix_millis() + offset).to_string()
    }

    #[test]
    fn a_clock_that_was_set_makes_no_request_late() {
        let at = Duration::from_secs;
        let (deadline, hours) = (at(100_000), at(7200));
        let right = deadline - at(5);
        assert_eq!(time_left(deadline, [right, right]), Ok(at(5)));
        assert_eq!(time_left(deadline, [right + hours, right]), Ok(at(5)), "set forward");
        assert_eq!(time_left(deadline, [right - hours, right]), Ok(at(5)), "set back");
        assert_eq!(time_left(deadline, [right, right - hours]), Ok(at(5)), "wrong at first, then put right");
        let late = deadline + at(60);
        assert_eq!(time_left(deadline, [late, late]), Err(at(60)));
    }

    #[test]
    fn a_request_long_after_its_deadline_is_not_carried_out() {
        let late = read_headers(Some(&header("Baft-Deadline", &in_millis(-3000)))).unwrap_err();
        assert_eq!(late.code, Code::Timeout);
        let said = read_headers(Some(&header("baft-deadline", &in_millis(10_000)))).unwrap();
        let left = said.deadline.unwrap().saturating_duration_since(Instant::now());
        assert!(left > Duration::from_secs(9) && left <= Duration::from_secs(10));
        // A second of clock difference is normal.
        assert!(read_headers(Some(&header("Baft-Deadline", &in_millis(-1000)))).is_ok());
    }

    #[test]
    fn nonsense_in_headers_is_an_answer_and_not_a_crash() {
        for (name, value) in [
            ("Baft-Deadline", "soon"),
            ("Baft-Deadline", "-1"),
            ("Baft-Deadline", "99999999999999999999999"),
            ("Baft-Request-Id", "a.b"),
            ("Baft-Request-Id", ">"),
            ("Baft-Request-Id", ""),
        ] {
            assert_eq!(
                read_headers(Some(&header(name, value))).unwrap_err().code,
                Code::InvalidArgument,
                "{name} {value}"
            );
        }
        assert!(read_headers(Some(&header("Baft-Deadline", &u64::MAX.to_string()))).is_ok());
        assert_eq!(read_headers(None).unwrap(), Said::default());
    }

    #[test]
    fn an_empty_body_is_an_empty_object_and_a_deep_one_an_error() {
        assert_eq!(read_body(b"").unwrap(), json!({}));
        assert_eq!(read_body(b" \n").unwrap(), json!({}));
        let deep = "[".repeat(100_000);
        assert_eq!(read_body(deep.as_bytes()).unwrap_err().code, Code::InvalidArgument);
        for body in [&b"\xff\xfe"[..], b"[]", b"null", b"1", b"{"] {
            assert_eq!(read_body(body).unwrap_err().code, Code::InvalidArgument);
        }
    }

    #[test]
    fn an_error_that_quotes_the_user_stays_one_header_line_and_keeps_its_text_in_the_body() {
        let text = "no such file: a\r\nNats-Rollup: all\r\n\r\nb\0c";
        let error = RequestError::new(Code::NotFound, text);
        let (headers, body, code) = write(&Err(error), 1 << 20);
        assert_eq!(code, "not_found");
        assert_eq!(headers::get(&headers, "Nats-Service-Error-Code"), Some("404"));
        assert!(!headers::get(&headers, "Nats-Service-Error").unwrap().contains(['\r', '\n', '\0']));
        assert!(headers::get(&headers, "Nats-Rollup").is_none());
        let body: Value = serde_json::from_slice(&body).unwrap();
        assert_eq!(body["error"]["message"], text);
        assert_eq!(body["error"]["code"], "not_found");
    }

    proptest::proptest! {
        #[test]
        fn no_header_and_no_body_can_crash_the_reader(
            id in ".*", deadline in ".*", body in proptest::collection::vec(proptest::num::u8::ANY, 0..200)
        ) {
            let mut headers = header("Baft-Request-Id", &id);
            headers::set(&mut headers, "Baft-Deadline", &deadline);
            if let Ok(said) = read_headers(Some(&headers)) {
                proptest::prop_assert!(said.request_id.is_none_or(|id| is_token(&id)));
            }
            let _ = read_body(&body);
        }

        #[test]
        fn every_error_can_be_written_and_read_back(message in ".*", hint in proptest::option::of(".*")) {
            let error = RequestError { code: Code::Conflict, message, hint, retryable: true };
            let (headers, body, _) = write(&Err(error.clone()), 1 << 20);
            let shown = headers::get(&headers, "Nats-Service-Error").unwrap_or_default();
            proptest::prop_assert!(!shown.contains(['\r', '\n', '\0']));
            let body: Value = serde_json::from_slice(&body).unwrap();
            proptest::prop_assert_eq!(serde_json::from_value::<RequestError>(body["error"].clone()).unwrap(), error);
        }
    }

    #[test]
    fn an_answer_the_server_would_not_take_becomes_an_error_it_takes() {
        let (headers, body, code) = write(&Ok(json!("x".repeat(2 << 20))), 1 << 20);
        assert_eq!((code, headers::get(&headers, "Nats-Service-Error-Code")), ("too_large", Some("413")));
        assert!(body.len() < 1000);
        let (_, body, _) = write(&Err(RequestError::new(Code::Internal, "é".repeat(1 << 20))), 1 << 20);
        assert!(body.len() < 64 * 1024);
    }
}
