"""Reading of objects that may be anything: client libraries' objects, dictionaries, or a test's stand-ins.

What is asked for by name is only believed when it has the type it must have.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from enum import Enum
from typing import Any, TypeGuard

#: What a program gives as a name has no spaces; prose does.
_NAME = re.compile(r"[\w.:/@+\-]{1,200}", re.ASCII)


def is_mapping(value: Any) -> TypeGuard[Mapping[str, Any]]:
    """Whether it is a mapping; nearly all are plain dictionaries, and asking the abstract class takes long."""
    return type(value) is dict or isinstance(value, Mapping)


def pick(value: Any, *path: str) -> Any:
    """What lies at a path of keys or attributes, else nothing."""
    for step in path:
        if value is None:
            return None
        try:
            value = value.get(step) if is_mapping(value) else getattr(value, step, None)
        except Exception:  # a property that raises has nothing to say
            return None
    return value


def count(value: Any) -> int | None:
    """A whole number that is not negative."""
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value < 2**63:
        return None
    return int(value)


def name(value: Any) -> str | None:
    """A short text without spaces: an id, a model's name, a reason. Of an enumeration's member, its name."""
    if isinstance(value, Enum):
        value = value.value if isinstance(value.value, str) else value.name
    return str(value) if isinstance(value, str) and _NAME.fullmatch(value) else None


def label(value: Any) -> str | None:
    """A short text that a program gave: who calls, for whom."""
    return str(value[:500]) if isinstance(value, str) and value else None


def number(value: Any) -> float | None:
    """A number."""
    return float(value) if isinstance(value, (int, float)) and not isinstance(value, bool) else None


def items(value: Any) -> Sequence[Any]:
    """The items of a list; of anything else none."""
    return value if isinstance(value, (list, tuple)) else ()
