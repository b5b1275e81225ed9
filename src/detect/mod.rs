//! Runs rules over windows.
