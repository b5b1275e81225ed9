"""Where records go."""

from __future__ import annotations

from typing import Protocol, runtime_checkable


@runtime_checkable
class Sink(Protocol):
    """Takes records, each one line of JSON with its newline.

    ``write`` is called by the thread that made the model call, so it should be quick. It may raise: the record is then
    counted as lost, and the model call is not touched.
    """

    def write(self, line: bytes) -> None:
        """Takes one record."""

    def flush(self, timeout: float | None = None) -> bool:
        """Waits until what was taken is delivered; whether it was in time."""

    def close(self, timeout: float | None = None) -> None:
        """Delivers what can be delivered in time, and gives everything back."""


class MemorySink:
    """Keeps lines in a list, for tests."""

    def __init__(self) -> None:
        self.lines: list[bytes] = []

    def write(self, line: bytes) -> None:
        """Takes one record."""
        self.lines.append(line)

    def flush(self, timeout: float | None = None) -> bool:
        """Has nothing to wait for."""
        return True

    def close(self, timeout: float | None = None) -> None:
        """Has nothing to give back."""
