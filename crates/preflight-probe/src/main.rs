//! The preflight-probe binary.

use std::process::ExitCode;

fn main() -> ExitCode {
    baft_preflight_probe::main()
}
