"""One call of a model, from its beginning to its record."""

from __future__ import annotations

import asyncio
import sys
import time
import uuid
from collections.abc import Callable, Mapping
from contextvars import Token
from dataclasses import dataclass
from datetime import datetime, timezone
from types import TracebackType
from typing import Any

from . import _arguments
from ._pick import count, label, name, number, pick
from ._plain import line, plain, text
from ._responses import Answer
from ._settings import Content, active, context_fields, deliver, settings
from ._troubles import guarded, trouble
from .sink import Sink

_OUTCOMES = {"success", "blocked", "failure", "cancelled"}

#: Codes of errors that mean a filter's block.
_BLOCKS = {"content_filter", "responsibleaipolicyviolation"}


def _flag(value: Any) -> bool | None:
    return value if isinstance(value, bool) else None


def _outcome(value: Any) -> str | None:
    return value if isinstance(value, str) and value in _OUTCOMES else None


def _tags(value: Any) -> dict[str, str] | None:
    if not isinstance(value, Mapping):
        return None
    return {text(str(key))[:100]: text(str(tag))[:500] for key, tag in list(value.items())[:50]}


#: What :meth:`Call.set` takes: the name in the record, and what it must be.
_FIELDS: dict[str, tuple[str, Callable[[Any], Any]]] = {
    "caller": ("user_id", label),
    "service": ("service_name", label),
    "outcome": ("status", _outcome),
    "http_status_code": ("status_code", count),
    "tags": ("tags", _tags),
    "prediction_class": ("prediction_class", name),
    **{key: (key, label) for key in ("end_user_id", "conversation_id", "credential_id", "team", "source_ip", "user_agent")},
    **{
        key: (key, name)
        for key in (
            "cloud_region",
            "error_type",
            "model",
            "operation",
            "provider",
            "request_id",
            "response_id",
            "response_model",
            "server_address",
        )
    },
    **{
        key: (key, count)
        for key in (
            "cache_read_input_tokens",
            "cache_write_input_tokens",
            "input_tokens",
            "max_tokens",
            "output_tokens",
            "reasoning_output_tokens",
        )
    },
    **{
        key: (key, number)
        for key in (
            "cost_usd",
            "duration_ms",
            "input_oov_rate",
            "prediction_confidence",
            "prediction_entropy",
            "temperature",
            "time_to_first_chunk_ms",
            "top_p",
        )
    },
    **{key: (key, _flag) for key in ("cache_hit", "stream")},
}


@dataclass(frozen=True)
class Options:
    """What a decorator or a block says about its calls; what is ``None`` is as configured."""

    fields: Mapping[str, Any]
    content: Content | None = None
    sinks: tuple[Sink, ...] | None = None
    prompt: str | None = None


_NOTHING = Options({})


