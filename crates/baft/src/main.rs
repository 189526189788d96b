//! The baft binary.

use std::process::ExitCode;

fn main() -> ExitCode {
    baft::main()
}
