//! Parse, run, print the error, exit code; nothing else.

use std::process::ExitCode;
