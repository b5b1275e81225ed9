//! A request or an answer as gateways keep it: one text, a list of messages, a provider's body, or any of these as JSON
//! in a string.

use super::body::parts::{Turn, message_count};
use super::body::{self, openai};
use super::json::Value;
use super::otlp;
use super::record::{CallRow, Direction, PartType};

/// Reads it, whatever it is. All of it is content.
pub(crate) fn read<'a>(value: Value<'a>, direction: Direction, row: &mut CallRow<'a>) {
    value.mark("content");
    let inner = value.structure();
    let is_input = direction == Direction::Input;
    if let Some(text) = inner.as_str() {
        if is_input {
            Turn::new(direction, Some("user"), 0).text(row, PartType::Text, text);
            message_count(row, 1);
        } else {
            Turn::answer(0).text(row, PartType::Text, text);
        }
        return;
    }
    let is_message = |item: Value<'_>| item.get("role").is_some() || item.get("content").is_some();
    let are_messages = inner.items().next().is_some_and(is_message);
    if is_input && are_messages {
        openai::messages(inner, direction, row);
    } else if are_messages || (is_message(inner) && inner.get("stop_reason").is_none()) {
        otlp::messages(inner, direction, row);
    } else if is_input {
        body::request(inner, row);
    } else {
        body::response(inner, row);
    }
}
