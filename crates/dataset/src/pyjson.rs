//! Values as Python prints them: `json.dumps(value, ensure_ascii=False, default=str)` and `str()`.

use std::fmt::Write;

use crate::yaml::{Document, Id, Value};

/// Appends a value as JSON, byte for byte as Python's `json.dumps` with `default=str`.
pub fn dump(doc: &Document<'_>, id: Id, out: &mut String) {
    match doc.value(id) {
        Value::Null => out.push_str("null"),
        Value::Bool(true) => out.push_str("true"),
        Value::Bool(false) => out.push_str("false"),
        Value::Int(i) => push_int(*i, out),
        Value::BigInt(digits) => out.push_str(digits),
        Value::Float(f) => out.push_str(&json_float(*f)),
        Value::Str(text) => quote(text, out),
        Value::Date(text) | Value::DateTime(text) => quote(text, out),
        Value::Bytes(bytes) => quote(&bytes_repr(bytes), out),
        Value::Seq(items) => {
            out.push('[');
            for (i, &item) in items.iter().enumerate() {
                if i > 0 {
                    out.push_str(", ");
                }
                dump(doc, item, out);
            }
            out.push(']');
        }
        Value::Map(pairs) => {
            out.push('{');
            for (i, &(key, value)) in pairs.iter().enumerate() {
                if i > 0 {
                    out.push_str(", ");
                }
                match doc.value(key) {
                    Value::Str(text) => quote(text, out),
                    other => quote(&key_text(other), out),
                }
                out.push_str(": ");
                dump(doc, value, out);
            }
            out.push('}');
        }
    }
}

/// A mapping key as `json.dumps` spells it (and dates in ISO form, where Python would refuse).
#[must_use]
pub fn key_text(key: &Value<'_>) -> String {
    match key {
        Value::Null => "null".to_owned(),
        Value::Bool(b) => b.to_string(),
        Value::Int(i) => i.to_string(),
        Value::BigInt(text) | Value::Date(text) | Value::DateTime(text) => text.to_string(),
        Value::Float(f) => json_float(*f),
        Value::Str(text) => text.to_string(),
        Value::Bytes(_) | Value::Seq(_) | Value::Map(_) => String::new(),
    }
}

/// Appends a JSON string.
pub fn quote(text: &str, out: &mut String) {
    out.push('"');
    let bytes = text.as_bytes();
    let mut from = 0;
    for (i, &b) in bytes.iter().enumerate() {
        if b >= 0x20 && b != b'"' && b != b'\\' {
            continue;
        }
        out.push_str(&text[from..i]);
        from = i + 1;
        match b {
            b'"' => out.push_str("\\\""),
            b'\\' => out.push_str("\\\\"),
            b'\n' => out.push_str("\\n"),
            b'\r' => out.push_str("\\r"),
            b'\t' => out.push_str("\\t"),
            0x08 => out.push_str("\\b"),
            0x0C => out.push_str("\\f"),
            _ => {
                // Writing to a String cannot fail.
                let _ = write!(out, "\\u{b:04x}");
            }
        }
    }
    out.push_str(&text[from..]);
    out.push('"');
}

fn push_int(i: i64, out: &mut String) {
    // Writing to a String cannot fail.
    let _ = write!(out, "{i}");
}

fn json_float(f: f64) -> String {
    if f.is_nan() {
        "NaN".to_owned()
    } else if f.is_infinite() {
        if f > 0.0 { "Infinity" } else { "-Infinity" }.to_owned()
    } else {
        float_repr(f)
    }
}

/// `repr()` of a float: shortest digits that read back, exponent below 1e-4 and from 1e16.
#[must_use]
pub fn float_repr(f: f64) -> String {
    if f.is_nan() {
        return "nan".to_owned();
    }
    if f.is_infinite() {
        return if f > 0.0 { "inf" } else { "-inf" }.to_owned();
    }
    let scientific = format!("{f:e}");
    let Some((mantissa, exponent)) = scientific.split_once('e') else { return scientific };
    let exponent: i32 = exponent.parse().unwrap_or_default();
    if (-4..16).contains(&exponent) {
        let plain = f.to_string();
        return if plain.contains('.') { plain } else { plain + ".0" };
    }
    let sign = if exponent < 0 { '-' } else { '+' };
    format!("{mantissa}e{sign}{:02}", exponent.abs())
}

