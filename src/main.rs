//! The `hrseg` command.

use std::process::ExitCode;

fn main() -> ExitCode {
    hrseg::cli::main()
}
