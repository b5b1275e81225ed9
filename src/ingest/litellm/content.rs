//! Messages, answers and tool calls of a call.

use super::super::body::parts::{Turn, arguments, code, tool_definition};
use super::super::conversation;
use super::super::json::Value;
use super::super::record::{CallRow, Direction, Part, PartType};
use super::super::tokens;

/// What stands in place of text when logging of messages is off.
const REDACTED: &str = "redacted-by-litellm";

pub(super) fn read<'a>(record: Value<'a>, metadata: Option<Value<'a>>, row: &mut CallRow<'a>) {
    let before = row.parts.len();
    if let Some(parameters) = record.get("model_parameters").and_then(Value::object) {
        self::parameters(parameters, row);
    }
    request(record, row);
    response(record, row);
    if let Some(tool) = metadata.and_then(|metadata| metadata.get("mcp_tool_call_metadata")) {
        mcp(tool, row);
    }
    let redacted = |part: &Part<'_>| part.text.is_some_and(|text| text.contains(REDACTED));
    let total = row.parts.len();
    let mut position = 0;
    row.parts.retain(|part| {
        position += 1;
        position <= before || !redacted(part)
    });
    if row.parts.len() < total {
        row.call.content_state = Some("redacted");
    }
    let key = metadata.and_then(|metadata| metadata.text("cold_storage_object_key", "input_uri"));
    if key.is_some() {
        row.call.input_uri = key;
        row.call.content_state = Some("external");
    }
}

/// An empty object is how the spend log says that nothing was stored.
fn is_empty(value: Value<'_>) -> bool {
    let inner = value.structure();
    inner.is_object() && inner.entries().next().is_none()
        || inner.is_array() && inner.items().next().is_none()
        || inner.as_str() == Some("")
}

fn request<'a>(record: Value<'a>, row: &mut CallRow<'a>) {
    let before = row.parts.len();
    if let Some(messages) = record
        .take("messages", "content")
        .filter(|value| !is_empty(*value))
    {
        conversation::read(messages, Direction::Input, row);
    }
    // The request as it reached the proxy; what it repeats of the messages is not read again.
    if let Some(original) = record.take("proxy_server_request", "content")
        && row.parts.len() == before
        && let Some(request) = original.get("body").filter(|request| !is_empty(*request))
    {
        conversation::read(request, Direction::Input, row);
    }
}

fn response<'a>(record: Value<'a>, row: &mut CallRow<'a>) {
    if let Some(response) = record
        .take("response", "content")
        .filter(|value| !is_empty(*value))
    {
        conversation::read(response, Direction::Output, row);
    }
}

fn parameters<'a>(parameters: Value<'a>, row: &mut CallRow<'a>) {
    let call = &mut row.call;
    call.temperature = parameters.float("temperature", "temperature");
    call.top_p = parameters.float("top_p", "top_p");
    let most = ["max_tokens", "max_completion_tokens", "max_output_tokens"];
    tokens::fill(&mut call.max_tokens, parameters, &most, "max_tokens");
    call.request_stream = call
        .request_stream
        .or_else(|| parameters.flag("stream", "request_stream"));
    // OpenAI's name for whom the caller asks for. Beside a proxy it repeats what the proxy says.
    match call.end_user_id {
        None => call.end_user_id = parameters.text("user", "end_user_id"),
        Some(known) if parameters.get("user").and_then(Value::as_text) == Some(known) => {
            parameters.drop_field("user");
        }
        Some(_) => {}
    }
    for key in ["system", "instructions"] {
        if let Some(text) = parameters.take(key, "content") {
            Turn::new(Direction::Input, Some("system"), 0).leaves(row, PartType::Text, text);
            row.call.system_prompt_present = Some(true);
        }
    }
    for key in ["tools", "functions"] {
        let Some(tools) = parameters.take(key, "content") else {
            continue;
        };
        for tool in tools.structure().items_or_self() {
            let inner = tool.get("function").unwrap_or(tool);
            let text = |key| inner.get(key).and_then(Value::as_str);
            tool_definition(row, text("name"), text("description"));
        }
    }
}

/// A tool that was called through the proxy.
fn mcp<'a>(tool: Value<'a>, row: &mut CallRow<'a>) {
    let name = ["namespaced_tool_name", "name"]
        .iter()
        .find_map(|key| tool.get(key)?.as_text().and_then(code));
    let given = tool.take("arguments", "content");
    let result = tool.take("result", "content");
    if name.is_some() || given.is_some() {
        Turn::answer(0).tool_call(row, name, None, given.map(arguments));
    }
    if let Some(result) = result {
        Turn::new(Direction::Input, Some("tool"), 0).tool_result(
            row,
            name,
            None,
            Some(arguments(result)),
        );
    }
}
