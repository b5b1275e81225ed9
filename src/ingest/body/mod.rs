//! Request and response bodies that several logs share, one file for each family.
//!
//! A family has `request(body, row)` and `response(body, row)`. Neither fails; both fill the columns of the row that
//! are still empty and push the texts as [`Part`]s. What they leave untaken reaches `attributes`, so a body is closed
//! with [`seal`], which lets nothing through but numbers and codes at names the family knows.
//!
//! Here are the steps the families share: [`Place`] (where in the conversation a text stands, and how it becomes a
//! part), [`raw_text`] for shapes nobody knows, and the choice of a family by shape ([`request`], [`response`]).
//!
//! Left out: lengths, hashes and everything else that is worked out from parts afterwards.

use super::json::Value;
use super::record::{CallRow, Direction, Part, PartType};

pub(crate) mod anthropic;
pub(crate) mod bedrock_native;
pub(crate) mod converse;
pub(crate) mod gemini;
pub(crate) mod open;
pub(crate) mod openai;
pub(crate) mod parts;

mod filters;
mod responses;
mod stream;
mod usage;

#[cfg(test)]
mod tests;

pub(crate) use stream::Blocks;

/// Texts longer than this without a space are data (images, vectors), not words.
const LONGEST_WORD: usize = 4096;

/// Reads a request body by the family its shape shows.
pub(crate) fn request<'a>(body: Value<'a>, row: &mut CallRow<'a>) {
    let body = body.structure();
    if converse::is_request(body) {
        converse::request(body, row);
    } else if body.get("messages").is_some() {
        anthropic::request(body, row);
    } else if !bedrock_native::request(body, row) {
        unknown(body, Direction::Input, row);
    }
}

/// Reads a response body, or an array of stream chunks, by the family its shape shows.
pub(crate) fn response<'a>(body: Value<'a>, row: &mut CallRow<'a>) {
    let body = body.structure();
    let first = body.items_or_self().find(|chunk| chunk.is_object());
    match first {
        // `"[DONE]"` alone, or an empty array: nothing was said.
        None if body.is_array() && body.items().all(|chunk| chunk.as_str() == Some("[DONE]")) => {
            body.mark("content");
        }
        Some(first) if converse::is_response(first) => converse::response(body, row),
        Some(first) if anthropic::is_response(first) => anthropic::response(body, row),
        _ => {
            if !bedrock_native::response(body, row) {
                unknown(body, Direction::Output, row);
            }
        }
    }
}

/// Reads a body of no known family: every text in it becomes a raw part.
pub(crate) fn unknown<'a>(body: Value<'a>, direction: Direction, row: &mut CallRow<'a>) {
    let role = match direction {
        Direction::Input => "user",
        _ => "assistant",
    };
    raw_text(body, Place::new(direction, role, 0), row);
    body.mark("content");
    warn(row, "unknown_body");
}

/// Notes once that something about the record was odd.
pub(crate) fn warn<'a>(row: &mut CallRow<'a>, warning: &'static str) {
    if !row.call.parse_warnings.contains(&warning) {
        row.call.parse_warnings.push(warning);
    }
}

/// Pushes every string inside a value of unknown shape as a raw part. Long strings without a space are data, not words.
pub(crate) fn raw_text<'a>(value: Value<'a>, place: Place, row: &mut CallRow<'a>) {
    match value.as_str() {
        Some("" | "[DONE]") => {}
        Some(text) if text.len() > LONGEST_WORD && !text.contains(' ') => {
            place.media(row, None, None, None);
        }
        Some(text) => place.push(row, PartType::Raw, text),
        None => {
            for inner in value.items() {
                raw_text(inner, place, row);
            }
            for (_, inner) in value.entries() {
                raw_text(inner, place, row);
            }
        }
    }
}

/// Closes a body, or each of its chunks: everything but the entries named in `keep`, and those that Bedrock adds under
/// `amazon-bedrock-…`, is content; of these, numbers, booleans and codes may reach `attributes`.
pub(crate) fn seal(body: Value<'_>, keep: &[&str]) {
    let body = body.structure();
    if !body.is_object() {
        if body.is_array() {
            body.items().for_each(|chunk| seal(chunk, &[]));
        } else {
            body.mark("content");
        }
        return;
    }
    for (key, value) in body.entries() {
        if key.starts_with("amazon-bedrock-")
            || keep.iter().any(|known| known.eq_ignore_ascii_case(key))
        {
            keep_codes(value);
        } else {
            value.mark("content");
        }
    }
}

