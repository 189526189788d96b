//! The git-sync binary.

use std::process::ExitCode;

fn main() -> ExitCode {
    baft_git_sync::main()
}
