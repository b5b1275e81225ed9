"""delta-rs' side: its writer fed by pyarrow's reader of JSON, and its own SQL, which is DataFusion's."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow
import pyarrow.compute
import pyarrow.json
from deltalake import DeltaTable, QueryBuilder, WriterProperties, convert_to_deltalake, write_deltalake

METRICS = pyarrow.struct([("latencyMs", pyarrow.int64())])
CONTENT = pyarrow.list_(pyarrow.struct([("text", pyarrow.string())]))
MESSAGE = pyarrow.struct([("role", pyarrow.string()), ("content", CONTENT)])
OUTPUT = [("stopReason", pyarrow.string()), ("metrics", METRICS)]


def schema(text: bool) -> pyarrow.Schema:
    """What is kept of a record."""
    request = [("inputTokenCount", pyarrow.int64())]
    body = list(OUTPUT)
    if text:
        request.append(("inputBodyJson", pyarrow.struct([("messages", pyarrow.list_(MESSAGE))])))
        body.append(("output", pyarrow.struct([("message", MESSAGE)])))
    response = [("outputTokenCount", pyarrow.int64()), ("outputBodyJson", pyarrow.struct(body))]
    names = ["timestamp", "accountId", "region", "requestId", "operation", "modelId", "errorCode"]
    return pyarrow.schema(
        [(name, pyarrow.string()) for name in names]
        + [
            ("identity", pyarrow.struct([("arn", pyarrow.string())])),
            ("input", pyarrow.struct(request)),
            ("output", pyarrow.struct(response)),
        ]
    )


def flat(rows: pyarrow.Table, text: bool) -> pyarrow.Table:
    """One row a call, its columns plain."""

    def at(*path: str) -> pyarrow.ChunkedArray:
        column = rows[path[0]]
        return pyarrow.compute.struct_field(column, list(path[1:])) if path[1:] else column

    def first(lists: pyarrow.ChunkedArray) -> pyarrow.ChunkedArray:
        return pyarrow.compute.list_element(lists, 0)

    columns = {
        "caller": at("identity", "arn"),
        "model": at("modelId"),
        "hour": pyarrow.compute.utf8_slice_codeunits(at("timestamp"), 0, 13),
        "event_time": pyarrow.compute.strptime(at("timestamp"), "%Y-%m-%dT%H:%M:%SZ", "us").cast(
            pyarrow.timestamp("us", "UTC")
        ),
        "account": at("accountId"),
        "region": at("region"),
        "request_id": at("requestId"),
        "operation": at("operation"),
        "error_type": at("errorCode"),
        "input_tokens": at("input", "inputTokenCount"),
        "output_tokens": at("output", "outputTokenCount"),
        "finish_reason": at("output", "outputBodyJson", "stopReason"),
        "duration_ms": at("output", "outputBodyJson", "metrics", "latencyMs"),
    }
    if text:
        messages = first(at("input", "inputBodyJson", "messages"))
        answers = at("output", "outputBodyJson", "output", "message", "content")
        columns["prompt"] = pyarrow.compute.struct_field(first(pyarrow.compute.struct_field(messages, "content")), "text")
        columns["answer"] = pyarrow.compute.struct_field(first(answers), "text")
    return pyarrow.table(columns)


def ingest(logs: str, target: str, text: bool, by: list[str], threads: int) -> int:
    """Raw logs to a partitioned Delta table, and nothing else."""
    options = pyarrow.json.ParseOptions(explicit_schema=schema(text), unexpected_field_behavior="ignore")
    files = sorted(Path(logs).rglob("*.json.gz"))

    def batches() -> Iterator[pyarrow.RecordBatch]:
        for file in files:
            with pyarrow.input_stream(str(file)) as stream:
                yield from flat(pyarrow.json.read_json(stream, parse_options=options), text).to_batches()

    pyarrow.set_cpu_count(threads)
    head = next(batches()).schema
    write_deltalake(
        target,
        pyarrow.RecordBatchReader.from_batches(head, batches()),
        partition_by=by,
        writer_properties=WriterProperties(compression="ZSTD"),
    )
    return 0


def query(folder: str, sql: str, threads: int) -> list[Any]:
    """The answer to a query over a Delta table as `calls`."""
    builder = QueryBuilder().register("calls", DeltaTable(folder))
    answer = pyarrow.table(builder.execute(sql))
    return [list(row.values()) for row in answer.to_pylist()]


def make(folder: str, threads: int) -> int:
    """Makes a Delta table of the Parquet files in a folder."""
    convert_to_deltalake(folder)
    return 0


def compact(folder: str, threads: int) -> int:
    """Makes few files of many, and says how many there are."""
    table = DeltaTable(folder)
    table.optimize.compact(max_concurrent_tasks=threads)
    return len(DeltaTable(folder).file_uris())
