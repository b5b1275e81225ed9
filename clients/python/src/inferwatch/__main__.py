"""``python -m inferwatch mapping`` prints where the mapping for ``inferwatch ingest --mapping`` lies."""

from __future__ import annotations

import sys
from importlib.resources import files

USAGE = "usage: python -m inferwatch mapping"


def main(arguments: list[str]) -> int:
    """Prints the path; 2 when something else was asked for."""
    if arguments != ["mapping"]:
        print(USAGE, file=sys.stderr)
        return 2
    print(files("inferwatch") / "mapping.toml")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
