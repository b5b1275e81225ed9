//! Bodies as their vendors write them, and as logs mangle them.

use super::{gemini, openai};
use crate::ingest::json::{Arena, Value};
use crate::ingest::record::{CallRow, Direction, PartType};

mod of_gemini;
use crate::ingest::{guardrail, tokens};

/// Reads `{"in": request, "out": response}` and hands the row and what was left of the record to `check`.
fn read<R>(
    json: &str,
    request: impl for<'a> Fn(Value<'a>, &mut CallRow<'a>),
    response: impl for<'a> Fn(Value<'a>, &mut CallRow<'a>),
    check: impl FnOnce(&CallRow<'_>, &str) -> R,
) -> R {
    let arena = Arena::new();
    let record = arena.parse(json.as_bytes()).expect("a fixture is JSON");
    let mut row = CallRow::default();
    if let Some(body) = record.get("in") {
        request(body, &mut row);
    }
    if let Some(body) = record.get("out") {
        response(body, &mut row);
    }
    tokens::complete(&mut row.call);
    guardrail::settle(&mut row.call);
    check(&row, record.leftover().unwrap_or(""))
}

fn openai_row<R>(json: &str, check: impl FnOnce(&CallRow<'_>, &str) -> R) -> R {
    read(json, openai::request, openai::response, check)
}

fn gemini_row<R>(json: &str, check: impl FnOnce(&CallRow<'_>, &str) -> R) -> R {
    read(json, gemini::request, gemini::response, check)
}

/// Direction, kind, role and text of every part.
fn said<'a>(row: &'a CallRow<'_>) -> Vec<(Direction, PartType, &'a str, &'a str)> {
    row.parts
        .iter()
        .map(|part| {
            let text = part.text.or(part.tool_arguments).or(part.uri);
            (
                part.direction,
                part.part_type,
                part.role.unwrap_or_default(),
                text.unwrap_or_default(),
            )
        })
        .collect()
}

use Direction::{Error, Input, Output};
use PartType::{Media, Raw, Reasoning, Text, ToolCall, ToolResult};

#[test]
fn openai_chat_with_tools_and_media() {
    let json = r#"{"in":{"model":"gpt-4o","stream":false,"temperature":0.2,"top_p":1,"max_completion_tokens":64,"seed":7,"user":"u-1",
        "metadata":{"app":"kiosk"},"stop":["the end of it"],
        "tools":[{"type":"function","function":{"name":"find","description":"finds a thing"}}],
        "messages":[{"role":"developer","content":"be brief"},
          {"role":"user","content":[{"type":"text","text":"what is this"},{"type":"image_url","image_url":{"url":"data:image/png;base64,AAAA"}},
            {"type":"image_url","image_url":{"url":"https://example.com/a.png"}},{"type":"input_audio","input_audio":{"data":"AAAA","format":"wav"}}]},
          {"role":"assistant","content":null,"tool_calls":[{"id":"c1","type":"function","function":{"name":"find","arguments":"{\"q\":\"x\"}"}}]},
          {"role":"tool","tool_call_id":"c1","content":[{"type":"text","text":"a cat"}]}]},
      "out":{"id":"chatcmpl-1","object":"chat.completion","model":"gpt-4o-2024-11-20","system_fingerprint":"fp_1",
        "choices":[{"index":0,"finish_reason":"tool_calls","logprobs":{"content":[{"token":"secret words"}]},
          "message":{"role":"assistant","content":"a moment","reasoning_content":"hm","tool_calls":[{"id":"c2","type":"function","function":{"name":"find","arguments":"{\"q\":\"y\"}"}},
            {"id":"c3","type":"function","function":{"name":"do a bad thing now","arguments":""}}]}}],
        "usage":{"prompt_tokens":120,"completion_tokens":88,"total_tokens":208,"prompt_tokens_details":{"cached_tokens":64,"audio_tokens":3},"completion_tokens_details":{"reasoning_tokens":10}}}}"#;
    openai_row(json, |row, left| {
        assert_eq!(
            said(row),
            [
                (Input, Text, "system", "be brief"),
                (Input, Text, "user", "what is this"),
                (Input, Media, "user", ""),
                (Input, Media, "user", "https://example.com/a.png"),
                (Input, Media, "user", ""),
                (Input, ToolCall, "assistant", r#"{"q":"x"}"#),
                (Input, ToolResult, "tool", "a cat"),
                (Input, Text, "system", "finds a thing"),
                (Output, Reasoning, "assistant", "hm"),
                (Output, Text, "assistant", "a moment"),
                (Output, ToolCall, "assistant", r#"{"q":"y"}"#),
                (Output, ToolCall, "assistant", ""),
            ]
        );
        assert_eq!(row.parts[2].mime_type, Some("image/png"));
        assert_eq!(row.parts[4].mime_type, Some("audio/wav"));
        let messages: Vec<_> = row.parts.iter().map(|part| part.message).collect();
        assert_eq!(messages, [0, 1, 1, 1, 1, 2, 3, 0, 0, 0, 0, 0]);
        let call = &row.call;
        assert_eq!(
            (call.model, call.response_model, call.response_id),
            (
                Some("gpt-4o"),
                Some("gpt-4o-2024-11-20"),
                Some("chatcmpl-1")
            )
        );
        assert_eq!(
            (
                call.request_stream,
                call.temperature,
                call.top_p,
                call.max_tokens
            ),
            (Some(false), Some(0.2), Some(1.0), Some(64))
        );
        assert_eq!(
            (
                call.message_count,
                call.system_prompt_present,
                call.tool_definition_count,
                call.media_count
            ),
            (Some(4), Some(true), Some(1), Some(3))
        );
        // History is not counted, and a name that is a sentence is no name.
        assert_eq!(call.tool_call_count, Some(2));
        assert_eq!(call.tool_names, ["find"]);
        assert_eq!(call.end_user_id, Some("u-1"));
        assert_eq!(call.tags, [("app", "kiosk")]);
        assert_eq!(
            (
                call.input_tokens,
                call.input_tokens_uncached,
                call.cache_read_input_tokens
            ),
            (Some(120), Some(56), Some(64))
        );
        assert_eq!(
            (
                call.output_tokens,
                call.reasoning_output_tokens,
                call.total_tokens
            ),
            (Some(88), Some(10), Some(208))
        );
        assert_eq!(call.finish_reasons, ["tool_calls"]);
        assert_eq!(call.outcome, "");
        assert!(call.parse_warnings.is_empty());
        assert_eq!(
            left,
            r#"{"in":{"seed":7},"out":{"object":"chat.completion","system_fingerprint":"fp_1","usage":{"prompt_tokens_details":{"audio_tokens":3}}}}"#
        );
    });
}

#[test]
fn openai_streams_are_put_together() {
    let chunks = [
        r#"{"id":"c","model":"","choices":[],"prompt_filter_results":[{"prompt_index":0,"content_filter_results":{"hate":{"filtered":false,"severity":"safe"},"jailbreak":{"filtered":false,"detected":true}}}]}"#,
        r#"{"id":"c","model":"gpt-4o","choices":[{"index":0,"delta":{"role":"assistant","content":"Hel"}},{"index":1,"delta":{"content":"B"}}]}"#,
        r#"{"choices":[{"index":0,"delta":{"content":"lo"}},{"index":0,"delta":{"tool_calls":[{"index":0,"id":"t","function":{"name":"f","arguments":"{\"a\""}}]}}]}"#,
        r#"{"choices":[{"index":0,"delta":{"tool_calls":[{"index":0,"function":{"arguments":":1}"}}]},"finish_reason":"tool_calls"}]}"#,
        r#"{"choices":[],"usage":{"prompt_tokens":5,"completion_tokens":6}}"#,
    ];
    let text: String = chunks
        .iter()
        .map(|chunk| format!("data: {chunk}\n\n"))
        .collect();
    let as_text = serde_json::json!({ "out": text + "data: [DONE]\n\n" }).to_string();
    let as_list = format!(r#"{{"out":[{},"[DONE]"]}}"#, chunks.join(","));
    for json in [as_text, as_list] {
        openai_row(&json, |row, _| {
            assert_eq!(
                said(row),
                [
                    (Output, Text, "assistant", "Hello"),
                    (Output, ToolCall, "assistant", r#"{"a":1}"#),
                    (Output, Text, "assistant", "B"),
                ]
            );
            let call = &row.call;
            assert_eq!(
                (call.response_id, call.response_model),
                (Some("c"), Some("gpt-4o"))
            );
            assert_eq!(
                (call.total_tokens, call.tool_call_count),
                (Some(11), Some(1))
            );
            assert_eq!(call.guardrail_action, Some("detected"));
            assert_eq!(call.guardrail_categories, ["jailbreak"]);
            // What was found has no severity.
            assert_eq!(call.guardrail_max_severity, None);
            assert_eq!(call.guardrail_findings[0].direction, Some("input"));
        });
    }
}

#[test]
fn a_content_filter_error_is_a_block() {
    let json = r#"{"out":{"error":{"message":"The response was filtered: you wrote bad words","type":null,"param":"prompt","code":"content_filter","status":400,
        "innererror":{"code":"ResponsibleAIPolicyViolation","content_filter_result":{"hate":{"filtered":true,"severity":"high"},"self_harm":{"filtered":false,"severity":"low"},
          "profanity":{"filtered":false,"detected":false},"custom_blocklists":{"filtered":true,"details":[{"filtered":true,"id":"codenames"}]}}}}}}"#;
    openai_row(json, |row, left| {
        let call = &row.call;
        assert_eq!(
            (call.outcome, call.error_type),
            ("blocked", Some("content_filter"))
        );
        assert_eq!(call.guardrail_action, Some("blocked"));
        assert_eq!(call.guardrail_policies, ["content", "word"]);
        assert_eq!(
            call.guardrail_categories,
            ["hate", "self_harm", "codenames"]
        );
        assert_eq!(call.guardrail_max_severity, Some("high"));
        let actions: Vec<_> = call
            .guardrail_findings
            .iter()
            .map(|f| f.action.unwrap())
            .collect();
        assert_eq!(actions, ["blocked", "detected", "blocked"]);
        assert_eq!(
            said(row),
            [(
                Error,
                Text,
                "",
                "The response was filtered: you wrote bad words"
            )]
        );
        assert_eq!(left, "");
    });
}

#[test]
fn other_errors_are_failures() {
    let json = r#"{"out":{"error":{"code":"429","message":"slow down"}}}"#;
    openai_row(json, |row, _| {
        assert_eq!(
            (row.call.outcome, row.call.error_type),
            ("failure", Some("429"))
        );
        assert_eq!(row.call.guardrail_action, None);
    });
    // A message where a code belongs is not believed.
    openai_row(
        r#"{"out":{"error":{"code":"you said: hi there"}}}"#,
        |row, left| {
            assert_eq!((row.call.outcome, row.call.error_type), ("failure", None));
            assert_eq!((said(row)[0].3, left), ("you said: hi there", ""));
        },
    );
}

#[test]
fn legacy_completions_and_embeddings() {
    let json = r#"{"in":{"model":"davinci","prompt":["one","two"],"suffix":"end","max_tokens":5,"n":1},
      "out":{"object":"text_completion","choices":[{"text":"yes","index":0,"finish_reason":"length"}],"usage":{"prompt_tokens":1,"completion_tokens":2,"total_tokens":3}}}"#;
    openai_row(json, |row, _| {
        let texts: Vec<_> = said(row).iter().map(|part| part.3).collect();
        assert_eq!(texts, ["one", "two", "end", "yes"]);
        assert_eq!(row.call.finish_reasons, ["length"]);
        assert_eq!(row.call.message_count, None);
    });
    let json = r#"{"in":{"model":"text-embedding-3-small","input":["first text",[1,2,3]],"encoding_format":"float"},
      "out":{"object":"list","data":[{"object":"embedding","index":0,"embedding":"QUJD"}],"model":"text-embedding-3-small","usage":{"prompt_tokens":4,"total_tokens":4}}}"#;
    openai_row(json, |row, left| {
        assert_eq!(said(row), [(Input, Text, "user", "first text")]);
        let call = &row.call;
        assert_eq!(
            (call.input_tokens, call.output_tokens, call.total_tokens),
            (Some(4), Some(0), Some(4))
        );
        assert_eq!(
            left,
            r#"{"in":{"encoding_format":"float"},"out":{"object":"list"}}"#
        );
        assert!(call.parse_warnings.is_empty());
    });
}

