"""Functions of every kind: what they return, yield and raise is theirs, and each call is one record."""

from __future__ import annotations

import asyncio
import functools
import inspect
import logging

import pytest

import inferwatch
from inferwatch import _settings, current_call, inference, log_inference

CHAT = {
    "object": "chat.completion",
    "id": "chatcmpl-1",
    "model": "gpt-4o-2024-11-20",
    "choices": [{"finish_reason": "stop", "message": {"role": "assistant", "content": "It was paid."}}],
    "usage": {"prompt_tokens": 12, "completion_tokens": 4, "total_tokens": 16},
}


def test_a_function_is_logged_with_its_arguments_and_its_answer(records):
    @log_inference(provider="openai", tags={"env": "test"})
    def ask(messages, model="gpt-4o", **options):
        """Asks."""
        return CHAT

    assert ask([{"role": "user", "content": "status of claim 7?"}], temperature=0.5, max_tokens=64) is CHAT
    record = records.one
    assert record.pop("duration_ms") >= 0
    assert record.pop("event_id") == record.pop("request_id")
    assert record.pop("timestamp").endswith("Z")
    assert record == {
        "operation": "chat",
        "status": "success",
        "response_id": "chatcmpl-1",
        "response_model": "gpt-4o-2024-11-20",
        "input_tokens": 12,
        "output_tokens": 4,
        "finish_reasons": ["stop"],
        "user_id": "claims-bot",
        "model": "gpt-4o",
        "temperature": 0.5,
        "max_tokens": 64,
        "provider": "openai",
        "tags": {"env": "test"},
        "input_length": 18,
        "output_length": 12,
    }
    assert (ask.__name__, ask.__doc__) == ("ask", "Asks.")
    assert list(inspect.signature(ask).parameters) == ["messages", "model", "options"]


def test_no_text_is_written_unless_asked_for(records):
    @log_inference
    def ask(prompt, system):
        if prompt == "QUOKKA fails":
            raise RuntimeError("QUOKKA in the message")
        return CHAT | {"choices": [{"message": {"content": "QUOKKA answers"}}]}

    ask("QUOKKA asks", system="QUOKKA rules")
    with pytest.raises(RuntimeError):
        ask("QUOKKA fails", system="QUOKKA rules")
    assert len(records.lines) == 2
    assert b"QUOKKA" not in b"".join(records.lines)
    assert [record["input_length"] for record in records.all] == [23, 24]


def test_raw_content_is_written_as_it_was_when_the_call_began(records):
    messages = [{"role": "user", "content": "first"}]

    @log_inference(content="raw")
    def ask(messages):
        messages.append({"role": "user", "content": "added later"})
        return "done"

    ask(messages)
    assert records.one["messages"] == [{"role": "user", "content": "first"}]
    assert records.one["output"] == [{"role": "assistant", "content": "done"}]


def test_an_exception_is_written_and_raised_as_it_is(records):
    class Refused(Exception):
        status_code = 429
        code = "rate_limit_exceeded"
        request_id = "req_7"

    error = Refused("slow down")

    @log_inference(model="m")
    def ask():
        raise error

    with pytest.raises(Refused) as caught:
        ask()
    assert caught.value is error
    record = records.one
    assert (record["status"], record["error_type"], record["status_code"]) == ("failure", "Refused", 429)
    assert record["request_id"] == "req_7"


def test_a_filter_that_answers_with_an_error_is_a_block(records):
    class BadRequest(Exception):
        __module__ = "openai"
        status_code = 400
        code = "content_filter"

    @log_inference
    def ask():
        raise BadRequest

    with pytest.raises(BadRequest):
        ask()
    assert (records.one["status"], records.one["error_type"]) == ("blocked", "content_filter")
    assert records.one["provider"] == "openai"


def test_errors_of_botocore_have_their_code_and_status(records):
    class ClientError(Exception):
        response = {
            "Error": {"Code": "ThrottlingException", "Message": "Too many requests"},
            "ResponseMetadata": {"RequestId": "b-1", "HTTPStatusCode": 429},
        }

    @log_inference
    def ask():
        raise ClientError

    with pytest.raises(ClientError):
        ask()
    record = records.one
    assert (record["error_type"], record["status_code"], record["request_id"]) == ("ThrottlingException", 429, "b-1")


