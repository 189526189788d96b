//! Values people write: durations, sizes, addresses and log filters. Each parser's error says what is allowed.

use std::net::SocketAddr;
use std::time::Duration;

/// How the errors of these parsers begin; what is allowed follows.
pub(super) const EXPECTED: &str = "expected ";

/// Reads `250ms`, `10s`, `2m`, `1h`, `1d`, a mix such as `1h30m`, or a plain number of seconds (`1.5`).
///
/// # Errors
/// One line saying what is allowed.
pub fn duration(text: &str) -> Result<Duration, String> {
    const ALLOWED: &str = "expected a duration such as 250ms, 10s, 2m or 1h30m, or a number of seconds";
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

/// Reads a switch that takes a value, as Go's flags do: `true`, `false`, `1`, `0`, `t`, `f`.
///
/// # Errors
/// One line saying what is allowed.
pub fn switch(text: &str) -> Result<bool, String> {
    match text {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Ok(true),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Ok(false),
        _ => Err("true or false".to_owned()),
    }
}

/// Writes a duration the way [`duration`] reads it, to the millisecond.
#[must_use]
pub fn show_duration(duration: Duration) -> String {
    if duration.subsec_millis() == 0 {
        format!("{}s", duration.as_secs())
    } else {
        format!("{}ms", duration.as_millis())
    }
}

/// Reads `1048576`, `512KiB`, `10MiB`, `2GiB` (or `k`, `M`, `G`, `Ki`, `Mi`, `Gi`, as Kubernetes writes them).
///
/// # Errors
/// One line saying what is allowed.
pub fn bytes(text: &str) -> Result<u64, String> {
    const ALLOWED: &str = "expected a size such as 1048576, 512KiB, 10MiB or 2GiB";
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

/// Reads an address with its port, `127.0.0.1:9100` or `[::]:9100`.
///
/// # Errors
/// One line saying what is allowed.
pub fn address(text: &str) -> Result<SocketAddr, String> {
    let allowed = "expected an address and a port, such as 127.0.0.1:9100, 0.0.0.0:9100 or [::1]:9100";
    text.trim().parse().map_err(|_| allowed.to_owned())
}

/// Checks a log filter: `info`, or `info,baft_bus=debug`.
///
/// # Errors
/// One line saying what is allowed.
pub fn log_filter(text: &str) -> Result<String, String> {
    let allowed = "expected a level (error, warn, info, debug, trace) or target=level pairs separated by commas";
    crate::log::parse_filter(text).map(|_| text.trim().to_owned()).map_err(|_| allowed.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_read_as_people_write_them() {
        for (text, millis) in [
            ("250ms", 250),
            ("10s", 10_000),
            ("2m", 120_000),
            ("1h30m", 5_400_000),
            ("1d", 86_400_000),
            ("1.5s", 1500),
            ("10", 10_000),
            ("0", 0),
            ("0.25", 250),
            (" 5s ", 5000),
        ] {
            assert_eq!(duration(text), Ok(Duration::from_millis(millis)), "{text}");
        }
    }

    #[test]
    fn what_is_no_duration_is_refused_with_an_example() {
        for text in
            ["", "abc", "10x", "-1", "-1s", "1 s", "s", "1.2.3s", "nan", "inf", "1e400", "99999999999999999999d"]
        {
            assert!(duration(text).is_err_and(|error| error.starts_with(EXPECTED)), "{text}");
        }
    }

    #[test]
    fn a_shown_duration_reads_back_as_itself() {
        for text in ["250ms", "10s", "90s", "1500ms"] {
            assert_eq!(show_duration(duration(text).unwrap()), text);
        }
    }

    #[test]
    fn sizes_are_decimal_or_binary_as_their_unit_says() {
        for (text, size) in
            [("1048576", 1 << 20), ("512KiB", 512 << 10), ("10Mi", 10 << 20), ("1.5GiB", 3 << 29), ("2 MB", 2_000_000)]
        {
            assert_eq!(bytes(text), Ok(size), "{text}");
        }
        for text in ["", "abc", "10X", "-1", "1.2.3M", "99999999999T"] {
            assert!(bytes(text).is_err_and(|error| error.starts_with(EXPECTED)), "{text}");
        }
    }

    #[test]
    fn an_address_needs_a_port() {
        assert!(address("127.0.0.1:0").is_ok() && address("[::]:9100").is_ok());
        assert!(address("127.0.0.1").is_err_and(|error| error.starts_with(EXPECTED)));
    }
}
