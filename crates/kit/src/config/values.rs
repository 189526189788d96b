//! Values people write: durations and sizes.

use std::time::Duration;

/// Reads `250ms`, `10s`, `2m`, `1h`, `1d`, a mix such as `1h30m`, or a plain number of seconds (`1.5`).
///
/// # Errors
/// One line saying what is allowed.
pub fn duration(text: &str) -> Result<Duration, String> {
    const ALLOWED: &str = "a duration such as 250ms, 10s, 2m or 1h30m, or a number of seconds";
    let wrong = || ALLOWED.to_owned();
    let text = text.trim();
    if let Ok(seconds) = text.parse::<f64>() {
        return Duration::try_from_secs_f64(seconds).map_err(|_| wrong());
    }
    let mut rest = text;
    let mut total = Duration::ZERO;
    while !rest.is_empty() {
        let number_end = rest.find(|c: char| !c.is_ascii_digit() && c != '.').ok_or_else(wrong)?;
        let (number, tail) = rest.split_at(number_end);
        let unit_end = tail.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(tail.len());
        let (unit, tail) = tail.split_at(unit_end);
        let seconds = match unit {
            "us" | "µs" => 1e-6,
            "ms" => 1e-3,
            "s" => 1.0,
            "m" => 60.0,
            "h" => 3600.0,
            "d" => 86400.0,
            _ => return Err(wrong()),
        };
        let number: f64 = number.parse().map_err(|_| wrong())?;
        let part = Duration::try_from_secs_f64(number * seconds).map_err(|_| wrong())?;
        total = total.checked_add(part).ok_or_else(wrong)?;
        rest = tail;
    }
    if text.is_empty() { Err(wrong()) } else { Ok(total) }
}

/// Writes a duration the way [`duration`] reads it.
#[must_use]
pub fn show_duration(duration: Duration) -> String {
    if duration.subsec_nanos() == 0 {
        format!("{}s", duration.as_secs())
    } else {
        format!("{}ms", duration.as_secs_f64() * 1e3)
    }
}

/// Reads `1048576`, `512KiB`, `10MiB`, `2GiB` (or `k`, `M`, `G`, `Ki`, `Mi`, `Gi`, as Kubernetes writes them).
///
/// # Errors
/// One line saying what is allowed.
pub fn bytes(text: &str) -> Result<u64, String> {
    const ALLOWED: &str = "a size such as 1048576, 512KiB, 10MiB or 2GiB";
    let wrong = || ALLOWED.to_owned();
    let text = text.trim();
    let number_end = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, unit) = text.split_at(number_end);
    let factor: u64 = match unit.trim() {
        "" | "B" => 1,
        "k" | "kB" | "KB" => 1000,
        "M" | "MB" => 1000_u64.pow(2),
        "G" | "GB" => 1000_u64.pow(3),
        "T" | "TB" => 1000_u64.pow(4),
        "Ki" | "KiB" => 1 << 10,
        "Mi" | "MiB" => 1 << 20,
        "Gi" | "GiB" => 1 << 30,
        "Ti" | "TiB" => 1 << 40,
        _ => return Err(wrong()),
    };
    if let Ok(whole) = number.parse::<u64>() {
        return whole.checked_mul(factor).ok_or_else(wrong);
    }
    let number: f64 = number.parse().map_err(|_| wrong())?;
    #[allow(
        clippy::cast_precision_loss,
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "fractions of a size are approximate, and `as` saturates"
    )]
    Ok((number * factor as f64) as u64)
}
