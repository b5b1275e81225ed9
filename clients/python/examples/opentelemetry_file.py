"""The same calls as spans of OpenTelemetry, written as OTLP/JSON lines, which ``inferwatch ingest`` reads as they are.

A sink turns each record into a span with the names of OpenTelemetry's conventions for generative AI; an exporter writes
spans as the collector's file exporter does. Needs ``opentelemetry-sdk``.

    python examples/opentelemetry_file.py spans.jsonl
    inferwatch ingest spans.jsonl
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from datetime import datetime
from typing import IO, Any

from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor, SpanExporter, SpanExportResult
from opentelemetry.trace import SpanKind, Status, StatusCode, Tracer

import inferwatch
from inferwatch import inference, log_inference

#: A record's field, and the attribute it becomes.
ATTRIBUTES = {
    "operation": "gen_ai.operation.name",
    "provider": "gen_ai.provider.name",
    "model": "gen_ai.request.model",
    "response_model": "gen_ai.response.model",
    "response_id": "gen_ai.response.id",
    "finish_reasons": "gen_ai.response.finish_reasons",
    "temperature": "gen_ai.request.temperature",
    "top_p": "gen_ai.request.top_p",
    "max_tokens": "gen_ai.request.max_tokens",
    "input_tokens": "gen_ai.usage.input_tokens",
    "output_tokens": "gen_ai.usage.output_tokens",
    "cache_read_input_tokens": "gen_ai.usage.cache_read.input_tokens",
    "cache_write_input_tokens": "gen_ai.usage.cache_creation.input_tokens",
    "conversation_id": "gen_ai.conversation.id",
    "user_id": "user.id",
    "error_type": "error.type",
    "status_code": "http.response.status_code",
}


class SpanSink:
    """Makes a span of each record."""

    def __init__(self, tracer: Tracer) -> None:
        self._tracer = tracer

    def write(self, line: bytes) -> None:
        """Begins and ends a span as long as the call was."""
        record: dict[str, Any] = json.loads(line)
        start = int(datetime.fromisoformat(record["timestamp"].replace("Z", "+00:00")).timestamp() * 1e6) * 1000
        attributes = {name: record[field] for field, name in ATTRIBUTES.items() if field in record}
        for field, name in (("messages", "gen_ai.input.messages"), ("output", "gen_ai.output.messages")):
            if field in record:
                attributes[name] = json.dumps(record[field])
        span = self._tracer.start_span(
            f"{record['operation']} {record.get('model', '')}".strip(),
            kind=SpanKind.CLIENT,
            attributes=attributes,
            start_time=start,
        )
        if record["status"] == "failure":
            span.set_status(Status(StatusCode.ERROR))
        span.end(start + int(record["duration_ms"] * 1e6))

    def flush(self, timeout: float | None = None) -> bool:
        """The span processor does that."""
        return True

    def close(self, timeout: float | None = None) -> None:
        """The provider does that."""


class FileExporter(SpanExporter):
    """One OTLP/JSON object a line."""

    def __init__(self, file: IO[str]) -> None:
        self._file = file

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        """Writes spans."""
        for span in spans:
            scope = span.instrumentation_scope
            found = {
                "resource": {"attributes": _attributes(span.resource.attributes)},
                "scopeSpans": [
                    {
                        "scope": {"name": scope.name, "version": scope.version} if scope else {},
                        "spans": [_span(span)],
                    }
                ],
            }
            self._file.write(json.dumps({"resourceSpans": [found]}) + "\n")
        self._file.flush()
        return SpanExportResult.SUCCESS


def _span(span: ReadableSpan) -> dict[str, Any]:
    context = span.get_span_context()
    assert context is not None
    return {
        "traceId": f"{context.trace_id:032x}",
        "spanId": f"{context.span_id:016x}",
        "parentSpanId": f"{span.parent.span_id:016x}" if span.parent else "",
        "name": span.name,
        # The SDK counts kinds from zero, OTLP from one.
        "kind": span.kind.value + 1,
        "startTimeUnixNano": str(span.start_time),
        "endTimeUnixNano": str(span.end_time),
        "attributes": _attributes(span.attributes or {}),
        "status": {"code": span.status.status_code.value},
    }


def _attributes(attributes: Any) -> list[dict[str, Any]]:
    return [{"key": key, "value": _value(value)} for key, value in attributes.items()]


def _value(value: Any) -> dict[str, Any]:
    if isinstance(value, bool):
        return {"boolValue": value}
    if isinstance(value, int):
        return {"intValue": str(value)}
    if isinstance(value, float):
        return {"doubleValue": value}
    if isinstance(value, str):
        return {"stringValue": value}
    return {"arrayValue": {"values": [_value(item) for item in value]}}


@log_inference(provider="openai")
def ask(messages: list[dict[str, str]], model: str = "gpt-4o", temperature: float = 0.2) -> dict[str, Any]:
    """Where a program would call its client library."""
    return {
        "object": "chat.completion",
        "id": "chatcmpl-example",
        "model": f"{model}-2024-11-20",
        "choices": [{"finish_reason": "stop", "message": {"role": "assistant", "content": "It was paid on Friday."}}],
        "usage": {"prompt_tokens": 12, "completion_tokens": 6, "prompt_tokens_details": {"cached_tokens": 8}},
    }


def main(path: str) -> None:
    """Two calls, the second of which fails."""
    with open(path, "a", encoding="utf-8") as file:
        provider = TracerProvider(resource=Resource({"service.name": "claims"}))
        provider.add_span_processor(SimpleSpanProcessor(FileExporter(file)))
        inferwatch.configure(SpanSink(provider.get_tracer("inferwatch")), caller="claims-bot")
        ask([{"role": "user", "content": "what became of claim 7?"}])
        try:
            with inference(provider="openai", model="gpt-4o"):
                raise TimeoutError
        except TimeoutError:
            pass
        provider.shutdown()


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 1 else "spans.jsonl")
