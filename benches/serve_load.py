#!/usr/bin/env python3
"""Loads a server, kills it on the way, stops it for an hour of log time, and counts what has become of every row.

    python3 benches/serve_load.py                     # ten minutes, ten kills
    python3 benches/serve_load.py --minutes 1 --kills 2

Records are sent over loopback in requests of `--batch`, at no more than `--rate` records a second, until each was
acknowledged. A webhook receives findings and fails half of the time. At the end it must hold that

- every record that was acknowledged is in the store, once, and so is no other;
- every rule has evaluated every window between its first and its last, and no finding is there twice;
- every finding was delivered.

Prints what was found, the rate, how long answers took, memory, and how late windows were evaluated; the exit code is 1 when
one of these does not hold. Needs Python 3.11 and a release build, nothing else.
"""

import argparse
import http.client
import http.server
import json
import os
import random
import re
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from datetime import UTC, datetime, timedelta
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
HOUR = 3600
CALLERS = 200
# These burn tokens, so that there is something to find and to deliver.
BURNERS = 5
LATENESS = 30


class Webhook:
    """A receiver that fails half of the time, and remembers what it acknowledged."""

    def __init__(self) -> None:
        self.told: Counter[tuple[str, int]] = Counter()
        self.refused = 0
        chance = random.Random(3)
        lock = threading.Lock()
        webhook = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["content-length"])))
                with lock:
                    is_taken = chance.random() < 0.5
                    if is_taken:
                        webhook.told.update((found["finding"], found["revision"]) for found in body["findings"])
                    else:
                        webhook.refused += 1
                self.send_response(200 if is_taken else 503)
                self.send_header("content-length", "0")
                self.end_headers()

            def log_message(self, *_: object) -> None:
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.server.server_port}/findings"


class Server:
    """The program, started again after each kill."""

    def __init__(self, program: Path, folder: Path, arguments: list[str]) -> None:
        self.folder = folder
        self.port = free_port()
        self.command = [str(program), "--config", str(folder / "inferwatch.toml"), "--quiet", "--store", str(folder / "store")]
        self.arguments = ["serve", "--listen", f"127.0.0.1:{self.port}", "--pg-listen", "none", *arguments]
        self.process: subprocess.Popen[bytes] | None = None
        self.peak = 0

    def run(self, *arguments: str) -> str:
        """Another process of the same program on the same store."""
        done = subprocess.run([*self.command, *arguments], capture_output=True, text=True)
        if done.returncode not in (0, 1):
            sys.exit(f"{' '.join(arguments)}: {done.stderr}")
        return done.stdout

    def rows(self, sql: str) -> list[dict[str, object]]:
        return [json.loads(line) for line in self.run("sql", "--format", "ndjson", "--", sql).splitlines()]

    def start(self) -> None:
        log = (self.folder / "serve.log").open("ab")
        self.process = subprocess.Popen([*self.command, *self.arguments], stdout=log, stderr=log, stdin=subprocess.DEVNULL)
        while True:
            if self.process.poll() is not None:
                sys.exit(f"the server ended: {(self.folder / 'serve.log').read_text()[-2000:]}")
            connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=5)
            try:
                connection.request("GET", "/readyz")
                if connection.getresponse().status == 200:
                    return
            except OSError:
                pass
            finally:
                connection.close()
            time.sleep(0.02)

    def end(self, how: signal.Signals) -> None:
        assert self.process
        status = Path(f"/proc/{self.process.pid}/status")
        if status.exists() and (found := re.search(r"VmHWM:\s+(\d+) kB", status.read_text())):
            self.peak = max(self.peak, int(found[1]) * 1024)
        self.process.send_signal(how)
        self.process.wait()


