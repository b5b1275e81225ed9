#!/usr/bin/env python3
"""Runs the terminal sessions on pages of the documentation, and compares what the program prints with what is written.

usage: tests/pages/check.py [--write] PAGE...

A session is a block of `console`; its lines that begin with `$ inferwatch` are run, one page in one empty folder, with
`testdata` beside it. Other commands are not run, nor is what follows them compared. Times and rates of an ingest differ
from run to run and are not compared. `--write` writes what the program prints into the page. `INFERWATCH_BIN` names the
program.
"""

from __future__ import annotations

import difflib
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
BLOCK = re.compile(r"(?<=^```console\n).*?(?=^```$)", re.MULTILINE | re.DOTALL)
VARIES = re.compile(r"in [\d.]+ m?s \(.*?\)|\bin [\d.]+m?s\b")


def steps(block: str) -> list[tuple[str, str]]:
    """The commands of a block, each with what follows it."""
    found: list[list[str]] = []
    is_open = False
    for line in block.splitlines(keepends=True):
        if is_open or line.startswith("$ "):
            if not is_open:
                found.append(["", ""])
            found[-1][0] += line
            # Until its quotes are closed.
            is_open = found[-1][0].count('"') % 2 == 1
        else:
            found[-1][1] += line
    return [(command, output) for command, output in found]


def run(command: str, folder: Path, environment: dict[str, str]) -> str:
    """What a command prints. Exit code 1 says that something was found, as rules do."""
    done = subprocess.run(
        ["bash", "-c", command.removeprefix("$ ")],
        cwd=folder,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    if done.returncode not in {0, 1}:
        sys.exit(f"{command}failed:\n{done.stdout}")
    return "".join(line.rstrip() + "\n" for line in done.stdout.splitlines())


def replay(page: Path, binary: Path) -> str:
    """The page with what the program prints now."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "bin").mkdir()
        (folder / "bin" / "inferwatch").symlink_to(binary)
        (folder / "work").mkdir()
        (folder / "work" / "testdata").symlink_to(ROOT / "testdata")
        environment = {
            "PATH": f"{folder / 'bin'}:{os.environ['PATH']}",
            "HOME": name,
            "LC_ALL": "C.UTF-8",
            # What a terminal shows.
            "INFERWATCH_SQL_FORMAT": "table",
            "COLUMNS": "160",
        }

        def block(match: re.Match[str]) -> str:
            printed = ""
            for command, written in steps(match.group()):
                is_ours = command.startswith("$ inferwatch ")
                output = run(command, folder / "work", environment) if is_ours else written
                printed += command + (written if is_same(output, written) else output)
            return printed

        return BLOCK.sub(block, page.read_text(encoding="utf-8"))


def is_same(output: str, written: str) -> bool:
    """Whether two outputs differ in nothing but how long it took."""
    return VARIES.sub("", output) == VARIES.sub("", written)


def main(arguments: list[str]) -> int:
    """1 when a page says something else than the program."""
    is_writing = "--write" in arguments
    pages = [Path(argument) for argument in arguments if argument != "--write"]
    binary = os.environ.get("INFERWATCH_BIN")
    if not pages or not binary:
        print(__doc__, file=sys.stderr)
        return 2
    differs = False
    for page in pages:
        before, after = page.read_text(encoding="utf-8"), replay(page, Path(binary).resolve())
        if before == after:
            continue
        differs = True
        if is_writing:
            page.write_text(after, encoding="utf-8")
        else:
            difference = difflib.unified_diff(before.splitlines(), after.splitlines(), str(page), "the program", lineterm="")
            print("\n".join(difference))
            print(f"{page} differs from what the program prints; `--write` takes it over", file=sys.stderr)
    return int(differs and not is_writing)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
