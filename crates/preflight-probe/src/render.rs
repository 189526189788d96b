//! Reports as text, and what they mean for the exit code.

use std::fmt::Write;

use baft_bus::payload::{CheckReport, CheckStatus, PreflightReport, PreflightSummary};
use baft_kit::Exit;

use crate::engine::Good;
use crate::table;

/// How much of a report is printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Output {
    /// One line for each check, as the specification shows it.
    Table,
    /// Only what is not well, and the counts.
    Short,
    /// The report, for programs.
    Json,
    /// For continuous integration.
    Junit,
}

/// Writes the label of a line in the colour of its status.
pub type Paint<'a> = &'a dyn Fn(CheckStatus, &str) -> String;

/// No colours.
#[must_use]
pub fn plain(_: CheckStatus, label: &str) -> String {
    label.to_owned()
}

/// The report in one of the forms, with a line break at the end.
#[must_use]
pub fn render(report: &PreflightReport, output: Output, paint: Paint<'_>) -> String {
    match output {
        Output::Table => table(report, paint),
        Output::Short => short(report, paint),
        Output::Json => {
            // Maps with string keys and numbers: there is nothing in it that cannot be written.
            let mut text = serde_json::to_string_pretty(report).unwrap_or_default();
            text.push('\n');
            text
        }
        Output::Junit => junit(report),
    }
}

const HEADING: &str = "ITP Preflight Check";

fn table(report: &PreflightReport, paint: Paint<'_>) -> String {
    let mut text = format!("{HEADING}\n{}\n", "─".repeat(HEADING.len()));
    for check in report.checks.iter().filter(|check| !told_elsewhere(check, report)) {
        line(&mut text, check, paint);
    }
    let _ = writeln!(text, "{}", counts(&report.summary));
    text
}

fn short(report: &PreflightReport, paint: Paint<'_>) -> String {
    let mut text = String::new();
    for check in &report.checks {
        if !matches!(check.status, CheckStatus::Pass | CheckStatus::Skip) {
            line(&mut text, check, paint);
        }
    }
    let _ = writeln!(text, "{}", counts(&report.summary));
    text
}

/// `11/12 checks passed, 1 warning`.
#[must_use]
pub fn counts(sum: &PreflightSummary) -> String {
    let mut text = format!("{}/{} checks passed", sum.passed, sum.total);
    for (number, one, many) in [
        (sum.warnings, "warning", "warnings"),
        (sum.failed, "failed", "failed"),
        (sum.undecided, "undecided", "undecided"),
        (sum.skipped, "skipped", "skipped"),
    ] {
        match number {
            0 => {}
            1 => _ = write!(text, ", 1 {one}"),
            _ => _ = write!(text, ", {number} {many}"),
        }
    }
    text
}

fn line(text: &mut String, check: &CheckReport, paint: Paint<'_>) {
    let label = match check.status {
        CheckStatus::Pass => "[OK]",
        CheckStatus::Warn => "[WARN]",
        CheckStatus::Fail => "[FAIL]",
        CheckStatus::Skip => "[SKIP]",
        CheckStatus::Unknown => "[UNKNOWN]",
        CheckStatus::Error => "[ERROR]",
    };
    let _ = writeln!(text, "{} {}", paint(check.status, label), clean(&check.message));
    // The specification's warnings stand alone; `--output json` has their hints too.
    if matches!(check.status, CheckStatus::Fail | CheckStatus::Unknown | CheckStatus::Error) {
        for hint in check.hint.iter().flat_map(|hint| hint.lines()) {
            let _ = writeln!(text, "       {}", clean(hint));
        }
        let _ = writeln!(text, "       {}: {}", check.id, check.doc);
    }
}

/// A good result that the line of another check says too.
fn told_elsewhere(check: &CheckReport, report: &PreflightReport) -> bool {
    let teller = table::checks().into_iter().find(|row| row.id == check.id).and_then(|row| row.told_by);
    let passed = |id: &str| report.checks.iter().any(|other| other.id == id && other.status == CheckStatus::Pass);
    check.status == CheckStatus::Pass && teller.is_some_and(passed)
}

/// Messages quote what programs and files say; none of it may steer a terminal.
fn clean(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

fn junit(report: &PreflightReport) -> String {
    let sum = &report.summary;
    let mut text = String::from("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n");
    let _ = writeln!(
        text,
        "<testsuite name=\"baft preflight\" tests=\"{}\" failures=\"{}\" errors=\"{}\" skipped=\"{}\" time=\"{}\" timestamp=\"{}\">",
        sum.total,
        sum.failed,
        sum.undecided,
        sum.skipped,
        seconds(report.duration_ms),
        xml(&report.started_at),
    );
    for check in &report.checks {
        let head = format!(
            "  <testcase classname=\"preflight.{}\" name=\"{} {}\" time=\"{}\"",
            xml(&check.category),
            xml(&check.id),
            xml(&check.title),
            seconds(check.duration_ms)
        );
        let why = format!("message=\"{}\"", xml(&check.message));
        let hint = xml(check.hint.as_deref().unwrap_or_default());
        let _ = match check.status {
            CheckStatus::Pass => writeln!(text, "{head}/>"),
            CheckStatus::Warn => {
                writeln!(text, "{head}><system-out>warning: {}\n{hint}</system-out></testcase>", xml(&check.message))
            }
            CheckStatus::Fail => writeln!(text, "{head}><failure {why}>{hint}</failure></testcase>"),
            CheckStatus::Skip => writeln!(text, "{head}><skipped {why}/></testcase>"),
            CheckStatus::Unknown | CheckStatus::Error => {
                writeln!(text, "{head}><error {why}>{hint}</error></testcase>")
            }
        };
    }
    text.push_str("</testsuite>\n");
    text
}

fn seconds(millis: u64) -> String {
    format!("{}.{:03}", millis / 1000, millis % 1000)
}

fn xml(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\n' => out.push('\n'),
            c if c.is_control() || matches!(c, '\u{fffe}' | '\u{ffff}') => out.push(' '),
            c => out.push(c),
        }
    }
    out
}

/// What the report means for the exit code: 0 well, 1 failed, 3 undecided, 4 warnings when only passing is good.
#[must_use]
pub fn exit(report: &PreflightReport, good: Good) -> Exit {
    let any = |found: &dyn Fn(&CheckReport) -> bool| report.checks.iter().any(found);
    let undecided = |check: &CheckReport| matches!(check.status, CheckStatus::Unknown | CheckStatus::Error);
    if any(&|check| check.status == CheckStatus::Fail) {
        Exit::Failure
    } else if any(&|check| check.blocking && undecided(check)) {
        Exit::Undecided
    } else if good == Good::Strictly && any(&|check| check.status == CheckStatus::Warn || undecided(check)) {
        Exit::Warned
    } else {
        Exit::Ok
    }
}