#[test]
fn responses_api_whole() {
    let json = r#"{"in":{"model":"o4-mini","instructions":"be kind","previous_response_id":"resp_0","max_output_tokens":9,"reasoning":{"effort":"low"},
        "input":[{"role":"user","content":[{"type":"input_text","text":"hi"},{"type":"input_image","image_url":"https://example.com/b.png"}]},
          {"type":"function_call","call_id":"f1","name":"look","arguments":"{}"},{"type":"function_call_output","call_id":"f1","output":"seen"}]},
      "out":{"id":"resp_1","object":"response","status":"completed","model":"o4-mini-2025-04-16",
        "output":[{"type":"reasoning","summary":[{"type":"summary_text","text":"thinking"}],"encrypted_content":"gAAA"},
          {"type":"message","role":"assistant","content":[{"type":"output_text","text":"hello","annotations":[]}]},
          {"type":"function_call","call_id":"f2","name":"look","arguments":"{\"b\":2}"},{"type":"web_search_call","id":"w1","action":{"query":"cats"}}],
        "content_filters":[{"blocked":false,"source_type":"prompt","content_filter_results":{"jailbreak":{"detected":true,"filtered":false}}}],
        "usage":{"input_tokens":10,"input_tokens_details":{"cached_tokens":4},"output_tokens":7,"output_tokens_details":{"reasoning_tokens":2},"total_tokens":17}}}"#;
    openai_row(json, |row, left| {
        assert_eq!(
            said(row),
            [
                (Input, Text, "system", "be kind"),
                (Input, Text, "user", "hi"),
                (Input, Media, "user", "https://example.com/b.png"),
                (Input, ToolCall, "assistant", "{}"),
                (Input, ToolResult, "tool", "seen"),
                (Output, Reasoning, "assistant", "thinking"),
                (Output, Text, "assistant", "hello"),
                (Output, ToolCall, "assistant", r#"{"b":2}"#),
                (Output, ToolCall, "assistant", r#"{"query":"cats"}"#),
            ]
        );
        let call = &row.call;
        assert_eq!(
            (call.message_count, call.system_prompt_present),
            (Some(3), Some(true))
        );
        assert_eq!(call.tool_names, ["look", "web_search"]);
        assert_eq!(
            (call.response_id, call.conversation_id),
            (Some("resp_1"), Some("resp_0"))
        );
        assert_eq!(
            (call.input_tokens_uncached, call.reasoning_output_tokens),
            (Some(6), Some(2))
        );
        assert_eq!(call.finish_reasons, ["completed"]);
        assert_eq!(call.guardrail_action, Some("detected"));
        assert_eq!(
            left,
            r#"{"in":{"reasoning":{"effort":"low"}},"out":{"object":"response"}}"#
        );
    });
}

#[test]
fn responses_api_streamed() {
    let deltas = r#"{"type":"response.created","response":{"id":"resp_1","object":"response","status":"in_progress","output":[]}},
        {"type":"response.output_text.delta","output_index":0,"delta":"hel"},{"type":"response.output_text.delta","output_index":0,"delta":"lo"}"#;
    let whole = r#"{"type":"response.completed","response":{"id":"resp_1","status":"completed","output":[{"type":"message","role":"assistant","content":[{"type":"output_text","text":"hello"}]}],"usage":{"input_tokens":1,"output_tokens":2}}}"#;
    openai_row(&format!(r#"{{"out":[{deltas},{whole}]}}"#), |row, _| {
        assert_eq!(said(row), [(Output, Text, "assistant", "hello")]);
        assert_eq!(
            (row.call.total_tokens, row.call.response_id),
            (Some(3), Some("resp_1"))
        );
        assert_eq!(row.call.finish_reasons, ["completed"]);
    });
    openai_row(&format!(r#"{{"out":[{deltas}]}}"#), |row, _| {
        assert_eq!(said(row), [(Output, Text, "assistant", "hello")]);
    });
}

#[test]
fn a_cut_body_is_read_as_far_as_it_goes() {
    let json = r#"{"in":"{\"model\":\"gpt-4o\",\"messages\":[{\"role\":\"user\",\"content\":\"hello wor","out":"no json at all"}"#;
    openai_row(json, |row, left| {
        assert_eq!(
            said(row),
            [
                (Input, Text, "user", "hello wor"),
                (Output, Raw, "", "no json at all")
            ]
        );
        assert!(row.parts[0].truncated && !row.parts[1].truncated);
        assert_eq!(row.call.content_state, Some("truncated"));
        assert_eq!(row.call.model, Some("gpt-4o"));
        assert_eq!(row.call.parse_warnings, ["unknown_body"]);
        assert_eq!(left, "");
    });
}

#[test]
fn unknown_bodies_keep_their_words_and_say_so() {
    let json = r#"{"in":{"odd":{"deep":["these words"]}},"out":{"strange":"those words"}}"#;
    for check in [
        |json: &str, check: fn(&CallRow<'_>, &str)| openai_row(json, check),
        |json: &str, check: fn(&CallRow<'_>, &str)| gemini_row(json, check),
    ] {
        check(json, |row, left| {
            assert_eq!(
                said(row),
                [
                    (Input, Raw, "user", "these words"),
                    (Output, Raw, "assistant", "those words")
                ]
            );
            assert_eq!(row.call.parse_warnings, ["unknown_body"]);
            assert_eq!(left, "");
        });
    }
}
