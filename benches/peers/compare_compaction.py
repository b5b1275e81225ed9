"""Fifty thousand small files made into few: ours against delta-rs, on the same table.

The table is what a store becomes whose logs arrive a little at a time: every commit brings a few rows of every hour, so every
commit writes a file an hour. Ours merges by time and caller, removes events that came twice, reads back what it wrote and
compares checksums before it commits, and syncs to disk; delta-rs appends file to file.
"""

import gzip
import json
import shutil
from pathlib import Path

from data import logs
from harness import Harness, Measure, remove, table, written

CALLERS = 10_000
HOURS = 72
# What a compaction may take, in MiB, and the files that an hour may have after it.
MEMORY = 1024
BOUND = 64
# Longer than any history: hours stay hours, which is all that delta-rs can do.
NEVER = "10000d"


def run(harness: Harness, files: int, rows: int, engines: list[str]) -> bool:
    """Says whether all is as promised."""
    source = fragmented(harness, files, rows)
    before, size = written(source / "calls", ".parquet")
    print(f"\n{rows} calls of {CALLERS} callers in {before} files of {HOURS} hours; {size / 1e6:.0f} MB")
    ours = compacted(harness, source, rows)
    measures = [ours]
    if "delta_rs" in engines:
        measures.append(peer(harness, source))
    print(f"\n{table(measures, ours)}")
    broken = []
    if ours.failure:
        broken.append(ours.failure)
    elif ours.peak / 2**20 > MEMORY or int(ours.extra["files"]) > BOUND * HOURS:
        broken.append(f"{ours.peak / 2**20:.0f} MiB (bound {MEMORY}), {ours.extra['files']} files (bound {BOUND * HOURS})")
    if broken:
        print("\nbeyond what is promised:\n" + "\n".join(broken))
    return not broken


def compacted(harness: Harness, source: Path, rows: int) -> Measure:
    """Ours, in a copy; nothing may be lost."""
    target = harness.work / "compacted"

    def fresh() -> None:
        remove(target)
        shutil.copytree(source, target)

    command = harness.inferwatch("compact", "--table", "calls", "--day-after", NEVER, "--month-after", NEVER, store=target)
    measure = harness.measure("inferwatch", command, fresh, runs=1)
    if not measure.failure:
        found = json.loads(harness.call(harness.query("SELECT count(*) AS rows FROM calls", target)))["rows"]
        live = json.loads(harness.call(harness.query("SELECT count(*) AS n FROM files WHERE \"table\" = 'calls'", target)))["n"]
        if found != rows:
            measure.failure = f"{found} rows of {rows}"
            measure.runs.clear()
        measure.extra = {"files": str(live)}
    remove(target)
    return measure


def peer(harness: Harness, source: Path) -> Measure:
    """delta-rs' `optimize.compact`, in a copy of the same table."""
    target = harness.work / "compacted-by-peer"

    def fresh() -> None:
        remove(target)
        shutil.copytree(source / "calls", target)

    measure = harness.measure("delta-rs optimize.compact", harness.peer("delta_rs", "compact", folder=target), fresh, runs=1)
    if not measure.failure:
        measure.extra = {"files": str(measure.answer)}
    remove(target)
    return measure


def fragmented(harness: Harness, files: int, rows: int) -> Path:
    """A store into which the records of all hours came in so many commits that it has that many files."""
    commits = -(-files // HOURS)
    folder = harness.work / f"fragmented-{rows}-{files}"
    done = folder.with_suffix(".done")
    if done.exists():
        return folder
    remove(folder)
    dealt = harness.work / "dealt"
    remove(dealt)
    dealt.mkdir()
    targets = [(dealt / f"{number:05}.jsonl").open("wb") for number in range(commits)]
    number = 0
    for path in sorted(logs(harness, ["bedrock"], CALLERS, rows, HOURS).rglob("*.gz")):
        with gzip.open(path) as lines:
            for line in lines:
                targets[number % commits].write(line)
                number += 1
    for target in targets:
        target.close()
    for target in targets:
        harness.call(harness.inferwatch("ingest", "--threads", str(harness.threads), target.name, store=folder))
    remove(dealt)
    done.touch()
    return folder
