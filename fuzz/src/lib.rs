//! What holds for whatever stands in a log, a rule file or a store's log, one claim a target.
//!
//! [`claims`] needs nothing of libFuzzer: the tests of the program hold every kept input against them as well
//! (`tests/it/corpora.rs`). [`mutate`] changes JSON where it stays JSON, since changed bytes mostly end at the parser.

pub mod claims;
pub mod mutate;
