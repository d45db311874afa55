"""What runs inside a worker around each job: nothing heavy, no torch until the job imports it."""

from __future__ import annotations

import contextlib
import faulthandler
import importlib
import io
import os
import pickle
import signal
import sys
import threading
import time
import traceback
from typing import Any

from napari_cas.errors import CASError, WorkerError

_one_at_a_time = threading.Lock()
"""A cluster's worker may have several threads; a process's warm model serves one job at a time."""

WATCH_SECONDS = 0.5
"""How often the worker looks whether its parent still lives."""


def call(function: str, args: tuple[Any, ...]) -> bytes:
    """Look ``"module:function"`` up here, in the worker, and run it.

    Returns
    -------
    bytes
        The result for :func:`unpack`: pickled here, so that the caller decides what it loads.

    Raises
    ------
    CASError
        The function's own error, rebuilt from a class the caller can import without torch.
    WorkerError
        Any other error, with its traceback as ``details``: the exception itself stays here, because
        unpickling it could import torch in napari's process.
    """
    try:
        module, _, name = function.partition(":")
        with _one_at_a_time:
            return pickle.dumps(getattr(importlib.import_module(module), name)(*args))
    except CASError as error:
        raise _portable(error) from None
    except Exception as error:
        raise _described(error) from None


class _Messages(pickle.Unpickler):
    """Loads plain values and our own messages; anything else would import who knows what."""

    def find_class(self, module: str, name: str) -> Any:  # noqa: ANN401
        if (module in _MESSAGES and "." not in name) or (module, name) in _PLAIN:
            return super().find_class(module, name)
        raise pickle.UnpicklingError(f"{module}.{name}")


_MESSAGES = {"napari_cas.protocol", "napari_cas.config"}
_PLAIN = {("builtins", name) for name in ("complex", "bytearray", "frozenset", "set", "slice")}


def unpack(packed: bytes) -> Any:  # noqa: ANN401
    """Return a result as :func:`call` packed it.

    Only messages and plain values are loaded. This is what keeps torch out of napari's process for
    good: even ``torch.__version__`` is an instance of a class of torch's.

    Raises
    ------
    WorkerError
        The result holds something else.
    """
    try:
        return _Messages(io.BytesIO(packed)).load()
    except Exception as error:  # a torn pickle may raise anything
        raise WorkerError(
            "The worker sent something that may not be loaded here",
            expected="a message of napari_cas.protocol",
            got=str(error),
            todo="This is a bug; please report it.",
        ) from error


def initialise(parent: int, nice: int) -> None:
    """Prepare a fresh worker process: polite, watchful, and deaf to the terminal's Ctrl-C."""
    with contextlib.suppress(ValueError, OSError):
        # Ctrl-C reaches the whole process group; the parent decides what becomes of the worker.
        signal.signal(signal.SIGINT, signal.SIG_IGN)
    with contextlib.suppress(OSError, RuntimeError, ValueError, AttributeError):
        faulthandler.enable()
    lower_priority(nice)
    threading.Thread(target=_watch, args=(parent,), name="parent-watch", daemon=True).start()


def lower_priority(nice: int) -> None:
    """Let the user interface go first."""
    with contextlib.suppress(OSError):
        if sys.platform == "win32":
            import psutil

            psutil.Process().nice(psutil.BELOW_NORMAL_PRIORITY_CLASS)
        else:
            os.nice(nice)


def _watch(parent: int) -> None:
    """Leave when the parent is gone, however it went; a killed parent cannot tell us."""
    import psutil

    try:
        process = psutil.Process(parent)
        while process.is_running() and process.status() != psutil.STATUS_ZOMBIE:
            time.sleep(WATCH_SECONDS)
    except psutil.NoSuchProcess:
        pass
    os._exit(0)  # no clean-up: files are written atomically, and nobody is left to hear errors


def _portable(error: CASError) -> CASError:
    """Return the error as one of the classes of ``napari_cas.errors``."""
    for kind in type(error).__mro__:
        if kind.__module__ == CASError.__module__ and issubclass(kind, CASError):
            if kind is type(error):
                break
            return kind(error.what, expected=error.expected, got=error.got, todo=error.todo)
    return error


def _described(error: Exception) -> WorkerError:
    """Say what an unexpected exception means for the person at the screen."""
    if _is_out_of_memory(error):
        answer = WorkerError(
            "The worker ran out of memory",
            todo="Choose smaller tiles or crops, a smaller batch or network, or another device.",
        )
    else:
        last = traceback.format_exception_only(error)[-1].strip()
        answer = WorkerError(
            f"The worker failed with {last}", todo="This is a bug; please report it."
        )
    answer.details = "".join(traceback.format_exception(error))
    return answer


def _is_out_of_memory(error: BaseException) -> bool:
    """Recognise torch's and Python's signs of exhausted memory, without importing torch."""
    names = {kind.__name__ for kind in type(error).__mro__}
    if names & {"OutOfMemoryError", "MemoryError"}:
        return True
    text = str(error).lower()
    return "RuntimeError" in names and (
        "can't allocate memory" in text or "not enough memory" in text
    )
