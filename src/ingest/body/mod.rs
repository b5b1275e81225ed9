//! Request and response bodies, by the vendor whose shape they have. Several formats carry the same bodies.
//!
//! Every shape has `request` and `response`. They never fail: they fill the columns that are still empty, push texts as
//! parts, and leave nothing of a body in `attributes` that could hold a word of a prompt. A block is an outcome of its
//! own and is set here; whether a call without one succeeded is for the log around the body to say.

pub(crate) mod gemini;
pub(crate) mod openai;

mod filters;
pub(crate) mod open;
pub(crate) mod parts;
mod responses;
mod usage;

#[cfg(test)]
mod tests;
