//! What type a scalar has: by its tag, or by its looks when it is plain.

use std::borrow::Cow;

use super::number::{float, int, looks_like_float, looks_like_int, shorten};
use super::time::{TimeError, looks_like_timestamp, timestamp};
use super::{Value, YamlError};

/// A scalar once its type is known.
#[derive(Debug, PartialEq)]
pub(super) enum Scalar<'a> {
    /// An ordinary value.
    Value(Value<'a>),
    /// `<<`: as a key it merges mappings, anywhere else it is an error.
    Merge,
    /// `=`: as a key it is text, anywhere else it is an error.
    Default(Cow<'a, str>),
    /// An unquoted date that does not exist. PyYAML crashes on it; it stays text and is reported.
    BadDate(Cow<'a, str>),
}

pub(super) const CORE: &str = "tag:yaml.org,2002:";

/// Types a scalar by its looks.
pub(super) fn by_looks(text: Cow<'_, str>) -> Result<Scalar<'_>, String> {
    // PyYAML's expressions end in '$', which also matches before a last line feed. Only a block
    // scalar tagged '!' gets here with one.
    let bare = text.strip_suffix('\n').unwrap_or(&text);
    let value = match bare.as_bytes().first() {
        None if text.is_empty() => Value::Null,
        None => Value::Str(text),
        Some(b'0'..=b'9' | b'+' | b'-' | b'.') => {
            if looks_like_float(bare) {
                Value::Float(float(bare)?)
            } else if looks_like_int(bare) {
                int(bare)?
            } else if bare.len() >= 8 && looks_like_timestamp(bare) {
                match timestamp(bare) {
                    Ok(value) => value,
                    Err(_) => return Ok(Scalar::BadDate(text)),
                }
            } else {
                Value::Str(text)
            }
        }
        Some(b'y' | b'Y' | b'n' | b'N' | b't' | b'T' | b'f' | b'F' | b'o' | b'O') => match plain_bool(bare) {
            Some(_) if bare.len() < text.len() => return Err(not_a("boolean", &text)),
            Some(value) => Value::Bool(value),
            None if matches!(bare, "null" | "Null" | "NULL") => Value::Null,
            None => Value::Str(text),
        },
        Some(b'~') if bare == "~" => Value::Null,
        Some(b'<') if bare == "<<" => return Ok(Scalar::Merge),
        Some(b'=') if bare == "=" => return Ok(Scalar::Default(text)),
        Some(_) => Value::Str(text),
    };
    Ok(Scalar::Value(value))
}

/// The boolean a plain scalar means in YAML 1.1.
pub(crate) fn plain_bool(text: &str) -> Option<bool> {
    match text {
        "yes" | "Yes" | "YES" | "true" | "True" | "TRUE" | "on" | "On" | "ON" => Some(true),
        "no" | "No" | "NO" | "false" | "False" | "FALSE" | "off" | "Off" | "OFF" => Some(false),
        _ => None,
    }
}

/// Types a scalar by its tag.
pub(super) fn by_tag<'a>(tag: &str, text: Cow<'a, str>) -> Result<Scalar<'a>, String> {
    let value = match tag.strip_prefix(CORE) {
        Some("str") => Value::Str(text),
        Some("null") => Value::Null,
        Some("bool") => {
            let lower = text.to_lowercase();
            Value::Bool(plain_bool(&lower).ok_or_else(|| not_a("boolean", &text))?)
        }
        Some("int") => int(&text)?,
        Some("float") => Value::Float(float(&text)?),
        Some("timestamp") => match timestamp(&text) {
            Ok(value) => value,
            Err(TimeError::Range) => return Ok(Scalar::BadDate(text)),
            Err(TimeError::Form) => return Err(not_a("date", &text)),
        },
        Some("binary") => Value::Bytes(decode_base64(&text).ok_or_else(|| not_a("base64 text", &text))?.into()),
        Some("merge") => return Ok(Scalar::Merge),
        Some("value") => return Ok(Scalar::Default(text)),
        _ => return Err(wrong_tag(tag, "a single value")),
    };
    Ok(Scalar::Value(value))
}

pub(super) fn wrong_tag(tag: &str, found: &str) -> String {
    let name = tag.strip_prefix(CORE).map_or_else(|| tag.to_owned(), |name| format!("!!{name}"));
    format!("the tag '{}' does not fit {found}; remove it, or quote the text if the '!' belongs to it", shorten(&name))
}

fn not_a(what: &str, text: &str) -> String {
    format!("'{}' is not a {what}; put it in quotes or remove the tag", shorten(text))
}

/// Base64 as Python's `decodebytes`: other characters are skipped, padding ends it.
fn decode_base64(text: &str) -> Option<Vec<u8>> {
    if !text.is_ascii() {
        return None;
    }
    let mut out = Vec::with_capacity(text.len() / 4 * 3);
    let (mut quad, mut bits, mut pads) = (0u8, 0u32, 0u8);
    for c in text.bytes() {
        let six = match c {
            b'A'..=b'Z' => c - b'A',
            b'a'..=b'z' => c - b'a' + 26,
            b'0'..=b'9' => c - b'0' + 52,
            b'+' => 62,
            b'/' => 63,
            b'=' => {
                if quad >= 2 {
                    pads += 1;
                    if quad + pads >= 4 {
                        return Some(out);
                    }
                }
                continue;
            }
            _ => continue,
        };
        pads = 0;
        bits = (bits << 6) | u32::from(six);
        quad = (quad + 1) % 4;
        let shift = match quad {
            2 => 4,
            3 => 2,
            0 => 0,
            _ => continue,
        };
        out.push(u8::try_from((bits >> shift) & 0xFF).unwrap_or_default());
    }
    (quad == 0).then_some(out)
}

/// A value error at a place.
pub(super) fn value_error(at: super::Mark, message: String) -> YamlError {
    YamlError::at(at, super::ErrorKind::Value, message)
}
