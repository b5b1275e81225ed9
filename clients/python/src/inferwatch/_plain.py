"""Any value as JSON that every reader takes, whatever a program or a prompt put into it."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from enum import Enum
from typing import Any

from ._pick import is_mapping

#: Characters of one text, beyond which it is cut; a prompt may be a book.
MOST_TEXT = 256 * 1024

#: Items of one list or object.
MOST_ITEMS = 4096

#: Levels of nesting.
DEEPEST = 12

#: Items of one value in all: what refers to itself, or to one thing many times, ends here.
MOST_IN_ALL = 20_000


def plain(value: Any) -> Any:
    """The value as what JSON has: lists, objects, texts, finite numbers, true, false and null.

    Objects of client libraries are asked for their fields (``model_dump``, ``to_dict``). Bytes are left out, and so is
    what no rule covers: its ``repr`` could say anything.
    """
    return _plain(value, 0, [MOST_IN_ALL])


def _plain(value: Any, depth: int, left: list[int]) -> Any:
    try:
        return _node(value, depth, left)
    except Exception:  # an object that raises when it is read costs itself only
        return None


def _node(value: Any, depth: int, left: list[int]) -> Any:
    left[0] -= 1
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, Enum):
        return _plain(value.value, depth, left)
    if isinstance(value, str):
        return text(value)
    if isinstance(value, int):
        # Readers take 64 bits.
        return int(value) if -(2**63) <= value < 2**63 else None
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else None
    if depth >= DEEPEST or left[0] <= 0:
        return None
    if is_mapping(value):
        return {
            text(key): _plain(inner, depth + 1, left)
            for key, inner in list(value.items())[:MOST_ITEMS]
            if isinstance(key, str)
        }
    if isinstance(value, (list, tuple)):
        return [_plain(inner, depth + 1, left) for inner in value[:MOST_ITEMS]]
    fields = fields_of(value)
    return None if fields is None else _plain(fields, depth, left)


def fields_of(value: Any) -> Mapping[str, Any] | None:
    """The fields of an object of a client library."""
    for name in ("model_dump", "to_dict"):
        # Looked up on the class: an instance may answer to any name.
        if callable(getattr(type(value), name, None)):
            fields = getattr(value, name)()
            return fields if isinstance(fields, Mapping) else None
    return None


def text(value: str) -> str:
    """A text that can be written: halves of surrogate pairs become U+FFFD, and what is too long is cut."""
    value = str(value[:MOST_TEXT])
    try:
        value.encode()
    except UnicodeEncodeError:
        value = value.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return value


def line(record: Mapping[str, Any]) -> bytes:
    """One record as one line. A newline inside a text is written as ``\\n`` in two characters, so it cannot end it."""
    return json.dumps(record, ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode() + b"\n"
