"""Answers of each library, whole and streamed, as dictionaries and as objects; written by hand after the vendors' own
reference pages."""

from __future__ import annotations

import enum
from types import SimpleNamespace
from unittest.mock import MagicMock

import pytest

import inferwatch
from inferwatch import inference


def as_objects(value):
    """The same as attributes, as client libraries return it."""
    if isinstance(value, dict):
        return SimpleNamespace(**{key: as_objects(inner) for key, inner in value.items()})
    return [as_objects(inner) for inner in value] if isinstance(value, list) else value


OPENAI_CHAT = {
    "id": "chatcmpl-9",
    "object": "chat.completion",
    "model": "gpt-4o-2024-11-20",
    "choices": [
        {
            "index": 0,
            "message": {
                "role": "assistant",
                "content": None,
                "tool_calls": [
                    {"id": "call_1", "type": "function", "function": {"name": "lookup", "arguments": '{"id": 7}'}}
                ],
            },
            "finish_reason": "tool_calls",
        }
    ],
    "usage": {
        "prompt_tokens": 1200,
        "completion_tokens": 90,
        "total_tokens": 1290,
        "prompt_tokens_details": {"cached_tokens": 1024, "audio_tokens": 0},
        "completion_tokens_details": {"reasoning_tokens": 64},
    },
}
OPENAI_CHAT_FIELDS = {
    "response_id": "chatcmpl-9",
    "response_model": "gpt-4o-2024-11-20",
    "input_tokens": 1200,
    "output_tokens": 90,
    "cache_read_input_tokens": 1024,
    "reasoning_output_tokens": 64,
    "finish_reasons": ["tool_calls"],
    "tool_names": ["lookup"],
}

OPENAI_RESPONSE = {
    "id": "resp_1",
    "object": "response",
    "status": "completed",
    "model": "gpt-4.1-2025-04-14",
    "output": [
        {"type": "reasoning", "summary": []},
        {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "Hello"}]},
        {"type": "function_call", "call_id": "c1", "name": "lookup", "arguments": "{}"},
    ],
    "usage": {
        "input_tokens": 36,
        "input_tokens_details": {"cached_tokens": 8},
        "output_tokens": 87,
        "output_tokens_details": {"reasoning_tokens": 70},
        "total_tokens": 123,
    },
}
OPENAI_RESPONSE_FIELDS = {
    "response_id": "resp_1",
    "response_model": "gpt-4.1-2025-04-14",
    "input_tokens": 36,
    "output_tokens": 87,
    "cache_read_input_tokens": 8,
    "reasoning_output_tokens": 70,
    "finish_reasons": ["completed"],
    "tool_names": ["lookup"],
    "output_length": 5,
}

ANTHROPIC = {
    "id": "msg_1",
    "type": "message",
    "role": "assistant",
    "model": "claude-sonnet-4-5-20250929",
    "content": [{"type": "text", "text": "Hello"}, {"type": "tool_use", "id": "tu_1", "name": "lookup", "input": {}}],
    "stop_reason": "tool_use",
    "usage": {
        "input_tokens": 15,
        "cache_creation_input_tokens": 5,
        "cache_read_input_tokens": 100,
        "output_tokens": 30,
    },
}
# Anthropic counts what its caches served apart; a record's input is all of it: 15 + 5 + 100.
ANTHROPIC_FIELDS = {
    "response_id": "msg_1",
    "response_model": "claude-sonnet-4-5-20250929",
    "input_tokens": 120,
    "output_tokens": 30,
    "cache_read_input_tokens": 100,
    "cache_write_input_tokens": 5,
    "finish_reasons": ["tool_use"],
    "tool_names": ["lookup"],
    "output_length": 5,
}

