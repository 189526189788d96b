//! Reports as text, and what they mean for the exit code.

use std::collections::BTreeSet;
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
        Output::Table | Output::Short => lines(Lines { output, passed: BTreeSet::new() }, report, paint),
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

/// The lines of a table or of its short form, given one check at a time in the order of the report.
#[derive(Debug)]
pub struct Lines {
    output: Output,
    /// Checks that passed: the line of one may say another's result too.
    passed: BTreeSet<String>,
}

impl Lines {
    /// For the forms that are made of lines: the table and the short one.
    #[must_use]
    pub fn of(output: Output) -> Option<Self> {
        let lines = Self { output, passed: BTreeSet::new() };
        matches!(output, Output::Table | Output::Short).then_some(lines)
    }

    /// What stands before the first check.
    #[must_use]
    pub fn heading(&self) -> String {
        match self.output {
            Output::Short => String::new(),
            _ => format!("{HEADING}\n{}\n", "─".repeat(HEADING.len())),
        }
    }

    /// The lines of the next check, if it has any.
    pub fn next(&mut self, check: &CheckReport, paint: Paint<'_>) -> String {
        let mut text = String::new();
        let shown = match self.output {
            Output::Short => !matches!(check.status, CheckStatus::Pass | CheckStatus::Skip),
            _ => !self.told_elsewhere(check),
        };
        if shown {
            line(&mut text, check, paint);
        }
        if check.status == CheckStatus::Pass {
            self.passed.insert(check.id.clone());
        }
        text
    }

    /// What stands after the last check.
    #[must_use]
    pub fn end(&self, sum: &PreflightSummary) -> String {
        format!("{}\n", counts(sum))
    }

    /// A good result that the line of another check, which comes earlier, says too.
    fn told_elsewhere(&self, check: &CheckReport) -> bool {
        let teller = table::checks().into_iter().find(|row| row.id == check.id).and_then(|row| row.told_by);
        check.status == CheckStatus::Pass && teller.is_some_and(|teller| self.passed.contains(teller))
    }
}

fn lines(mut lines: Lines, report: &PreflightReport, paint: Paint<'_>) -> String {
    let mut text = lines.heading();
    for check in &report.checks {
        text += &lines.next(check, paint);
    }
    text + &lines.end(&report.summary)
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
