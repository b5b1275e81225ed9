"""Records over HTTP, against a small server of this file that answers what each test tells it to."""

from __future__ import annotations

import gzip
import json
import os
import subprocess
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

import inferwatch
from inferwatch import HttpSink, Sink, inference


class Server(ThreadingHTTPServer):
    """Keeps what it was sent; answers with the next of ``answers``, then 200."""

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.requests: list[tuple[str, dict[str, str], list[dict]]] = []
        self.answers: list[tuple[int, dict[str, str]]] = []
        self.gate = threading.Event()
        self.gate.set()
        self.was_asked = threading.Event()
        self.limit = None

    @property
    def url(self):
        return f"http://127.0.0.1:{self.server_port}"

    @property
    def records(self):
        """The records of accepted requests."""
        return [record for status, _, records in self.requests if status == 200 for record in records]


class Handler(BaseHTTPRequestHandler):
    def do_POST(self):
        self.server.was_asked.set()
        self.server.gate.wait(10)
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if self.headers.get("Content-Encoding") == "gzip":
            body = gzip.decompress(body)
        records = [json.loads(line) for line in body.splitlines()]
        status, headers = self.server.answers.pop(0) if self.server.answers else (200, {})
        if self.server.limit and len(records) > self.server.limit:
            status = 413
        self.server.requests.append((status, {"path": self.path, **self.headers}, records))
        if status == 0:
            self.close_connection = True
            return
        self.send_response(status)
        for key, value in headers.items():
            self.send_header(key, value)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_):
        pass


@pytest.fixture
def server(records):
    server = Server()
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    yield server
    server.gate.set()
    server.shutdown()
    server.server_close()


@pytest.fixture
def sink_of(server):
    made = []

    def make(**options):
        made.append(HttpSink(server.url, **{"linger": 0.0, "backoff": (0.01, 0.02), **options}))
        return made[-1]

    yield make
    server.gate.set()
    for sink in made:
        sink.close(1)


def line(number):
    return b'{"n":%d}\n' % number


def test_records_arrive_in_order_compressed_and_with_a_token(server, sink_of):
    sink = sink_of(token="t0ken", batch_records=10)
    assert isinstance(sink, Sink)
    server.gate.clear()
    for number in range(100):
        sink.write(line(number))
    server.gate.set()
    assert sink.flush(10)
    assert [record["n"] for record in server.records] == list(range(100))
    assert all(len(records) <= 10 for _, _, records in server.requests)
    headers = server.requests[0][1]
    assert headers["path"] == "/v1/ingest"
    assert headers["Content-Type"] == "application/x-ndjson"
    assert headers["Content-Encoding"] == "gzip"
    assert headers["Authorization"] == "Bearer t0ken"
    assert (sink.sent, sink.dropped) == (100, 0)


def test_calls_are_logged_through_it(server, sink_of):
    inferwatch.configure(sink_of(compress=False), caller="claims-bot")
    with inference(model="gpt-4o"):
        pass
    assert inferwatch.flush(10)
    (record,) = server.records
    assert (record["model"], record["user_id"]) == ("gpt-4o", "claims-bot")


@pytest.mark.parametrize("status", [0, 408, 429, 500, 503])
def test_a_batch_that_failed_for_now_is_sent_again_under_the_same_key(server, sink_of, status):
    sink = sink_of()
    server.answers = [(status, {}), (status, {"Retry-After": "0"}), (status, {"Retry-After": "tomorrow"})]
    sink.write(line(1))
    assert sink.flush(10)
    assert [seen for seen, _, _ in server.requests] == [status] * 3 + [200]
    assert len({headers["Idempotency-Key"] for _, headers, _ in server.requests}) == 1
    assert (sink.sent, sink.dropped, inferwatch.stats()) == (1, 0, {})


@pytest.mark.parametrize("status", [302, 400, 401, 404])
def test_a_batch_that_is_refused_is_dropped_counted_and_reported(server, sink_of, status, caplog):
    sink = sink_of(token="t0ken")
    server.answers = [(status, {"Location": server.url + "/elsewhere"})]
    sink.write(line(1))
    assert sink.flush(10)
    sink.write(line(2))
    assert sink.flush(10)
    assert [headers["path"] for _, headers, _ in server.requests] == ["/v1/ingest"] * 2
    assert [record["n"] for record in server.records] == [2]
    assert (sink.sent, sink.dropped) == (1, 1)
    assert inferwatch.stats() == {"records dropped": 1}
    assert f"the server answered {status}" in caplog.text


