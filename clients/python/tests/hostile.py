"""Values that programs and prompts contain although nobody would write them down. Seeded: the same ones each time."""

from __future__ import annotations

import random
from typing import Any

ALPHABETS = [
    "abc XYZ 0123456789",
    '"\\/{}[]:,\n\r\t\b\f',
    "".join(map(chr, range(32))) + "\x7f\x80\x85\x9b",
    "\u2028\u2029\ufeff\u200b\u202e\u2066",
    "\ud800\udc00\udfff\ud83d",
    "äöü漢字🦘𐍈\U000e0041\U0010ffff",
    "\x1b[31m\x1b]0;title\x07",
]


def text(chance: random.Random) -> str:
    """Letters of one alphabet or of all."""
    alphabet = chance.choice([*ALPHABETS, "".join(ALPHABETS)])
    return "".join(chance.choices(alphabet, k=chance.randrange(40)))


def value(chance: random.Random, depth: int = 0) -> Any:
    """Anything: numbers of every size, texts, bytes, objects, nested, and now and then what contains itself."""
    kind = chance.randrange(14 if depth < 5 else 9)
    if kind == 0:
        return None
    if kind == 1:
        return chance.choice([True, False])
    if kind == 2:
        return chance.choice([0, -1, 2**53, 2**63, -(2**80), 10**400])
    if kind == 3:
        return chance.choice([0.1, float("nan"), float("inf"), -float("inf"), 1e308])
    if kind == 4:
        return chance.choice([b"\xff\x00", bytearray(b"x"), memoryview(b"y"), {1, 2}, object(), range(3), complex(1, 2)])
    if kind <= 8:
        return text(chance)
    if kind <= 10:
        return [value(chance, depth + 1) for _ in range(chance.randrange(5))]
    if kind == 11:
        ring: list[Any] = [text(chance)]
        ring.append(ring)
        return ring
    keys = [text(chance), "role", "content", "type", "text", "parts", "tool_calls", "usage", "choices", 5, None]
    return {chance.choice(keys): value(chance, depth + 1) for _ in range(chance.randrange(6))}
