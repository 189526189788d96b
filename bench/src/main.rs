//! `make bench`: measures Baft's daemons, as release processes, against baselines that run in the same run, and prints
//! tables of ratios.
//!
//! Each item of [`items::Item`] can be chosen alone. What is needed — repositories, a nats-server, a git server over
//! http, the daemons — is started for the item and gone afterwards.
#![allow(clippy::print_stdout, clippy::print_stderr)]

mod child;
mod data;
mod fleet;
mod http;
mod items;
mod machine;
mod reader;
mod report;
mod scrape;
mod stats;

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, Result, ensure};
use clap::{Parser, ValueEnum};

use crate::items::{Item, Setting};
use crate::machine::Machine;

/// Measures the daemons against their baselines
#[derive(Parser)]
struct Arguments {
    /// What to measure [default: everything]
    items: Vec<Item>,
    /// Show what can be measured
    #[arg(long)]
    list: bool,
    /// Fewer rounds and smaller repositories, to see that it works
    #[arg(long)]
    quick: bool,
    /// Also write the tables to this file
    #[arg(long, value_name = "FILE")]
    markdown: Option<PathBuf>,
    /// Folder with the data to measure with [default: the framework's data beside the clone, else the sample]
    #[arg(long, env = "BAFT_BENCH_DATA", value_name = "DIR")]
    data: Option<PathBuf>,
}

fn main() -> ExitCode {
    match measure(Arguments::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("bench: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn measure(arguments: Arguments) -> Result<()> {
    if arguments.list {
        for item in Item::value_variants() {
            let value = item.to_possible_value().context("every item has a name")?;
            println!("{:12} {}", value.get_name(), value.get_help().map(ToString::to_string).unwrap_or_default());
        }
        return Ok(());
    }
    let python = data::python();
    ensure!(python.exists(), "{} does not exist: run `make tools` first", python.display());
    if cfg!(debug_assertions) {
        eprintln!("bench: this is a debug build; use `make bench` for figures that mean something");
    }
    let source = data::Source::find(arguments.data)?;
    let machine = Machine::look(&python, &baft_tests::process::workspace());
    let scratch = tempfile::Builder::new().prefix("baft-bench-").tempdir()?;
    let setting = Setting { source, scratch: scratch.path().to_owned(), quick: arguments.quick };
    let chosen = if arguments.items.is_empty() { Item::value_variants().to_vec() } else { arguments.items };

    eprintln!("bench: {}", setting.source.describe());
    let mut sections = Vec::new();
    for item in chosen {
        let name = item.to_possible_value().context("every item has a name")?;
        eprintln!("bench: {}", name.get_name());
        let section = item.run(&setting).with_context(|| format!("item {}", name.get_name()))?;
        println!("{}", section.markdown());
        sections.push(section);
    }
    if let Some(file) = arguments.markdown {
        let text = report::document(&machine, setting.source.describe(), &sections);
        std::fs::write(&file, text).with_context(|| file.display().to_string())?;
        eprintln!("bench: wrote {}", file.display());
    }
    Ok(())
}