@pytest.mark.parametrize(
    ("function", "arguments", "expected"),
    [
        (
            lambda modelId, body: None,
            {"modelId": "m", "body": '{"max_tokens": 9, "messages": [{"role": "user", "content": "hi"}]}'},
            {"model": "m", "max_tokens": 9, "input_length": 2},
        ),
        (
            lambda modelId, body: None,
            {"modelId": "m", "body": b'{"inputText": "hello"}'},
            {"model": "m", "input_length": 5},
        ),
        (lambda modelId, body: None, {"modelId": "m", "body": "not JSON"}, {"model": "m"}),
        (
            lambda **options: None,
            {"modelId": "m", "system": [{"text": "be kind"}], "inferenceConfig": {"maxTokens": 7, "topP": 0.5}},
            {"model": "m", "max_tokens": 7, "top_p": 0.5, "input_length": 7},
        ),
        (
            lambda model, contents, config: None,
            {"model": "g", "contents": [{"role": "user", "parts": [{"text": "abc"}]}], "config": {"temperature": 1}},
            {"model": "g", "temperature": 1.0, "input_length": 3},
        ),
        (lambda question, model="m": None, {"question": "why?"}, {"model": "m", "input_length": 4}),
        (lambda model, stream: None, {"model": "two words", "stream": "yes"}, {}),
    ],
)
def test_arguments_are_read_by_the_names_that_libraries_use(records, function, arguments, expected):
    log_inference(function)(**arguments)
    own = {"timestamp", "event_id", "request_id", "operation", "duration_ms", "status", "user_id"}
    assert {key: value for key, value in records.one.items() if key not in own} == expected
    assert inferwatch.stats() == {}


def test_an_argument_with_a_name_of_its_own_can_be_the_prompt(records):
    @log_inference(prompt="ticket")
    def classify(ticket, text="ignored"):
        return "spam"

    classify("win money")
    assert records.one["input_length"] == 9


def test_a_coroutine_function_stays_one(records):
    @log_inference
    async def ask(prompt):
        await asyncio.sleep(0)
        return CHAT

    assert inspect.iscoroutinefunction(ask)
    assert asyncio.run(ask("hi")) is CHAT
    assert records.one["input_tokens"] == 12


def test_many_tasks_at_once_do_not_mix(records):
    @log_inference
    async def ask(prompt, number):
        current_call().set(end_user_id=f"before-{number}")
        await asyncio.sleep(0)
        current_call().set(conversation_id=f"after-{number}")
        return "x" * number

    async def all_of_them():
        await asyncio.gather(*(ask("p", number) for number in range(1, 60)))

    asyncio.run(all_of_them())
    for record in records.all:
        number = record["output_length"]
        assert (record["end_user_id"], record["conversation_id"]) == (f"before-{number}", f"after-{number}")
    assert sorted(record["output_length"] for record in records.all) == list(range(1, 60))


def test_a_cancelled_task_is_no_failure(records):
    @log_inference
    async def ask(started):
        started.set()
        await asyncio.Event().wait()

    async def cancel():
        started = asyncio.Event()
        task = asyncio.ensure_future(ask(started))
        await started.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(cancel())
    assert (records.one["status"], records.one["error_type"]) == ("cancelled", "CancelledError")


def test_a_generator_is_one_call_and_keeps_its_protocol(records):
    heard = []

    @log_inference(content="raw")
    def stream(prompt):
        heard.append((yield "one "))
        try:
            yield "two "
        except KeyError as error:
            heard.append(error)
        yield "three"
        return "value"

    assert inspect.isgeneratorfunction(stream)

    def consumer():
        return (yield from stream("count"))

    chunks = consumer()
    thrown = KeyError("odd")
    assert next(chunks) == "one "
    assert not records.lines
    assert chunks.send("sent") == "two "
    assert chunks.throw(thrown) == "three"
    with pytest.raises(StopIteration) as stop:
        next(chunks)
    assert stop.value.value == "value"
    assert heard == ["sent", thrown]
    record = records.one
    assert record["output"] == [{"role": "assistant", "content": "one two three"}]
    assert record["stream"] is True
    assert 0 <= record["time_to_first_chunk_ms"] <= record["duration_ms"]


