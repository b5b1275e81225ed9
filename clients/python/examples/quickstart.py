"""Logs three calls of a stand-in for a model; run it anywhere.

    python examples/quickstart.py logs/calls
    inferwatch ingest logs/calls
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import Any

import inferwatch
from inferwatch import FileSink, inference, log_inference


@log_inference(provider="openai")
def ask(messages: list[dict[str, str]], model: str = "gpt-4o") -> dict[str, Any]:
    """Where a program would call its client library."""
    words = sum(len(message["content"].split()) for message in messages)
    return {
        "object": "chat.completion",
        "id": "chatcmpl-example",
        "model": f"{model}-2024-11-20",
        "choices": [{"finish_reason": "stop", "message": {"role": "assistant", "content": "It was paid on Friday."}}],
        "usage": {"prompt_tokens": words, "completion_tokens": 5, "total_tokens": words + 5},
    }


@log_inference(provider="anthropic", model="claude-sonnet-4-5-20250929")
def stream(prompt: str) -> Iterator[str]:
    """A generator is logged as one call when it ends."""
    yield from ("It ", "was ", "paid.")


def main(folder: str) -> None:
    """Three calls, the last of which fails."""
    inferwatch.configure(FileSink(folder), caller="claims-bot", service="claims")
    with inferwatch.context(end_user_id="u-7", conversation_id="c-1"):
        ask([{"role": "user", "content": "what became of claim 7?"}])
        print("".join(stream("what became of claim 7?")))
        try:
            with inference(provider="openai", model="gpt-4o"):
                raise TimeoutError
        except TimeoutError:
            print("the third call failed")


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 1 else "logs/calls")
