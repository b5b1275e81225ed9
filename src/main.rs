//! Parse, run, print the error, exit code; nothing else.

use std::process::ExitCode;

// Millions of short-lived lists pass through an ingest, on several threads.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    inferwatch::cli::main()
}
