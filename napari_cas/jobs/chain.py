"""The chain of rounds of one fine-tuning."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from napari_cas.jobs.job import Callbacks, Outcome, RetriedJob

if TYPE_CHECKING:
    from collections.abc import Callable

    from napari_cas.jobs.executor import Executor
    from napari_cas.protocol import RoundReport, RoundRequest

RUN_ROUND = "napari_cas.engine.worker:run_round"
RETRIES = 2
"""Workers that may die under one round before the chain gives up."""


class RoundChain:
    """Submits one round after the other until it converges, is cancelled, fails, or had enough.

    Each round starts from the checkpoint the last one left. Nothing is held in memory between
    rounds but that name, so a dead worker costs one round. Strokes painted meanwhile are on disk
    and therefore simply part of the next round.

    Parameters
    ----------
    executor : Executor
        Where rounds run.
    prepare : callable
        Takes the number of the round and the checkpoint to start from and returns the request, so
        that each round sees the present view and settings.
    max_rounds : int
        Highest number of rounds.
    dispatch : callable
        Runs functions in the owner's thread. All methods and callbacks are used there only.
    on_report, on_warning, on_finished : callable
        Take a round's report; the error after which a round is tried again; the outcome together
        with the error that caused it, if any.
    function : str
        What runs a round, ``"module:function"``.
    """

    def __init__(
        self,
        executor: Executor,
        prepare: Callable[[int, str | None], RoundRequest],
        *,
        max_rounds: int,
        dispatch: Callable[[Callable[[], None]], None],
        on_report: Callable[[RoundReport], None],
        on_warning: Callable[[BaseException], None],
        on_finished: Callable[[Outcome, BaseException | None], None],
        function: str = RUN_ROUND,
    ) -> None:
        self._executor, self._dispatch = executor, dispatch
        self._prepare, self._max_rounds, self._function = prepare, max_rounds, function
        self._on_report, self._on_warning, self._on_finished = on_report, on_warning, on_finished
        self._job: RetriedJob | None = None
        self._checkpoint: str | None = None
        self._round = 0
        self._cancelled = False

    @property
    def running(self) -> bool:
        """Whether a round is under way."""
        return self._job is not None

    @property
    def cancelled(self) -> bool:
        """Whether no further round will follow."""
        return self._cancelled

    @property
    def round(self) -> int:
        """Number of the round under way, from 0."""
        return self._round

    def start(self, checkpoint: str | None = None) -> None:
        """Submit the first round, from this checkpoint or from nothing."""
        self._checkpoint = checkpoint
        self._submit()

    def cancel(self) -> None:
        """Chain no further round; the one under way finishes and is still reported."""
        self._cancelled = True
        if self._job is not None:
            self._job.give_up_retrying()

    def abandon(self) -> None:
        """Forget the round under way: no callback any more (its project is being closed)."""
        self._cancelled = True
        if self._job is not None:
            self._job.abandon()
            self._job = None

    def _submit(self) -> None:
        request = replace(
            self._prepare(self._round, self._checkpoint),
            round=self._round,
            checkpoint=self._checkpoint,
        )
        callbacks = Callbacks(self._reported, self._failed, self._on_warning)
        self._job = RetriedJob(
            self._executor, self._dispatch, callbacks, self._function, (request,), retries=RETRIES
        )
        self._job.start()

    def _reported(self, report: RoundReport) -> None:
        self._checkpoint = report.checkpoint
        try:
            self._on_report(report)
        finally:
            # A listener's error must be heard, but must not leave the chain hanging.
            if self._job is not None:  # else abandoned by whoever heard the report
                self._go_on(report)

    def _go_on(self, report: RoundReport) -> None:
        self._round += 1
        if self._cancelled:
            self._end(Outcome.CANCELLED)
        elif report.converged:
            self._end(Outcome.DONE)
        elif self._round >= self._max_rounds:
            self._end(Outcome.LIMIT)
        else:
            self._submit()

    def _failed(self, error: BaseException) -> None:
        # Someone who has cancelled need not hear that the worker died doing what nobody wants.
        if self._cancelled:
            self._end(Outcome.CANCELLED)
        else:
            self._end(Outcome.FAILED, error)

    def _end(self, outcome: Outcome, error: BaseException | None = None) -> None:
        self._job = None
        self._on_finished(outcome, error)
