//! The commit-agent binary.

use std::process::ExitCode;

fn main() -> ExitCode {
    baft_commit_agent::main()
}
