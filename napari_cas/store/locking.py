"""One writing process per project.

The operating system's own file lock decides, so a lock ends with its process however that ends. The
file also says who holds it, for the message, and for file systems without locks, where the
process's existence is checked instead.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import socket
import sys
import time
from typing import TYPE_CHECKING, Any

import psutil

from napari_cas.errors import ProjectLockedError
from napari_cas.store.files import storing

if TYPE_CHECKING:
    from pathlib import Path

_UNSUPPORTED = {errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP, errno.EINVAL}


class WriteLock:
    """The right to write one project, held until :meth:`release` or the end of the process.

    Parameters
    ----------
    path : Path
        The lock file; created if missing.

    Raises
    ------
    ProjectLockedError
        If another process, or another project object of this one, holds it.
    StorageError
        If the file cannot be written.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        flags = os.O_RDWR | os.O_CREAT | getattr(os, "O_BINARY", 0)
        with storing(path):  # it is emptied and written in place: never what a link points to
            self._handle = os.open(path, flags | getattr(os, "O_NOFOLLOW", 0), 0o666)
        try:
            exclusive = _lock(self._handle)
            holder = _holder(self._handle)
            if exclusive is False or (holder and _alive(holder, locked_here=bool(exclusive))):
                raise _locked(path, holder)  # noqa: TRY301 - the handle is closed below
            with storing(path):
                _write(self._handle, _myself())
        except BaseException:
            os.close(self._handle)
            raise

    def release(self) -> None:
        """Give the lock back; does nothing the second time."""
        if self._handle >= 0:
            with contextlib.suppress(OSError):
                _write(self._handle, {})
            os.close(self._handle)
            self._handle = -1


def _lock(handle: int) -> bool | None:
    """Return whether the system gave the lock; None if the file system has no locks."""
    try:
        if sys.platform == "win32":
            import msvcrt

            os.lseek(handle, 1 << 30, os.SEEK_SET)  # beyond the text, which others may read
            msvcrt.locking(handle, msvcrt.LK_NBLCK, 1)
        else:
            import fcntl

            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        return None if error.errno in _UNSUPPORTED else False
    return True


def _holder(handle: int) -> dict[str, Any]:
    os.lseek(handle, 0, os.SEEK_SET)
    try:
        value = json.loads(os.read(handle, 4096) or b"{}")
    except (OSError, ValueError):
        return {}
    return value if isinstance(value, dict) else {}


def _write(handle: int, value: dict[str, Any]) -> None:
    os.ftruncate(handle, 0)
    os.lseek(handle, 0, os.SEEK_SET)
    os.write(handle, json.dumps(value).encode())


def _myself() -> dict[str, Any]:
    process = psutil.Process()
    return {
        "pid": process.pid,
        "host": socket.gethostname(),
        "started": process.create_time(),
        "since": time.strftime("%Y-%m-%d %H:%M:%S"),
    }


def _alive(holder: dict[str, Any], *, locked_here: bool) -> bool:
    """Return whether the process named in the file may still write."""
    if holder.get("host") != socket.gethostname():
        return bool(holder.get("host"))  # its locks may not reach this host; it did not say goodbye
    if locked_here:
        return False  # the system says that nobody on this host holds it
    try:
        process = psutil.Process(int(holder["pid"]))
        return bool(abs(process.create_time() - float(holder["started"])) < 1)
    except (psutil.Error, KeyError, TypeError, ValueError):
        return False


def _locked(path: Path, holder: dict[str, Any]) -> ProjectLockedError:
    pid, host = holder.get("pid", "unknown"), holder.get("host", "unknown")
    todo = "Close it there, or open the project read-only."
    if host not in ("unknown", socket.gethostname()):
        todo += f" If that process is gone for good, delete {path}."
    return ProjectLockedError(
        f"{path.parent} is open for writing elsewhere",
        expected="no other writer",
        got=f"process {pid} on {host} since {holder.get('since', 'an unknown time')}",
        todo=todo,
    )
