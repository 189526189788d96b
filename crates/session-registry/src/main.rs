//! The session-registry binary.

use std::process::ExitCode;

fn main() -> ExitCode {
    baft_session_registry::main()
}