CONVERSE = {
    "ResponseMetadata": {"RequestId": "0f0e7c1e-51c4-4c56", "HTTPStatusCode": 200, "HTTPHeaders": {}},
    "output": {
        "message": {
            "role": "assistant",
            "content": [{"text": "Hello"}, {"toolUse": {"toolUseId": "t1", "name": "lookup", "input": {"id": 1}}}],
        }
    },
    "stopReason": "tool_use",
    "usage": {
        "inputTokens": 41,
        "outputTokens": 23,
        "totalTokens": 1264,
        "cacheReadInputTokens": 1200,
        "cacheWriteInputTokens": 0,
    },
    "metrics": {"latencyMs": 812},
}
CONVERSE_FIELDS = {
    "provider": "aws.bedrock",
    "request_id": "0f0e7c1e-51c4-4c56",
    "input_tokens": 1241,
    "output_tokens": 23,
    "cache_read_input_tokens": 1200,
    "cache_write_input_tokens": 0,
    "finish_reasons": ["tool_use"],
    "tool_names": ["lookup"],
    "output_length": 5,
}


class FinishReason(enum.Enum):
    STOP = "STOP"
    SAFETY = "SAFETY"


GEMINI = {
    "response_id": "r-1",
    "model_version": "gemini-2.5-pro",
    "candidates": [
        {
            "content": {"role": "model", "parts": [{"text": "Hello"}, {"function_call": {"name": "lookup", "args": {}}}]},
            "finish_reason": FinishReason.STOP,
        }
    ],
    "usage_metadata": {
        "prompt_token_count": 10,
        "cached_content_token_count": 4,
        "candidates_token_count": 29,
        "thoughts_token_count": 901,
        "total_token_count": 940,
    },
}
GEMINI_REST = {
    "responseId": "r-1",
    "modelVersion": "gemini-2.5-pro",
    "candidates": [
        {
            "content": {"role": "model", "parts": [{"text": "Hello"}, {"functionCall": {"name": "lookup", "args": {}}}]},
            "finishReason": "STOP",
        }
    ],
    "usageMetadata": {
        "promptTokenCount": 10,
        "cachedContentTokenCount": 4,
        "candidatesTokenCount": 29,
        "thoughtsTokenCount": 901,
        "totalTokenCount": 940,
    },
}
# Gemini's candidates leave thoughts out: 29 + 901.
GEMINI_FIELDS = {
    "response_id": "r-1",
    "response_model": "gemini-2.5-pro",
    "input_tokens": 10,
    "output_tokens": 930,
    "reasoning_output_tokens": 901,
    "cache_read_input_tokens": 4,
    "finish_reasons": ["STOP"],
    "tool_names": ["lookup"],
    "output_length": 5,
}

INVOKE_MODEL = {
    "ResponseMetadata": {
        "RequestId": "9a4d2f0e",
        "HTTPHeaders": {"x-amzn-bedrock-input-token-count": "17", "x-amzn-bedrock-output-token-count": "5"},
    },
    "contentType": "application/json",
    "body": object(),
}
INVOKE_MODEL_FIELDS = {"provider": "aws.bedrock", "request_id": "9a4d2f0e", "input_tokens": 17, "output_tokens": 5}

EMBEDDINGS = {
    "object": "list",
    "model": "text-embedding-3-small",
    "data": [{"object": "embedding", "index": 0, "embedding": [0.1, 0.2]}],
    "usage": {"prompt_tokens": 8, "total_tokens": 8},
}
EMBEDDINGS_FIELDS = {"operation": "embeddings", "response_model": "text-embedding-3-small", "input_tokens": 8}

WHOLE = {
    "openai chat": (OPENAI_CHAT, OPENAI_CHAT_FIELDS),
    "openai responses": (OPENAI_RESPONSE, OPENAI_RESPONSE_FIELDS),
    "anthropic": (ANTHROPIC, ANTHROPIC_FIELDS),
    "bedrock converse": (CONVERSE, CONVERSE_FIELDS),
    "bedrock invoke": (INVOKE_MODEL, INVOKE_MODEL_FIELDS),
    "gemini library": (GEMINI, GEMINI_FIELDS),
    "gemini rest": (GEMINI_REST, GEMINI_FIELDS),
    "embeddings": (EMBEDDINGS, EMBEDDINGS_FIELDS),
}

