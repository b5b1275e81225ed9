"""Records to a server: ``POST /v1/ingest``, newline-delimited JSON, in batches, by a thread of its own.

``write`` puts a record into a queue and returns. The queue is bounded, by records and by bytes; a record that finds it
full is dropped, counted and reported. A batch is sent again, with the same ``Idempotency-Key``, after 408, 429, any 5xx
or a failed connection, with growing pauses and what ``Retry-After`` asks for; it is dropped after any other refusal, or
when ``retry_for`` seconds have passed.
"""

from __future__ import annotations

import atexit
import gzip
import http.client
import random
import threading
import time
import urllib.error
import urllib.parse
import urllib.request
import uuid
import weakref
from collections import deque
from typing import IO

from ._troubles import register_after_fork, trouble
from ._version import __version__

#: Seconds that an ending process waits for the queue.
AT_EXIT = 2.0

_LOOPBACK = {"localhost", "127.0.0.1", "::1"}


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """A redirect would turn the request into another, and carry the token elsewhere."""

    def redirect_request(self, *_: object, **__: object) -> None:
        return None


class _Refused(Exception):
    """The server will not take the batch, however often it is sent."""

    def __init__(self, status: int) -> None:
        super().__init__(f"status {status}")
        self.status = status


class _Later(Exception):
    """It may take it later."""

    def __init__(self, reason: str, after: float | None = None) -> None:
        super().__init__(reason)
        self.after = after


