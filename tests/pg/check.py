"""Asks a server over the Postgres protocol with clients that others wrote, and compares with what the files hold.

usage: check.py PROGRAM FOLDER FORMATS DASHBOARD
"""

import json
import os
import pathlib
import re
import ssl
import subprocess
import sys
import time

import psycopg

PROGRAM, FOLDER, FORMATS, DASHBOARD = sys.argv[1], pathlib.Path(sys.argv[2]), sys.argv[3], sys.argv[4]
STORE = FOLDER / "store"
HERE = pathlib.Path(__file__).parent


def program(*arguments):
    done = subprocess.run(
        [PROGRAM, "--no-config", "--quiet", "--store", STORE, *arguments],
        check=True, capture_output=True, text=True,
    )
    return done.stdout.strip()


class Server:
    def __init__(self, *flags):
        self.process = subprocess.Popen(
            [PROGRAM, "--no-config", "--store", STORE, "serve", "--listen", "127.0.0.1:0", "--pg-listen", "127.0.0.1:0",
             "--no-schedule", "--query-time", "5m", *flags],
            stderr=subprocess.PIPE, text=True,
        )
        for line in self.process.stderr:
            if found := re.search(r"http=127\.0\.0\.1:(\d+) postgres=127\.0\.0\.1:(\d+)", line):
                self.http, self.port = int(found[1]), int(found[2])
                break
        # Its log is not read; the pipe must not fill.
        self.drain = subprocess.Popen(["cat"], stdin=self.process.stderr, stdout=subprocess.DEVNULL)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.terminate()
        assert self.process.wait(60) == 0, "the server ends as it should"
        self.drain.wait()


def psql(port, token, command, *flags, tls="disable"):
    environment = dict(os.environ, PGPASSWORD=token, PGSSLMODE=tls, PGCONNECT_TIMEOUT="20")
    return subprocess.run(
        ["psql", "-X", "-h", "127.0.0.1", "-p", str(port), "-U", "somebody", "-d", "datafusion", *flags, "-c", command],
        env=environment, capture_output=True, text=True, timeout=120,
    )


def check(what, holds, detail=""):
    print(("ok    " if holds else "FAILED"), what)
    if not holds:
        print(detail)
        check.failed += 1


check.failed = 0


def statements(path):
    """Statements of a file, each under a comment that names it."""
    for block in path.read_text().split("\n-- ")[1:]:
        name, sql = block.split("\n", 1)
        yield name, sql.strip().rstrip(";")


def ask_psql(server, token, counted):
    said = psql(server.port, token, "SELECT count(*) FROM calls", "-At")
    check("psql counts the calls", said.stdout.strip() == counted, said.stdout + said.stderr)
    for command, wanted in [
        (r"\dt", "calls"), (r"\d", "findings"), (r"\d calls", "event_time"), (r"\l", "datafusion"),
        (r"\dn", "public"), (r"\dv", "calls_merged"), (r"\conninfo", "127.0.0.1"), ("SHOW server_version", "16.6"),
        (r"\d+", "findings"), (r"\d+ calls", "event_time"), (r"\d+ calls_merged", "event_time"), (r"\dt+", "calls"),
        (r"\dv+", "calls_merged"), (r"\dn+", "public"), (r"\l+", "datafusion"), (r"\du", "Role name"), (r"\du+", "Role name"),
        (r"\df", "Argument data types"),
        ("SET TIME ZONE 'UTC'", "SET"), ("BEGIN; SELECT 1; COMMIT", "COMMIT"), ("SELECT version()", ""),
        ("SELECT current_database(), current_schema()", "public"),
    ]:
        said = psql(server.port, token, command)
        check(f"psql {command}", said.returncode == 0 and wanted in said.stdout and "ERROR" not in said.stderr, said.stdout + said.stderr)
    for command in ["DELETE FROM calls", "DROP TABLE calls", "CREATE TABLE x (a INT)", "INSERT INTO calls SELECT * FROM calls",
                    "COPY calls TO '/tmp/x.csv'", "UPDATE calls SET caller = 'x'"]:
        said = psql(server.port, token, command)
        check(f"psql may not {command.split()[0]}", said.returncode != 0 and "ERROR" in said.stderr, said.stdout + said.stderr)
    for command in ["SELECT text FROM content", r"\d content"]:
        said = psql(server.port, token, command)
        check(f"no content by {command}", "text" not in said.stdout, said.stdout + said.stderr)
    said = psql(server.port, "wrong", "SELECT 1")
    check("no token, no answer", said.returncode != 0 and "FATAL" in said.stderr, said.stderr)


