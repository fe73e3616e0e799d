//! The `udocker` executable.

use std::process::ExitCode;

fn main() -> ExitCode {
    ExitCode::from(udocker::cli::main(std::env::args_os()))
}
