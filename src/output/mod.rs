//! What reaches the terminal: data on stdout, all else on stderr.
#![expect(
    clippy::print_stderr,
    clippy::print_stdout,
    reason = "this module is where printing happens"
)]

/// Prints an error chain once, with the hint on a line of its own.
pub fn error(error: &anyhow::Error) {
    eprintln!("inferwatch: {error:#}");
    if let Some(hint) = error
        .chain()
        .find_map(|cause| cause.downcast_ref::<crate::Error>()?.hint())
    {
        eprintln!("hint: {hint}");
    }
}

/// Prints data.
pub fn data(text: &str) {
    println!("{text}");
}
