"""The decorator and the context manager."""

from __future__ import annotations

import functools
import inspect
from collections.abc import AsyncGenerator, Callable, Coroutine, Generator, Mapping
from contextlib import suppress
from typing import Any, ParamSpec, TypeVar, overload

from ._arguments import Arguments
from ._call import Call, Options
from ._settings import Content, active, checked
from ._troubles import guarded, trouble
from .sink import Sink

P = ParamSpec("P")
T = TypeVar("T")


def inference(
    *,
    model: str | None = None,
    provider: str | None = None,
    operation: str | None = None,
    caller: str | None = None,
    service: str | None = None,
    content: Content | None = None,
    sink: Sink | None = None,
    tags: Mapping[str, str] | None = None,
) -> Call:
    """Logs what happens inside a block as one call. Works with ``async with`` as well.

        with inference(provider="openai", model="gpt-4o") as call:
            call.prompt(messages)
            response = client.chat.completions.create(model="gpt-4o", messages=messages)
            call.response(response)
    """
    return Call(_options(model, provider, operation, caller, service, content, sink, tags, None))


@overload
def log_inference(function: Callable[P, T], /) -> Callable[P, T]: ...


@overload
def log_inference(
    *,
    model: str | None = None,
    provider: str | None = None,
    operation: str | None = None,
    caller: str | None = None,
    service: str | None = None,
    content: Content | None = None,
    sink: Sink | None = None,
    tags: Mapping[str, str] | None = None,
    prompt: str | None = None,
) -> Callable[[Callable[P, T]], Callable[P, T]]: ...


def log_inference(
    function: Callable[..., Any] | None = None,
    /,
    *,
    model: str | None = None,
    provider: str | None = None,
    operation: str | None = None,
    caller: str | None = None,
    service: str | None = None,
    content: Content | None = None,
    sink: Sink | None = None,
    tags: Mapping[str, str] | None = None,
    prompt: str | None = None,
) -> Any:
    """Logs every call of a function that makes one call of a model: a function, a coroutine function, a generator or an
    async generator that yields the chunks of a stream.

    ``model``, ``temperature``, ``messages`` and the like are read from the function's arguments by the names that client
    libraries use; ``prompt`` names the argument that holds the prompt where it has a name of its own. What the function
    returns or yields tells tokens, reasons to stop and tools.
    """
    options = _options(model, provider, operation, caller, service, content, sink, tags, prompt)
    return _decorate(function, options) if function is not None else lambda inner: _decorate(inner, options)


def _options(
    model: str | None,
    provider: str | None,
    operation: str | None,
    caller: str | None,
    service: str | None,
    content: Content | None,
    sink: Sink | None,
    tags: Mapping[str, str] | None,
    prompt: str | None,
) -> Options:
    checked(content)
    given = {
        "model": model,
        "provider": provider,
        "operation": operation,
        "caller": caller,
        "service": service,
        "tags": tags,
    }
    fields = {key: value for key, value in given.items() if value is not None}
    return Options(fields, content, None if sink is None else (sink,), prompt)


def _decorate(function: Callable[..., Any], options: Options) -> Callable[..., Any]:
    arguments = Arguments(function)

    @guarded("arguments not read")
    def bound(args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> dict[str, Any]:
        return arguments.bind(args, kwargs)

    def begun(args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Call:
        call = Call(options)
        call.begin(bound(args, kwargs))
        return call

    inner = function
    while isinstance(inner, functools.partial):
        inner = inner.func

    wrapper: Callable[..., Any]
    if inspect.isasyncgenfunction(inner):
        wrapper = _passed_on(function, begun)

    elif inspect.isgeneratorfunction(inner):

        def wrapper(*args: Any, **kwargs: Any) -> Generator[Any, Any, Any]:
            return (yield from _follow(function(*args, **kwargs), begun(args, kwargs)))

    elif inspect.iscoroutinefunction(inner):

        async def wrapper(*args: Any, **kwargs: Any) -> Any:
            return await _awaited(function(*args, **kwargs), begun(args, kwargs))

    else:

        def wrapper(*args: Any, **kwargs: Any) -> Any:
            call = begun(args, kwargs)
            with _Running(call):
                answer = function(*args, **kwargs)
            return _answered(call, answer)

    return functools.wraps(function)(wrapper)


class _Running:
    """While the function itself runs: it is the current call, and what it raises is written; but not what only says
    that a generator has come to its end."""

    def __init__(self, call: Call, end: type[BaseException] | tuple[()] = ()) -> None:
        self._call = call
        self._end = end

    def __enter__(self) -> None:
        self._token = active.set(self._call)

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        # A step of a generator may end in another context than it began in.
        with suppress(ValueError):
            active.reset(self._token)
        if error is not None and not isinstance(error, self._end):
            self._call.error(error)
            self._call.end()


def _answered(call: Call, answer: Any) -> Any:
    """Writes a call that returned. A coroutine or generator is an answer that is still to come."""
    if inspect.iscoroutine(answer):
        return _awaited(answer, call)
    if inspect.isgenerator(answer):
        return _follow(answer, call)
    if inspect.isasyncgen(answer):
        return _passed_on(lambda: answer, lambda *_: call)()
    if _is_stream(answer):
        call.set(stream=True)
        trouble("streams not followed", "decorate a generator that yields the chunks, to log its tokens")
    call.response(answer)
    call.end()
    return answer


@guarded("answers not read")
def _is_stream(answer: Any) -> bool:
    """Whether an answer is a client library's stream, which only its consumer may read."""
    if isinstance(answer, dict):
        answer = answer.get("stream")
    return any(hasattr(type(answer), method) for method in ("__next__", "__anext__")) or (
        type(answer).__name__ == "EventStream"
    )


async def _awaited(answer: Coroutine[Any, Any, Any], call: Call) -> Any:
    with _Running(call):
        found = await answer
    return _answered(call, found)


def _follow(chunks: Generator[Any, Any, Any], call: Call) -> Generator[Any, Any, Any]:
    """Passes a generator on, step by step as ``yield from`` does, and writes its call when it ends."""
    step: Callable[[], Any] = functools.partial(next, chunks)
    while True:
        try:
            with _Running(call, StopIteration):
                chunk = step()
        except StopIteration as stop:
            call.end()
            return stop.value
        call.chunk(chunk)
        try:
            sent = yield chunk
        except GeneratorExit:
            call.cut_short()
            chunks.close()
            raise
        except BaseException as thrown:
            step = functools.partial(chunks.throw, thrown)
        else:
            step = functools.partial(next, chunks) if sent is None else functools.partial(chunks.send, sent)


def _passed_on(
    function: Callable[..., AsyncGenerator[Any, Any]],
    begun: Callable[[tuple[Any, ...], Mapping[str, Any]], Call],
) -> Callable[..., AsyncGenerator[Any, Any]]:
    """The same for a function that makes async generators, which have no ``yield from``."""

    async def wrapper(*args: Any, **kwargs: Any) -> AsyncGenerator[Any, Any]:
        chunks = function(*args, **kwargs)
        call = begun(args, kwargs)
        step: Callable[[], Any] = functools.partial(anext, chunks)
        while True:
            try:
                with _Running(call, StopAsyncIteration):
                    chunk = await step()
            except StopAsyncIteration:
                call.end()
                return
            call.chunk(chunk)
            try:
                sent = yield chunk
            except GeneratorExit:
                call.cut_short()
                await chunks.aclose()
                raise
            except BaseException as thrown:
                step = functools.partial(chunks.athrow, thrown)
            else:
                step = functools.partial(chunks.asend, sent)

    return wrapper
