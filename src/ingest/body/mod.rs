//! Request and response bodies, by the vendor whose shape they have. Several formats carry the same bodies.
//!
//! Every shape has `request` and `response`. They never fail: they fill the columns that are still empty, push texts as
//! parts, and leave nothing of a body in `attributes` that could hold a word of a prompt. A block is an outcome of its
//! own and is set here; whether a call without one succeeded is for the log around the body to say.
//!
//! [`request`] and [`response`] choose the reader by the shape, for logs that carry several.

use super::json::Value;
use super::record::{CallRow, Direction, PartType};

pub(crate) mod anthropic;
pub(crate) mod bedrock_native;
pub(crate) mod converse;
pub(crate) mod gemini;
pub(crate) mod openai;

mod choices;
mod error;
mod filters;
pub(crate) mod open;
pub(crate) mod parts;
mod responses;
mod stream;

#[cfg(test)]
mod tests;

/// Reads a request body by the family its shape shows; the model's name decides where shapes agree.
pub(crate) fn request<'a>(body: Value<'a>, row: &mut CallRow<'a>) {
    let shape = body.structure();
    let is_claude = row
        .call
        .model
        .is_some_and(|model| model.contains("claude") || model.contains("anthropic"));
    if shape.get("anthropic_version").is_some() {
        anthropic::request(body, row);
    } else if converse::is_request(shape) {
        converse::request(body, row);
    } else if is_claude && shape.get("messages").is_some() {
        anthropic::request(body, row);
    } else if shape.get("contents").is_some() {
        gemini::request(body, row);
    } else if shape.get("messages").is_some() || shape.get("input").is_some() {
        openai::request(body, row);
    } else if !bedrock_native::request(body, row) {
        parts::unknown(body, Direction::Input, row);
    }
}

/// Reads a response body, or an array of stream chunks, by the family its shape shows.
pub(crate) fn response<'a>(body: Value<'a>, row: &mut CallRow<'a>) {
    let shape = body.structure();
    let mut objects = shape.items_or_self().map(Value::structure);
    let first = objects.find(|chunk| chunk.is_object());
    // These two keep what strays among the chunks themselves.
    let is_opened = first.is_some_and(|first| {
        !converse::is_response(first)
            && !anthropic::is_response(first)
            && (openai::is_response(first) || first.get("candidates").is_some())
    });
    let mut any = false;
    let strays = shape.items().filter(|_| !is_opened);
    for stray in strays.filter(|chunk| !chunk.structure().is_object()) {
        // The end of a stream, which is a word among the chunks.
        if stray.as_str() != Some("[DONE]") {
            parts::Turn::answer(0).leaves(row, PartType::Raw, stray.structure());
            any = true;
        }
        stray.mark("content");
    }
    match first {
        None if shape.is_array() => {
            body.mark("content");
            if any {
                parts::warn(&mut row.call, "unknown_body");
            }
        }
        Some(first) if converse::is_response(first) => converse::response(body, row),
        Some(first) if anthropic::is_response(first) => anthropic::response(body, row),
        Some(first) if openai::is_response(first) => openai::response(body, row),
        Some(first) if first.get("candidates").is_some() => gemini::response(body, row),
        _ => {
            if !bedrock_native::response(body, row) {
                parts::unknown(body, Direction::Output, row);
            }
        }
    }
}
