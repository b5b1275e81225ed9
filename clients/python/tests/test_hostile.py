"""Whatever goes through: the call is not touched, and the record is one line of JSON that every reader takes."""

from __future__ import annotations

import json
import random

import pytest
from hostile import text, value

import inferwatch
from inferwatch import inference, log_inference
from inferwatch._plain import MOST_TEXT, plain


def strictly(line: bytes) -> dict:
    """Reads a line as the strictest reader would."""

    def refuse(constant):
        raise ValueError(constant)

    assert line.endswith(b"\n") and line.count(b"\n") == 1 and b"\r" not in line
    return json.loads(line.decode("utf-8", "strict"), parse_constant=refuse)


@pytest.mark.parametrize("content", ["off", "raw"])
@pytest.mark.parametrize("seed", range(40))
def test_any_argument_answer_and_field_ends_in_one_sound_line(records, content, seed):
    chance = random.Random(seed)
    inferwatch.configure(records, caller=lambda: value(chance), content=content)
    for _ in range(25):
        argument, answer = value(chance), value(chance)

        @log_inference(tags={"k": text(chance)}, model=text(chance))
        def ask(messages, system=None, config=None, **more):
            inferwatch.current_call().set(end_user_id=value(chance), input_tokens=value(chance), tags=value(chance))
            return answer

        with inferwatch.context(conversation_id=value(chance)):
            assert ask(argument, system=value(chance), config=value(chance), model=value(chance)) is answer
    assert len(records.lines) == 25
    for line in records.lines:
        strictly(line)


@pytest.mark.parametrize("seed", range(20))
def test_any_chunk_and_error_ends_in_one_sound_line(records, seed):
    chance = random.Random(seed)
    inferwatch.configure(records, content="raw")
    chunks = [value(chance) for _ in range(20)]

    class Odd(Exception):
        code = value(chance)
        status_code = value(chance)
        response = value(chance)

        def __str__(self):
            return text(chance)

    @log_inference
    def stream():
        yield from chunks
        raise Odd

    seen = []
    with pytest.raises(Odd):
        for chunk in stream():
            seen.append(chunk)
    assert all(left is right for left, right in zip(seen, chunks, strict=True))
    assert strictly(records.lines[0])["status"] == "failure"


@pytest.mark.parametrize("seed", range(200))
def test_text_that_utf8_can_write_stays_as_it_is(records, seed):
    chance = random.Random(seed)
    given = text(chance)
    with inference(content="raw") as call:
        call.prompt(given)
        call.response(given)
    record = strictly(records.lines[0])
    sound = given.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    # An empty answer says nothing.
    expected = [{"role": "assistant", "content": sound}] if given else None
    assert record.get("output") == expected
    assert record["messages"] == [{"role": "user", "content": sound}]


def test_halves_of_a_pair_become_replacement_characters_and_whole_pairs_a_letter():
    assert plain("a\ud83d b") == "a\ufffd b"
    assert plain("\ud83e\udd98") == "🦘"


def test_what_is_too_long_or_too_deep_is_cut():
    assert len(plain("x" * (MOST_TEXT + 5))) == MOST_TEXT
    nested: list = []
    for _ in range(10_000):
        nested = [nested]
    assert len(json.dumps(plain(nested))) < 100
    ring: dict = {}
    ring["again"] = [ring] * 50
    assert len(json.dumps(plain(ring))) < 1_000_000


def test_an_object_whose_every_method_raises_costs_its_own_field_only(records):
    class Hostile(str):
        def __str__(self):
            raise RuntimeError

        __len__ = __eq__ = __hash__ = __getitem__ = encode = __str__

    with inference(content="raw", model="m") as call:
        call.prompt(Hostile("x"))
        call.response(Hostile("x"))
        call.set(end_user_id=Hostile("x"))
    assert strictly(records.lines[0])["model"] == "m"


def test_a_library_object_is_read_by_its_own_fields_and_other_objects_are_left_out(records):
    class Message:
        def model_dump(self):
            return {"role": "user", "content": "hello"}

        def __repr__(self):
            return "SECRET"

    class Other:
        def __repr__(self):
            return "SECRET"

    with inference(content="raw") as call:
        call.prompt([Message(), Other(), {"role": "user", "content": [Other(), {"type": "x", "data": Other()}]}])
    assert records.one["messages"] == [
        {"role": "user", "content": "hello"},
        {"role": "user", "content": [{"type": "x", "data": None}]},
    ]


def test_what_raises_when_it_is_read_costs_itself_only(records):
    class Raises(dict):
        def items(self):
            raise RuntimeError

        get = __getitem__ = items

    @log_inference(content="raw", model="m")
    def ask(messages, temperature=0.5):
        inferwatch.current_call().set(tags=Raises(a=1), team="claims")

    ask([{"role": "user", "content": "kept"}, {"role": "user", "content": [{"type": "x", "data": Raises(a=1)}]}])
    record = records.one
    assert (record["model"], record["temperature"], record["team"]) == ("m", 0.5, "claims")
    assert record["messages"] == [
        {"role": "user", "content": "kept"},
        {"role": "user", "content": [{"type": "x", "data": None}]},
    ]


def test_a_prompt_that_contains_itself_has_a_length(records):
    ring: list = ["abc"]
    ring.append({"role": "user", "content": ring})
    with inference() as call:
        call.prompt(ring)
    assert records.one["input_length"] >= 3
    assert inferwatch.stats() == {}