/// Takes every text that is no code out of a value that may reach `attributes`.
pub(crate) fn keep_codes(value: Value<'_>) {
    keep(value, is_code);
}

/// Takes every text out of a value whose numbers and booleans may reach `attributes`.
pub(crate) fn keep_numbers(value: Value<'_>) {
    keep(value, |_| false);
}

fn keep(value: Value<'_>, may_stay: fn(&str) -> bool) {
    let value = value.structure();
    // A key that is no code would be written even with its value taken.
    if value.as_str().is_some_and(|text| !may_stay(text))
        || value.entries().any(|(key, _)| !is_code(key))
    {
        value.mark("content");
        return;
    }
    value.items().for_each(|inner| keep(inner, may_stay));
    value.entries().for_each(|(_, inner)| keep(inner, may_stay));
}

/// Whether a text is a code, an id or a name as programs give them, and not words that a person or a model wrote.
pub(crate) fn is_code(text: &str) -> bool {
    (1..=128).contains(&text.len())
        && text
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"_-.:/#@+=$".contains(&byte))
}

/// The code at `path`; a text that is no code stays where it is.
pub(crate) fn code<'a>(value: Value<'a>, path: &str, column: &'static str) -> Option<&'a str> {
    let found = value.find(path)?;
    let code = found.as_text().filter(|text| is_code(text))?;
    found.mark(column);
    Some(code)
}

/// Adds a reason why the model stopped, once.
pub(crate) fn finish<'a>(row: &mut CallRow<'a>, reason: Option<&'a str>) {
    if let Some(reason) = reason
        && !row.call.finish_reasons.contains(&reason)
    {
        row.call.finish_reasons.push(reason);
    }
}

/// Marks a call as stopped by a filter, unless it is known to have failed.
pub(crate) fn blocked(row: &mut CallRow<'_>) {
    if row.call.outcome != "failure" {
        row.call.outcome = "blocked";
    }
}

/// Notes how many messages a request has.
pub(crate) fn messages(row: &mut CallRow<'_>, count: usize) {
    if row.call.message_count.is_none() {
        row.call.message_count = i32::try_from(count).ok();
    }
}

/// Notes whether a request has a system prompt: true once one was seen.
pub(crate) fn system_prompt(row: &mut CallRow<'_>, present: bool) {
    let known = row.call.system_prompt_present.unwrap_or(false);
    row.call.system_prompt_present = Some(known || present);
}

/// Adds a tool that is offered to the model. Its description is part of what the model reads, so it is a text.
pub(crate) fn tool_definition<'a>(
    row: &mut CallRow<'a>,
    name: Option<&'a str>,
    description: Option<&'a str>,
) {
    *row.call.tool_definition_count.get_or_insert(0) += 1;
    if let Some(text) = description.filter(|text| !text.is_empty()) {
        row.parts.push(Part {
            role: Some("system"),
            text: Some(text),
            tool_name: name.filter(|name| is_code(name)),
            ..Part::default()
        });
    }
}

/// The role in the schema's words; `None` for a role nobody knows.
pub(crate) fn role(raw: &str) -> Option<&'static str> {
    Some(match raw.to_ascii_lowercase().as_str() {
        "user" | "human" => "user",
        "assistant" | "model" | "chatbot" | "ai" | "bot" => "assistant",
        "system" | "developer" => "system",
        "tool" | "function" => "tool",
        _ => return None,
    })
}

/// Reads an error that a body reports: its type is a code, its message may quote the prompt.
pub(crate) fn error<'a>(body: Value<'a>, row: &mut CallRow<'a>) {
    let Some(error) = body.get("error") else {
        return;
    };
    row.call.outcome = "failure";
    let call = &mut row.call;
    for path in ["type", "code"] {
        call.error_type = call.error_type.or_else(|| code(error, path, "error_type"));
    }
    let message = error.get("message").unwrap_or(error);
    Place::ERROR.text_or_raw(row, message);
}

