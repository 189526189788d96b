//! Writes `docs/configuration.md` and `docs/metrics.md` from the programs themselves; with `--check` it only says
//! whether they are out of date, by exit code 1. `make docs` and `make docs-check` call it.

use std::io::Write;
use std::path::Path;

use baft_kit::Exit;
use baft_kit::docs::{self, Mode, Outcome};

fn main() -> Exit {
    let arguments: Vec<_> = std::env::args().skip(1).collect();
    let mode = match arguments.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        [] => Mode::Write,
        ["--check"] => Mode::Check,
        _ => return said("usage: gen_docs [--check]", Exit::Usage),
    };
    let configuration = docs::configuration_document(&[
        ("git-sync", baft_git_sync::command()),
        ("commit-agent", baft_commit_agent::command()),
        ("duckdb-importer", baft_duckdb_importer::command()),
        ("preflight-probe", baft_preflight_probe::command()),
        ("session-registry", baft_session_registry::command()),
        ("baft", baft::command()),
    ]);
    let metrics = docs::metrics_document(&[
        ("git-sync", baft_git_sync::metric_inventory()),
        ("commit-agent", baft_commit_agent::metric_inventory()),
        ("duckdb-importer", baft_duckdb_importer::metric_inventory()),
        ("preflight-probe", baft_preflight_probe::metric_inventory()),
        ("session-registry", baft_session_registry::metric_inventory()),
    ]);
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs");
    let mut exit = Exit::Ok;
    for (name, content) in [("configuration.md", configuration), ("metrics.md", metrics)] {
        exit = match (docs::generate(&folder.join(name), &content, mode), mode) {
            (Ok(Outcome::Current), _) => exit,
            (Ok(Outcome::Differs), Mode::Write) => said(&format!("docs/{name}: written"), exit),
            (Ok(Outcome::Differs), Mode::Check) => {
                said(&format!("docs/{name} is out of date; run `make docs` and commit it"), Exit::Failure)
            }
            (Err(error), _) => said(&format!("docs/{name}: {error}"), Exit::Failure),
        };
    }
    exit
}

fn said(line: &str, exit: Exit) -> Exit {
    // Nobody is left to tell when standard error is closed.
    let _ = writeln!(std::io::stderr(), "{line}");
    exit
}
