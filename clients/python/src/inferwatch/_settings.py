"""What holds for all calls of a process, and for those inside a block."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from ._troubles import guarded, trouble
from .sink import Sink

if TYPE_CHECKING:
    from ._call import Call

#: ``off`` writes no text, only its length; ``raw`` writes prompts and answers as they are.
Content = Literal["off", "raw"]


@dataclass(frozen=True)
class Settings:
    """What holds where a decorator or a block says nothing else."""

    sinks: tuple[Sink, ...] = ()
    caller: str | Callable[[], str | None] | None = None
    service: str | None = None
    content: Content = "off"
    tags: Mapping[str, str] | None = None


_settings = Settings()
_context: ContextVar[Mapping[str, Any]] = ContextVar("inferwatch_context", default={})
active: ContextVar[Call | None] = ContextVar("inferwatch_call", default=None)


def configure(
    *sinks: Sink,
    caller: str | Callable[[], str | None] | None = None,
    service: str | None = None,
    content: Content = "off",
    tags: Mapping[str, str] | None = None,
) -> None:
    """Says where records go and what is the same in all of them; replaces what was said before.

    ``caller`` is the principal that most rules count by: a service account, a key's name. It may be a function that is
    asked at each call. ``content="raw"`` writes prompts and answers into the records.
    """
    global _settings
    checked(content)
    for sink in sinks:
        if not isinstance(sink, Sink):
            raise TypeError(f"not a sink: {type(sink).__name__} has no `write`, `flush` and `close`")
    _settings = Settings(sinks, caller, service, content, dict(tags) if tags else None)


def checked(content: str | None) -> None:
    """Refuses a mode that does not exist, where the program is written and not where it runs."""
    if content not in {None, "off", "raw"}:
        raise ValueError(f"content is `off` or `raw`, not {content!r}; text is redacted by `inferwatch ingest`")


def settings() -> Settings:
    """What holds now."""
    return _settings


@contextmanager
def context(**fields: Any) -> Iterator[None]:
    """Adds fields to every call inside the block, as :meth:`Call.set` takes them: in middleware, who the end user is.

        with inferwatch.context(end_user_id="u-7", conversation_id="c-1"):
            ask(messages)
    """
    token = _context.set({**_context.get(), **fields})
    try:
        yield
    finally:
        _context.reset(token)


def context_fields() -> Mapping[str, Any]:
    """The fields of the blocks that enclose the caller."""
    return _context.get()


def current_call() -> Call:
    """The call that is being logged, to tell more about it; outside of any, one that is never written."""
    from ._call import Call

    return active.get() or Call()


def deliver(line: bytes, sinks: tuple[Sink, ...]) -> None:
    """Gives a record to each sink; one that fails does not keep it from the others."""
    if not sinks:
        trouble("records without a sink", "call `inferwatch.configure` first")
    for sink in sinks:
        _write(sink, line)


@guarded("records lost by a sink")
def _write(sink: Sink, line: bytes) -> None:
    sink.write(line)


def flush(timeout: float | None = None) -> bool:
    """Waits until all sinks have delivered what they took; whether they were in time."""
    flushed = [guarded("flush")(sink.flush)(timeout) for sink in _settings.sinks]
    return all(flushed)


def shutdown(timeout: float | None = None) -> None:
    """Closes all sinks. Records of later calls are lost, and counted."""
    for sink in _settings.sinks:
        guarded("close")(sink.close)(timeout)