def test_a_batch_that_is_too_large_is_halved(server, sink_of):
    sink = sink_of()
    server.limit = 3
    server.gate.clear()
    for number in range(8):
        sink.write(line(number))
    server.gate.set()
    assert sink.flush(10)
    assert sorted(record["n"] for record in server.records) == list(range(8))
    assert sink.dropped == 0


def test_a_server_that_hangs_neither_blocks_nor_grows_anything(server, sink_of, caplog):
    sink = sink_of(queue_records=50, batch_records=1)
    server.gate.clear()
    sink.write(line(0))
    assert server.was_asked.wait(10)
    started = time.perf_counter()
    for number in range(1, 1001):
        sink.write(line(number))
    assert time.perf_counter() - started < 5
    assert sink.dropped == 950
    assert inferwatch.stats() == {"records dropped": 950}
    assert caplog.text.count("the queue to the server is full") == 1
    assert not sink.flush(0.01)
    server.gate.set()
    assert sink.flush(10)
    assert [record["n"] for record in server.records] == list(range(51))


def test_the_queue_is_bounded_in_bytes_too(server, sink_of):
    sink = sink_of(queue_bytes=100, batch_records=1)
    server.gate.clear()
    sink.write(line(0))
    assert server.was_asked.wait(10)
    for _ in range(10):
        sink.write(b'"%s"\n' % (b"x" * 37))
    assert sink.dropped == 8


def test_a_server_that_stays_away_is_given_up_in_the_end(records, caplog):
    sink = HttpSink("http://127.0.0.1:1", linger=0.0, backoff=(0.01, 0.01), retry_for=0.05)
    sink.write(line(1))
    assert sink.flush(10)
    assert (sink.sent, sink.dropped) == (0, 1)
    assert "gave up: URLError" in caplog.text


def test_closing_ends_in_time_and_counts_what_was_left(server, sink_of):
    sink = sink_of(batch_records=1)
    server.answers = [(503, {})] * 1000
    for number in range(5):
        sink.write(line(number))
    started = time.perf_counter()
    sink.close(0.2)
    assert time.perf_counter() - started < 5
    sink._thread.join(10)
    sink.write(line(9))
    assert sink.sent + sink.dropped == 6
    assert sink.dropped == 6 - len(server.records)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")
def test_a_child_sends_its_own_records_and_not_its_parents(server, sink_of):
    sink = sink_of(batch_records=1)
    server.gate.clear()
    for number in range(3):
        sink.write(line(number))
    assert server.was_asked.wait(10)
    sink._changed.acquire()
    child = os.fork()
    if child == 0:
        try:
            sink.write(line(100))
            os._exit(0 if sink.flush(20) and sink.sent == 1 else 1)
        finally:
            os._exit(1)
    sink._changed.release()
    server.gate.set()
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert sink.flush(10)
    assert sorted(record["n"] for record in server.records) == [0, 1, 2, 100]


def test_a_process_that_ends_sends_what_it_has(server):
    program = (
        "import sys, inferwatch\n"
        "inferwatch.configure(inferwatch.HttpSink(sys.argv[1], linger=60))\n"
        "with inferwatch.inference(model='m'): pass\n"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    subprocess.run([sys.executable, "-c", program, server.url], env=environment, check=True, timeout=60)
    assert [record["model"] for record in server.records] == ["m"]


@pytest.mark.parametrize(
    ("url", "options"),
    [
        ("ftp://host", {}),
        ("host:80", {}),
        ("http://logs.example.com", {}),
        ("https://logs.example.com", {"queue_records": 0}),
    ],
)
def test_a_wrong_server_is_told_at_once(url, options):
    with pytest.raises(ValueError):
        HttpSink(url, **options)


def test_a_path_of_ones_own_is_kept():
    assert HttpSink("https://logs.example.com").url == "https://logs.example.com/v1/ingest"
    assert HttpSink("https://logs.example.com/").url == "https://logs.example.com/v1/ingest"
    assert HttpSink("https://logs.example.com/in?x=1").url == "https://logs.example.com/in?x=1"
    assert HttpSink("http://logs.example.com", insecure=True).url == "http://logs.example.com/v1/ingest"
