//! What a decoder left untaken, sieved before it may reach `attributes`.
//!
//! Bodies have shapes; what gateways and instrumentations put around them has none that could be listed: any of their
//! fields may quote a prompt. So whatever is left after mapping is judged by its name and by its look. Text under a
//! name such as `prompt` or `output`, and text that is no code, id, address or time, becomes a raw part and leaves
//! `attributes`; numbers, flags and codes stay. In doubt a label becomes content, never the other way round.

use super::body::parts::{Turn, code};
use super::json::Value;
use super::record::{CallRow, Direction, PartType};
use super::time;

/// Last words of names whose text is content even if it looks like a code: `gen_ai.prompt`, `llm.input`, `resultText`.
const CONTENT_WORDS: [&str; 38] = [
    "answer",
    "answers",
    "argument",
    "arguments",
    "args",
    "body",
    "completion",
    "completions",
    "content",
    "contents",
    "document",
    "documents",
    "generation",
    "generations",
    "input",
    "inputs",
    "instruction",
    "instructions",
    "message",
    "messages",
    "output",
    "outputs",
    "passage",
    "payload",
    "prompt",
    "prompts",
    "query",
    "question",
    "reasoning",
    "response",
    "result",
    "results",
    "snippet",
    "statement",
    "text",
    "texts",
    "transcript",
    "utterance",
];

/// Words that say a text came from the model.
const OUTPUT_WORDS: [&str; 12] = [
    "answer",
    "answers",
    "assistant",
    "completion",
    "completions",
    "generated",
    "generation",
    "generations",
    "output",
    "outputs",
    "reasoning",
    "response",
];

/// Names that describe software and machines. Whoever deploys them writes them, and prose in them is a version string.
const MACHINE_PREFIXES: [&str; 22] = [
    "browser.",
    "cloud.",
    "code.",
    "container.",
    "deployment.",
    "device.",
    "faas.",
    "host.",
    "k8s.",
    "net.",
    "network.",
    "os.",
    "otel.",
    "peer.",
    "process.runtime.",
    "rpc.",
    "server.",
    "service.",
    "telemetry.",
    "thread.",
    "tls.",
    "user_agent.",
];

/// Which way the text under a name goes, if the name says that it is content.
fn direction_of(name: &str) -> (Direction, bool) {
    let words = words(name);
    let has = |list: &[&str], word: &String| list.contains(&word.as_str());
    let direction = if words.iter().any(|word| has(&OUTPUT_WORDS, word)) {
        Direction::Output
    } else {
        Direction::Input
    };
    let is_content = match words.as_slice() {
        [.., before, last] if last == "value" || last == "raw" || last == "json" => {
            has(&CONTENT_WORDS, before)
        }
        [.., last] => has(&CONTENT_WORDS, last),
        [] => false,
    };
    (direction, is_content)
}

/// The words of a name in lower case: `gen_ai.prompt`, `inputText` and `input-text` have two or three.
fn words(name: &str) -> Vec<String> {
    let mut words = vec![String::new()];
    let mut after_lower = false;
    for letter in name.chars() {
        if !letter.is_alphanumeric() || (letter.is_uppercase() && after_lower) {
            words.push(String::new());
        }
        after_lower = letter.is_lowercase();
        if let Some(word) = words.last_mut().filter(|_| letter.is_alphanumeric()) {
            word.extend(letter.to_lowercase());
        }
    }
    words.retain(|word| !word.is_empty());
    words
}

/// Takes every text that could be content out of what is left of a value, as raw parts.
pub(crate) fn sieve<'a>(value: Value<'a>, row: &mut CallRow<'a>) {
    for (name, inner) in value.structure().entries() {
        entry(name, inner, None, row);
    }
}

/// The same for one entry of a value.
pub(crate) fn sieve_entry<'a>(name: &'a str, value: Value<'a>, row: &mut CallRow<'a>) {
    entry(name, value, None, row);
}

/// `within` is the direction that a name further up has set.
fn entry<'a>(name: &'a str, value: Value<'a>, within: Option<Direction>, row: &mut CallRow<'a>) {
    if value.is_taken()
        || MACHINE_PREFIXES
            .iter()
            .any(|prefix| name.starts_with(prefix))
    {
        return;
    }
    if code(name).is_none() {
        // A name that is no name is content itself, and would be written with whatever stays of its value.
        turn(within.unwrap_or_default()).text(row, PartType::Raw, name);
        turn(within.unwrap_or_default()).leaves(row, PartType::Raw, value);
        value.mark("content");
        return;
    }
    let (direction, is_content) = direction_of(name);
    walk(
        value,
        within.or(is_content.then_some(direction)),
        direction,
        row,
    );
}

