"""Jobs that are tried again when their worker dies."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from functools import partial
from typing import TYPE_CHECKING, Any

from napari_cas.errors import WorkerDiedError

if TYPE_CHECKING:
    from collections.abc import Callable
    from concurrent.futures import Future

    from napari_cas.jobs.executor import Executor


class Outcome(Enum):
    """How a chain of jobs ended."""

    DONE = "done"
    """Converged, or nothing is left to do."""
    LIMIT = "limit"
    """The highest number of rounds is reached."""
    CANCELLED = "cancelled"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Callbacks:
    """Where a job's outcome goes; all are called in the owner's thread.

    Attributes
    ----------
    on_result : callable
        Takes what the job returned.
    on_error : callable
        Takes the error that ended it.
    on_retry : callable
        Takes the :class:`WorkerDiedError` after which the job is tried again.
    """

    on_result: Callable[[Any], None]
    on_error: Callable[[BaseException], None]
    on_retry: Callable[[BaseException], None]


class RetriedJob:
    """One call in a worker, handed to the next worker when one dies under it.

    Jobs are pure functions of (project, checkpoint, request), so doing one again is harmless.

    Parameters
    ----------
    executor : Executor
        Where it runs.
    dispatch : callable
        Brings the outcome into the owner's thread.
    callbacks : Callbacks
        Where the outcome goes.
    function : str
        ``"module:function"``.
    args : tuple
        Its arguments.
    retries : int
        How many workers may die before this is an error.
    """

    def __init__(
        self,
        executor: Executor,
        dispatch: Callable[[Callable[[], None]], None],
        callbacks: Callbacks,
        function: str,
        args: tuple[Any, ...],
        *,
        retries: int = 2,
    ) -> None:
        self._executor, self._dispatch, self._callbacks = executor, dispatch, callbacks
        self._function, self._args, self._left = function, args, retries
        self._abandoned = False

    def start(self) -> None:
        """Submit; errors of submission arrive like all others, through ``on_error``."""
        try:
            future = self._executor.submit(self._function, *self._args)
        except Exception as error:  # whatever it is, the owner must hear of it once
            self._dispatch(partial(self._fail, error))
            return
        future.add_done_callback(lambda f: self._dispatch(partial(self._finished, f)))

    def abandon(self) -> None:
        """Never call back, whatever becomes of the job."""
        self._abandoned = True

    def give_up_retrying(self) -> None:
        """Let the next death of the worker be the end (after a cancellation)."""
        self._left = 0

    def _finished(self, future: Future[Any]) -> None:
        if self._abandoned:
            return
        error = future.exception()
        if error is None:
            self._callbacks.on_result(future.result())
        elif isinstance(error, WorkerDiedError) and self._left > 0:
            self._left -= 1
            self._callbacks.on_retry(error)
            self.start()
        else:
            self._fail(error)

    def _fail(self, error: BaseException) -> None:
        if not self._abandoned:
            self._callbacks.on_error(error)
