"""Logs calls of AI models as records that ``inferwatch ingest`` reads.

    import inferwatch
    from inferwatch import FileSink, log_inference

    inferwatch.configure(FileSink("logs/calls"), caller="claims-bot")

    @log_inference(provider="openai")
    def ask(messages, model="gpt-4o"):
        return client.chat.completions.create(model=model, messages=messages)

What a call returns and raises stays as it is. What goes wrong while logging is counted and reported to the logger
``inferwatch``, and never reaches the caller. No prompt or answer is written unless ``content="raw"`` asks for it.
"""

from ._call import Call
from ._decorate import inference, log_inference
from ._settings import Content, configure, context, current_call, flush, shutdown
from ._troubles import stats
from ._version import __version__
from .file_sink import FileSink
from .http_sink import HttpSink
from .sink import MemorySink, Sink

__all__ = [
    "Call",
    "Content",
    "FileSink",
    "HttpSink",
    "MemorySink",
    "Sink",
    "__version__",
    "configure",
    "context",
    "current_call",
    "flush",
    "inference",
    "log_inference",
    "shutdown",
    "stats",
]
