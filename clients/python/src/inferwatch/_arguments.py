"""What the arguments of a function say about the call it makes, by the names that client libraries use."""

from __future__ import annotations

import inspect
import json
from collections.abc import Callable, Mapping
from typing import Any

from ._pick import count, is_mapping, items, name, number, pick
from ._plain import DEEPEST, fields_of

_MODEL = ("model", "model_id", "modelId", "model_name", "deployment")
_LIMIT = ("max_tokens", "max_output_tokens", "max_completion_tokens", "maxTokens")
_SYSTEM = ("system", "system_prompt", "system_instruction", "instructions")
_PROMPT = ("messages", "prompt", "input", "contents", "inputText", "question", "query", "text")


class Arguments:
    """Arguments by name, those of ``**kwargs`` among them."""

    def __init__(self, function: Callable[..., Any]) -> None:
        try:
            self._signature: inspect.Signature | None = inspect.signature(function)
        except (TypeError, ValueError):
            self._signature = None

    def bind(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> dict[str, Any]:
        """The arguments of one call; defaults count too."""
        if self._signature is None:
            return dict(kwargs)
        try:
            bound = self._signature.bind_partial(*args, **kwargs)
        except TypeError:  # the call itself will raise that
            return dict(kwargs)
        bound.apply_defaults()
        found: dict[str, Any] = {}
        for key, value in bound.arguments.items():
            if self._signature.parameters[key].kind is inspect.Parameter.VAR_KEYWORD:
                found.update(value)
            else:
                found[key] = value
        return found


def opened(arguments: Mapping[str, Any]) -> Mapping[str, Any]:
    """The arguments, with those that Bedrock's InvokeModel takes as JSON in ``body``."""
    body = arguments.get("body")
    if "modelId" not in arguments or not isinstance(body, (str, bytes)):
        return arguments
    try:
        fields = json.loads(body)
    except ValueError:
        return arguments
    return {**fields, **arguments} if is_mapping(fields) else arguments


def settings(arguments: Mapping[str, Any]) -> dict[str, Any]:
    """The fields of a record that arguments fill."""
    config = arguments.get("inferenceConfig", arguments.get("config"))

    def first(names: tuple[str, ...], read: Callable[[Any], Any]) -> Any:
        for source in (arguments, config):
            for key in names:
                found = read(pick(source, key))
                if found is not None:
                    return found
        return None

    stream = arguments.get("stream")
    found = {
        "model": first(_MODEL, name),
        "temperature": first(("temperature",), number),
        "top_p": first(("top_p", "topP"), number),
        "max_tokens": first(_LIMIT, count),
        "stream": stream if isinstance(stream, bool) else None,
    }
    return {key: value for key, value in found.items() if value is not None}


def prompt(arguments: Mapping[str, Any], named: str | None) -> list[dict[str, Any]]:
    """The messages of a request: a role and its content each."""
    if named is not None:
        return messages(arguments.get(named))
    found: list[dict[str, Any]] = []
    for key in _SYSTEM:
        if arguments.get(key):
            found += [{"role": "system", "content": _content(arguments[key])}]
            break
    for key in _PROMPT:
        if arguments.get(key):
            found += messages(arguments[key])
            break
    return found


def messages(value: Any) -> list[dict[str, Any]]:
    """A text, a message or a list of either as messages."""
    if value is None:
        return []
    if isinstance(value, str):
        return [{"role": "user", "content": value}]
    found = []
    for item in items(value) or [value]:
        if isinstance(item, str):
            found.append({"role": "user", "content": item})
            continue
        fields = item if is_mapping(item) else fields_of(item)
        if fields is None:
            continue
        message: dict[str, Any] = {"role": name(fields.get("role")) or "user"}
        # Gemini's parts are content by another name.
        content = fields.get("content", fields.get("parts"))
        if content is not None:
            message["content"] = _content(content)
        for key in ("tool_calls", "tool_call_id", "name"):
            if fields.get(key) is not None:
                message[key] = fields[key]
        found.append(message)
    return found


def _content(value: Any) -> Any:
    """Content as it is, but that a part without a type says what it is."""
    if isinstance(value, str):
        return value
    parts = []
    for item in items(value) or [value]:
        fields = item if is_mapping(item) else fields_of(item)
        if isinstance(item, str):
            parts.append({"type": "text", "text": item})
        elif fields is None:
            continue
        elif "type" not in fields and isinstance(fields.get("text"), str):
            parts.append({"type": "text", "text": fields["text"]})
        else:
            parts.append({key: inner for key, inner in fields.items() if inner is not None})
    return parts


def length(value: Any, depth: int = 0) -> int:
    """Characters of the texts of messages; of attachments, tools and ids none."""
    if isinstance(value, str):
        return len(value)
    if depth >= DEEPEST:
        return 0
    if is_mapping(value):
        return sum(length(value.get(key), depth + 1) for key in ("content", "text"))
    return sum(length(item, depth + 1) for item in items(value))
