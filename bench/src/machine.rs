//! On which machine, when, and with which programs.

use std::fs::read_to_string;
use std::path::Path;
use std::process::Command;

/// What a reader must know to judge the figures.
pub struct Machine {
    lines: Vec<(String, String)>,
}

impl Machine {
    pub fn look(python: &Path, workspace: &Path) -> Self {
        let cpu = read_to_string("/proc/cpuinfo").unwrap_or_default();
        let model = field(&cpu, "model name").or_else(|| field(&cpu, "CPU part")).unwrap_or("unknown").to_owned();
        let cores = std::thread::available_parallelism().map_or(0, usize::from);
        let memory = read_to_string("/proc/meminfo").unwrap_or_default();
        let kib: u64 = field(&memory, "MemTotal").and_then(|text| text.split(' ').next()?.parse().ok()).unwrap_or(0);
        let kernel = read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
        let load = read_to_string("/proc/loadavg").unwrap_or_default();
        let load: Vec<&str> = load.split(' ').take(3).collect();
        let versions = "import sys, duckdb, yaml; print(f'{sys.version.split()[0]}, duckdb {duckdb.__version__}, PyYAML {yaml.__version__}')";
        let lines = [
            ("Date", chrono::Utc::now().format("%Y-%m-%d %H:%M UTC").to_string()),
            (
                "Machine",
                format!("{model}, {cores} cores, {:.0} GiB, Linux {}", kib as f64 / 1_048_576.0, kernel.trim()),
            ),
            ("Load at the start", load.join(" ")),
            ("Revision", said(Command::new("git").arg("-C").arg(workspace).args(["describe", "--always", "--dirty"]))),
            ("Rust", said(Command::new("rustc").arg("--version"))),
            ("Python", said(Command::new(python).args(["-c", versions]))),
            ("Git", said(Command::new("git").arg("--version"))),
        ];
        Self { lines: lines.into_iter().map(|(name, value)| (name.to_owned(), value)).collect() }
    }

    pub fn markdown(&self) -> String {
        let mut text = "| | |\n|---|---|\n".to_owned();
        for (name, value) in &self.lines {
            text += &format!("| {name} | {value} |\n");
        }
        text
    }
}

fn field<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    let line = text.lines().find(|line| line.starts_with(name))?;
    Some(line.split_once(':')?.1.trim())
}

fn said(command: &mut Command) -> String {
    match command.output() {
        Ok(output) if output.status.success() => String::from_utf8_lossy(&output.stdout).trim().to_owned(),
        _ => "unknown".to_owned(),
    }
}
