//! Putting texts where they belong, and keeping them out of everywhere else.

use crate::ingest::json::Value;
use crate::ingest::record::{CallRow, Direction, Part, PartType};
use crate::schema::Call;

/// Whose words they are: what the parts of one message share.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Turn<'a> {
    pub(crate) direction: Direction,
    pub(crate) role: Option<&'a str>,
    pub(crate) message: u32,
}

impl<'a> Turn<'a> {
    /// Beside the conversation: what went wrong.
    pub(crate) const ERROR: Self = Turn {
        direction: Direction::Error,
        role: None,
        message: 0,
    };

    /// What the model answers.
    pub(crate) fn answer(message: usize) -> Self {
        Turn::new(Direction::Output, Some("assistant"), message)
    }

    pub(crate) fn new(direction: Direction, role: Option<&'a str>, message: usize) -> Self {
        Turn {
            direction,
            role,
            message: u32::try_from(message).unwrap_or(u32::MAX),
        }
    }

    fn part(self, part_type: PartType) -> Part<'a> {
        Part {
            direction: self.direction,
            role: self.role,
            message: self.message,
            part_type,
            ..Part::default()
        }
    }

    /// Text of that kind; an empty one is none.
    pub(crate) fn text(self, row: &mut CallRow<'a>, part_type: PartType, text: &'a str) {
        if !text.is_empty() {
            row.parts.push(Part {
                text: Some(text),
                ..self.part(part_type)
            });
        }
    }

    /// The model asks for a tool. Counted when it does so in the response; in the request it is history.
    pub(crate) fn tool_call(
        self,
        row: &mut CallRow<'a>,
        name: Option<&'a str>,
        id: Option<&'a str>,
        arguments: Option<&'a str>,
    ) {
        if self.direction == Direction::Output {
            *row.call.tool_call_count.get_or_insert(0) += 1;
            row.call.tool_names.extend(name.and_then(code));
        }
        row.parts.push(Part {
            tool_name: name,
            tool_call_id: id,
            tool_arguments: arguments,
            ..self.part(PartType::ToolCall)
        });
    }

    /// A tool's answer. A name it lacks is found by the id of the call it answers.
    pub(crate) fn tool_result(
        self,
        row: &mut CallRow<'a>,
        name: Option<&'a str>,
        id: Option<&'a str>,
        text: Option<&'a str>,
    ) {
        let name = name.or_else(|| {
            let asks = |part: &&Part<'a>| part.part_type == PartType::ToolCall;
            let same = |part: &&Part<'a>| id.is_some() && part.tool_call_id == id;
            let call = row.parts.iter().rev().filter(asks).find(same)?;
            call.tool_name
        });
        row.parts.push(Part {
            tool_name: name,
            tool_call_id: id,
            text,
            role: self.role.or(Some("tool")),
            ..self.part(PartType::ToolResult)
        });
    }

    /// An attachment. A `data:` address is the attachment itself: only its kind is kept.
    pub(crate) fn media(
        self,
        row: &mut CallRow<'a>,
        mime_type: Option<&'a str>,
        uri: Option<&'a str>,
    ) {
        if self.direction == Direction::Input {
            *row.call.media_count.get_or_insert(0) += 1;
        }
        let embedded = uri.and_then(|uri| uri.strip_prefix("data:"));
        let embedded_kind = embedded
            .and_then(|data| data.split([';', ',']).next())
            .filter(|kind| !kind.is_empty());
        row.parts.push(Part {
            mime_type: mime_type.or(embedded_kind),
            uri: uri.filter(|_| embedded.is_none()),
            ..self.part(PartType::Media)
        });
    }

    /// The same turn in another role.
    pub(crate) fn with_role(self, role: &'static str) -> Self {
        Turn {
            role: Some(role),
            ..self
        }
    }

    /// A text of the shape everyone expects, or whatever texts stand in its place.
    pub(crate) fn text_or_leaves(self, row: &mut CallRow<'a>, value: Value<'a>) {
        match value.as_str() {
            Some(text) => self.text(row, PartType::Text, text),
            None => self.leaves(row, PartType::Raw, value),
        }
    }

    /// Every text inside a value of unknown shape.
    pub(crate) fn leaves(self, row: &mut CallRow<'a>, part_type: PartType, value: Value<'a>) {
        if let Some(text) = value.as_str() {
            self.text(row, part_type, text);
        }
        for item in value.items() {
            self.leaves(row, part_type, item);
        }
        for (_, inner) in value.entries() {
            self.leaves(row, part_type, inner);
        }
    }
}