class Call:
    """A call that is being logged. No method raises, whatever it is given.

    As a context manager it begins with the block and is written at its end; an exception passes through.
    """

    def __init__(self, options: Options = _NOTHING) -> None:
        self._options = options
        self._fields: dict[str, Any] = {}
        self._answer = Answer(keep_text=False)
        self._messages: Any = None
        self._input_length: int | None = None
        self._content: Content = "off"
        self._sinks: tuple[Sink, ...] = ()
        self._started = self._started_at = 0.0
        self._is_open = False
        self._token: Token[Call | None] | None = None

    # Telling.

    def set(self, **fields: Any) -> None:
        """Tells what is known of the call: ``caller``, ``end_user_id``, ``conversation_id``, ``model``, ``provider``,
        ``input_tokens``, ``prediction_class``, ``outcome``, ``tags`` and the like. What is no such field, or not of its
        type, is left out and counted."""
        for key, value in fields.items():
            if value is not None:
                self._set(key, value)

    @guarded("fields lost")
    def _set(self, key: str, value: Any) -> None:
        known = _FIELDS.get(key)
        read = known[1](value) if known else None
        if known is None or read is None:
            trouble("fields lost", f"`{key}` is unknown" if known is None else f"`{key}` is not what it must be")
        else:
            self._fields[known[0]] = text(read) if isinstance(read, str) else read

    @guarded("prompts not read")
    def prompt(self, value: Any) -> None:
        """Tells what was asked: a text, or messages as the client library takes them."""
        self._ask(_arguments.messages(value))

    @guarded("answers not read")
    def response(self, value: Any) -> None:
        """Tells the answer: the client library's object or dictionary, or a text."""
        self._answer.see(value)

    @guarded("answers not read")
    def chunk(self, value: Any) -> None:
        """Tells a piece of a streamed answer."""
        self._fields.setdefault("stream", True)
        self._fields.setdefault("time_to_first_chunk_ms", self._elapsed())
        self._answer.see(value)

    @guarded("errors not read")
    def error(self, error: BaseException) -> None:
        """Tells with which exception the call ended. Its message is content: written where prompts are."""
        kind = type(error).__name__
        service = pick(error, "response", "Error", "Code")
        code = name(service) or name(pick(error, "code"))
        status = count(pick(error, "status_code")) or count(pick(error, "response", "ResponseMetadata", "HTTPStatusCode"))
        if status is None and isinstance(pick(error, "code"), int):
            status = count(pick(error, "code"))
        is_blocked = code is not None and code.lower() in _BLOCKS
        if isinstance(error, (asyncio.CancelledError, GeneratorExit, KeyboardInterrupt, SystemExit)):
            self._fields["status"] = "cancelled"
        else:
            self._fields["status"] = "blocked" if is_blocked else "failure"
        self._fields["error_type"] = code if is_blocked or name(service) else kind
        if status is not None and 100 <= status < 600:
            self._fields["status_code"] = status
        request = name(pick(error, "request_id")) or name(pick(error, "response", "ResponseMetadata", "RequestId"))
        if request:
            self._fields["request_id"] = request
        library = type(error).__module__.split(".")[0]
        if library in {"openai", "anthropic"}:
            self._fields.setdefault("provider", library)
        if self._content == "raw":
            self._fields["error_message"] = text(str(error))

    # From beginning to end.

    @guarded("calls not begun")
    def begin(self, arguments: Mapping[str, Any] | None = None) -> None:
        """Starts the clock, and reads what the arguments of a function say."""
        now = settings()
        self._started_at, self._started = time.time(), time.perf_counter()
        self._is_open = True
        self._content = self._options.content or now.content
        self._sinks = now.sinks if self._options.sinks is None else self._options.sinks
        self._answer = Answer(keep_text=self._content == "raw")
        self.set(service=now.service, tags=now.tags)
        self._ask_who(now.caller)
        if arguments is not None:
            self._read(arguments)
        self.set(**context_fields())
        self.set(**self._options.fields)

    @guarded("arguments not read")
    def _read(self, arguments: Mapping[str, Any]) -> None:
        arguments = _arguments.opened(arguments)
        self._fields.update(_arguments.settings(arguments))
        self._ask(_arguments.prompt(arguments, self._options.prompt))

    @guarded("callers not known")
    def _ask_who(self, caller: str | Callable[[], str | None] | None) -> None:
        self.set(caller=caller() if callable(caller) else caller)

    def _ask(self, messages: list[dict[str, Any]]) -> None:
        if not messages:
            return
        if self._content == "raw":
            # As it is now: the caller may go on with the same list.
            self._messages = plain(messages)
        else:
            self._input_length = _arguments.length(messages)

    def _elapsed(self) -> float:
        return round((time.perf_counter() - self._started) * 1000, 3)

    def cut_short(self) -> None:
        """The consumer of a stream went away; where the answer was complete by then, nothing is amiss."""
        if not self._answer.reasons:
            self._fields.setdefault("status", "cancelled")
        self.end()

    @guarded("records lost")
    def end(self) -> None:
        """Writes the record, once."""
        if not self._is_open:
            return
        self._is_open = False
        deliver(line(self._record()), self._sinks)

    def _record(self) -> dict[str, Any]:
        moment = datetime.fromtimestamp(self._started_at, timezone.utc)
        identity = uuid.uuid4().hex
        record: dict[str, Any] = {
            "timestamp": moment.strftime("%Y-%m-%dT%H:%M:%S.%fZ"),
            "event_id": identity,
            "request_id": identity,
            "operation": "chat",
            "duration_ms": self._elapsed(),
            "status": "blocked" if self._answer.is_blocked else "success",
            **_trace(),
            **self._answer.settle(),
        }
        # What was told wins over what was worked out.
        record.update(self._fields)
        if self._content == "raw":
            if self._messages is not None:
                record["messages"] = self._messages
            if self._answer.texts or self._answer.tools:
                record["output"] = [self._said()]
        else:
            if self._input_length is not None:
                record["input_length"] = self._input_length
            if self._answer.length:
                record["output_length"] = self._answer.length
        return {key: _finite(value) for key, value in record.items()}

    def _said(self) -> dict[str, Any]:
        said: dict[str, Any] = {"role": "assistant", "content": text("".join(self._answer.texts))}
        if self._answer.tools:
            said["tool_calls"] = [
                {"id": tool["id"], "function": {"name": tool["name"], "arguments": plain(tool["arguments"])}}
                for tool in self._answer.tools
            ]
        return said

    def __enter__(self) -> Call:
        self.begin()
        self._token = active.set(self)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._leave()
        if error is not None:
            self.error(error)
        self.end()

    @guarded("contexts not left")
    def _leave(self) -> None:
        if self._token is not None:
            active.reset(self._token)

    async def __aenter__(self) -> Call:
        return self.__enter__()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.__exit__(kind, error, trace)


def _finite(value: Any) -> Any:
    return plain(value) if isinstance(value, float) else value


@guarded("traces not read")
def _read_trace() -> dict[str, str]:
    """The span of OpenTelemetry that encloses the call, where the program uses it."""
    api = sys.modules.get("opentelemetry.trace")
    if api is None:
        return {}
    span = api.get_current_span().get_span_context()
    if not span.is_valid:
        return {}
    return {"trace_id": f"{span.trace_id:032x}", "span_id": f"{span.span_id:016x}"}


def _trace() -> dict[str, str]:
    return _read_trace() or {}
