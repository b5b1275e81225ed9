"""Files of records: whole lines whoever writes at once, new files by hour and size, nothing lost by a torn line."""

from __future__ import annotations

import json
import os
import stat
import subprocess
import sys
import threading
import time

import pytest

from inferwatch import FileSink, Sink


def lines_of(folder):
    """All records of a folder, from all files."""
    found = []
    for path in sorted(folder.iterdir()):
        data = path.read_bytes()
        assert data.endswith(b"\n"), path
        found += [json.loads(line) for line in data.splitlines()]
    return found


def test_records_are_appended_to_a_file_named_by_its_hour(tmp_path, monkeypatch):
    folder = tmp_path / "new" / "calls"
    sink = FileSink(folder)
    assert isinstance(sink, Sink)
    for hour in (10, 10, 11):
        monkeypatch.setattr(time, "gmtime", lambda hour=hour: time.struct_time((2026, 3, 2, hour, 59, 0, 0, 61, 0)))
        sink.write(b'{"a":1}\n')
    assert sink.flush()
    sink.close()
    sink.write(b'{"a":2}\n')
    assert {path.name: path.read_bytes().count(b"\n") for path in folder.iterdir()} == {
        "calls-2026-03-02T10.jsonl": 2,
        "calls-2026-03-02T11.jsonl": 2,
    }
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert all(stat.S_IMODE(path.stat().st_mode) == 0o600 for path in folder.iterdir())


def test_a_full_file_is_followed_by_another_also_after_a_restart(tmp_path):
    for _ in range(2):
        sink = FileSink(tmp_path, max_bytes=20)
        for number in range(5):
            sink.write(b'{"n":%d}\n' % number)
        sink.close()
    sizes = [path.stat().st_size for path in tmp_path.iterdir()]
    assert len(lines_of(tmp_path)) == 10
    # Eight bytes a line: the third makes a file full.
    assert sorted(sizes) == [8, 24, 24, 24]


def test_threads_and_processes_write_whole_lines_side_by_side(tmp_path):
    program = (
        "import sys, threading\n"
        "from inferwatch import FileSink\n"
        "sink = FileSink(sys.argv[1], max_bytes=20_000)\n"
        "def write(thread):\n"
        "    for number in range(200):\n"
        "        sink.write(('{\"who\":\"%s-%d\",\"n\":%d,\"pad\":\"%s\"}\\n'"
        " % (sys.argv[2], thread, number, 'x' * (number * 7 % 300))).encode())\n"
        "threads = [threading.Thread(target=write, args=(thread,)) for thread in range(3)]\n"
        "[thread.start() for thread in threads]; [thread.join() for thread in threads]\n"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    processes = [
        subprocess.Popen([sys.executable, "-c", program, str(tmp_path), str(number)], env=environment)
        for number in range(3)
    ]
    assert [process.wait(60) for process in processes] == [0, 0, 0]
    written = {(line["who"], line["n"]) for line in lines_of(tmp_path)}
    assert len(written) == len(lines_of(tmp_path)) == 3 * 3 * 200
    assert len(list(tmp_path.iterdir())) > 1


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")
def test_a_child_writes_on_though_another_thread_held_the_lock(tmp_path):
    sink = FileSink(tmp_path)
    sink.write(b'{"from":"parent"}\n')
    sink._lock.acquire()
    child = os.fork()
    if child == 0:
        try:
            sink.write(b'{"from":"child"}\n')
            os._exit(0)
        finally:
            os._exit(1)
    sink._lock.release()
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    sink.write(b'{"from":"parent"}\n')
    assert [line["from"] for line in lines_of(tmp_path)] == ["parent", "child", "parent"]


def test_a_line_that_was_torn_does_not_swallow_the_next(tmp_path, monkeypatch):
    sink = FileSink(tmp_path)
    write = os.write
    monkeypatch.setattr(os, "write", lambda file, data: write(file, data[:4]))
    sink.write(b'{"whole":"in pieces"}\n')

    def no_space(file, data):
        if len(data) < 10:
            raise OSError(28, "No space left on device")
        return write(file, data[:6])

    monkeypatch.setattr(os, "write", no_space)
    with pytest.raises(OSError, match="No space"):
        sink.write(b'{"torn":1}\n')
    monkeypatch.undo()
    sink.write(b'{"next":1}\n')
    (path,) = tmp_path.iterdir()
    assert path.read_bytes().splitlines() == [b'{"whole":"in pieces"}', b'{"torn', b'{"next":1}']

    with path.open("ab") as file:
        file.write(b'{"killed":')
    FileSink(tmp_path).write(b'{"restarted":1}\n')
    assert path.read_bytes().splitlines()[-2:] == [b'{"killed":', b'{"restarted":1}']


def test_a_file_that_was_taken_away_is_made_again(tmp_path):
    sink = FileSink(tmp_path)
    sink.write(b'{"n":1}\n')
    (path,) = tmp_path.iterdir()
    path.unlink()
    sink.write(b'{"n":2}\n')
    assert lines_of(tmp_path) == [{"n": 2}]


def test_a_link_in_the_place_of_the_file_is_not_followed(tmp_path):
    (tmp_path / "calls").mkdir()
    sink = FileSink(tmp_path / "calls")
    for hour in range(24):
        name = time.strftime(f"calls-%Y-%m-%dT{hour:02}.jsonl", time.gmtime())
        (tmp_path / "calls" / name).symlink_to(tmp_path / "elsewhere")
    with pytest.raises(OSError, match="symbolic links"):
        sink.write(b"{}\n")
    assert not (tmp_path / "elsewhere").exists()


def test_a_folder_that_cannot_be_is_told_at_once(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError):
        FileSink(tmp_path / "file")
    with pytest.raises(ValueError, match="prefix"):
        FileSink(tmp_path, prefix="../x")
    with pytest.raises(ValueError, match="max_bytes"):
        FileSink(tmp_path, max_bytes=0)


def test_many_threads_share_one_sink(tmp_path):
    sink = FileSink(tmp_path, max_bytes=5_000)
    threads = [
        threading.Thread(target=lambda: [sink.write(b'{"n":%d}\n' % number) for number in range(300)]) for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(line["n"] for line in lines_of(tmp_path)) == sorted(list(range(300)) * 4)
