"""A callback for LiteLLM that writes its standard logging payload as JSON lines, one file a day.

Beside the proxy's configuration, with `callbacks: ["litellm_jsonl.inferwatch"]` in it; with LiteLLM as a library,
`litellm.callbacks = [litellm_jsonl.inferwatch]`. `INFERWATCH_LITELLM_LOGS` names the folder, `logs/litellm` else.
"""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import Any

from litellm.integrations.custom_logger import CustomLogger


class JsonLines(CustomLogger):
    """Appends each call, whether it succeeded or failed, with one write, so that several workers share a file."""

    def __init__(self, folder: str) -> None:
        super().__init__()
        self._folder = Path(folder)

    def _write(self, kwargs: dict[str, Any]) -> None:
        payload = kwargs.get("standard_logging_object")
        if payload is None:
            return
        line = json.dumps(payload, default=str).encode() + b"\n"
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        path = self._folder / time.strftime("%Y-%m-%d.jsonl", time.gmtime())
        file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        try:
            os.write(file, line)
        finally:
            os.close(file)

    # LiteLLM gives these by name.
    def log_success_event(self, kwargs: Any, response_obj: Any, start_time: Any, end_time: Any) -> None:
        self._write(kwargs)

    def log_failure_event(self, kwargs: Any, response_obj: Any, start_time: Any, end_time: Any) -> None:
        self._write(kwargs)

    async def async_log_success_event(self, kwargs: Any, response_obj: Any, start_time: Any, end_time: Any) -> None:
        self._write(kwargs)

    async def async_log_failure_event(self, kwargs: Any, response_obj: Any, start_time: Any, end_time: Any) -> None:
        self._write(kwargs)


inferwatch = JsonLines(os.environ.get("INFERWATCH_LITELLM_LOGS", "logs/litellm"))
