//! Integers and floats by YAML 1.1: `0123` is octal, `1:30` is ninety, `1e3` is text.

use num_bigint::{BigInt, BigUint};

use super::Value;

/// Python refuses to turn longer integers into text, and so JSON.
const MAX_DECIMAL_DIGITS: usize = 4300;

/// Whether a plain scalar is an integer.
pub(super) fn looks_like_int(text: &str) -> bool {
    let text = unsigned(text);
    if let Some(digits) = text.strip_prefix("0b") {
        return all(digits, |c| matches!(c, b'0' | b'1' | b'_'));
    }
    if let Some(digits) = text.strip_prefix("0x") {
        return all(digits, |c| c.is_ascii_hexdigit() || c == b'_');
    }
    if let Some(digits) = text.strip_prefix('0') {
        return digits.bytes().all(|c| matches!(c, b'0'..=b'7' | b'_'));
    }
    if !text.starts_with(|c: char| c.is_ascii_digit()) {
        return false;
    }
    let (head, groups) = text.split_once(':').map_or((text, None), |(h, g)| (h, Some(g)));
    head.bytes().all(is_digit) && groups.is_none_or(|groups| groups.split(':').all(is_sixtieth))
}

/// Whether a plain scalar is a float.
pub(super) fn looks_like_float(text: &str) -> bool {
    let number = unsigned(text);
    if matches!(number, ".inf" | ".Inf" | ".INF") || matches!(text, ".nan" | ".NaN" | ".NAN") {
        return true;
    }
    let Some((head, tail)) = number.split_once('.') else { return false };
    let (fraction, exponent) = match tail.find(['e', 'E']) {
        Some(at) => (&tail[..at], Some(&tail[at + 1..])),
        None => (tail, None),
    };
    let exponent_ok =
        exponent.is_none_or(|e| e.strip_prefix(['+', '-']).is_some_and(|digits| all(digits, |c| c.is_ascii_digit())));
    if !exponent_ok || !fraction.bytes().all(is_digit) {
        return false;
    }
    if head.is_empty() {
        // A sign before a leading dot is not allowed by the 1.1 expression PyYAML uses.
        return number.len() == text.len() && fraction.starts_with(|c: char| c.is_ascii_digit());
    }
    let (first, groups) = head.split_once(':').map_or((head, None), |(h, g)| (h, Some(g)));
    first.starts_with(|c: char| c.is_ascii_digit())
        && first.bytes().all(is_digit)
        && groups.is_none_or(|g| exponent.is_none() && g.split(':').all(is_sixtieth))
}

fn unsigned(text: &str) -> &str {
    text.strip_prefix(['+', '-']).unwrap_or(text)
}

fn is_digit(c: u8) -> bool {
    c.is_ascii_digit() || c == b'_'
}

fn is_sixtieth(group: &str) -> bool {
    match *group.as_bytes() {
        [c] => c.is_ascii_digit(),
        [tens, ones] => matches!(tens, b'0'..=b'5') && ones.is_ascii_digit(),
        _ => false,
    }
}

fn all(digits: &str, allowed: impl Fn(u8) -> bool) -> bool {
    !digits.is_empty() && digits.bytes().all(allowed)
}

/// The value of an integer, as PyYAML builds it.
pub(super) fn int(text: &str) -> Result<Value<'static>, String> {
    let digits = text.replace('_', "");
    let (negative, digits) = match digits.as_bytes() {
        [b'-', ..] => (true, &digits[1..]),
        [b'+', ..] => (false, &digits[1..]),
        _ => (false, digits.as_str()),
    };
    if !digits.starts_with('0')
        && digits.bytes().all(|c| c.is_ascii_digit())
        && let Ok(small) = digits.parse::<i64>()
    {
        return Ok(Value::Int(if negative { -small } else { small }));
    }
    let magnitude = if digits == "0" {
        Some(BigInt::ZERO)
    } else if let Some(digits) = digits.strip_prefix("0b") {
        python_int(digits, 2)
    } else if let Some(digits) = digits.strip_prefix("0x") {
        python_int(digits, 16)
    } else if digits.starts_with('0') {
        python_int(digits.strip_prefix("0o").unwrap_or(digits), 8)
    } else if digits.len() > MAX_DECIMAL_DIGITS {
        return Err(too_long());
    } else {
        digits.split(':').try_fold(BigInt::ZERO, |sum, part| Some(sum * 60 + python_int(part, 10)?))
    };
    let magnitude = magnitude.ok_or_else(|| format!("'{}' is not an integer; put it in quotes", shorten(text)))?;
    let number = if negative { -magnitude } else { magnitude };
    if let Ok(small) = i64::try_from(&number) {
        return Ok(Value::Int(small));
    }
    // A decimal digit takes more than 3 bits: whatever is longer than this is too long.
    if number.bits() > MAX_DECIMAL_DIGITS as u64 * 4 {
        return Err(too_long());
    }
    let decimal = number.to_string();
    if decimal.trim_start_matches('-').len() > MAX_DECIMAL_DIGITS {
        return Err(too_long());
    }
    Ok(Value::BigInt(decimal.into()))
}

fn too_long() -> String {
    format!("the integer has more than {MAX_DECIMAL_DIGITS} digits; put it in quotes")
}

/// Python's `int(text, base)`, underscores aside: spaces around it and one sign are fine.
fn python_int(text: &str, base: u32) -> Option<BigInt> {
    let text = text.trim();
    let digits = unsigned(text);
    if !all(digits, |c| (c as char).is_digit(base)) {
        return None;
    }
    let magnitude = BigInt::parse_bytes(digits.as_bytes(), base)?;
    Some(if text.starts_with('-') { -magnitude } else { magnitude })
}

/// The value of a float, as PyYAML builds it.
pub(super) fn float(text: &str) -> Result<f64, String> {
    let number = text.replace('_', "").to_ascii_lowercase();
    let (sign, number) = match number.as_bytes() {
        [b'-', ..] => (-1.0, &number[1..]),
        [b'+', ..] => (1.0, &number[1..]),
        _ => (1.0, number.as_str()),
    };
    let parse = |part: &str| {
        part.trim().parse::<f64>().map_err(|_| format!("'{}' is not a number; put it in quotes", shorten(text)))
    };
    match number {
        ".inf" => Ok(sign * f64::INFINITY),
        ".nan" => Ok(f64::NAN),
        _ if number.contains(':') => {
            let mut value = 0.0;
            // Python multiplies by an exact integer, which rounds once and not at every step.
            let mut base = BigUint::from(1u32);
            for part in number.rsplit(':') {
                let factor: f64 = base.to_string().parse().unwrap_or(f64::INFINITY);
                if factor.is_infinite() {
                    return Err(format!("'{}' is too large; put it in quotes", shorten(text)));
                }
                value += parse(part)? * factor;
                base *= 60u32;
            }
            Ok(sign * value)
        }
        _ => Ok(sign * parse(number)?),
    }
}

/// Enough of a text to recognise it in a message.
pub(super) fn shorten(text: &str) -> String {
    match text.char_indices().nth(40) {
        Some((at, _)) => format!("{}…", &text[..at]),
        None => text.to_owned(),
    }
}
