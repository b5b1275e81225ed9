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

    /// A tool's answer.
    pub(crate) fn tool_result(
        self,
        row: &mut CallRow<'a>,
        name: Option<&'a str>,
        id: Option<&'a str>,
        text: Option<&'a str>,
    ) {
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

/// The count at the first of `paths` that has one; a negative number is none.
pub(crate) fn count_of(value: Value<'_>, paths: &[&str], column: &'static str) -> Option<i64> {
    paths.iter().find_map(|path| {
        let found = value.find(path)?;
        let count = found.as_int().filter(|count| *count >= 0)?;
        found.mark(column);
        Some(count)
    })
}

/// Marks all of an opened body as content, save the settings named in `keep`, and of these what cannot hold prose.
pub(crate) fn seal(body: Value<'_>, keep: &[&str]) {
    if !body.is_object() {
        body.mark("content");
    }
    for (key, value) in body.entries() {
        if keep.contains(&key) {
            scrub(value);
        } else {
            value.mark("content");
        }
    }
}

/// Marks as content what is not a number, a flag or a code.
fn scrub(value: Value<'_>) {
    if value.as_str().is_some_and(|text| code(text).is_none()) {
        value.mark("content");
    }
    value.items().for_each(scrub);
    for (key, inner) in value.entries() {
        if code(key).is_some() {
            scrub(inner);
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

/// A body that was cut lost the end of its last part.
pub(crate) fn cut(row: &mut CallRow<'_>, first_part: usize, truncated: bool) {
    if truncated {
        row.call.content_state = Some("truncated");
        if let Some(part) = row.parts[first_part..].last_mut() {
            part.truncated = true;
        }
    }
}