class HttpSink:
    """Sends records to a server.

    ``url`` is that of the server; the path ``/v1/ingest`` is added where it has none. A ``token`` goes into the header
    ``Authorization``. Beyond this machine ``https`` is demanded unless ``insecure=True``: the records tell who calls
    what, and may hold prompts.
    """

    def __init__(
        self,
        url: str,
        *,
        token: str | None = None,
        insecure: bool = False,
        compress: bool = True,
        batch_records: int = 500,
        batch_bytes: int = 1024 * 1024,
        queue_records: int = 10_000,
        queue_bytes: int = 16 * 1024 * 1024,
        linger: float = 1.0,
        timeout: float = 10.0,
        retry_for: float = 300.0,
        backoff: tuple[float, float] = (0.5, 30.0),
    ) -> None:
        parts = urllib.parse.urlsplit(url)
        if parts.scheme not in {"http", "https"} or not parts.hostname:
            raise ValueError(f"not the URL of a server: {url!r}")
        if parts.scheme == "http" and not insecure and parts.hostname not in _LOOPBACK:
            raise ValueError(f"{url!r} is neither https nor this machine; `insecure=True` sends in clear all the same")
        if min(batch_records, batch_bytes, queue_records, queue_bytes) < 1:
            raise ValueError("sizes of batches and of the queue must be at least 1")
        path = parts.path if parts.path not in {"", "/"} else "/v1/ingest"
        self.url = urllib.parse.urlunsplit(parts._replace(path=path))
        self._token = token
        self._compress = compress
        self._batch_records, self._batch_bytes = batch_records, batch_bytes
        self._queue_records, self._queue_bytes = queue_records, queue_bytes
        self._linger, self._timeout, self._retry_for, self._backoff = linger, timeout, retry_for, backoff
        self._opener = urllib.request.build_opener(_NoRedirect)
        self._begin()
        _sinks.add(self)

    def _begin(self) -> None:
        self._changed = threading.Condition()
        self._queue: deque[bytes] = deque()
        self._bytes = 0
        self._in_flight = 0
        self._thread: threading.Thread | None = None
        self._is_hurried = False
        self._deadline: float | None = None
        self.sent = 0
        self.dropped = 0

    def write(self, line: bytes) -> None:
        """Queues one record, or drops it; never waits for the server."""
        with self._changed:
            is_closed = self._deadline is not None
            is_full = len(self._queue) >= self._queue_records or self._bytes + len(line) > self._queue_bytes
            if not is_closed and not is_full:
                self._queue.append(line)
                self._bytes += len(line)
                if self._thread is None:
                    self._thread = threading.Thread(target=self._run, name="inferwatch-http", daemon=True)
                    self._thread.start()
                self._changed.notify_all()
                return
            self.dropped += 1
        trouble("records dropped", "the sink is closed" if is_closed else "the queue to the server is full")

    def _run(self) -> None:
        while True:
            batch = self._next_batch()
            if not batch:
                return
            try:
                self._deliver(batch)
            except Exception as error:  # the thread must outlive whatever one batch does
                self._drop(len(batch), type(error).__name__)
            with self._changed:
                self._in_flight = 0
                self._changed.notify_all()

    def _next_batch(self) -> list[bytes]:
        """Waits for records, and a moment longer for more of them; empty when the sink is closed."""
        with self._changed:
            self._changed.wait_for(lambda: self._queue or self._deadline is not None)
            self._changed.wait_for(self._is_batch_due, self._linger)
            batch: list[bytes] = []
            size = 0
            while self._queue and len(batch) < self._batch_records:
                if batch and size + len(self._queue[0]) > self._batch_bytes:
                    break
                batch.append(self._queue.popleft())
                size += len(batch[-1])
            self._bytes -= size
            self._in_flight = len(batch)
            if not self._queue:
                self._is_hurried = False
            return batch

    def _is_batch_due(self) -> bool:
        is_whole = len(self._queue) >= self._batch_records or self._bytes >= self._batch_bytes
        return is_whole or self._is_hurried or self._deadline is not None

    def _deliver(self, batch: list[bytes]) -> None:
        try:
            self._send_until_taken(batch)
        except _Refused as refusal:
            if refusal.status == 413 and len(batch) > 1:
                half = len(batch) // 2
                self._deliver(batch[:half])
                self._deliver(batch[half:])
            else:
                self._drop(len(batch), f"the server answered {refusal.status}")
        except _Later as later:
            self._drop(len(batch), f"gave up: {later}")
        else:
            with self._changed:
                self.sent += len(batch)

    def _send_until_taken(self, batch: list[bytes]) -> None:
        body = b"".join(batch)
        headers = {
            "Content-Type": "application/x-ndjson",
            "User-Agent": f"inferwatch-python/{__version__}",
            "Idempotency-Key": uuid.uuid4().hex,
        }
        if self._token is not None:
            headers["Authorization"] = f"Bearer {self._token}"
        if self._compress:
            body = gzip.compress(body, compresslevel=5, mtime=0)
            headers["Content-Encoding"] = "gzip"
        give_up = time.monotonic() + self._retry_for
        pause, longest = self._backoff
        while True:
            try:
                return self._send(body, headers)
            except _Later as later:
                # Many processes that lost one server should not come back at one moment.
                wait = max(later.after or 0.0, pause * random.uniform(0.5, 1.0))
                if not self._sleep(min(wait, longest), give_up):
                    raise
                pause = min(pause * 2, longest)

    def _send(self, body: bytes, headers: dict[str, str]) -> None:
        request = urllib.request.Request(self.url, data=body, headers=headers, method="POST")
        try:
            answer: IO[bytes] = self._opener.open(request, timeout=self._time_left())
            with answer:
                answer.read(65536)
        except urllib.error.HTTPError as error:
            with error:
                if error.code in {408, 429} or error.code >= 500:
                    raise _Later(f"status {error.code}", _seconds(error.headers.get("Retry-After"))) from None
                raise _Refused(error.code) from None
        except (OSError, http.client.HTTPException) as error:
            raise _Later(type(error).__name__) from None

    def _time_left(self) -> float:
        deadline = self._deadline
        if deadline is None:
            return self._timeout
        return max(0.05, min(self._timeout, deadline - time.monotonic()))

    def _sleep(self, seconds: float, give_up: float) -> bool:
        """Waits between two attempts; false when there will be no other."""
        until = time.monotonic() + seconds
        with self._changed:
            while (now := time.monotonic()) < until:
                end = give_up if self._deadline is None else min(give_up, self._deadline)
                if until >= end:
                    return False
                self._changed.wait(until - now)
        return True

    def _drop(self, count: int, reason: str) -> None:
        with self._changed:
            self.dropped += count
        trouble("records dropped", reason, count)

    def flush(self, timeout: float | None = None) -> bool:
        """Waits until the queue is empty and nothing is on its way."""
        with self._changed:
            self._is_hurried = bool(self._queue)
            self._changed.notify_all()
            return self._changed.wait_for(lambda: not self._queue and not self._in_flight, timeout)

    def close(self, timeout: float | None = None) -> None:
        """Sends what can be sent within ``timeout`` seconds (five by default), and drops and counts the rest."""
        with self._changed:
            if self._deadline is None:
                self._deadline = time.monotonic() + (5.0 if timeout is None else timeout)
            remaining = self._deadline - time.monotonic()
            self._changed.notify_all()
            self._changed.wait_for(lambda: not self._queue and not self._in_flight, max(0.0, remaining))
            left = len(self._queue)
            self._queue.clear()
            self._bytes = 0
            self._changed.notify_all()
        if left:
            self._drop(left, "the sink was closed before they were sent")

    def _after_fork(self) -> None:
        # The thread lives in the parent alone, which sends what is queued.
        deadline = self._deadline
        self._begin()
        self._deadline = deadline


def _seconds(text: str | None) -> float | None:
    """``Retry-After`` in seconds; dates are not read, the usual pause does then."""
    try:
        return max(0.0, float(text)) if text else None
    except ValueError:
        return None


_sinks: weakref.WeakSet[HttpSink] = weakref.WeakSet()


def _after_fork() -> None:
    for sink in list(_sinks):
        sink._after_fork()


@atexit.register
def _at_exit() -> None:
    until = time.monotonic() + AT_EXIT
    for sink in list(_sinks):
        sink.close(max(0.0, until - time.monotonic()))


register_after_fork(_after_fork)
