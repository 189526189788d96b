//! Sizes, ages and counts as the specification writes them.

use std::time::Duration;

/// `14.2 MB`.
#[must_use]
pub fn size(bytes: u64) -> String {
    #[allow(clippy::cast_precision_loss, reason = "one decimal is shown")]
    let number = bytes as f64;
    match bytes {
        0..1000 => format!("{bytes} B"),
        1000..1_000_000 => format!("{:.1} kB", number / 1e3),
        1_000_000..1_000_000_000 => format!("{:.1} MB", number / 1e6),
        _ => format!("{:.1} GB", number / 1e9),
    }
}

/// `2h`.
#[must_use]
pub fn age(age: Duration) -> String {
    match age.as_secs() {
        seconds @ 0..60 => format!("{seconds}s"),
        seconds @ 60..3600 => format!("{}m", seconds / 60),
        seconds @ 3600..172_800 => format!("{}h", seconds / 3600),
        seconds => format!("{}d", seconds / 86_400),
    }
}

/// `3 files`.
#[must_use]
pub fn count(number: u64, noun: &str) -> String {
    if number == 1 { format!("1 {noun}") } else { format!("{number} {noun}s") }
}

/// The first line of a text, for messages.
#[must_use]
pub fn first_line(text: &str) -> String {
    let line = text.lines().map(str::trim).find(|line| !line.is_empty()).unwrap_or_default();
    line.chars().filter(|c| !c.is_control()).take(200).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_written_as_in_the_specification() {
        assert_eq!([size(512), size(14_200_000), size(3_000_000_000)], ["512 B", "14.2 MB", "3.0 GB"]);
        let ages = [5, 600, 7300, 400_000].map(|seconds| age(Duration::from_secs(seconds)));
        assert_eq!(ages, ["5s", "10m", "2h", "4d"]);
        assert_eq!([count(1, "file"), count(3, "file")], ["1 file", "3 files"]);
        assert_eq!(first_line("\n  fatal: no\nmore"), "fatal: no");
    }
}