/// A body of a shape that is not known: its texts are kept as they stand, and the row says so.
pub(crate) fn unknown<'a>(body: Value<'a>, direction: Direction, row: &mut CallRow<'a>) {
    Turn::new(direction, None, 0).leaves(row, PartType::Raw, body.structure());
    body.mark("content");
    warn(&mut row.call, "unknown_body");
}

/// The role in the schema's words; `None` for a role nobody knows.
pub(crate) fn role(raw: &str) -> Option<&'static str> {
    const ROLES: [(&str, &[&str]); 4] = [
        ("user", &["user", "human"]),
        ("assistant", &["assistant", "model", "chatbot"]),
        ("system", &["system", "developer"]),
        ("tool", &["tool", "function"]),
    ];
    ROLES
        .iter()
        .find(|(_, names)| names.iter().any(|name| name.eq_ignore_ascii_case(raw)))
        .map(|(role, _)| *role)
}

/// A tool that is offered to the model. Its description is part of what the model reads, so it is a text.
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
            tool_name: name.and_then(code),
            ..Part::default()
        });
    }
}

/// The arguments of a tool call as JSON: the string that holds them, or the value written out.
pub(crate) fn arguments(value: Value<'_>) -> &str {
    value.as_str().unwrap_or_else(|| value.to_json())
}

/// A reason why the model stopped, once.
pub(crate) fn finish<'a>(row: &mut CallRow<'a>, reason: Option<&'a str>) {
    if let Some(reason) = reason
        && !row.call.finish_reasons.contains(&reason)
    {
        row.call.finish_reasons.push(reason);
    }
}

/// A filter stopped the call, unless it is known to have failed.
pub(crate) fn blocked(call: &mut Call<'_>) {
    if call.outcome != "failure" {
        call.outcome = "blocked";
    }
}

/// An error that a body reports: its type is a code, its message may quote the prompt.
pub(crate) fn error<'a>(body: Value<'a>, row: &mut CallRow<'a>) {
    let Some(error) = body.get("error") else {
        return;
    };
    row.call.outcome = "failure";
    for path in ["type", "code"] {
        let call = &mut row.call;
        call.error_type = call
            .error_type
            .or_else(|| code_at(error, path, "error_type"));
    }
    let message = error.get("message").unwrap_or(error);
    Turn::new(Direction::Error, None, 0).text_or_leaves(row, message);
}

/// A request was read: what it has none of is zero, not unknown.
pub(crate) fn request_was_read(call: &mut Call<'_>) {
    call.tool_definition_count.get_or_insert(0);
    call.media_count.get_or_insert(0);
}

/// A response was read: what it has none of is zero, not unknown.
pub(crate) fn response_was_read(call: &mut Call<'_>) {
    call.tool_call_count.get_or_insert(0);
}

/// How many messages a request has.
pub(crate) fn message_count(row: &mut CallRow<'_>, count: usize) {
    if row.call.message_count.is_none() {
        row.call.message_count = i32::try_from(count).ok();
    }
}

/// The tags of a request: an object of texts, which is taken whole.
pub(crate) fn tags<'a>(object: Option<Value<'a>>, call: &mut Call<'a>) {
    if call.tags.is_empty()
        && let Some(object) = object.and_then(Value::object)
    {
        object.mark("tags");
        call.tags = object
            .entries()
            .filter_map(|(key, value)| Some((key, value.as_text()?)))
            .collect();
    }
}

