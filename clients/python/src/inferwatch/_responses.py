"""What an answer says about its call: model, tokens, reasons to stop, tools; by its shape, whole or in chunks.

Knows OpenAI's chat completions, responses and embeddings and all that imitate them, Anthropic's messages, Bedrock's
Converse and InvokeModel, and Gemini, as objects of their libraries or as dictionaries, without importing any.

Token counts are put into one algebra: ``input_tokens`` includes what caches read and wrote, ``output_tokens`` includes
reasoning.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ._pick import count, is_mapping, items, label, name, pick
from ._plain import MOST_TEXT

#: Reasons to stop that say a filter, and not the model, ended the call.
BLOCKED = {
    "blocklist",
    "content_filter",
    "content_filtered",
    "guardrail_intervened",
    "image_safety",
    "prohibited_content",
    "recitation",
    "refusal",
    "safety",
    "spii",
}


class Answer:
    """What is known of an answer so far. :meth:`see` takes it whole, or each chunk in turn."""

    def __init__(self, keep_text: bool) -> None:
        self._keep_text = keep_text
        self.length = 0
        self.fields: dict[str, Any] = {}
        self.reasons: list[str] = []
        self.tools: list[dict[str, Any]] = []
        self.texts: list[str] = []
        self._tokens: dict[str, int] = {}

    @property
    def is_blocked(self) -> bool:
        """Whether a filter ended it."""
        return any(reason.lower() in BLOCKED for reason in self.reasons)

    def see(self, value: Any) -> None:
        """Takes an answer or a chunk of one; what has no known shape says nothing."""
        if isinstance(value, str):
            self._text(value)
            return
        if value is None or isinstance(value, (bytes, bytearray, int, float)):
            return
        kind = name(pick(value, "type")) or ""
        if isinstance(pick(value, "choices"), (list, tuple)):
            self._chat(value)
        elif kind.startswith("response."):
            self._responses_event(kind, value)
        elif pick(value, "object") == "response":
            self._responses(value)
        elif kind in _ANTHROPIC_EVENTS:
            self._anthropic_event(kind, value)
        elif kind == "message" and isinstance(pick(value, "content"), (list, tuple)):
            self._anthropic(value)
        elif any(pick(value, key) is not None for key in ("candidates", "usage_metadata", "usageMetadata")):
            self._gemini(value)
        elif pick(value, "object") == "list" and items(pick(value, "data")):
            self._embeddings(value)
        elif is_mapping(value):
            self._bedrock(value)

    def settle(self) -> dict[str, Any]:
        """The fields of a record."""
        fields = dict(self.fields)
        tokens = dict(self._tokens)
        uncached = tokens.pop("uncached", None)
        if uncached is not None:
            caches = ("cache_read_input_tokens", "cache_write_input_tokens")
            tokens["input_tokens"] = uncached + sum(tokens.get(key, 0) for key in caches)
        fields.update(tokens)
        if self.reasons:
            fields["finish_reasons"] = list(self.reasons)
        names = [tool["name"] for tool in self.tools if tool["name"]]
        if names:
            fields["tool_names"] = names
        return fields

    # What all of them share.

    def _text(self, value: Any) -> None:
        if isinstance(value, str) and value:
            self.length += len(value)
            if self._keep_text and self.length <= MOST_TEXT + len(value):
                self.texts.append(value)

    def _reason(self, value: Any) -> None:
        reason = name(value)
        if reason and reason not in self.reasons:
            self.reasons.append(reason)

    def _tool(self, called: Any, arguments: Any = None, identity: Any = None) -> None:
        self.tools.append({"id": name(identity), "name": name(called), "arguments": arguments})

    def _put(self, **fields: str | None) -> None:
        self.fields.update({key: value for key, value in fields.items() if value is not None})

    def _count(self, source: Any, **paths: tuple[str, ...]) -> None:
        """Counts by their path; of several chunks the last that has one counts."""
        for key, path in paths.items():
            found = count(pick(source, *path))
            if found is not None:
                self._tokens[key] = found

    def _library(self, value: Any, provider: str) -> None:
        """A provider, where the class of the answer is from its own library; its dialect is spoken by many."""
        if type(value).__module__.split(".")[0] == provider:
            self._put(provider=provider)

    # OpenAI.

    def _chat(self, value: Any) -> None:
        self._library(value, "openai")
        self._put(
            response_id=name(pick(value, "id")),
            response_model=name(pick(value, "model")),
            request_id=name(pick(value, "_request_id")),
        )
        self._openai_usage(pick(value, "usage"), "prompt", "completion")
        if pick(value, "object") == "text_completion":
            self.fields["operation"] = "text_completion"
        for choice in items(pick(value, "choices")):
            self._reason(pick(choice, "finish_reason"))
            self._text(pick(choice, "text"))
            for part in ("message", "delta"):
                message = pick(choice, part)
                self._text(pick(message, "content"))
                self._text(pick(message, "refusal"))
                for tool in items(pick(message, "tool_calls")):
                    called, given = pick(tool, "function", "name"), pick(tool, "function", "arguments")
                    if name(called):
                        self._tool(called, given, pick(tool, "id"))
                    elif self.tools and isinstance(given, str):
                        # A later chunk of a call that has begun.
                        begun = self.tools[-1]["arguments"]
                        self.tools[-1]["arguments"] = (begun if isinstance(begun, str) else "") + given

    def _openai_usage(self, usage: Any, before: str, after: str) -> None:
        self._count(
            usage,
            input_tokens=(f"{before}_tokens",),
            output_tokens=(f"{after}_tokens",),
            cache_read_input_tokens=(f"{before}_tokens_details", "cached_tokens"),
            reasoning_output_tokens=(f"{after}_tokens_details", "reasoning_tokens"),
        )

    def _responses(self, value: Any) -> None:
        self._library(value, "openai")
        self._put(
            response_id=name(pick(value, "id")),
            response_model=name(pick(value, "model")),
            request_id=name(pick(value, "_request_id")),
        )
        self._openai_usage(pick(value, "usage"), "input", "output")
        reason = pick(value, "incomplete_details", "reason")
        self._reason(reason if name(reason) else pick(value, "status"))
        for item in items(pick(value, "output")):
            if pick(item, "type") == "function_call":
                self._tool(pick(item, "name"), pick(item, "arguments"), pick(item, "call_id"))
            for part in items(pick(item, "content")):
                self._text(pick(part, "text"))
                self._text(pick(part, "refusal"))

    def _responses_event(self, kind: str, event: Any) -> None:
        if kind in {"response.output_text.delta", "response.refusal.delta"}:
            self._text(pick(event, "delta"))
        elif kind in {"response.completed", "response.incomplete", "response.failed"}:
            # The whole answer, and so its text a second time.
            texts, length = self.texts, self.length
            self.texts, self.length = [], 0
            self._responses(pick(event, "response"))
            if not self.length:
                self.texts, self.length = texts, length

    def _embeddings(self, value: Any) -> None:
        self._library(value, "openai")
        self._put(operation="embeddings", response_model=name(pick(value, "model")))
        self._openai_usage(pick(value, "usage"), "prompt", "completion")

    # Anthropic.

    def _anthropic(self, value: Any) -> None:
        self._library(value, "anthropic")
        self._put(
            response_id=name(pick(value, "id")),
            response_model=name(pick(value, "model")),
            request_id=name(pick(value, "_request_id")),
        )
        self._anthropic_usage(pick(value, "usage"))
        self._reason(pick(value, "stop_reason"))
        for block in items(pick(value, "content")):
            self._anthropic_block(block)

    def _anthropic_block(self, block: Any) -> None:
        if pick(block, "type") == "tool_use":
            self._tool(pick(block, "name"), pick(block, "input"), pick(block, "id"))
        else:
            self._text(pick(block, "text"))

    def _anthropic_usage(self, usage: Any) -> None:
        self._count(
            usage,
            uncached=("input_tokens",),
            output_tokens=("output_tokens",),
            cache_read_input_tokens=("cache_read_input_tokens",),
            cache_write_input_tokens=("cache_creation_input_tokens",),
        )

    def _anthropic_event(self, kind: str, event: Any) -> None:
        if kind == "message_start":
            self._anthropic(pick(event, "message"))
        elif kind == "content_block_start":
            self._anthropic_block(pick(event, "content_block"))
        elif kind == "content_block_delta":
            self._text(pick(event, "delta", "text"))
        elif kind == "message_delta":
            self._anthropic_usage(pick(event, "usage"))
            self._reason(pick(event, "delta", "stop_reason"))

    # Gemini.

    def _gemini(self, value: Any) -> None:
        def either(source: Any, snake: str) -> Any:
            """The libraries write ``snake_case``, the API ``camelCase``."""
            head, *rest = snake.split("_")
            found = pick(source, snake)
            return pick(source, head + "".join(word.title() for word in rest)) if found is None else found

        self._put(response_id=name(either(value, "response_id")), response_model=name(either(value, "model_version")))
        usage = either(value, "usage_metadata")
        counts = {key: count(either(usage, f"{key}_token_count")) for key in _GEMINI_COUNTS}
        if counts["prompt"] is not None:
            self._tokens["input_tokens"] = counts["prompt"] + (counts["tool_use_prompt"] or 0)
        if counts["candidates"] is not None or counts["thoughts"] is not None:
            self._tokens["output_tokens"] = (counts["candidates"] or 0) + (counts["thoughts"] or 0)
        if counts["thoughts"] is not None:
            self._tokens["reasoning_output_tokens"] = counts["thoughts"]
        if counts["cached_content"] is not None:
            self._tokens["cache_read_input_tokens"] = counts["cached_content"]
        if (blocked := name(either(either(value, "prompt_feedback"), "block_reason"))) is not None:
            self._reason(blocked if blocked.lower() in BLOCKED else "content_filter")
        for candidate in items(pick(value, "candidates")):
            self._reason(either(candidate, "finish_reason"))
            for part in items(pick(candidate, "content", "parts")):
                self._text(pick(part, "text"))
                called = either(part, "function_call")
                if name(pick(called, "name")):
                    self._tool(pick(called, "name"), pick(called, "args"))

    # Bedrock.

    def _bedrock(self, value: Mapping[str, Any]) -> None:
        headers = pick(value, "ResponseMetadata", "HTTPHeaders")
        self._put(request_id=name(pick(value, "ResponseMetadata", "RequestId")))
        if is_mapping(headers):
            # InvokeModel says its counts beside the body, which is the caller's to read.
            for key, header in (("uncached", "input"), ("output_tokens", "output")):
                text = label(headers.get(f"x-amzn-bedrock-{header}-token-count"))
                if text and text.isascii() and text.isdigit():
                    self._tokens[key] = int(text)
                    self.fields["provider"] = "aws.bedrock"
        reason = value.get("stopReason", pick(value, "messageStop", "stopReason"))
        usage = value.get("usage", pick(value, "metadata", "usage"))
        if name(reason) or count(pick(usage, "inputTokens")) is not None:
            self.fields["provider"] = "aws.bedrock"
        self._reason(reason)
        self._count(
            usage,
            uncached=("inputTokens",),
            output_tokens=("outputTokens",),
            cache_read_input_tokens=("cacheReadInputTokens",),
            cache_write_input_tokens=("cacheWriteInputTokens",),
        )
        for part in items(pick(value, "output", "message", "content")):
            self._text(pick(part, "text"))
            called = pick(part, "toolUse")
            if name(pick(called, "name")):
                self._tool(pick(called, "name"), pick(called, "input"), pick(called, "toolUseId"))
        self._text(pick(value, "contentBlockDelta", "delta", "text"))
        begun = pick(value, "contentBlockStart", "start", "toolUse")
        if name(pick(begun, "name")):
            self._tool(pick(begun, "name"), None, pick(begun, "toolUseId"))


_ANTHROPIC_EVENTS = {"message_start", "content_block_start", "content_block_delta", "message_delta", "message_stop"}
_GEMINI_COUNTS = ("prompt", "candidates", "thoughts", "cached_content", "tool_use_prompt")
