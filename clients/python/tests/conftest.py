"""What the tests share: every one begins unconfigured, with nothing counted, and its own sink."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

import inferwatch
from inferwatch import _settings, _troubles


class Records(inferwatch.MemorySink):
    """What was written, read again."""

    @property
    def all(self) -> list[dict[str, Any]]:
        assert all(line.endswith(b"\n") and line.count(b"\n") == 1 for line in self.lines)
        return [json.loads(line) for line in self.lines]

    @property
    def one(self) -> dict[str, Any]:
        (record,) = self.all
        return record


@pytest.fixture
def records(monkeypatch: pytest.MonkeyPatch) -> Records:
    monkeypatch.setattr(_settings, "_settings", _settings.Settings())
    _troubles._counts.clear()
    _troubles._reported.clear()
    sink = Records()
    inferwatch.configure(sink, caller="claims-bot")
    return sink


class Program:
    """The built program with a store of its own."""

    def __init__(self, binary: str, store: Path) -> None:
        self._command = [binary, "--no-config", "--store", str(store)]

    def __call__(self, *arguments: str) -> str:
        done = subprocess.run([*self._command, *arguments], capture_output=True, text=True, timeout=120, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def rows(self, query: str) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self("sql", "--format", "ndjson", query).splitlines()]


@pytest.fixture
def program(tmp_path: Path) -> Program:
    binary = os.environ.get("INFERWATCH_BIN")
    if not binary:
        pytest.skip("INFERWATCH_BIN does not name the program")
    return Program(binary, tmp_path / "store")
