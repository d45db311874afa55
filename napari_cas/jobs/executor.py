"""One warm worker process on this machine.

loky rather than multiprocessing: its workers start from scratch (no fork of a process that runs
Qt), do not run the caller's main script again, and so survive scripts without
``if __name__ == "__main__"``. The executor is our own, not loky's reusable singleton, so that two
sessions never share or resize each other's worker.
"""

from __future__ import annotations

import signal
import threading
from concurrent.futures import Future
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Protocol, Self, cast

from napari_cas.errors import CASError, WorkerDiedError, WorkerError
from napari_cas.jobs import remote

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import TracebackType

    from loky import ProcessPoolExecutor


class Executor(Protocol):
    """Where jobs run: here or elsewhere, with the same requests and the same results."""

    @property
    def slots(self) -> int:
        """How many jobs run side by side."""

    @property
    def awaited(self) -> tuple[str, ...]:
        """What jobs wait for before the first can run, in sentences; mostly nothing."""

    def submit(self, function: str, *args: Any) -> Future[Any]:  # noqa: ANN401
        """Run ``"module:function"`` with `args` in a worker; the name is looked up there."""

    def shutdown(self) -> None:
        """End all workers, also those at work."""


class LocalExecutor:
    """A single worker process of this machine, kept warm, niced, and gone when its parent is.

    The process starts with the first job. When it dies, the job in flight fails with
    :class:`WorkerDiedError` and the next job starts a new process. Nothing is imported in the
    calling process but loky.

    Parameters
    ----------
    nice : int
        Added to the worker's niceness (POSIX; below-normal priority on Windows), so that on two
        cores painting stays smooth.
    """

    slots = 1
    awaited = ()

    def __init__(self, nice: int = 10) -> None:
        self._nice = nice
        self._pool: ProcessPoolExecutor | None = None
        self._lock = threading.Lock()

    def submit(self, function: str, *args: Any) -> Future[Any]:  # noqa: ANN401
        """Run ``"module:function"`` with `args` in the worker.

        Returns
        -------
        Future
            Fails only with a :class:`CASError`: the function's own, or a :class:`WorkerError` that
            carries the traceback of anything else.
        """
        future: Future[Any] = Future()
        inner = self._submit(function, args)
        # Ours can be cancelled as long as the worker's has not begun.
        future.add_done_callback(lambda ours: inner.cancel() if ours.cancelled() else None)
        inner.add_done_callback(lambda theirs: _hand_over(theirs, future))
        return future

    def shutdown(self) -> None:
        """End the worker at once, also in the middle of a job; its files are written atomically."""
        with self._lock:
            pool, self._pool = self._pool, None
        if pool is not None:
            pool.shutdown(wait=True, kill_workers=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.shutdown()

    def _submit(self, function: str, args: tuple[Any, ...]) -> Future[Any]:
        """Hand the job to the pool, or to a new pool if the old one's worker has died."""
        from loky.process_executor import BrokenProcessPool, ShutdownExecutorError

        with self._lock, _deaf_children():
            for _ in range(2):
                if self._pool is None:
                    self._pool = self._start()
                try:
                    job = self._pool.submit(remote.call, function, args)
                    return cast("Future[Any]", job)
                except (BrokenProcessPool, ShutdownExecutorError):
                    self._pool = None
        raise WorkerError("The worker process could not be started", todo=_RESTART)

    def _start(self) -> ProcessPoolExecutor:
        import os

        from loky import ProcessPoolExecutor
        from loky.backend import get_context

        return ProcessPoolExecutor(
            max_workers=1,
            timeout=None,
            context=get_context("loky"),
            initializer=remote.initialise,
            initargs=(os.getpid(), self._nice),
            env={
                # loky takes a worker that grows by 300 MB for a leaking one and replaces it, warm
                # model and all; ours grows by its caches, on purpose.
                "LOKY_MAX_MEMORY_LEAK_SIZE": "1e15",
                # Threads that wait for one another by spinning take the cores from the viewer, and
                # from one another: on two busy cores, several times slower.
                "OMP_WAIT_POLICY": os.environ.get("OMP_WAIT_POLICY", "PASSIVE"),
            },
        )


@contextmanager
def _deaf_children() -> Iterator[None]:
    """Let processes that begin here not hear Ctrl-C, which reaches all of a terminal's.

    A worker ignores it, but only once its interpreter has started; before, it would die with a
    traceback. Whoever called hears it still: a signal that one thread blocks goes to another, or
    comes later.
    """
    if not hasattr(signal, "pthread_sigmask"):  # Windows
        yield
        return
    from multiprocessing import resource_tracker

    resource_tracker.ensure_running()  # it unblocks the signal as it starts: now, not below
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


_RESTART = "Try again; if it happens again, look for a message of the system about memory."


def _hand_over(theirs: Future[Any], ours: Future[Any]) -> None:
    """Copy the pool's outcome into the caller's future, in our words."""
    if theirs.cancelled() or not (ours.running() or ours.set_running_or_notify_cancel()):
        return
    error = theirs.exception()
    if error is not None:
        ours.set_exception(_in_our_words(error))
        return
    try:
        ours.set_result(remote.unpack(theirs.result()))
    except WorkerError as refused:
        ours.set_exception(refused)


def _in_our_words(error: BaseException) -> CASError:
    """Say what happened to a job that raised, or whose worker is gone."""
    from loky.process_executor import BrokenProcessPool, ShutdownExecutorError

    if isinstance(error, CASError):
        return error
    if isinstance(error, BrokenProcessPool):
        return WorkerDiedError(
            "The worker process died",
            todo="A new one takes over; strokes are safe. If it happens again, memory is short: "
            "close other programs, or choose a smaller network or tile size.",
        )
    if isinstance(error, ShutdownExecutorError):
        return WorkerError("The worker was shut down before the job was done")
    failed = WorkerError(f"The job could not be sent to the worker ({error})")
    failed.details = "".join(str(part) for part in (error, error.__cause__ or ""))
    return failed
