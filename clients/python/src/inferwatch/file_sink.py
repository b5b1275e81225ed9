"""Records in files: one line a record, one write a line.

A file is opened for appending, so any number of threads and processes may share a folder: the system puts each write
behind what is there. Nothing is ever renamed. A new hour or a full file begins a file of another name, and
``inferwatch ingest`` reads on in files that have grown, so it may run on the folder at any time.
"""

from __future__ import annotations

import os
import threading
import time
import weakref
from pathlib import Path

from ._troubles import register_after_fork

#: A folder and its files are for one user: with ``content="raw"`` there are prompts in them.
FOLDER_MODE = 0o700
FILE_MODE = 0o600


class FileSink:
    """Appends to ``FOLDER/calls-2026-03-02T10.jsonl`` and its kin; ``…T10.1.jsonl`` follows a file that is full.

    A record is with the system when ``write`` returns, so it survives the end of the process, though not that of the
    machine.
    """

    def __init__(
        self,
        folder: str | os.PathLike[str],
        *,
        prefix: str = "calls",
        max_bytes: int = 128 * 1024 * 1024,
    ) -> None:
        if max_bytes < 1:
            raise ValueError("max_bytes must be at least 1")
        if not prefix or "/" in prefix or os.sep in prefix:
            raise ValueError(f"prefix must be a file name, not {prefix!r}")
        self.folder = Path(folder)
        self.prefix = prefix
        self.max_bytes = max_bytes
        self.folder.mkdir(mode=FOLDER_MODE, parents=True, exist_ok=True)
        self._lock = threading.Lock()
        self._file = -1
        self._hour = ""
        self._is_torn = False
        _sinks.add(self)

    def write(self, line: bytes) -> None:
        """Appends one record."""
        hour = time.strftime("%Y-%m-%dT%H", time.gmtime())
        with self._lock:
            if self._file < 0 or hour != self._hour or not self._has_room():
                self._open(hour)
            self._append(line)

    def _append(self, line: bytes) -> None:
        # What is left of a line that the disk had no room for must not swallow the next one.
        rest = b"\n" + line if self._is_torn else line
        written = 0
        try:
            while written < len(rest):
                written += os.write(self._file, rest[written:])
        except OSError:
            self._is_torn = self._is_torn or written > 0
            raise
        self._is_torn = False

    def _has_room(self) -> bool:
        """Whether the open file is below its size, and still has a name: somebody may have moved it away."""
        status = os.fstat(self._file)
        return status.st_size < self.max_bytes and status.st_nlink > 0

    def _open(self, hour: str) -> None:
        self._close()
        self._hour = hour
        number = 0
        while True:
            suffix = f".{number}" if number else ""
            path = self.folder / f"{self.prefix}-{hour}{suffix}.jsonl"
            # Nobody may lead a log elsewhere by a link.
            flags = os.O_RDWR | os.O_APPEND | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_BINARY", 0)
            self._file = os.open(path, flags, FILE_MODE)
            if self._has_room():
                break
            self._close()
            number += 1
        size = os.fstat(self._file).st_size
        # A process that was killed in the middle of a line.
        self._is_torn = size > 0 and _last_byte(self._file, size) != b"\n"

    def _close(self) -> None:
        if self._file >= 0:
            os.close(self._file)
            self._file = -1

    def flush(self, timeout: float | None = None) -> bool:
        """Asks the system to put everything on the disk."""
        with self._lock:
            if self._file >= 0:
                os.fsync(self._file)
        return True

    def close(self, timeout: float | None = None) -> None:
        """Closes the file; a later ``write`` opens one again."""
        with self._lock:
            self._close()

    def _after_fork(self) -> None:
        # Another thread of the parent may have held it.
        self._lock = threading.Lock()


def _last_byte(file: int, size: int) -> bytes:
    if hasattr(os, "pread"):
        return os.pread(file, 1, size - 1)
    os.lseek(file, size - 1, os.SEEK_SET)
    return os.read(file, 1)


_sinks: weakref.WeakSet[FileSink] = weakref.WeakSet()


def _after_fork() -> None:
    for sink in list(_sinks):
        sink._after_fork()


register_after_fork(_after_fork)
