//! What a decoder hands on: rows in the making, with the texts they came from.

use super::json::Value;
use super::tokens;
use crate::schema::{Audit, Call};

/// Rows decoded from one record. Decoders only add to it.
#[derive(Debug, Default)]
pub struct Rows<'a> {
    /// Model invocations with their texts.
    pub calls: Vec<CallRow<'a>>,
    /// Management events.
    pub audits: Vec<Audit<'a>>,
    /// Records that are well-formed and of no interest, by reason.
    pub skipped: Vec<&'static str>,
    /// Inner records that could not be read; the rest of the record still counts.
    pub rejected: Vec<(Reject, Value<'a>)>,
}

/// One model invocation in the making.
///
/// The decoder fills what the log says. Provenance, `hour`, the fallback of `event_id`, text lengths, hashes,
/// signatures, personal-data counts and `attributes` (when left `None`: everything not taken) are filled afterwards,
/// the same way for every format.
#[derive(Debug, Default)]
pub struct CallRow<'a> {
    /// The row.
    pub call: Call<'a>,
    /// Texts, tool calls and attachments of request and response, in order.
    pub parts: Vec<Part<'a>>,
}

impl<'a> CallRow<'a> {
    /// Takes the keys and values of an object as tags. A value that is no text stays where it is.
    pub(crate) fn tag(&mut self, object: Value<'a>) {
        for (key, value) in object.entries() {
            if let Some(text) = value.as_text() {
                value.mark("tags");
                self.call.tags.push((key, text));
            }
        }
    }

    /// Fills in what follows from all that was read: sums of tokens, and that there is no text unless it is known why.
    pub(crate) fn complete(&mut self) {
        tokens::complete(&mut self.call);
        if self.parts.is_empty() {
            self.call.content_state.get_or_insert("absent");
        }
    }
}

/// Which way a text went.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Direction {
    /// To the model.
    #[default]
    Input,
    /// From the model.
    Output,
    /// From the model, withheld by a guardrail.
    Withheld,
    /// What a guardrail quoted as its match.
    GuardrailMatch,
    /// An error message, which may quote the prompt.
    Error,
}

impl Direction {
    /// The word in `content.direction`.
    pub fn name(self) -> &'static str {
        match self {
            Direction::Input => "input",
            Direction::Output => "output",
            Direction::Withheld => "withheld",
            Direction::GuardrailMatch => "guardrail_match",
            Direction::Error => "error",
        }
    }
}

/// What a part is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum PartType {
    /// Plain text.
    #[default]
    Text,
    /// The model asks for a tool.
    ToolCall,
    /// A tool's answer.
    ToolResult,
    /// The model thinks aloud.
    Reasoning,
    /// An image, document or recording.
    Media,
    /// Text found in a shape that is not known.
    Raw,
}

impl PartType {
    /// The word in `content.part_type`.
    pub fn name(self) -> &'static str {
        match self {
            PartType::Text => "text",
            PartType::ToolCall => "tool_call",
            PartType::ToolResult => "tool_result",
            PartType::Reasoning => "reasoning",
            PartType::Media => "media",
            PartType::Raw => "raw",
        }
    }
}

/// One part of a prompt or response. Text that a redacting gateway replaced is no part.
#[derive(Debug, Clone, Copy, Default)]
pub struct Part<'a> {
    /// Which way it went.
    pub direction: Direction,
    /// `system`, `user`, `assistant`, `tool`.
    pub role: Option<&'a str>,
    /// What it is.
    pub part_type: PartType,
    /// Number of the message it belongs to, counted per direction from zero; decides what is history.
    pub message: u32,
    /// The text.
    pub text: Option<&'a str>,
    /// Tool that was called or answered.
    pub tool_name: Option<&'a str>,
    /// Joins a tool's call and its result.
    pub tool_call_id: Option<&'a str>,
    /// Arguments as JSON.
    pub tool_arguments: Option<&'a str>,
    /// Kind of an attachment.
    pub mime_type: Option<&'a str>,
    /// Where an attachment lies.
    pub uri: Option<&'a str>,
    /// Whether the log had cut the text.
    pub truncated: bool,
}

/// Why a record could not be read. Never holds text of the record: it goes to logs and terminals.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Reject {
    /// Without a time the row has no place in the store.
    #[error("no time that can be read")]
    Time,
    /// The record claims a format and lacks what makes it one.
    #[error("lacks `{0}`")]
    Missing(&'static str),
    /// Nothing in it says what it is.
    #[error("not a record of any known format")]
    Unknown,
    /// It is no object.
    #[error("not an object")]
    Shape,
}
