//! The `hrseg` command.

use std::process::ExitCode;

fn main() -> ExitCode {
    // models free and ask for tens of megabytes at every layer
    seg_ops::keep_freed_memory();
    hrseg::cli::main()
}
