//! Gemini's bodies.

use super::Direction::{Error, Input, Output};
use super::PartType::{Media, Reasoning, Text, ToolCall, ToolResult};
use super::{gemini_row, said};

#[test]
fn gemini_in_camel_and_snake_case() {
    let camel = r#"{"in":{"systemInstruction":{"parts":[{"text":"be brief"}]},"generationConfig":{"temperature":0.1,"topP":0.9,"maxOutputTokens":10,"topK":3,"stopSequences":["a b"]},
        "tools":[{"functionDeclarations":[{"name":"f"},{"name":"g"}]},{"googleSearch":{}}],"labels":{"team":"x"},
        "contents":[{"role":"user","parts":[{"text":"look"},{"inlineData":{"mimeType":"image/png","data":"AAAA"}},{"fileData":{"mimeType":"video/mp4","fileUri":"gs://b/v.mp4"}}]},
          {"role":"model","parts":[{"functionCall":{"name":"f","args":{"q":1}}}]},{"role":"function","parts":[{"functionResponse":{"name":"f","response":{"r":2}}}]}]},
      "out":{"candidates":[{"content":{"role":"model","parts":[{"text":"hm","thought":true},{"text":"ok"},{"functionCall":{"name":"g","args":{"z":[1]}}}]},"finishReason":"STOP",
          "safetyRatings":[{"category":"HARM_CATEGORY_HATE_SPEECH","probability":"NEGLIGIBLE"},{"category":"HARM_CATEGORY_HARASSMENT","probability":"MEDIUM","probabilityScore":0.5}]}],
        "modelVersion":"gemini-2.5-flash","responseId":"r1",
        "usageMetadata":{"promptTokenCount":13,"candidatesTokenCount":29,"thoughtsTokenCount":901,"totalTokenCount":943,"cachedContentTokenCount":3,"trafficType":"ON_DEMAND"}}}"#;
    let snake = camel
        .replace("systemInstruction", "system_instruction")
        .replace("generationConfig", "generation_config")
        .replace("topP", "top_p")
        .replace("maxOutputTokens", "max_output_tokens")
        .replace("stopSequences", "stop_sequences")
        .replace("functionDeclarations", "function_declarations")
        .replace("inlineData", "inline_data")
        .replace("mimeType", "mime_type")
        .replace("fileData", "file_data")
        .replace("fileUri", "file_uri")
        .replace("functionCall", "function_call")
        .replace("functionResponse", "function_response")
        .replace("finishReason", "finish_reason")
        .replace("safetyRatings", "safety_ratings")
        .replace("probabilityScore", "probability_score")
        .replace("modelVersion", "model_version")
        .replace("responseId", "response_id")
        .replace("usageMetadata", "usage_metadata")
        .replace("promptTokenCount", "prompt_token_count")
        .replace("candidatesTokenCount", "candidates_token_count")
        .replace("thoughtsTokenCount", "thoughts_token_count")
        .replace("totalTokenCount", "total_token_count")
        .replace("cachedContentTokenCount", "cached_content_token_count");
    for json in [camel, snake.as_str()] {
        gemini_row(json, |row, left| {
            assert_eq!(
                said(row),
                [
                    (Input, Text, "system", "be brief"),
                    (Input, Text, "user", "look"),
                    (Input, Media, "user", ""),
                    (Input, Media, "user", "gs://b/v.mp4"),
                    (Input, ToolCall, "assistant", r#"{"q":1}"#),
                    (Input, ToolResult, "tool", r#"{"r":2}"#),
                    (Output, Reasoning, "assistant", "hm"),
                    (Output, Text, "assistant", "ok"),
                    (Output, ToolCall, "assistant", r#"{"z":[1]}"#),
                ]
            );
            let call = &row.call;
            assert_eq!(
                (
                    call.message_count,
                    call.system_prompt_present,
                    call.tool_definition_count,
                    call.media_count
                ),
                (Some(3), Some(true), Some(3), Some(2))
            );
            assert_eq!(
                (call.temperature, call.top_p, call.max_tokens),
                (Some(0.1), Some(0.9), Some(10))
            );
            assert_eq!(
                (
                    call.input_tokens,
                    call.input_tokens_uncached,
                    call.cache_read_input_tokens
                ),
                (Some(13), Some(10), Some(3))
            );
            // 29 + 901: output counts the thoughts.
            assert_eq!(
                (
                    call.output_tokens,
                    call.reasoning_output_tokens,
                    call.total_tokens
                ),
                (Some(930), Some(901), Some(943))
            );
            assert_eq!(
                (call.response_id, call.response_model),
                (Some("r1"), Some("gemini-2.5-flash"))
            );
            assert_eq!(
                (call.tool_call_count, &call.tool_names[..]),
                (Some(1), &["g"][..])
            );
            assert_eq!(call.guardrail_action, Some("detected"));
            assert_eq!(call.guardrail_categories, ["HARASSMENT"]);
            assert_eq!(call.guardrail_max_severity, Some("medium"));
            assert_eq!(call.guardrail_findings[0].score, Some(0.5));
            assert_eq!(call.tags, [("team", "x")]);
            assert_eq!(call.outcome, "");
            assert!(
                left.contains("topK") && left.contains("ON_DEMAND") && !left.contains("a b"),
                "{left}"
            );
        });
    }
}

#[test]
fn gemini_blocks() {
    let json = r#"{"out":{"promptFeedback":{"blockReason":"PROHIBITED_CONTENT","blockReasonMessage":"it said so"},"usageMetadata":{"promptTokenCount":3,"totalTokenCount":3}}}"#;
    gemini_row(json, |row, left| {
        let call = &row.call;
        assert_eq!(
            (call.outcome, call.guardrail_action),
            ("blocked", Some("blocked"))
        );
        assert_eq!(call.finish_reasons, ["PROHIBITED_CONTENT"]);
        assert_eq!(call.guardrail_categories, ["PROHIBITED_CONTENT"]);
        assert_eq!(call.guardrail_findings[0].direction, Some("input"));
        assert_eq!(said(row), [(Error, Text, "", "it said so")]);
        // What is not in the input is output: nothing.
        assert_eq!((call.output_tokens, left), (Some(0), ""));
    });
    let json = r#"{"out":{"candidates":[{"finishReason":"SAFETY","safetyRatings":[{"category":"HARM_CATEGORY_DANGEROUS_CONTENT","probability":"HIGH","blocked":true}]}]}}"#;
    gemini_row(json, |row, _| {
        let call = &row.call;
        assert_eq!(
            (call.outcome, call.guardrail_action),
            ("blocked", Some("blocked"))
        );
        // The rating explains the block; the reason is no second finding.
        assert_eq!(call.guardrail_categories, ["DANGEROUS_CONTENT"]);
        assert_eq!(call.guardrail_max_severity, Some("high"));
        assert_eq!(call.finish_reasons, ["SAFETY"]);
    });
    let json = r#"{"out":{"candidates":[{"finishReason":"MAX_TOKENS","content":{}}]}}"#;
    gemini_row(json, |row, _| {
        assert_eq!((row.call.outcome, row.call.guardrail_action), ("", None));
    });
}

#[test]
fn gemini_streams_count_once() {
    let json = r#"{"out":["{\"candidates\":[{\"content\":{\"parts\":[{\"text\":\"Hel\"}]}}],\"usageMetadata\":{\"promptTokenCount\":3,\"candidatesTokenCount\":1}}",
        {"candidates":[{"content":{"parts":[{"text":"lo"}]},"finishReason":"STOP"}],"usageMetadata":{"promptTokenCount":3,"candidatesTokenCount":2,"totalTokenCount":5}}]}"#;
    gemini_row(json, |row, _| {
        assert_eq!(said(row), [(Output, Text, "assistant", "Hello")]);
        assert_eq!(
            (row.call.output_tokens, row.call.total_tokens),
            (Some(2), Some(5))
        );
        assert_eq!(row.call.finish_reasons, ["STOP"]);
    });
}
