"""One writer at a time, also across processes and after crashes."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys

import psutil
import pytest

from napari_cas.errors import ProjectLockedError
from napari_cas.store.locking import WriteLock

HOLDER = """
import sys, time
from pathlib import Path
from napari_cas.store.locking import WriteLock
lock = WriteLock(Path(sys.argv[1]))
print("held", flush=True)
time.sleep(600)
"""


@pytest.fixture
def holder(tmp_path):
    process = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(tmp_path / "lock")], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout.readline() == "held\n"
    yield process
    process.kill()
    process.wait()
    process.stdout.close()


def test_another_process_is_named(tmp_path, holder):
    with pytest.raises(ProjectLockedError, match=f"process {holder.pid} on {socket.gethostname()}"):
        WriteLock(tmp_path / "lock")


@pytest.mark.skipif(os.name == "nt", reason="SIGKILL is POSIX")
def test_the_lock_of_a_killed_process_is_taken_over(tmp_path, holder):
    os.kill(holder.pid, signal.SIGKILL)
    holder.wait()
    assert json.loads((tmp_path / "lock").read_text())["pid"] == holder.pid
    lock = WriteLock(tmp_path / "lock")
    assert json.loads((tmp_path / "lock").read_text())["pid"] == os.getpid()
    lock.release()


def test_release_lets_the_next_in_and_is_repeatable(tmp_path):
    for _ in range(2):
        lock = WriteLock(tmp_path / "lock")
        with pytest.raises(ProjectLockedError, match=f"process {os.getpid()} "):
            WriteLock(tmp_path / "lock")
        lock.release()
        lock.release()


@pytest.mark.parametrize("content", ["", "{", "[]", '{"pid": "x", "host": null}', "\x00" * 100])
def test_a_damaged_lock_file_locks_nobody_out(tmp_path, content):
    (tmp_path / "lock").write_text(content)
    WriteLock(tmp_path / "lock").release()


def test_a_lock_from_another_computer_counts_until_it_is_deleted(tmp_path):
    path = tmp_path / "lock"
    path.write_text(json.dumps({"pid": 1, "host": "elsewhere", "started": 0}))
    with pytest.raises(ProjectLockedError, match=r"process 1 on elsewhere.*delete"):
        WriteLock(path)
    path.unlink()
    WriteLock(path).release()


def test_without_file_locks_the_named_process_decides(tmp_path, monkeypatch):
    """Some network file systems have no locks; the process's existence is checked instead."""
    from napari_cas.store import locking

    monkeypatch.setattr(locking, "_lock", lambda handle: None)
    path, me = tmp_path / "lock", psutil.Process(os.getppid())
    note = {"pid": me.pid, "host": socket.gethostname(), "started": me.create_time()}
    path.write_text(json.dumps(note))
    with pytest.raises(ProjectLockedError):
        WriteLock(path)
    for other in ({"started": 1.0}, {"pid": 2**22 + 1}):  # a reused number; no such process
        path.write_text(json.dumps({**note, **other}))
        WriteLock(path).release()