class Senders:
    """Threads that send what is due and was not acknowledged, until they are told to stop."""

    def __init__(self, server: Server, token: str, given: argparse.Namespace) -> None:
        self.server, self.token, self.given = server, token, given
        self.lock = threading.Lock()
        self.waiting: list[tuple[int, bytes]] = []
        self.next = 0
        self.acknowledged: set[int] = set()
        self.seconds: list[float] = []
        self.full = 0

    def send(self, seconds: float, behind: int) -> None:
        """Sends for so long; events are that many seconds old."""
        end = time.monotonic() + seconds
        begin, first = time.monotonic(), self.next
        is_over = threading.Event()

        def due() -> tuple[int, bytes] | None:
            with self.lock:
                if self.waiting:
                    return self.waiting.pop()
                if is_over.is_set() or (self.next - first) * self.given.batch > (time.monotonic() - begin) * self.given.rate:
                    return None
                number = self.next
                self.next += 1
            return number, body(number, self.given.batch, behind)

        def work() -> None:
            connection = None
            while True:
                request = due()
                if request is None:
                    with self.lock:
                        if is_over.is_set() and not self.waiting:
                            return
                    time.sleep(0.005)
                    continue
                try:
                    connection = connection or http.client.HTTPConnection("127.0.0.1", self.server.port, timeout=60)
                    started = time.monotonic()
                    connection.request("POST", "/v1/ingest", request[1], {"authorization": f"Bearer {self.token}"})
                    answer = connection.getresponse()
                    answer.read()
                    if answer.status == 200:
                        with self.lock:
                            self.acknowledged.add(request[0])
                            self.seconds.append(time.monotonic() - started)
                        continue
                    if answer.status != 429:
                        sys.exit(f"the server answers {answer.status}")
                    self.full += 1
                    time.sleep(float(answer.headers.get("retry-after", "1")))
                except (OSError, http.client.HTTPException):
                    # It was killed, and comes back.
                    connection = None
                    time.sleep(0.05)
                with self.lock:
                    self.waiting.append(request)

        threads = [threading.Thread(target=work, daemon=True) for _ in range(self.given.senders)]
        for thread in threads:
            thread.start()
        kills = sorted(random.Random(11).uniform(0.05, 0.95) * seconds for _ in range(self.given.kills if behind else 0))
        for at in kills:
            time.sleep(max(0, begin + at - time.monotonic()))
            self.server.end(signal.SIGKILL)
            self.server.start()
        time.sleep(max(0, end - time.monotonic()))
        is_over.set()
        for thread in threads:
            thread.join()


def body(number: int, batch: int, behind: int) -> bytes:
    """Calls of one request; ids tell them apart."""
    chance = random.Random(number)
    time_of = datetime.now(UTC) - timedelta(seconds=behind)
    lines = []
    for row in range(batch):
        caller = chance.randrange(CALLERS)
        tokens = 4_000 if caller < BURNERS else chance.randrange(20, 400)
        lines.append(
            json.dumps(
                {
                    "timestamp": time_of.isoformat(),
                    "event_id": f"{number}-{row}",
                    "caller": f"service-{caller}",
                    "model": f"model-{chance.randrange(6)}",
                    "provider": "openai",
                    "operation": "chat",
                    "input_tokens": tokens,
                    "output_tokens": chance.randrange(5, 300),
                    "latency_ms": chance.gauss(900, 150),
                    "status": 500 if chance.random() < 0.004 else 200,
                }
            )
        )
    return "\n".join(lines).encode()


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def lateness() -> dict[str, int]:
    """Seconds that a rule waits for late rows, where it says so itself."""
    units = {"s": 1, "m": 60, "h": 3600, "d": 86400}
    found = {}
    for path in (ROOT / "queries" / "rules").rglob("*.sql"):
        if says := re.search(r'^-- lateness\s*=\s*"(\d+)([smhd])"', path.read_text(), re.M):
            found[path.stem] = int(says[1]) * units[says[2]]
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--program", type=Path, default=ROOT / "target" / "release" / "inferwatch")
    parser.add_argument("--minutes", type=float, default=10, help="under load; a fifth of it again after the stop")
    parser.add_argument("--kills", type=int, default=10)
    parser.add_argument("--rate", type=float, default=1_000, help="records a second at most")
    parser.add_argument("--batch", type=int, default=20, help="records a request")
    parser.add_argument("--senders", type=int, default=8)
    parser.add_argument("--keep", type=Path, help="leave the store in this folder")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        sys.exit(0 if load(given, given.keep or Path(temporary)) else 1)


def load(given: argparse.Namespace, folder: Path) -> bool:
    folder.mkdir(parents=True, exist_ok=True)
    webhook = Webhook()
    (folder / "inferwatch.toml").write_text(
        f'[sinks.hook]\nkind = "webhook"\nurl = "{webhook.address}"\nretry_first = "1s"\nretry_longest = "2s"\n'
        f'attempts = 1000\nfrom = 2000-01-01T00:00:00Z\n[[routes]]\nsinks = ["hook"]\n'
    )
    server = Server(given.program.resolve(), folder, ["--lateness", f"{LATENESS}s"])
    os.environ["INFERWATCH_NO_COLOR"] = "1"
    subprocess.run([*server.command, "ingest", "-"], input=b"", check=True, capture_output=True)
    token = server.run("token", "new", "load", "--ingest").split()[-1]
    senders = Senders(server, token, given)
    server.start()
    begin = time.monotonic()
    senders.send(given.minutes * 60, HOUR)
    loaded = time.monotonic() - begin
    server.end(signal.SIGTERM)
    server.start()
    senders.send(given.minutes * 12, 0)
    # Rules and sinks come to an end of what there is.
    caught_up(server, webhook)
    server.end(signal.SIGTERM)
    return judged(server, senders, webhook, loaded, given)