OWN = {"timestamp", "event_id", "duration_ms", "status", "user_id", "stream", "time_to_first_chunk_ms"}


def fields_of(records):
    """The fields that an answer filled."""
    record = {key: value for key, value in records.one.items() if key not in OWN}
    if record.get("operation") == "chat":
        del record["operation"]
    if len(record["request_id"]) == 32:
        del record["request_id"]
    return record


@pytest.mark.parametrize("name", WHOLE)
def test_a_dictionary_is_recognised(records, name):
    answer, expected = WHOLE[name]
    with inference() as call:
        call.response(answer)
    assert fields_of(records) == expected
    assert inferwatch.stats() == {}


@pytest.mark.parametrize("name", [name for name in WHOLE if not name.startswith("bedrock")])
def test_an_object_is_recognised(records, name):
    answer, expected = WHOLE[name]
    with inference() as call:
        call.response(as_objects(answer))
    assert fields_of(records) == expected


STREAMS = {
    "openai chat": (
        [
            {"id": "c1", "model": "gpt-4o", "choices": [{"delta": {"role": "assistant", "content": "Hel"}}]},
            {"id": "c1", "model": "gpt-4o", "choices": [{"delta": {"content": "lo"}}]},
            {
                "id": "c1",
                "choices": [
                    {"delta": {"tool_calls": [{"index": 0, "id": "t", "function": {"name": "lookup", "arguments": ""}}]}}
                ],
            },
            {"id": "c1", "choices": [{"delta": {"tool_calls": [{"index": 0, "function": {"arguments": '{"id":7}'}}]}}]},
            {"id": "c1", "choices": [{"delta": {}, "finish_reason": "tool_calls"}]},
            {"id": "c1", "choices": [], "usage": {"prompt_tokens": 9, "completion_tokens": 12}},
        ],
        {
            "response_id": "c1",
            "response_model": "gpt-4o",
            "input_tokens": 9,
            "output_tokens": 12,
            "finish_reasons": ["tool_calls"],
            "tool_names": ["lookup"],
            "output_length": 5,
        },
    ),
    "openai responses": (
        [
            {"type": "response.created", "response": {"id": "resp_1", "object": "response"}},
            {"type": "response.output_text.delta", "delta": "Hel"},
            {"type": "response.output_text.delta", "delta": "lo"},
            {"type": "response.output_text.done", "text": "Hello"},
            {"type": "response.completed", "response": OPENAI_RESPONSE},
        ],
        OPENAI_RESPONSE_FIELDS,
    ),
    "anthropic": (
        [
            {
                "type": "message_start",
                "message": ANTHROPIC | {"content": [], "stop_reason": None, "usage": ANTHROPIC["usage"] | {"output_tokens": 1}},
            },
            {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}},
            {"type": "ping"},
            {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "Hello"}},
            {"type": "content_block_stop", "index": 0},
            {"type": "content_block_start", "index": 1, "content_block": ANTHROPIC["content"][1]},
            {"type": "content_block_delta", "index": 1, "delta": {"type": "input_json_delta", "partial_json": "{}"}},
            {"type": "message_delta", "delta": {"stop_reason": "tool_use"}, "usage": {"output_tokens": 30}},
            {"type": "message_stop"},
        ],
        ANTHROPIC_FIELDS,
    ),
    "bedrock converse": (
        [
            {"messageStart": {"role": "assistant"}},
            {"contentBlockDelta": {"contentBlockIndex": 0, "delta": {"text": "Hello"}}},
            {"contentBlockStart": {"contentBlockIndex": 1, "start": {"toolUse": {"toolUseId": "t1", "name": "lookup"}}}},
            {"contentBlockDelta": {"contentBlockIndex": 1, "delta": {"toolUse": {"input": "{}"}}}},
            {"messageStop": {"stopReason": "tool_use"}},
            {"metadata": {"usage": CONVERSE["usage"], "metrics": {"latencyMs": 812}}},
        ],
        {key: value for key, value in CONVERSE_FIELDS.items() if key != "request_id"},
    ),
    "gemini": (
        [
            GEMINI_REST | {"candidates": [{"content": {"parts": [{"text": "Hel"}]}}]},
            GEMINI_REST
            | {
                "candidates": [
                    {
                        "content": {"parts": [{"text": "lo"}, {"functionCall": {"name": "lookup", "args": {}}}]},
                        "finishReason": "STOP",
                    }
                ]
            },
        ],
        GEMINI_FIELDS,
    ),
}


