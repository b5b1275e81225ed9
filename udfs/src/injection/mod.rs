//! Prompt injection and jailbreak text: normalisation, decoding, signatures, scoring, and the SQL functions on top.
//!
//! Plain Rust first, for use at ingest on every prompt: [`Matcher::scan`] gives a [`Verdict`] with a score, the signatures that hit and
//! where. Signatures are data, in `signatures/*.toml`; users add their own with [`Matcher::builtin_with`].
//!
//! Modules in reading order: `verdict` (what comes out), `signature` and `pattern` (what is looked for), `fold`, `letters`,
//! `confusables`, `normalize` and `decode` (one spelling for all), `marks`, `gates`, `probe`, `scout`, `walk` and `survey` (stage
//! one), `lexicon`, `tokens` and `search` (stage two), `coverage`, `staging` and `compile` (signatures to tables), `matcher` (all
//! together), `recall` (texts that come again), `evaluate` (how good it is on labelled text), `batch` and `udf` (SQL).
//!
//! Left out: meaning. A request that hides in an innocent story, an optimised suffix, a nested encoding or an image needs a model to
//! judge; signatures find what is said in words that give it away.

mod batch;
mod compile;
mod confusables;
mod coverage;
mod decode;
pub mod evaluate;
mod fold;
mod gates;
mod letters;
mod lexicon;
mod marks;
mod matcher;
mod normalize;
mod pattern;
mod probe;
mod rearrange;
mod recall;
mod scout;
mod search;
mod signature;
mod staging;
mod survey;
mod tokens;
mod udf;
mod verdict;
mod walk;

pub use matcher::{Matcher, Scratch};
pub use normalize::normalize_text;
pub use recall::Recall;
pub use signature::{Signature, SignatureError};
pub use udf::{
    InjectionHits, InjectionMatch, InjectionScore, InjectionSignatures, NormalizeText, udfs,
};
pub use verdict::{Hit, Role, Signals, Verdict, Via};

#[cfg(test)]
mod tests;
