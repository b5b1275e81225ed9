"""Reads the encrypted files of a store with Arrow: with the key every text, without it nothing.

usage: encrypted.py PROGRAM LOGS

A store is made with encrypted content from LOGS, read, its key changed, and read again. The client for a key service is
the one of docs/operations.md.
"""

import base64
import json
import os
import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path

import pyarrow
import pyarrow.parquet
import pyarrow.parquet.encryption
from cryptography.hazmat.primitives.ciphers.aead import AESGCM


class KeyRing(pyarrow.parquet.encryption.KmsClient):
    """Unwraps the keys of files with the keys of a store's ring."""

    def __init__(self, store: Path, master: bytes) -> None:
        super().__init__()
        ring = json.loads((store / "keys/ring.json").read_text())
        keys = [key for table in ring["tables"].values() for key in table["keys"]]
        self.keys = {key["name"]: self.open(master, key["wrapped"], key["name"]) for key in keys}

    @staticmethod
    def open(key: bytes, wrapped: str, name: str) -> bytes:
        sealed = base64.b64decode(wrapped)
        return AESGCM(key).decrypt(sealed[:12], sealed[12:], name.encode())

    def unwrap_key(self, wrapped_key: bytes, master_key_identifier: str) -> bytes:
        return self.open(self.keys[master_key_identifier], wrapped_key, master_key_identifier)

    def wrap_key(self, key_bytes: bytes, master_key_identifier: str) -> str:
        raise NotImplementedError("only reads")


def inferwatch(program: str, *arguments: str) -> str:
    """Runs the program, without the settings of whoever runs this."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("INFERWATCH")}
    command = [program, "--no-config", "--quiet", *arguments]
    return subprocess.run(command, env=environment, check=True, capture_output=True, text=True).stdout


def texts_of_arrow(store: Path, key: Path) -> Counter[str | None]:
    """Every text of the store's files, as Arrow reads them."""
    factory = pyarrow.parquet.encryption.CryptoFactory(lambda _: KeyRing(store, base64.b64decode(key.read_text())))
    connection = pyarrow.parquet.encryption.KmsConnectionConfig()
    texts: Counter[str | None] = Counter()
    for path in sorted((store / "content").rglob("part-*.parquet")):
        decryption = factory.file_decryption_properties(connection)
        file = pyarrow.parquet.ParquetFile(path, decryption_properties=decryption)
        texts.update(file.read(columns=["text"])["text"].to_pylist())
    return texts


def refuses(read: object) -> bool:
    try:
        read()
    except Exception as error:  # noqa: BLE001: whatever it is, there are no rows
        print(f"refused: {type(error).__name__}")
        return True
    return False


def main() -> None:
    program, logs = sys.argv[1:]
    problems = []
    with tempfile.TemporaryDirectory() as folder:
        store, key, new, other = (Path(folder, name) for name in ("store", "a.key", "b.key", "other.key"))
        other.write_bytes(base64.b64encode(bytes(range(32))))
        of_store = ("--store", str(store), "--key-file")
        inferwatch(program, *of_store, str(key), "keys", "init")
        inferwatch(program, *of_store, str(key), "ingest", "--content", "raw", logs)
        rows = inferwatch(program, *of_store, str(key), "sql", "SELECT text FROM content", "--format", "ndjson")
        ours = Counter(json.loads(row)["text"] for row in rows.splitlines())
        files = sorted((store / "content").rglob("part-*.parquet"))
        print(f"{len(files)} encrypted files, {ours.total()} texts, pyarrow {pyarrow.__version__}")
        if not files or ours.total() < 50:
            problems.append("there is too little to compare")
        if texts_of_arrow(store, key) != ours:
            problems.append("with the key other texts are read")
        if not all(refuses(lambda path=path: pyarrow.parquet.read_table(path)) for path in files[:3]):
            problems.append("a file is read without a key")
        if not refuses(lambda: texts_of_arrow(store, other)):
            problems.append("a file is read with another key")
        inferwatch(program, *of_store, str(key), "keys", "rotate", "--new-key-file", str(new))
        if texts_of_arrow(store, new) != ours:
            problems.append("after the change of keys other texts are read")
        if not refuses(lambda: texts_of_arrow(store, key)):
            problems.append("a file is read with the key from before")
    for problem in problems:
        print(problem, file=sys.stderr)
    sys.exit(1 if problems else 0)


main()