def test_a_stream_that_nobody_reads_to_its_end_is_closed_and_cancelled(records):
    closed = []

    @log_inference
    def stream():
        try:
            yield "one"
            yield "two"
        finally:
            closed.append(True)

    chunks = stream()
    next(chunks)
    chunks.close()
    assert closed == [True]
    assert records.one["status"] == "cancelled"


def test_a_stream_whose_answer_was_complete_is_a_success_however_it_is_left(records):
    @log_inference
    def stream():
        yield {"choices": [{"delta": {"content": "a"}, "finish_reason": None}]}
        yield {"choices": [{"delta": {}, "finish_reason": "stop"}]}
        yield {"choices": [], "usage": {"prompt_tokens": 1, "completion_tokens": 1}}

    for chunk in stream():
        if chunk["choices"] and chunk["choices"][0]["finish_reason"]:
            break
    del chunk
    assert records.one["status"] == "success"


def test_an_error_in_the_middle_of_a_stream_is_written(records):
    @log_inference
    def stream():
        yield "one"
        raise ConnectionResetError

    chunks = stream()
    next(chunks)
    with pytest.raises(ConnectionResetError):
        next(chunks)
    assert (records.one["status"], records.one["error_type"]) == ("failure", "ConnectionResetError")


def test_an_async_generator_is_one_call_and_keeps_its_protocol(records):
    heard = []

    @log_inference(content="raw")
    async def stream(prompt):
        heard.append((yield "one "))
        try:
            yield "two "
        except KeyError as error:
            heard.append(type(error))
        yield "three"

    assert inspect.isasyncgenfunction(stream)

    async def consume():
        chunks = stream("count")
        assert await anext(chunks) == "one "
        assert await chunks.asend("sent") == "two "
        assert await chunks.athrow(KeyError("odd")) == "three"
        with pytest.raises(StopAsyncIteration):
            await anext(chunks)
        left = stream("again")
        assert await anext(left) == "one "
        await left.aclose()

    asyncio.run(consume())
    whole, left = records.all
    assert heard == ["sent", KeyError]
    assert whole["output"] == [{"role": "assistant", "content": "one two three"}]
    assert (whole["status"], left["status"]) == ("success", "cancelled")


def test_a_function_may_return_a_generator_or_a_coroutine(records):
    @log_inference
    def stream():
        return (text for text in ["a", "bc"])

    @log_inference
    def later():
        async def answer():
            return "four"

        return answer()

    assert list(stream()) == ["a", "bc"]
    assert asyncio.run(later()) == "four"
    assert [record["output_length"] for record in records.all] == [3, 4]


def test_a_stream_of_a_client_library_is_handed_over_unread(records):
    class Stream:
        def __iter__(self):
            return self

        def __next__(self):
            raise AssertionError("read by somebody else")

    stream = Stream()

    @log_inference
    def ask():
        return stream

    assert ask() is stream
    assert records.one["stream"] is True
    assert inferwatch.stats() == {"streams not followed": 1}


def test_methods_and_partials_can_be_decorated(records):
    class Bot:
        @log_inference
        def ask(self, prompt, model="m-1"):
            return self

        @staticmethod
        @log_inference
        def tell(prompt, *, model):
            return model

    bot = Bot()
    assert bot.ask("hi") is bot
    assert Bot.tell("hi", model="m-2") == "m-2"
    assert log_inference(functools.partial(Bot.tell, model="m-3"))("hi") == "m-3"
    assert [record["model"] for record in records.all] == ["m-1", "m-2", "m-3", "m-3"]


def test_a_wrong_call_raises_what_it_always_raised(records):
    @log_inference
    def ask(prompt):
        return prompt

    with pytest.raises(TypeError, match="missing 1 required positional argument: 'prompt'"):
        ask()
    assert records.one["error_type"] == "TypeError"


