//! The shell without a terminal: it must not start, and must not prompt.

use std::process::{Command, Stdio};

#[test]
fn without_a_terminal_there_is_no_prompt_and_no_colour() {
    let folder = tempfile::TempDir::new().unwrap();
    let output = Command::new(env!("CARGO_BIN_EXE_inferwatch"))
        .args(["sql", "--no-config"])
        .current_dir(folder.path())
        .env("XDG_STATE_HOME", folder.path())
        .stdin(Stdio::null())
        .output()
        .unwrap();
    assert!(output.status.success());
    assert!(output.stdout.is_empty() && output.stderr.is_empty());
    let left = std::fs::read_dir(folder.path()).unwrap().count();
    assert_eq!(left, 0, "no history is begun");
}