def caught_up(server: Server, webhook: Webhook) -> None:
    """Waits until something was evaluated, and then nothing was evaluated or told for two minutes."""
    before, still = (0, 0, 0), 0
    for _ in range(240):
        evaluated = int(str(server.rows("SELECT count(*) AS n FROM evaluations")[0]["n"]))
        now = (evaluated, sum(webhook.told.values()), webhook.refused)
        still = still + 1 if now == before and evaluated else 0
        if still == 8:
            return
        before = now
        time.sleep(15)


def judged(server: Server, senders: Senders, webhook: Webhook, loaded: float, given: argparse.Namespace) -> bool:
    wrong = []
    ids = Counter(str(row["event_id"]) for row in server.rows("SELECT event_id FROM calls"))
    sent = {f"{number}-{row}" for number in senders.acknowledged for row in range(given.batch)}
    wrong += [f"{len(sent - ids.keys())} rows are lost"] * bool(sent - ids.keys())
    wrong += [f"{len(ids.keys() - sent)} rows were never acknowledged"] * bool(ids.keys() - sent)
    twice = [name for name, count in ids.items() if count > 1]
    wrong += [f"{len(twice)} rows are there twice"] * bool(twice)

    windows = server.rows(
        "SELECT e.rule_id, count(DISTINCT e.window_end) AS windows, any_value(r.every) AS every, any_value(r.source) AS source, "
        "date_part('epoch', max(e.window_end)) - date_part('epoch', min(e.window_end)) AS span, "
        "count(*) FILTER (WHERE e.state IN ('gap', 'error')) AS bad "
        "FROM evaluations e JOIN rules r ON r.rule_id = e.rule_id WHERE r.every IS NOT NULL GROUP BY 1 ORDER BY 1"
    )
    units = {"s": 1, "m": 60, "h": 3600, "d": 86400}
    every = {str(row["rule_id"]): int(str(row["every"])[:-1]) * units[str(row["every"])[-1]] for row in windows}
    for row in windows:
        expected = round(float(str(row["span"]))) // every[str(row["rule_id"])] + 1
        if row["windows"] != expected or row["bad"]:
            wrong.append(f"{row['rule_id']}: {row['windows']} windows of {expected}, {row['bad']} gaps or errors")
    doubled = server.rows("SELECT finding_id, revision FROM findings GROUP BY 1, 2 HAVING count(*) > 1")
    wrong += [f"{len(doubled)} revisions of findings are there twice"] * bool(doubled)
    told = server.rows("SELECT finding_id, revision FROM findings WHERE NOT suppressed AND excepted IS NULL")
    missing = {(str(row["finding_id"]), int(str(row["revision"]))) for row in told} - webhook.told.keys()
    if missing:
        [sink] = json.loads(server.run("sinks", "status", "--format", "json"))
        wrong.append(
            f"{len(missing)} of {len(told)} findings were not delivered: {len(sink['to_be_told'])} are due, "
            f"{len(sink['given_up'])} were given up, last told {sink['last_told']}, last error {sink['last_error']}"
        )

    waits = lateness()
    # These are evaluated when one of their signals was, whenever that is.
    correlations = {str(row["rule_id"]) for row in windows if row["source"] == ["signals"]}
    late: list[tuple[float, str]] = []
    for row in server.rows(
        "SELECT rule_id, date_part('epoch', evaluated_at) - date_part('epoch', window_end) AS after "
        "FROM evaluations WHERE revision = 1 AND NOT is_early AND state <> 'gap' AND window_end > "
        f"(SELECT min(event_time) FROM calls) AND window_end < (SELECT min(event_time) FROM calls) + INTERVAL '{given.minutes * 60 - 60:.0f} seconds'"
    ):
        rule = str(row["rule_id"])
        if rule in every and rule not in correlations:
            after = float(str(row["after"])) - HOUR - waits.get(rule, LATENESS)
            late.append((after / every[rule], rule))
    seconds = sorted(senders.seconds)
    print(
        f"{len(sent)} records in {len(seconds)} requests, {len(sent) / (loaded * 1.2):.0f} a second over {loaded * 1.2:.0f} s "
        f"with {given.kills} kills; {senders.full} answers of 429\n"
        f"answer after {statistics.median(seconds):.3f} s (median), {seconds[len(seconds) * 99 // 100]:.3f} s (99 of 100), "
        f"{seconds[-1]:.3f} s (longest)\n"
        f"memory {server.peak / 2**20:.0f} MiB at most\n"
        f"{sum(int(str(row['windows'])) for row in windows)} windows of {len(windows)} rules\n"
        f"{len(told)} deliveries due, {sum(webhook.told.values()) - len(webhook.told)} made twice, {webhook.refused} refused by the webhook"
    )
    if late:
        late.sort()
        in_time = sum(after <= 1 for after, _ in late)
        print(
            f"under load {in_time} of {len(late)} windows were evaluated within their `every` of the watermark; "
            f"latest {late[-1][0]:.1f} times `every` ({late[-1][1]})"
        )
    for problem in wrong:
        print(f"wrong: {problem}")
    return not wrong


main()