def ask_psycopg(server, token, counted):
    options = dict(host="127.0.0.1", port=server.port, user="x", password=token, dbname="datafusion", sslmode="disable")
    with psycopg.connect(**options) as connection:
        for binary in (False, True):
            cursor = connection.cursor(binary=binary)
            rows = cursor.execute("SELECT count(*) FROM calls WHERE input_tokens >= %s OR input_tokens IS NULL", (0,)).fetchall()
            check(f"psycopg counts with a number, binary={binary}", rows == [(int(counted),)], rows)
            rows = cursor.execute("SELECT count(*) FROM calls WHERE caller = %s", ("nobody at all",)).fetchall()
            check(f"psycopg counts with a text, binary={binary}", rows == [(0,)], rows)
            row = cursor.execute(
                "SELECT event_time, caller, input_tokens, cost_usd, request_stream FROM calls ORDER BY event_time LIMIT 1"
            ).fetchone()
            check(f"psycopg reads a time, binary={binary}", row[0].tzinfo is not None and row[0].year >= 2024, row)
            try:
                row = cursor.execute("SELECT * FROM calls WHERE tags IS NOT NULL LIMIT 1").fetchone()
                tags = row[[column.name for column in cursor.description].index("tags")]
                check(f"psycopg reads a map as JSON, binary={binary}", isinstance(json.loads(tags), dict), tags)
            except psycopg.Error as error:
                check(f"psycopg reads a map as JSON, binary={binary}", False, error)
                connection.rollback()
            row = cursor.execute("SELECT 7::int, 2.5::double, true, 'x', NULL, DATE '2026-03-02'").fetchone()
            check(f"psycopg reads values, binary={binary}", row[:5] == (7, 2.5, True, "x", None) and row[5].isoformat() == "2026-03-02", row)
        connection.rollback()
        cursor = connection.cursor()
        for _ in range(12):  # From the sixth on psycopg prepares it.
            row = cursor.execute("SELECT %s::int + 1", (41,)).fetchone()
        check("a statement that is prepared", row == (42,), row)
        try:
            cursor.execute("SELECT nothing FROM calls")
            check("a wrong name is an error", False)
        except psycopg.Error as error:
            check("a wrong name is an error with a message", "nothing" in str(error), error)
        connection.rollback()
        check("and the connection goes on", cursor.execute("SELECT 1").fetchone() == (1,))


def ask_as(server, token, path):
    options = dict(host="127.0.0.1", port=server.port, user="x", password=token, dbname="datafusion", sslmode="disable")
    with psycopg.connect(**options, autocommit=True) as connection:
        for name, sql in statements(path):
            try:
                cursor = connection.execute(sql)
                rows = cursor.fetchall() if cursor.description else []
                wanted = re.search(r": has ([\w ]+)$", name)
                check(f"{path.stem}: {name}", not wanted or any(wanted[1] in map(str, row) for row in rows), rows[:5])
            except psycopg.Error as error:
                check(f"{path.stem}: {name}", False, error)