@pytest.mark.parametrize(
    ("name", "of_objects"),
    # botocore has dictionaries only.
    [(name, False) for name in STREAMS] + [(name, True) for name in STREAMS if name != "bedrock converse"],
)
def test_chunks_add_up_to_the_answer(records, name, of_objects):
    chunks, expected = STREAMS[name]

    @inferwatch.log_inference
    def stream():
        yield from [as_objects(chunk) for chunk in chunks] if of_objects else chunks

    assert len(list(stream())) == len(chunks)
    assert fields_of(records) == expected
    assert records.one["status"] == "success"


@pytest.mark.parametrize(
    "answer",
    [
        {"choices": [{"finish_reason": "content_filter", "message": {"content": None}}]},
        ANTHROPIC | {"stop_reason": "refusal"},
        CONVERSE | {"stopReason": "guardrail_intervened"},
        {"candidates": [{"finishReason": "SAFETY"}]},
        {"candidates": [as_objects({"finish_reason": FinishReason.SAFETY})]},
        {"usageMetadata": {"promptTokenCount": 5}, "promptFeedback": {"blockReason": "OTHER"}},
        OPENAI_RESPONSE | {"status": "incomplete", "incomplete_details": {"reason": "content_filter"}},
    ],
)
def test_a_filter_that_ended_the_answer_is_a_block(records, answer):
    with inference() as call:
        call.response(answer)
    assert records.one["status"] == "blocked"


def test_the_library_of_an_object_tells_the_provider_and_the_program_overrules_it(records):
    Completion = type("ChatCompletion", (), {"__module__": "openai.types.chat"})
    answer = Completion()
    answer.choices, answer.model = [], "gpt-4o"
    for provider in (None, "azure.ai.openai"):
        with inference(provider=provider) as call:
            call.response(answer)
    assert [record["provider"] for record in records.all] == ["openai", "azure.ai.openai"]


def test_raw_content_keeps_text_and_tool_calls(records):
    inferwatch.configure(records, content="raw")
    with inference() as call:
        call.response(ANTHROPIC)
    assert records.one["output"] == [
        {
            "role": "assistant",
            "content": "Hello",
            "tool_calls": [{"id": "tu_1", "function": {"name": "lookup", "arguments": {}}}],
        }
    ]


class Raises:
    def __getattr__(self, name):
        raise RuntimeError(name)


@pytest.mark.parametrize(
    "answer",
    [None, 5, b"bytes", [], {}, object(), MagicMock(), Raises(), {"choices": 5}, {"choices": [None, 7, "x"]}, {"usage": []}],
    ids=range(11),
)
def test_what_is_no_answer_says_nothing(records, answer):
    with inference() as call:
        call.response(answer)
    assert fields_of(records) == {}
    assert inferwatch.stats() == {}


@pytest.mark.parametrize("wrong", [-1, True, 2**63, 1.5, "12", None, float("nan")])
def test_a_count_that_is_none_is_left_out(records, wrong):
    with inference() as call:
        call.response({"choices": [], "usage": {"prompt_tokens": wrong, "completion_tokens": 3}})
    assert fields_of(records) == {"output_tokens": 3}