/// `str()` of a value.
#[must_use]
pub fn to_str(doc: &Document<'_>, id: Id) -> String {
    match doc.value(id) {
        Value::Str(text) => text.to_string(),
        Value::Date(text) | Value::DateTime(text) => text.to_string(),
        _ => {
            let mut out = String::new();
            repr(doc, id, &mut out);
            out
        }
    }
}

/// Appends `repr()` of a value.
fn repr(doc: &Document<'_>, id: Id, out: &mut String) {
    match doc.value(id) {
        Value::Null => out.push_str("None"),
        Value::Bool(true) => out.push_str("True"),
        Value::Bool(false) => out.push_str("False"),
        Value::Int(i) => push_int(*i, out),
        Value::BigInt(digits) => out.push_str(digits),
        Value::Float(f) => out.push_str(&float_repr(*f)),
        Value::Str(text) => str_repr(text, out),
        Value::Date(text) => {
            let part = |range: std::ops::Range<usize>| text.get(range).unwrap_or_default().trim_start_matches('0');
            let _ = write!(out, "datetime.date({}, {}, {})", part(0..4), part(5..7), part(8..10));
        }
        // Python prints the constructor call; the point in time says as much.
        Value::DateTime(text) => str_repr(text, out),
        Value::Bytes(bytes) => out.push_str(&bytes_repr(bytes)),
        Value::Seq(items) => {
            out.push('[');
            for (i, &item) in items.iter().enumerate() {
                if i > 0 {
                    out.push_str(", ");
                }
                repr(doc, item, out);
            }
            out.push(']');
        }
        Value::Map(pairs) => {
            out.push('{');
            for (i, &(key, value)) in pairs.iter().enumerate() {
                if i > 0 {
                    out.push_str(", ");
                }
                repr(doc, key, out);
                out.push_str(": ");
                repr(doc, value, out);
            }
            out.push('}');
        }
    }
}

fn str_repr(text: &str, out: &mut String) {
    let quote = if text.contains('\'') && !text.contains('"') { '"' } else { '\'' };
    out.push(quote);
    for c in text.chars() {
        let code = u32::from(c);
        // Writing to a String cannot fail.
        let _ = match c {
            '\\' => out.write_str("\\\\"),
            '\n' => out.write_str("\\n"),
            '\r' => out.write_str("\\r"),
            '\t' => out.write_str("\\t"),
            c if c == quote => write!(out, "\\{c}"),
            ' '..='~' => out.write_char(c),
            c if is_printable(c) => out.write_char(c),
            _ if code < 0x100 => write!(out, "\\x{code:02x}"),
            _ if code < 0x1_0000 => write!(out, "\\u{code:04x}"),
            _ => write!(out, "\\U{code:08x}"),
        };
    }
    out.push(quote);
}

/// Rust's debug form escapes the same categories as Python's `str.isprintable`, except combining
/// marks at the start of a text, hence the letter before.
fn is_printable(c: char) -> bool {
    let mut text = String::from("x");
    text.push(c);
    text.escape_debug().count() == 2
}

fn bytes_repr(bytes: &[u8]) -> String {
    let quote = if bytes.contains(&b'\'') && !bytes.contains(&b'"') { '"' } else { '\'' };
    let mut out = format!("b{quote}");
    for &b in bytes {
        // Writing to a String cannot fail.
        let _ = match b {
            b'\\' => out.write_str("\\\\"),
            b'\n' => out.write_str("\\n"),
            b'\r' => out.write_str("\\r"),
            b'\t' => out.write_str("\\t"),
            b if char::from(b) == quote => write!(out, "\\{quote}"),
            b' '..=b'~' => out.write_char(char::from(b)),
            b => write!(out, "\\x{b:02x}"),
        };
    }
    out.push(quote);
    out
}
