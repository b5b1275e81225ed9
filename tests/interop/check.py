"""Counts and sums of a store's tables as deltalake, DuckDB and Polars see them; all must agree.

usage: check.py STORE [EXPECTED]

EXPECTED is JSON: for each table, the measures below as this project's own engine sees them.
"""

import json
import sys
from pathlib import Path

import duckdb
import polars
from deltalake import DeltaTable

# Measures by table: SQL that every engine here understands, over a relation `rows`.
MEASURES = {
    "calls": "count(*), count(caller), count(DISTINCT caller), sum(input_tokens), sum(source_offset), "
    "sum(length(event_id)), epoch_us(min(event_time)), epoch_us(max(event_time))",
    "content": "count(*), count(caller), count(DISTINCT caller), 0, sum(source_offset), sum(length(text)), "
    "epoch_us(min(event_time)), epoch_us(max(event_time))",
}


def with_deltalake(path, sql):
    """The log read by delta-rs, the rows by DuckDB through Arrow."""
    rows = DeltaTable(path).to_pyarrow_dataset()
    return duckdb.sql(f"SELECT {sql} FROM rows").fetchall()[0]


def with_polars(path, sql):
    rows = polars.scan_delta(str(path)).collect().to_arrow()
    return duckdb.sql(f"SELECT {sql} FROM rows").fetchall()[0]


def with_duckdb(path, sql):
    """Log and rows by DuckDB's own extension; needs the network once, so it may be missing."""
    connection = duckdb.connect()
    connection.install_extension("delta")
    connection.load_extension("delta")
    return connection.sql(f"SELECT {sql} FROM delta_scan('{path}')").fetchall()[0]


def pruned(path):
    """Asks Polars what it answers with the log's statistics, and what the rows say."""
    lazy = polars.scan_delta(str(path))
    everything = lazy.select("caller", "event_time").collect()
    for caller in everything["caller"].unique().drop_nulls().sort().to_list():
        expected = everything.filter(polars.col("caller") == caller).height
        found = lazy.filter(polars.col("caller") == caller).select(polars.len()).collect().item()
        assert found == expected, (path, caller, found, expected)
    last = everything["event_time"].max()
    expected = everything.filter(polars.col("event_time") >= last).height
    found = lazy.filter(polars.col("event_time") >= last).select(polars.len()).collect().item()
    assert found == expected > 0, (path, last, found, expected)
    return DeltaTable(path).version()


def main():
    store = Path(sys.argv[1])
    expected = json.loads(Path(sys.argv[2]).read_text()) if len(sys.argv) > 2 else {}
    engines = {"deltalake": with_deltalake, "polars": with_polars, "duckdb": with_duckdb}
    wrong = 0
    for name, sql in MEASURES.items():
        path = store / name
        if not (path / "_delta_log").is_dir():
            continue
        answers = {"inferwatch": tuple(expected[name])} if name in expected else {}
        for engine, ask in engines.items():
            try:
                answers[engine] = ask(path, sql)
            except duckdb.IOException as error:
                if engine != "duckdb" or "extension" not in str(error).lower():
                    raise
                print(f"{name}: duckdb's delta extension cannot be had here, skipped", file=sys.stderr)
            except duckdb.HTTPException as error:
                print(f"{name}: duckdb's delta extension cannot be had here, skipped: {error}", file=sys.stderr)
        version = pruned(path)
        agree = len(set(answers.values())) == 1
        wrong += not agree
        print(f"{name} (version {version}): {'agree' if agree else 'DIFFER'}: {', '.join(answers)}")
        for engine, answer in answers.items():
            print(f"  {engine:<12}{answer}")
    sys.exit(1 if wrong else 0)


main()
