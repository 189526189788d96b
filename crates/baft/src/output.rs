//! Printing for people: colours where they are wanted, text that cannot harm a terminal, numbers with units.

use std::io::{self, IsTerminal, StdoutLock, Write};
use std::time::Duration;

use serde::Serialize;

use crate::failure::Failure;

/// Standard output, with what it can show.
pub struct Out {
    stdout: StdoutLock<'static>,
    style: Style,
}

/// Whether to colour.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Style {
    /// ANSI colours.
    Colour,
    /// Text only.
    Plain,
}

impl Style {
    /// For a stream that is a terminal or not: colour on a terminal, unless `NO_COLOR` is set or the terminal is dumb.
    #[must_use]
    pub fn of(stream: &impl IsTerminal) -> Self {
        let set = |name: &str| std::env::var_os(name).is_some_and(|value| !value.is_empty());
        let dumb = std::env::var_os("TERM").is_some_and(|term| term == "dumb");
        if stream.is_terminal() && !set("NO_COLOR") && !dumb { Self::Colour } else { Self::Plain }
    }

    fn wrap(self, code: &str, text: &str) -> String {
        match self {
            Self::Colour => format!("\x1b[{code}m{text}\x1b[0m"),
            Self::Plain => text.to_owned(),
        }
    }

    /// What matters most.
    #[must_use]
    pub fn bold(self, text: &str) -> String {
        self.wrap("1", text)
    }

    /// What matters least.
    #[must_use]
    pub fn dim(self, text: &str) -> String {
        self.wrap("2", text)
    }

    /// All is well.
    #[must_use]
    pub fn green(self, text: &str) -> String {
        self.wrap("32", text)
    }

    /// Worth a look.
    #[must_use]
    pub fn yellow(self, text: &str) -> String {
        self.wrap("33", text)
    }

    /// Wrong.
    #[must_use]
    pub fn red(self, text: &str) -> String {
        self.wrap("31", text)
    }

    /// What was looked for.
    #[must_use]
    pub fn hit(self, text: &str) -> String {
        self.wrap("1;33", text)
    }
}

impl Out {
    /// Standard output of this process.
    #[must_use]
    pub fn new() -> Self {
        Self { style: Style::of(&io::stdout()), stdout: io::stdout().lock() }
    }

    /// What it can show.
    #[must_use]
    pub fn style(&self) -> Style {
        self.style
    }

    /// Prints one line.
    ///
    /// # Errors
    /// Nobody reads it any more, or it cannot be written.
    pub fn line(&mut self, text: impl AsRef<str>) -> Result<(), Failure> {
        writeln!(self.stdout, "{}", text.as_ref()).map_err(|error| Failure::output(&error))
    }

    /// Prints a value as indented JSON.
    ///
    /// # Errors
    /// As [`Self::line`].
    pub fn json(&mut self, value: &impl Serialize) -> Result<(), Failure> {
        let text = serde_json::to_string_pretty(value)
            .map_err(|error| Failure::new(format!("cannot write the result as JSON: {error}")))?;
        self.line(text)
    }

    /// Writes out what was printed.
    ///
    /// # Errors
    /// As [`Self::line`].
    pub fn flush(&mut self) -> Result<(), Failure> {
        self.stdout.flush().map_err(|error| Failure::output(&error))
    }
}

impl Default for Out {
    fn default() -> Self {
        Self::new()
    }
}

/// Prints a line at once.
///
/// # Errors
/// As [`Out::line`].
pub fn print(line: &str) -> Result<(), Failure> {
    let mut out = Out::new();
    out.line(line)?;
    out.flush()
}

/// A remark beside the output, on standard error.
pub fn note(text: &str) {
    // A note nobody can read is no reason to fail.
    let _ = writeln!(io::stderr(), "{text}");
}

/// One line of text from elsewhere, safe to show: line breaks become spaces, control characters vanish, so that data
/// cannot move the cursor or change the terminal.
#[must_use]
pub fn one_line(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '\n' | '\r' | '\t' => {
                if !out.ends_with(' ') {
                    out.push(' ');
                }
            }
            c if c.is_control() || matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}') => {}
            c => out.push(c),
        }
    }
    out
}

/// The first `width` characters, with `…` when something was cut.
#[must_use]
pub fn shorten(text: &str, width: usize) -> String {
    match text.char_indices().nth(width) {
        None => text.to_owned(),
        Some(_) => {
            let mut cut: String = text.chars().take(width.saturating_sub(1)).collect();
            cut.truncate(cut.trim_end().len());
            cut.push('…');
            cut
        }
    }
}

/// The first twelve digits of a commit id.
#[must_use]
pub fn short_commit(commit: &str) -> &str {
    commit.get(..12).unwrap_or(commit)
}

/// `3 rows`, `1 row`.
#[must_use]
pub fn count(number: u64, what: &str) -> String {
    let plural = match what {
        _ if number == 1 => return format!("1 {what}"),
        what if what.ends_with('y') => format!("{}ies", &what[..what.len() - 1]),
        what => format!("{what}s"),
    };
    format!("{number} {plural}")
}

/// `14.9 MiB`.
#[must_use]
pub fn bytes(bytes: u64) -> String {
    const UNITS: [&str; 4] = ["KiB", "MiB", "GiB", "TiB"];
    if bytes < 1024 {
        return format!("{bytes} B");
    }
    #[allow(clippy::cast_precision_loss, reason = "one digit is shown")]
    let mut value = bytes as f64 / 1024.0;
    let mut unit = 0;
    while value >= 1024.0 && unit + 1 < UNITS.len() {
        value /= 1024.0;
        unit += 1;
    }
    format!("{value:.1} {}", UNITS[unit])
}

/// `35 ms`, `1.2 s`, `4 min`, `3 h`, `2 d`.
#[must_use]
pub fn elapsed(duration: Duration) -> String {
    match duration.as_secs() {
        0 => format!("{} ms", duration.as_millis()),
        seconds @ 1..10 => format!("{seconds}.{} s", duration.subsec_millis() / 100),
        seconds @ 10..120 => format!("{seconds} s"),
        seconds @ 120..7200 => format!("{} min", seconds / 60),
        seconds @ 7200..172_800 => format!("{} h", seconds / 3600),
        seconds => format!("{} d", seconds / 86_400),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_from_elsewhere_cannot_steer_the_terminal() {
        assert_eq!(one_line("a\r\n\tb\u{1b}[2Jc\u{202e}d\u{7}"), "a b[2Jcd");
        // The joiner of Persian words is no control character.
        assert_eq!(one_line("می\u{200c}شود"), "می\u{200c}شود");
    }

    #[test]
    fn shortening_counts_characters_and_says_that_it_cut() {
        assert_eq!(shorten("آب انبار", 8), "آب انبار");
        assert_eq!(shorten("آب انبارها", 8), "آب انبا…");
        assert_eq!(shorten("one two", 5), "one…");
    }

    #[test]
    fn numbers_read_like_a_person_would_say_them() {
        assert_eq!([count(1, "row"), count(0, "row"), count(2, "entity")], ["1 row", "0 rows", "2 entities"]);
        assert_eq!([bytes(12), bytes(1536), bytes(3 << 20)], ["12 B", "1.5 KiB", "3.0 MiB"]);
        let times = [0.035, 1.25, 61.0, 250.0, 9000.0, 200_000.0].map(|s| elapsed(Duration::from_secs_f64(s)));
        assert_eq!(times, ["35 ms", "1.2 s", "61 s", "4 min", "2 h", "2 d"]);
    }
}