fn walk<'a>(
    value: Value<'a>,
    within: Option<Direction>,
    direction: Direction,
    row: &mut CallRow<'a>,
) {
    if value.is_taken() {
        return;
    }
    let inner = value.structure();
    if inner.is_object() {
        inner
            .entries()
            .for_each(|(name, inner)| entry(name, inner, within, row));
    } else if inner.is_array() {
        inner
            .items()
            .for_each(|item| walk(item, within, direction, row));
    } else if value.as_str() == Some("") {
        // For many producers that is how to say nothing.
        value.mark("-");
    } else if let Some(text) = value.as_str()
        && (within.is_some() || !may_stay(text))
    {
        turn(within.unwrap_or(direction)).text(row, PartType::Raw, text);
        value.mark("content");
    }
}

/// Beside the conversation, and so never a part of its history.
fn turn<'a>(direction: Direction) -> Turn<'a> {
    let role = match direction {
        Direction::Output => "assistant",
        _ => "user",
    };
    Turn::new(direction, Some(role), usize::MAX)
}

fn may_stay(text: &str) -> bool {
    code(text).is_some() || time::parse(text).is_some()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ingest::json::Arena;

    fn sieved(text: &str) -> (Option<String>, Vec<(Direction, String)>) {
        let arena = Arena::new();
        let value = arena.parse(text.as_bytes()).unwrap();
        let mut row = CallRow::default();
        sieve(value, &mut row);
        let parts = row
            .parts
            .iter()
            .map(|part| (part.direction, part.text.unwrap_or_default().to_owned()))
            .collect();
        (value.leftover().map(str::to_owned), parts)
    }

    #[test]
    fn words_of_names_in_any_style() {
        assert_eq!(words("gen_ai.prompt"), ["gen", "ai", "prompt"]);
        assert_eq!(words("inputText"), ["input", "text"]);
        assert_eq!(words("X-Input-ID"), ["x", "input", "id"]);
        assert!(words("..").is_empty());
    }

    #[test]
    fn names_decide_where_the_text_looks_like_a_code() {
        let (left, parts) = sieved(
            r#"{"traceloop.entity.input":"hi","ai.response.text":"yes","output.value":"ok","gen_ai.output.type":"text","n":3,"prompt_tokens":7}"#,
        );
        assert_eq!(
            left.as_deref(),
            Some(r#"{"gen_ai.output.type":"text","n":3,"prompt_tokens":7}"#)
        );
        assert_eq!(
            parts,
            [
                (Direction::Input, "hi".into()),
                (Direction::Output, "yes".into()),
                (Direction::Output, "ok".into())
            ]
        );
    }

    #[test]
    fn prose_leaves_whatever_its_name_and_depth() {
        let (left, parts) = sieved(
            r#"{"a":{"b":["code-1","two words"]},"c":"{\"d\":\"also two\",\"e\":1}","a key of prose":5,"at":"2026-03-02 10:00:00.5"}"#,
        );
        assert_eq!(
            left.as_deref(),
            Some(r#"{"a":{"b":["code-1"]},"c":{"e":1},"at":"2026-03-02 10:00:00.5"}"#)
        );
        let texts: Vec<_> = parts.into_iter().map(|(_, text)| text).collect();
        assert_eq!(texts, ["two words", "also two", "a key of prose"]);
    }

    #[test]
    fn machines_may_describe_themselves() {
        let (left, parts) =
            sieved(r#"{"os.description":"Linux 6.1 x86","deployment.environment":"the test"}"#);
        assert_eq!(
            left.as_deref(),
            Some(r#"{"os.description":"Linux 6.1 x86","deployment.environment":"the test"}"#)
        );
        assert!(parts.is_empty());
    }

    #[test]
    fn what_is_taken_is_not_looked_at() {
        let arena = Arena::new();
        let value = arena.parse(br#"{"prompt":"taken already"}"#).unwrap();
        value.find("prompt").unwrap().mark("content");
        let mut row = CallRow::default();
        sieve(value, &mut row);
        assert!(row.parts.is_empty());
    }
}
