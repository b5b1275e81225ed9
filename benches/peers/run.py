"""Runs the same work here and in other engines, and prints what each took.

See README.md beside this file.
"""

import argparse
import os
import sys
import tempfile
from pathlib import Path

import compare_callers
import compare_compaction
import compare_ingest
import compare_queries
import compare_signatures
from harness import HERE, Harness

ENGINES = ["duckdb", "polars", "delta_rs", "chdb"]


def numbers(text: str) -> list[int]:
    return [int(part.replace("_", "")) for part in text.split(",")]


def names(text: str) -> list[str]:
    return text.split(",")


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    program = HERE.parents[1] / "target" / "release" / "inferwatch"
    work = Path(tempfile.gettempdir(), "inferwatch-peers")
    shared = argparse.ArgumentParser(add_help=False)
    shared.add_argument("--program", type=Path, default=program, help="inferwatch to measure (default: the release build)")
    shared.add_argument(
        "--work", type=Path, default=work, help="folder for data (default: below TMPDIR); kept for next time"
    )
    shared.add_argument("--threads", type=int, default=os.cpu_count() or 1, help="for every engine")
    shared.add_argument("--runs", type=int, default=5)
    shared.add_argument("--warmups", type=int, default=1)
    shared.add_argument("--limit", type=float, default=600, metavar="SECONDS", help="a process that takes longer is stopped")
    shared.add_argument("--engines", type=names, default=ENGINES, help=f"some of {','.join(ENGINES)}")
    commands = parser.add_subparsers(dest="command", required=True)

    def command(name: str, help: str, rows: int) -> argparse.ArgumentParser:
        added = commands.add_parser(name, help=help, parents=[shared])
        added.add_argument("--rows", type=int, default=rows)
        return added

    ingest = command("ingest", "raw Bedrock logs to partitioned Parquet", 200_000)
    ingest.add_argument("--callers", type=numbers, default=[50, 1_000, 10_000])
    detections = command("detections", "five detections over the files of a store", 1_000_000)
    detections.add_argument("--callers", type=int, default=10_000)
    command("functions", "rolling z-score, entropy, chi-squared", 5_000_000)
    callers = command("callers", "few callers against many, ours alone", 2_000_000)
    callers.add_argument("--few", type=int, default=50)
    callers.add_argument("--many", type=int, default=10_000)
    compaction = command("compaction", "fifty thousand small files made into few", 2_000_000)
    compaction.add_argument("--files", type=int, default=50_000)
    signatures = commands.add_parser("signatures", help="injection signatures against Hyperscan", parents=[shared])
    signatures.add_argument("--megabytes", type=int, default=64)
    signatures.add_argument("--text", type=Path, help="JSON lines with `text` to scan instead of made-up prompts")
    return parser.parse_args()


def main() -> None:
    given = arguments()
    if not given.program.exists():
        sys.exit(f"{given.program} does not exist\nhint: cargo build --release, or name another with --program")
    harness = Harness(given.program.resolve(), given.work, given.threads, given.runs, given.warmups, given.limit)
    print(harness.conditions())
    sound = True
    match given.command:
        case "ingest":
            compare_ingest.run(harness, given.callers, given.rows, given.engines)
        case "detections":
            sound = compare_queries.detections(harness, given.callers, given.rows, given.engines)
        case "functions":
            sound = compare_queries.functions(harness, given.rows, given.engines)
        case "callers":
            sound = compare_callers.run(harness, given.few, given.many, given.rows)
        case "compaction":
            sound = compare_compaction.run(harness, given.files, given.rows, given.engines)
        case "signatures":
            sound = compare_signatures.run(harness, given.megabytes, given.text)
    sys.exit(0 if sound else 1)


main()
