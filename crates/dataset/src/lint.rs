//! Scalars without quotes that YAML 1.1 (PyYAML, and so this importer) and YAML 1.2 (most other
//! tools) read differently: `no`, `0123`, `1:30`, `2026-02-16`, `1e3`.

use crate::yaml::Value;

/// What a reader of YAML 1.2's core schema makes of a scalar.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Core {
    Text,
    Null,
    Bool,
    Int(Option<i64>),
    Float,
}

/// Says how the two readings differ, if they do. `value` is what YAML 1.1 makes of `text`.
pub(crate) fn ambiguous(text: &str, value: &Value<'_>) -> Option<String> {
    let first = text.bytes().next()?;
    if !matches!(first, b'0'..=b'9' | b'+' | b'-' | b'.' | b'y' | b'Y' | b'n' | b'N' | b'o' | b'O') {
        return None;
    }
    let core = core_schema(text);
    let here = match (value, core) {
        (Value::Null, Core::Null)
        | (Value::Bool(_), Core::Bool)
        | (Value::Str(_), Core::Text)
        | (Value::Float(_), Core::Float)
        | (Value::BigInt(_), Core::Int(None)) => return None,
        (Value::Int(a), Core::Int(Some(b))) if *a == b => return None,
        (Value::Bool(b), _) => format!("the boolean {b}"),
        (Value::Int(i), _) => format!("the number {i}"),
        (Value::BigInt(i), _) => format!("the number {i}"),
        (Value::Float(f), _) => format!("the number {}", crate::pyjson::float_repr(*f)),
        (Value::Date(_), _) => "a date".to_owned(),
        (Value::DateTime(_), _) => "a time".to_owned(),
        (Value::Str(_), _) => "text".to_owned(),
        _ => return None,
    };
    let there = match core {
        Core::Text => "text".to_owned(),
        Core::Null => "null".to_owned(),
        Core::Bool => "a boolean".to_owned(),
        Core::Int(Some(i)) => format!("the number {i}"),
        Core::Int(None) | Core::Float => "a number".to_owned(),
    };
    Some(format!(
        "{text} without quotes is {here} to PyYAML and this importer, but {there} to YAML 1.2 \
         tools; put it in quotes, or write it so that both agree"
    ))
}

fn core_schema(text: &str) -> Core {
    match text {
        "null" | "Null" | "NULL" | "~" | "" => return Core::Null,
        "true" | "True" | "TRUE" | "false" | "False" | "FALSE" => return Core::Bool,
        ".nan" | ".NaN" | ".NAN" => return Core::Float,
        _ => {}
    }
    let all = |digits: &str, radix| !digits.is_empty() && digits.chars().all(|c| c.is_digit(radix));
    for (prefix, radix) in [("0o", 8), ("0x", 16)] {
        if let Some(digits) = text.strip_prefix(prefix)
            && all(digits, radix)
        {
            return Core::Int(i64::from_str_radix(digits, radix).ok());
        }
    }
    let number = text.strip_prefix(['+', '-']).unwrap_or(text);
    if all(number, 10) {
        return Core::Int(text.parse().ok());
    }
    if matches!(number, ".inf" | ".Inf" | ".INF") {
        return Core::Float;
    }
    let (mantissa, exponent) = match number.find(['e', 'E']) {
        Some(at) => (&number[..at], Some(&number[at + 1..])),
        None => (number, None),
    };
    let exponent_ok = exponent.is_none_or(|e| all(e.strip_prefix(['+', '-']).unwrap_or(e), 10));
    let mantissa_ok = match mantissa.split_once('.') {
        Some(("", fraction)) => all(fraction, 10),
        Some((whole, fraction)) => all(whole, 10) && (fraction.is_empty() || all(fraction, 10)),
        None => all(mantissa, 10),
    };
    if exponent_ok && mantissa_ok { Core::Float } else { Core::Text }
}

#[cfg(test)]
mod tests {
    use crate::yaml::{Limits, parse};

    fn warned(scalar: &str) -> Option<String> {
        let text = format!("key: {scalar}\n");
        let document = parse(text.as_bytes(), &Limits::default()).unwrap();
        document.notes().iter().find(|note| note.code == "ambiguous-scalar").map(|note| note.message.clone())
    }

    #[test]
    fn scalars_that_two_yamls_read_differently_are_warned_about() {
        for (scalar, here, there) in [
            ("no", "the boolean false", "text"),
            ("On", "the boolean true", "text"),
            ("0123", "the number 83", "the number 123"),
            ("0o17", "text", "the number 15"),
            ("1_000", "the number 1000", "text"),
            ("1:30", "the number 90", "text"),
            ("08", "text", "the number 8"),
            ("0b11", "the number 3", "text"),
            ("1e3", "text", "a number"),
            ("-.5", "text", "a number"),
            ("2026-02-16", "a date", "text"),
            ("2026-02-16 12:00:00", "a time", "text"),
        ] {
            let message = warned(scalar).unwrap_or_else(|| panic!("{scalar} is not warned about"));
            assert!(message.contains(&format!("is {here} to")), "{scalar}: {message}");
            assert!(message.contains(&format!("but {there} to")), "{scalar}: {message}");
        }
    }

    #[test]
    fn scalars_that_both_read_alike_are_left_alone() {
        for scalar in [
            "true",
            "null",
            "~",
            "12",
            "-7",
            "0",
            "007",
            "0x1F",
            "1.5",
            ".5",
            "1.",
            "1.5e+3",
            ".inf",
            "'no'",
            "\"0123\"",
            "text",
            "yesterday",
            "one",
            "y",
            "v1.0",
            "7-13%",
            "2.3.4",
            "-",
            "99999999999999999999",
        ] {
            assert_eq!(warned(&format!("[{scalar}]").replace("[-]", "'-'")), None, "{scalar}");
        }
    }
}
