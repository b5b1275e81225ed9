"""The whole way: calls are logged, the program ingests the files, and its SQL says what was called.

Needs the program: see ``program`` in ``conftest.py``.
"""

from __future__ import annotations

import random
import threading

import pytest
from hostile import text
from test_responses import ANTHROPIC, CONVERSE, GEMINI_REST, OPENAI_CHAT

import inferwatch
from inferwatch import FileSink, inference, log_inference


@pytest.fixture
def logs(tmp_path, records):
    inferwatch.configure(FileSink(tmp_path / "logs"), caller="claims-bot", service="claims")
    return str(tmp_path / "logs")


def test_what_was_called_is_what_is_asked_for(program, logs):
    @log_inference(provider="openai")
    def ask(messages, model, answer, **options):
        if isinstance(answer, Exception):
            raise answer
        return answer

    class Timeout(Exception):
        pass

    with inferwatch.context(end_user_id="u-7", conversation_id="c-1"):
        ask([{"role": "user", "content": "status of claim 7?"}], "gpt-4o", OPENAI_CHAT, temperature=0.5, max_tokens=64)
    with inference(provider="anthropic", model="claude-sonnet-4-5-20250929", caller="other-bot") as call:
        call.prompt([{"role": "user", "content": [{"type": "text", "text": "12345"}, {"type": "text", "text": "678"}]}])
        call.response(ANTHROPIC)
    with inference(model="eu.anthropic.claude-sonnet-4-5-20250929-v1:0") as call:
        call.response(CONVERSE | {"stopReason": "guardrail_intervened"})
    with inference(provider="gcp.vertex_ai", model="gemini-2.5-pro") as call:
        call.response(GEMINI_REST)
    with pytest.raises(Timeout):
        ask("again", "gpt-4o", Timeout())

    @log_inference(model="gpt-4o")
    def stream():
        yield "a"

    next(stream())
    program("ingest", logs)
    found = program.rows(
        "SELECT caller, provider, model, response_model, response_id, outcome, error_type, input_tokens,"
        " input_tokens_uncached, cache_read_input_tokens, cache_write_input_tokens, output_tokens,"
        " reasoning_output_tokens, finish_reasons, tool_names, temperature, max_tokens, end_user_id, conversation_id,"
        " service_name, input_text_length, output_text_length, request_stream, operation, source_format"
        " FROM calls ORDER BY event_time",
    )
    nothing = dict.fromkeys(found[0])
    common = nothing | {
        "caller": "claims-bot",
        "service_name": "claims",
        "operation": "chat",
        "source_format": "generic",
        "outcome": "success",
    }
    assert found == [
        common
        | {
            "provider": "openai",
            "model": "gpt-4o",
            "response_model": "gpt-4o-2024-11-20",
            "response_id": "chatcmpl-9",
            "input_tokens": 1200,
            "input_tokens_uncached": 176,
            "cache_read_input_tokens": 1024,
            "output_tokens": 90,
            "reasoning_output_tokens": 64,
            "finish_reasons": ["tool_calls"],
            "tool_names": ["lookup"],
            "temperature": 0.5,
            "max_tokens": 64,
            "end_user_id": "u-7",
            "conversation_id": "c-1",
            "input_text_length": 18,
        },
        common
        | {
            "caller": "other-bot",
            "provider": "anthropic",
            "model": "claude-sonnet-4-5-20250929",
            "response_model": "claude-sonnet-4-5-20250929",
            "response_id": "msg_1",
            "input_tokens": 120,
            "input_tokens_uncached": 15,
            "cache_read_input_tokens": 100,
            "cache_write_input_tokens": 5,
            "output_tokens": 30,
            "finish_reasons": ["tool_use"],
            "tool_names": ["lookup"],
            "input_text_length": 8,
            "output_text_length": 5,
        },
        common
        | {
            "provider": "aws.bedrock",
            "model": "eu.anthropic.claude-sonnet-4-5-20250929-v1:0",
            "outcome": "blocked",
            "input_tokens": 1241,
            "input_tokens_uncached": 41,
            "cache_read_input_tokens": 1200,
            "cache_write_input_tokens": 0,
            "output_tokens": 23,
            "finish_reasons": ["guardrail_intervened"],
            "tool_names": ["lookup"],
            "output_text_length": 5,
        },
        common
        | {
            "provider": "gcp.vertex_ai",
            "model": "gemini-2.5-pro",
            "response_model": "gemini-2.5-pro",
            "response_id": "r-1",
            "input_tokens": 10,
            "input_tokens_uncached": 6,
            "cache_read_input_tokens": 4,
            "output_tokens": 930,
            "reasoning_output_tokens": 901,
            "finish_reasons": ["STOP"],
            "tool_names": ["lookup"],
            "output_text_length": 5,
        },
        common
        | {
            "provider": "openai",
            "model": "gpt-4o",
            "outcome": "failure",
            "error_type": "Timeout",
            "input_text_length": 5,
        },
        common | {"model": "gpt-4o", "outcome": "unknown", "request_stream": True, "output_text_length": 1},
    ]
    assert program.rows("SELECT count(*) AS n FROM quarantine") == [{"n": 0}]


def test_text_is_kept_as_the_program_is_told_and_lengths_agree(program, logs):
    chance = random.Random(7)
    texts = ["my mail is dana@example.com", *(given for given in (text(chance) for _ in range(30)) if given.strip())]
    for content in ("off", "raw"):
        for number, given in enumerate(texts):
            with inference(model=f"{content}-{number}", content=content) as call:
                call.prompt([{"role": "system", "content": "Be kind."}, {"role": "user", "content": given}])
                call.response("as you wish")
    program("ingest", "--content", "redacted", logs)
    lengths = program.rows("SELECT model, input_text_length AS input, output_text_length AS output FROM calls")
    assert {row["model"]: (row["input"], row["output"]) for row in lengths} == {
        f"{content}-{number}": (
            8 + len(given.encode("utf-16", "surrogatepass").decode("utf-16", "replace"))
            if content == "raw"
            else 8 + len(given),
            11,
        )
        for content in ("off", "raw")
        for number, given in enumerate(texts)
    }
    kept = program.rows("SELECT DISTINCT model FROM content")
    assert all(row["model"].startswith("raw-") for row in kept)
    (row,) = program.rows("SELECT text FROM content WHERE model = 'raw-0' AND role = 'user'")
    assert row["text"].startswith("my mail is ") and "dana" not in row["text"]


def test_the_store_can_follow_a_folder_that_grows(program, logs):
    def write(thread):
        for _ in range(50):
            with inference(model=f"m-{thread}"):
                pass

    for round_ in (1, 2):
        threads = [threading.Thread(target=write, args=(number,)) for number in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        for _ in range(2):
            program("ingest", logs)
        assert program.rows("SELECT count(*) AS n, count(DISTINCT event_id) AS ids FROM calls") == [
            {"n": round_ * 200, "ids": round_ * 200}
        ]
