//! The duckdb-importer binary.

use std::process::ExitCode;

fn main() -> ExitCode {
    baft_duckdb_importer::main()
}
