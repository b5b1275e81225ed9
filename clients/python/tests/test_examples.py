"""The examples run, and the program reads what they write."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parent.parent / "examples"


def example(name):
    spec = importlib.util.spec_from_file_location(name, EXAMPLES / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_quick_start_writes_three_calls(records, tmp_path, capsys):
    example("quickstart").main(str(tmp_path))
    (path,) = tmp_path.iterdir()
    calls = [json.loads(line) for line in path.read_text().splitlines()]
    assert [call["status"] for call in calls] == ["success", "success", "failure"]
    assert {call["end_user_id"] for call in calls} == {"u-7"}


def test_spans_of_opentelemetry_are_read_as_the_same_calls(records, tmp_path, program):
    pytest.importorskip("opentelemetry.sdk")
    example("opentelemetry_file").main(str(tmp_path / "spans.jsonl"))
    program("ingest", str(tmp_path / "spans.jsonl"))
    found = program.rows(
        "SELECT source_format, caller, service_name, provider, model, response_model, outcome, error_type, input_tokens,"
        " cache_read_input_tokens, output_tokens, temperature, finish_reasons FROM calls ORDER BY event_time",
    )
    nothing = dict.fromkeys(found[0])
    both = nothing | {
        "source_format": "otel.span",
        "caller": "claims-bot",
        "service_name": "claims",
        "provider": "openai",
        "model": "gpt-4o",
    }
    assert found == [
        both
        | {
            "response_model": "gpt-4o-2024-11-20",
            "outcome": "success",
            "input_tokens": 12,
            "cache_read_input_tokens": 8,
            "output_tokens": 6,
            "temperature": 0.2,
            "finish_reasons": ["stop"],
        },
        both | {"outcome": "failure", "error_type": "TimeoutError"},
    ]
