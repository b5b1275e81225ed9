//! The program, started in a folder.

use std::path::Path;
use std::process::{Command, Stdio};

use crate::folder::files;

/// The program with nothing to read, and with nothing around it of whoever runs the tests.
pub(crate) fn bare(folder: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_inferwatch"));
    command.current_dir(folder).stdin(Stdio::null());
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("INFERWATCH_") {
            command.env_remove(name);
        }
    }
    command
}

/// The same, on the store `store` of the folder.
pub(crate) fn program(folder: &Path, arguments: &[&str]) -> Command {
    let mut command = bare(folder);
    command
        .args(["--no-config", "--store", "store"])
        .args(arguments);
    command
}

/// How it ends, what it writes and what it says.
pub(crate) fn ended(command: &mut Command) -> (i32, String, String) {
    let output = command.output().expect("the program starts");
    (
        output.status.code().expect("it ends by itself"),
        String::from_utf8(output.stdout).expect("text"),
        String::from_utf8(output.stderr).expect("text"),
    )
}

/// The same, of the program on the store `store`.
pub(crate) fn run(folder: &Path, arguments: &[&str]) -> (i32, String, String) {
    ended(&mut program(folder, arguments))
}

/// Starts the program on the store `store`, and kills it as soon as the folder has so many files; whether that was before
/// it was over.
pub(crate) fn killed(folder: &Path, arguments: &[&str], wanted: usize) -> bool {
    let mut child = program(folder, arguments)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("it starts");
    while files(folder).len() < wanted && child.try_wait().expect("ours").is_none() {
        std::thread::yield_now();
    }
    child.kill().expect("ours");
    child.wait().expect("it ended").code().is_none()
}
