//! The `hrseg` command.

use std::process::ExitCode;

fn main() -> ExitCode {
    // an operation follows the other, and each asks for tens of megabytes and frees them
    seg_ops::keep_threads_awake();
    seg_ops::keep_freed_memory();
    hrseg::cli::main()
}
