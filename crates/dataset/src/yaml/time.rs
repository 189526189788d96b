//! Dates and times, as PyYAML builds and Python prints them.

use super::Value;

/// Whether a plain scalar is a date or a time.
pub(super) fn looks_like_timestamp(text: &str) -> bool {
    // As a plain scalar a date has two digits for month and day; before a time one is enough.
    Parts::read(text).is_some_and(|parts| parts.time.is_some() || text.len() == 10)
}

/// Why a text is no point in time.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum TimeError {
    /// It does not have the form of one.
    Form,
    /// It has, but there is no such day or time.
    Range,
}

/// The value of a date or time.
pub(super) fn timestamp(text: &str) -> Result<Value<'static>, TimeError> {
    let parts = Parts::read(text).ok_or(TimeError::Form)?;
    let Parts { year, month, day, time } = parts;
    if year == 0 || !(1..=12).contains(&month) || day == 0 || day > days_in(year, month) {
        return Err(TimeError::Range);
    }
    let date = format!("{year:04}-{month:02}-{day:02}");
    let Some(time) = time else {
        return Ok(Value::Date(date.into()));
    };
    if time.hour > 23 || time.minute > 59 || time.second > 59 {
        return Err(TimeError::Range);
    }
    let mut printed = format!("{date} {:02}:{:02}:{:02}", time.hour, time.minute, time.second);
    if time.micros > 0 {
        printed.push_str(&format!(".{:06}", time.micros));
    }
    if let Some(minutes) = time.offset_minutes {
        if minutes.abs() >= 24 * 60 {
            return Err(TimeError::Range);
        }
        let sign = if minutes < 0 { '-' } else { '+' };
        printed.push_str(&format!("{sign}{:02}:{:02}", minutes.abs() / 60, minutes.abs() % 60));
    }
    Ok(Value::DateTime(printed.into()))
}

/// Whether `text` is a calendar date, `YYYY-MM-DD`.
pub(crate) fn is_calendar_date(text: &str) -> bool {
    text.len() == 10 && matches!(timestamp(text), Ok(Value::Date(_)))
}

fn days_in(year: u32, month: u32) -> u32 {
    match month {
        2 if year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400)) => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

struct Parts {
    year: u32,
    month: u32,
    day: u32,
    time: Option<TimeParts>,
}

struct TimeParts {
    hour: u32,
    minute: u32,
    second: u32,
    micros: u32,
    offset_minutes: Option<i32>,
}

impl Parts {
    fn read(text: &str) -> Option<Self> {
        let mut rest = text;
        let year = digits(&mut rest, 4, 4)?;
        let month = after(&mut rest, "-").and_then(|()| digits(&mut rest, 1, 2))?;
        let day = after(&mut rest, "-").and_then(|()| digits(&mut rest, 1, 2))?;
        if rest.is_empty() {
            return Some(Parts { year, month, day, time: None });
        }
        let separated = rest.trim_start_matches([' ', '\t']);
        rest = match rest.strip_prefix(['T', 't']) {
            Some(rest) => rest,
            None if separated.len() < rest.len() => separated,
            None => return None,
        };
        let hour = digits(&mut rest, 1, 2)?;
        let minute = after(&mut rest, ":").and_then(|()| digits(&mut rest, 2, 2))?;
        let second = after(&mut rest, ":").and_then(|()| digits(&mut rest, 2, 2))?;
        let mut micros = 0;
        if after(&mut rest, ".").is_some() {
            let len = rest.bytes().take_while(u8::is_ascii_digit).count();
            let fraction = &rest[..len.min(6)];
            micros = format!("{fraction:0<6}").parse().ok()?;
            rest = &rest[len..];
        }
        let mut offset_minutes = None;
        let zone = rest.trim_start_matches([' ', '\t']);
        if zone == "Z" {
            offset_minutes = Some(0);
            rest = "";
        } else if let Some(mut zone) = zone.strip_prefix(['+', '-']) {
            let sign = if rest.contains('-') { -1 } else { 1 };
            let hours = i32::try_from(digits(&mut zone, 1, 2)?).ok()?;
            let minutes = match after(&mut zone, ":") {
                Some(()) => i32::try_from(digits(&mut zone, 2, 2)?).ok()?,
                None => 0,
            };
            offset_minutes = Some(sign * (hours * 60 + minutes));
            rest = zone;
        }
        rest.is_empty().then_some(Parts {
            year,
            month,
            day,
            time: Some(TimeParts { hour, minute, second, micros, offset_minutes }),
        })
    }
}

/// Takes between `min` and `max` digits.
fn digits(rest: &mut &str, min: usize, max: usize) -> Option<u32> {
    let len = rest.bytes().take(max).take_while(u8::is_ascii_digit).count();
    if len < min {
        return None;
    }
    let value = rest[..len].parse().ok();
    *rest = &rest[len..];
    value
}

fn after(rest: &mut &str, prefix: &str) -> Option<()> {
    *rest = rest.strip_prefix(prefix)?;
    Some(())
}
