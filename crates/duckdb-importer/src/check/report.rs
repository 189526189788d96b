//! The report of a check as text for people and as JSON for programs.

use std::fmt::Write;

use super::CheckReport;
use baft_dataset::rows::{Issue, Severity};

/// How the report is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Format {
    /// For people: each finding with its source line.
    Text,
    /// One JSON document.
    Json,
    /// SARIF 2.1.0, which code hosting services show beside the change.
    Sarif,
}

/// A source line longer than this is shown around the column only.
const WIDTH: usize = 100;

pub(super) fn text(report: &CheckReport) -> String {
    let mut out = String::new();
    for issue in &report.issues {
        finding(&mut out, issue, report.sources.get(&issue.path).map(|bytes| &bytes[..]));
    }
    let _ = writeln!(
        out,
        "{}, {}, {}: {}",
        counted(report.files, "file", "files"),
        counted(report.entities, "entity", "entities"),
        counted(report.sections, "section", "sections"),
        match (report.count(Severity::Error), report.count(Severity::Warning)) {
            (0, 0) => "no findings".to_owned(),
            (0, warnings) => counted(warnings, "warning", "warnings"),
            (errors, 0) => counted(errors, "error", "errors"),
            (errors, warnings) =>
                format!("{}, {}", counted(errors, "error", "errors"), counted(warnings, "warning", "warnings")),
        }
    );
    out
}

fn counted(n: usize, one: &str, many: &str) -> String {
    format!("{n} {}", if n == 1 { one } else { many })
}

/// One finding, in the form compilers have taught people to read. Writing to a `String` cannot fail.
fn finding(out: &mut String, issue: &Issue, source: Option<&[u8]>) {
    let Issue { path, line, col, severity, code, message, .. } = issue;
    let _ = writeln!(out, "{}[{code}]: {message}", severity.as_str());
    let margin = " ".repeat(line.to_string().len());
    let _ = writeln!(out, "{margin}--> {path}:{line}:{col}");
    if let Some((shown, caret)) = source.and_then(|source| excerpt(source, *line, *col)) {
        let _ = writeln!(out, "{margin} |\n{line} | {shown}\n{margin} | {}^", " ".repeat(caret));
    }
    out.push('\n');
}

/// The line, cut around the column when it is long, and where in it the caret goes. Tabs and other control characters
/// become spaces, so that the caret stands under its character.
fn excerpt(source: &[u8], line: u32, col: u32) -> Option<(String, usize)> {
    let index = usize::try_from(line).ok()?.checked_sub(1)?;
    let bytes = source.split(|byte| *byte == b'\n').nth(index)?;
    let text: Vec<char> = String::from_utf8_lossy(bytes)
        .trim_end_matches('\r')
        .chars()
        .map(|c| if c.is_control() { ' ' } else { c })
        .collect();
    let at = usize::try_from(col).ok()?.saturating_sub(1).min(text.len());
    let from = if text.len() <= WIDTH { 0 } else { at.saturating_sub(WIDTH / 2).min(text.len() - WIDTH) };
    let shown: String = text.iter().skip(from).take(WIDTH).collect();
    let (before, after) = (from > 0, from + WIDTH < text.len());
    let lead = if before { "… " } else { "" };
    Some((format!("{lead}{}{}", shown.trim_end(), if after { " …" } else { "" }), at - from + lead.chars().count()))
}

pub(super) fn json(report: &CheckReport) -> String {
    let document = serde_json::json!({
        "schema": "baft.check/1",
        "files": report.files,
        "entities": report.entities,
        "sections": report.sections,
        "errors": report.count(Severity::Error),
        "warnings": report.count(Severity::Warning),
        "issues": report.issues,
    });
    format!("{document:#}\n")
}

#[cfg(test)]
mod tests {
    use super::excerpt;

    #[test]
    fn a_short_line_is_shown_whole() {
        assert_eq!(excerpt(b"a\nbcd\r\n", 2, 3), Some(("bcd".to_owned(), 2)));
        assert_eq!(excerpt(b"a\tb", 1, 3), Some(("a b".to_owned(), 2)));
    }

    #[test]
    fn a_long_line_is_cut_around_the_column() {
        let line = "x".repeat(300) + "!" + &"y".repeat(300);
        let (shown, caret) = excerpt(line.as_bytes(), 1, 301).unwrap();
        assert_eq!(shown.chars().nth(caret), Some('!'));
        assert!(shown.starts_with("… ") && shown.ends_with(" …") && shown.chars().count() < 110);
    }

    #[test]
    fn a_place_behind_the_end_is_not_shown() {
        assert_eq!(excerpt(b"a\n", 5, 1), None);
        assert_eq!(excerpt(b"abc", 1, 99), Some(("abc".to_owned(), 3)));
    }
}