def test_a_block_is_one_call(records):
    with inference(provider="openai", model="gpt-4o") as call:
        assert current_call() is call
        call.prompt("hello")
        call.response(CHAT)
    with pytest.raises(KeyError), inference(model="gpt-4o"):
        raise KeyError("x")

    async def in_async_code():
        async with inference(model="gpt-4o", operation="embeddings") as call:
            call.set(input_tokens=3)

    asyncio.run(in_async_code())
    assert [record["status"] for record in records.all] == ["success", "failure", "success"]
    assert records.all[0]["input_length"] == 5
    assert records.all[2]["operation"] == "embeddings"


def test_fields_of_the_surrounding_block_win_over_configured_ones(records):
    inferwatch.configure(records, caller=lambda: "asked", service="claims", tags={"a": "1"})
    with inferwatch.context(end_user_id="u-7", caller="inner"):
        with inference(model="m", caller="told"):
            pass
        with inference(model="m"):
            pass
    with inference(model="m"):
        pass
    assert [record["user_id"] for record in records.all] == ["told", "inner", "asked"]
    assert [record.get("end_user_id") for record in records.all] == ["u-7", "u-7", None]
    assert all(record["service_name"] == "claims" for record in records.all)


def test_what_is_told_wrongly_is_left_out_and_counted(records):
    with inference(model="m") as call:
        call.set(input_tokens="many", colour="red", outcome="perhaps", temperature=True, cache_hit=True)
    record = records.one
    assert record["cache_hit"] is True
    assert not {"input_tokens", "colour", "temperature"} & set(record)
    assert record["status"] == "success"
    assert inferwatch.stats() == {"fields lost": 4}


def test_telling_outside_of_a_call_does_nothing(records):
    current_call().set(end_user_id="u")
    current_call().response(CHAT)
    assert not records.lines


def test_a_sink_that_fails_keeps_nobody_from_anything(records, caplog):
    class Broken:
        def write(self, line):
            raise OSError(f"no space for {line!r}")

        flush = close = write

    inferwatch.configure(Broken(), records, caller="claims-bot")

    @log_inference
    def ask(prompt):
        return prompt

    with caplog.at_level(logging.WARNING, "inferwatch"):
        assert [ask("QUOKKA") for _ in range(3)] == ["QUOKKA"] * 3
    assert len(records.lines) == 3
    assert inferwatch.stats() == {"records lost by a sink": 3}
    assert [record.getMessage() for record in caplog.records] == [
        "records lost by a sink: OSError (1 in this process so far)"
    ]
    assert inferwatch.flush() is False
    inferwatch.shutdown()


def test_a_logging_handler_that_raises_breaks_nothing(records):
    class Raises(logging.Handler):
        def handle(self, record):
            raise ZeroDivisionError

    handler = Raises()
    logger = logging.getLogger("inferwatch")
    logger.addHandler(handler)
    try:
        with inference(model="m") as call:
            call.set(colour="red")
    finally:
        logger.removeHandler(handler)
    assert records.one["model"] == "m"


def test_a_caller_function_that_raises_costs_the_caller_only(records):
    def who():
        raise LookupError

    inferwatch.configure(records, caller=who)
    with inference(model="m"):
        pass
    assert "user_id" not in records.one
    assert inferwatch.stats() == {"callers not known": 1}


def test_without_a_sink_nothing_breaks_and_it_is_said_once(records, monkeypatch, caplog):
    monkeypatch.setattr(_settings, "_settings", _settings.Settings())
    with caplog.at_level(logging.WARNING, "inferwatch"):
        for _ in range(2):
            with inference(model="m"):
                pass
    assert len(caplog.records) == 1
    assert inferwatch.stats() == {"records without a sink": 2}


@pytest.mark.parametrize(
    "wrong",
    [
        lambda: log_inference(content="redacted"),
        lambda: inference(content="on"),
        lambda: inferwatch.configure(content="all"),
    ],
)
def test_a_mode_that_does_not_exist_is_refused_where_it_is_written(records, wrong):
    with pytest.raises(ValueError, match="content is `off` or `raw`"):
        wrong()