/// Adds a warning once.
pub(crate) fn warn(call: &mut Call<'_>, warning: &'static str) {
    if !call.parse_warnings.contains(&warning) {
        call.parse_warnings.push(warning);
    }
}

/// The text, if it is a code or an identifier and no prose: short, and without spaces.
pub(crate) fn code(text: &str) -> Option<&str> {
    let fits = (1..=128).contains(&text.len())
        && text
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"_-.:/@#+=".contains(&byte));
    fits.then_some(text)
}

/// The code at a path, marked as taken for a column.
pub(crate) fn code_at<'a>(value: Value<'a>, path: &str, column: &'static str) -> Option<&'a str> {
    let found = value.find(path)?;
    let text = found.as_text().and_then(code)?;
    found.mark(column);
    Some(text)
}

/// Marks all of an opened body, or of each of its chunks, as content, save the settings named in `keep` and what Bedrock
/// adds under `amazon-bedrock-…`, and of these what cannot hold prose.
pub(crate) fn seal(body: Value<'_>, keep: &[&str]) {
    if body.is_array() {
        return body.items().for_each(|chunk| seal(chunk.structure(), keep));
    }
    if !body.is_object() {
        body.mark("content");
    }
    for (key, value) in body.entries() {
        if keep.contains(&key) || key.starts_with("amazon-bedrock-") {
            keep_codes(value);
        } else {
            value.mark("content");
        }
    }
}

/// Marks as content what is not a number, a flag or a code.
pub(crate) fn keep_codes(value: Value<'_>) {
    scrub(value, |text| code(text).is_some());
}

/// Marks as content what is not a number or a flag.
pub(crate) fn keep_numbers(value: Value<'_>) {
    scrub(value, |_| false);
}

fn scrub(value: Value<'_>, may_stay: fn(&str) -> bool) {
    let value = value.structure();
    if value.as_str().is_some_and(|text| !may_stay(text)) {
        value.mark("content");
    }
    value.items().for_each(|item| scrub(item, may_stay));
    for (key, inner) in value.entries() {
        if code(key).is_some() {
            scrub(inner, may_stay);
        } else {
            inner.mark("content");
        }
    }
}

/// The same, and every text that is taken out becomes a part.
pub(crate) fn scrub_into<'a>(
    value: Value<'a>,
    turn: Turn<'a>,
    part_type: PartType,
    row: &mut CallRow<'a>,
) {
    if value.as_str().is_some_and(|text| code(text).is_none()) {
        value.mark("content");
        turn.leaves(row, part_type, value);
    }
    for item in value.items() {
        scrub_into(item, turn, part_type, row);
    }
    for (key, inner) in value.entries() {
        if code(key).is_some() {
            scrub_into(inner, turn, part_type, row);
        } else {
            inner.mark("content");
            turn.leaves(row, part_type, inner);
        }
    }
}

/// Pieces of a text that came in a stream, as one text.
pub(crate) fn join<'a>(keeper: Value<'a>, pieces: &[&'a str]) -> Option<&'a str> {
    match pieces {
        [] => None,
        [piece] => Some(*piece),
        _ => Some(keeper.keep(&pieces.concat())),
    }
    .filter(|text| !text.is_empty())
}

/// A body that was cut lost the end of its last part. What it seems to have none of may have been there.
pub(crate) fn cut(row: &mut CallRow<'_>, first_part: usize, truncated: bool) {
    if truncated {
        let call = &mut row.call;
        call.content_state = Some("truncated");
        for count in [&mut call.tool_definition_count, &mut call.tool_call_count] {
            *count = count.filter(|count| *count > 0);
        }
        if let Some(part) = row.parts[first_part..].last_mut() {
            part.truncated = true;
        }
    }
}
