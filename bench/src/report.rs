//! What was measured, as one table for each item: the same text for the terminal and for `docs/benchmarks.md`.

use crate::machine::Machine;

/// The result of one item.
pub struct Section {
    title: String,
    about: String,
    rows: Vec<[String; 5]>,
    notes: Vec<String>,
}

/// Whether a goal was reached.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Goal {
    Met,
    Missed,
}

impl Goal {
    pub fn when(met: bool) -> Self {
        if met { Self::Met } else { Self::Missed }
    }
}

impl Section {
    pub fn new(title: &str, about: &str) -> Self {
        Self { title: title.to_owned(), about: about.to_owned(), rows: Vec::new(), notes: Vec::new() }
    }

    /// A measurement beside its baseline. `ratio` is how many times more the baseline takes.
    pub fn compare(
        &mut self,
        what: &str,
        ours: String,
        baseline: String,
        ratio: f64,
        goal: &str,
        reached: Option<Goal>,
    ) {
        let ratio = if ratio >= 10.0 { format!("{ratio:.0}×") } else { format!("{ratio:.1}×") };
        self.rows.push([what.to_owned(), ours, baseline, ratio, verdict(goal, reached)]);
    }

    /// A measurement that stands alone.
    pub fn alone(&mut self, what: &str, ours: String, goal: &str, reached: Option<Goal>) {
        self.rows.push([what.to_owned(), ours, String::new(), String::new(), verdict(goal, reached)]);
    }

    pub fn note(&mut self, text: impl Into<String>) {
        self.notes.push(text.into());
    }

    pub fn markdown(&self) -> String {
        let head = ["", "Baft", "Baseline", "Ratio", "Goal"].map(str::to_owned);
        let width = |column: usize| {
            self.rows.iter().chain([&head]).map(|row| row[column].chars().count()).max().unwrap_or(0).max(3)
        };
        let widths: Vec<usize> = (0..5).map(width).collect();
        let line = |row: &[String; 5]| {
            let cells: Vec<String> = row
                .iter()
                .zip(&widths)
                .map(|(cell, width)| format!("{cell}{}", " ".repeat(width - cell.chars().count())))
                .collect();
            format!("| {} |\n", cells.join(" | "))
        };
        let rule: Vec<String> = widths.iter().map(|width| "-".repeat(*width)).collect();
        let mut text = format!("## {}\n\n{}\n\n{}| {} |\n", self.title, self.about, line(&head), rule.join(" | "));
        for row in &self.rows {
            text += &line(row);
        }
        if !self.notes.is_empty() {
            text.push('\n');
        }
        for note in &self.notes {
            text += &format!("* {note}\n");
        }
        text
    }
}

fn verdict(goal: &str, reached: Option<Goal>) -> String {
    match reached {
        Some(Goal::Met) => format!("{goal} ✓"),
        Some(Goal::Missed) => format!("{goal} ✗ missed"),
        None => goal.to_owned(),
    }
}

/// The whole document.
pub fn document(machine: &Machine, data: &str, sections: &[Section]) -> String {
    let mut text = format!(
        "# Benchmarks\n\nWritten by `make bench BENCH=\"--markdown docs/benchmarks.md\"`. Every figure stands beside a baseline that ran on the same\n\
         machine in the same run; the baselines are in [bench/baseline](../bench/baseline). Two figures with a slash are the\n\
         median and the 95th percentile.\n\n{}\nData: {data}.\n",
        machine.markdown()
    );
    for section in sections {
        text.push('\n');
        text += &section.markdown();
    }
    text
}