/// Where in the conversation a text stands.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Place {
    /// Which way it goes.
    pub(crate) direction: Direction,
    /// Whose it is.
    pub(crate) role: Option<&'static str>,
    /// The number of its message; a system prompt stands with the first.
    pub(crate) message: u32,
}

impl Place {
    /// Beside the conversation: what went wrong.
    pub(crate) const ERROR: Place = Place {
        direction: Direction::Error,
        role: None,
        message: 0,
    };

    /// A place.
    pub(crate) fn new(direction: Direction, role: &'static str, message: usize) -> Place {
        Place {
            direction,
            role: Some(role),
            message: u32::try_from(message).unwrap_or(u32::MAX),
        }
    }

    /// What the model answers.
    pub(crate) fn answer(message: usize) -> Place {
        Place::new(Direction::Output, "assistant", message)
    }

    /// The same place in another role.
    pub(crate) fn with_role(self, role: &'static str) -> Place {
        Place {
            role: Some(role),
            ..self
        }
    }

    fn part<'a>(self, part_type: PartType) -> Part<'a> {
        Part {
            direction: self.direction,
            role: self.role,
            part_type,
            message: self.message,
            ..Part::default()
        }
    }

    /// Adds a text of any kind; an empty one is none.
    pub(crate) fn push<'a>(self, row: &mut CallRow<'a>, part_type: PartType, text: &'a str) {
        if !text.is_empty() {
            row.parts.push(Part {
                text: Some(text),
                ..self.part(part_type)
            });
        }
    }

    /// Adds plain text.
    pub(crate) fn text<'a>(self, row: &mut CallRow<'a>, text: &'a str) {
        self.push(row, PartType::Text, text);
    }

    /// Adds what a value holds: its string, else every string inside it as a raw part.
    pub(crate) fn text_or_raw<'a>(self, row: &mut CallRow<'a>, value: Value<'a>) {
        match value.as_str() {
            Some(text) => self.text(row, text),
            None => raw_text(value, self, row),
        }
    }

    /// Adds a call of a tool. In an answer it counts as one; in a request it is history.
    pub(crate) fn tool_call<'a>(
        self,
        row: &mut CallRow<'a>,
        name: Option<&'a str>,
        id: Option<&'a str>,
        arguments: Option<&'a str>,
    ) {
        let tool_name = name.filter(|name| is_code(name));
        if self.direction == Direction::Output {
            *row.call.tool_call_count.get_or_insert(0) += 1;
            row.call.tool_names.extend(tool_name);
        }
        row.parts.push(Part {
            tool_name,
            tool_call_id: id,
            tool_arguments: arguments.filter(|arguments| !arguments.is_empty()),
            // A name that is no name was made up by the model or its input: keep it, but as text.
            text: name.filter(|name| tool_name.is_none() && !name.is_empty()),
            ..self.part(PartType::ToolCall)
        });
    }

    /// Adds a tool's answer. The tool's name is found by the id of the call it answers.
    pub(crate) fn tool_result<'a>(self, row: &mut CallRow<'a>, id: Option<&'a str>, text: &'a str) {
        let tool_name = id.and_then(|id| {
            row.parts
                .iter()
                .rev()
                .find(|part| part.tool_call_id == Some(id) && part.tool_name.is_some())?
                .tool_name
        });
        row.parts.push(Part {
            text: Some(text).filter(|text| !text.is_empty()),
            tool_call_id: id,
            tool_name,
            ..self.with_role("tool").part(PartType::ToolResult)
        });
    }

    /// Adds an attachment; its bytes are not kept. A document's name is the caller's words: the model reads it.
    pub(crate) fn media<'a>(
        self,
        row: &mut CallRow<'a>,
        mime_type: Option<&'a str>,
        uri: Option<&'a str>,
        name: Option<&'a str>,
    ) {
        *row.call.media_count.get_or_insert(0) += 1;
        row.parts.push(Part {
            mime_type: mime_type.filter(|mime_type| is_code(mime_type)),
            uri: uri.filter(|uri| !uri.starts_with("data:")),
            text: name.filter(|name| !name.is_empty()),
            ..self.part(PartType::Media)
        });
    }
}

/// The arguments of a tool call as JSON: the string that holds them, or the value written out.
pub(crate) fn arguments(value: Value<'_>) -> &str {
    value.as_str().unwrap_or_else(|| value.to_json())
}
