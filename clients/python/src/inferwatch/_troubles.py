"""What goes wrong while logging: counted always, reported now and then, raised never.

Reports name the kind of a failure and the class of its exception. The text of an exception may quote a prompt, and
is left out.
"""

from __future__ import annotations

import functools
import logging
import threading
import time
from collections import Counter
from collections.abc import Callable
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")

LOGGER = logging.getLogger("inferwatch")

#: Seconds between two reports of one kind.
REPORT_EVERY = 60.0

_counts: Counter[str] = Counter()
_reported: dict[str, float] = {}
_lock = threading.Lock()


def trouble(kind: str, detail: str, count: int = 1) -> None:
    """Counts ``count`` failures of a kind, and reports them if none was reported of late."""
    try:
        with _lock:
            _counts[kind] += count
            total = _counts[kind]
            now = time.monotonic()
            last = _reported.get(kind)
            if last is not None and now - last < REPORT_EVERY:
                return
            _reported[kind] = now
        LOGGER.warning("%s: %s (%d in this process so far)", kind, detail, total)
    except Exception:  # a handler of the application that raises is no reason to break its calls
        pass


def guarded(kind: str) -> Callable[[Callable[P, T]], Callable[P, T | None]]:
    """Makes a function that cannot raise: it returns nothing where it would have."""

    def decorate(function: Callable[P, T]) -> Callable[P, T | None]:
        @functools.wraps(function)
        def safe(*args: P.args, **kwargs: P.kwargs) -> T | None:
            try:
                return function(*args, **kwargs)
            except Exception as error:
                trouble(kind, type(error).__name__)
                return None

        return safe

    return decorate


def stats() -> dict[str, int]:
    """How often what went wrong in this process, by kind; empty when all is well."""
    with _lock:
        return dict(_counts)


def _after_fork() -> None:
    global _lock
    _lock = threading.Lock()
    _counts.clear()
    _reported.clear()


def register_after_fork(function: Callable[[], None]) -> None:
    """Calls a function in every child that a fork makes, where the system has forks."""
    import os

    if hasattr(os, "register_at_fork"):
        os.register_at_fork(after_in_child=function)


register_after_fork(_after_fork)