def panels():
    """Queries of the dashboard, as Grafana sends them for a range, its macros in words of its source's macros.go."""
    instants = {"__timeFrom()": "'2020-01-01T00:00:00Z'", "__timeTo()": "'2030-01-01T00:00:00.123Z'"}
    listed = json.loads(pathlib.Path(DASHBOARD).read_text())["panels"]
    for number, panel in enumerate(listed):
        for target in panel.get("targets", []):
            sql = target["rawSql"]
            for caller in ("", "O'Brien") if number % 8 == 1 else ("",):
                quoted = "'" + caller.replace("'", "''") + "'"
                filled = sql.replace("${caller:sqlstring}", quoted).replace("${model:sqlstring}", "''")
                # 86,400,000: over ten years a step is a day and more.
                filled = filled.replace("$__interval_ms", "86400000")
                for name, value in instants.items():
                    filled = filled.replace("$" + name, value)
                yield panel, caller, filled


def ask_panels(server, token):
    options = dict(host="127.0.0.1", port=server.port, user="x", password=token, dbname="datafusion", sslmode="disable")
    with_rows, known = set(), set()
    with psycopg.connect(**options, autocommit=True) as connection:
        for panel, caller, sql in panels():
            try:
                # As pgx asks: for binary values.
                cursor = connection.cursor(binary=True)
                rows = cursor.execute(sql.encode()).fetchall()
                names = [column.name for column in cursor.description]
                wanted = {"timeseries": "time", "stat": "value"}.get(panel["type"])
                fits = wanted is None or wanted in names
                if wanted == "time":
                    fits = fits and all(row[names.index("time")].tzinfo is not None for row in rows)
                check(f"Grafana's panel `{panel['title']}`{' of one caller' if caller else ''}", "$" not in sql and fits, sql)
                known.add(panel["title"])
                if rows and not caller:
                    with_rows.add(panel["title"])
            except psycopg.Error as error:
                check(f"Grafana's panel `{panel['title']}`", False, f"{error}\n{sql}")
    check("most of them have rows", len(with_rows) > 0.7 * len(known), known - with_rows)


def certificate(name):
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2",
         "-subj", "/CN=localhost", "-keyout", FOLDER / f"{name}.key", "-out", FOLDER / f"{name}.pem"],
        check=True, capture_output=True,
    )
    return (FOLDER / f"{name}.pem").read_text()


def encrypted(token):
    first, second = certificate("first"), certificate("second")
    files = FOLDER / "cert.pem", FOLDER / "key.pem"

    def put(name):
        for path, kind in zip(files, ("pem", "key")):
            new = path.with_suffix(".new")
            new.write_bytes((FOLDER / f"{name}.{kind}").read_bytes())
            new.rename(path)
            yield

    list(put("first"))
    with Server("--tls-cert", files[0], "--tls-key", files[1]) as server:
        said = psql(server.port, token, r"\conninfo", tls="require")
        check("psql inside TLS", "TLS" in said.stdout, said.stdout + said.stderr)

        def shown():
            return ssl.get_server_certificate(("127.0.0.1", server.http)).split()

        check("the certificate is that of the file", shown() == first.split())
        steps = put("second")
        next(steps)
        check("a certificate without its key is not taken", shown() == first.split())
        list(steps)
        check("a renewed certificate is taken without a restart", shown() == second.split())
        said = psql(server.port, token, r"\conninfo", tls="require")
        check("and by the Postgres port", "TLS" in said.stdout, said.stdout + said.stderr)


def main():
    program("ingest", "--content", "raw", FORMATS)
    token = program("token", "new", "reader", "--all")
    counted = program("sql", "SELECT count(*) AS n FROM calls", "--format", "csv").splitlines()[-1]
    with Server() as server:
        ask_psql(server, token, counted)
        ask_psycopg(server, token, counted)
        for path in sorted(HERE.glob("*.sql")):
            ask_as(server, token, path)
        ask_panels(server, token)
    encrypted(token)
    if check.failed:
        sys.exit(f"{check.failed} failed")


if __name__ == "__main__":
    started = time.monotonic()
    main()
    print(f"all held, in {time.monotonic() - started:.0f} s")
