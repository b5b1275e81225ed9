"""What ten thousand callers cost against fifty: time, memory, files an hour, and what one question has to read."""

import json
import re
from pathlib import Path
from typing import Any

from compare_ingest import ingest
from data import logs
from harness import Harness, table

# What a store writes at most in an hour: one partition of their own for the largest, one for all others.
BOUND = 64
# What a question about one caller's hour reads at most, as part of all bytes.
PART = 0.01
# What many callers may cost more than few, in processor time, and the memory either may take.
DEARER = 4 / 3
MEMORY = 1024


def run(harness: Harness, few: int, many: int, rows: int) -> bool:
    """Says whether all is as promised."""
    print(f"\n{rows} Bedrock records, 8 models, 72 hours")
    measures = []
    notes = []
    broken: list[str] = []
    for count in [few, many]:
        measure = ingest(harness, logs(harness, ["bedrock"], count, rows), "off")
        measure.name = f"{count} callers"
        if not measure.failure:
            notes += described(harness, harness.work / "ingested", count, broken)
        measures.append(measure)
    print(f"\n{table(measures, measures[0])}\n\n" + "\n".join(notes))
    broken += [f"{each.name}: {each.failure}" for each in measures if each.failure]
    broken += [f"{each.name}: {each.peak / 2**20:.0f} MiB" for each in measures if not each.failure and each.peak / 2**20 > MEMORY]
    if not broken and measures[1].cpu > measures[0].cpu * DEARER:
        broken.append(f"{many} callers take more than {DEARER:.2f} times as long as {few}")
    if broken:
        print("\nbeyond what is promised:\n" + "\n".join(broken))
    return not broken


def described(harness: Harness, store: Path, count: int, broken: list[str]) -> list[str]:
    """Files an hour, and what a question about one caller's hour reads."""
    hours = ask(
        harness,
        store,
        "SELECT period, count(*) AS files, count(DISTINCT coalesce(caller, '') || ' ' || coalesce(model, '')) AS own "
        "FROM files WHERE \"table\" = 'calls' GROUP BY period ORDER BY files DESC",
    )
    total = sum(row["bytes"] for row in ask(harness, store, "SELECT bytes FROM files WHERE \"table\" = 'calls'"))
    most = hours[0]["files"]
    lines = [f"{count} callers: at most {most} files an hour (bound {BOUND}); {total} bytes in all"]
    if most > BOUND:
        broken.append(lines[0])
    pairs = ask(harness, store, "SELECT caller, hour, count(*) AS calls FROM calls GROUP BY 1, 2 ORDER BY 3 DESC, 1, 2")
    for name, pair in [("the largest", pairs[0]), ("a middling", pairs[len(pairs) // 2])]:
        sql = (
            "EXPLAIN ANALYZE SELECT count(*), sum(input_tokens), max(duration_ms) FROM calls WHERE caller = '"
            + pair["caller"].replace("'", "''")
            + f"' AND hour = '{pair['hour']}'"
        )
        read = scanned(str(ask(harness, store, sql)))
        lines.append(
            f"{count} callers: {name} caller's hour, {pair['calls']} calls: reads {read} of {total} bytes, "
            f"{read / total:.4%}"
        )
        if read >= total * PART:
            broken.append(lines[-1])
    return lines


def ask(harness: Harness, store: Path, sql: str) -> list[dict[str, Any]]:
    output = harness.call(harness.query(sql, store))
    return [json.loads(line) for line in output.splitlines()]


def scanned(plan: str) -> int:
    """Bytes that the scans of an analysed plan read, as its metrics say."""
    units = {"": 1, "K": 10**3, "M": 10**6, "G": 10**9}
    found = re.findall(r"bytes_scanned=([0-9.]+) ?([KMG]?)", plan)
    return round(sum(float(number) * units[unit] for number, unit in found))
