"""The session's work in the worker: when a chain of rounds or a queue of tiles starts and ends."""

from __future__ import annotations

from collections import deque
from functools import partial
from typing import TYPE_CHECKING, Any

from napari_cas.jobs import LocalExecutor, Outcome, PlaneWork, RoundChain, TileQueue
from napari_cas.jobs.job import Callbacks, RetriedJob
from napari_cas.protocol import RoundReport, RoundRequest, TilesReport, TilesRequest, WorkerInfo
from napari_cas.session import extent
from napari_cas.session.events import Message, Progress, State

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from napari_cas.jobs import Executor
    from napari_cas.protocol import Alike, Tile
    from napari_cas.session.session import Session
    from napari_cas.session.timers import Timers

WARM_UP = "napari_cas.engine.worker:warm_up"
LIVE_SECONDS = 0.2
"""Pause after a stroke before live training starts: strokes often come in pairs."""


class Work:
    """What a session has under way; used by :class:`Session` only.

    At most one chain of rounds or one queue of tiles is active: there is one worker, and training
    makes running predictions out of date.
    """

    def __init__(
        self,
        session: Session,
        executor: Executor | None,
        timers: Timers,
        remember: Callable[[], None],
    ) -> None:
        self._session, self._remember = session, remember
        self.checkpoint: str | None = None
        self.worker: WorkerInfo | None = None
        self.reports: deque[RoundReport] = deque(maxlen=1000)
        self.alike: tuple[Alike, ...] = ()
        self._given = self._own = executor
        self._chain: RoundChain | None = None
        self._trains = False
        self._tiles: TileQueue | None = None
        self._asked = False
        self._warming: RetriedJob | None = None
        self._again = self.all_due = self._view_moved = self._plane_due = False
        self._images: tuple[str, ...] | None = None
        self._timers = timers
        self._said: set[str] = set()
        self._state = State.NO_PROJECT

    # -- state ----------------------------------------------------------------------------------

    @property
    def state(self) -> State:
        """What is under way."""
        return self._state

    @property
    def idle(self) -> bool:
        """Whether nothing is under way or about to start."""
        busy = self._chain or self._tiles or self._warming
        return busy is None and not self._timers

    def update_state(self) -> None:
        """Work out the state and tell if it has changed."""
        state = self._present_state()
        if state != self._state:
            self._state = state
            self._session.state_changed.emit(state)

    def _present_state(self) -> State:
        if self._session.project is None:
            return State.NO_PROJECT
        active = self._chain or self._tiles
        if active is not None:
            if active.cancelled:
                return State.STOPPING
            return State.TRAINING if self._trains and self._chain else State.PREDICTING
        return State.READY if self._warming is None else State.WARMING

    # -- worker ---------------------------------------------------------------------------------

    @property
    def executor(self) -> Executor:
        """Where jobs run; a worker of this machine is set up when first needed."""
        if self._own is None:
            self._own = LocalExecutor()
        return self._own

    def warm_up(self) -> None:
        """Start the worker and ask what it can do."""
        if self._warming is not None:
            self._warming.abandon()
        callbacks = Callbacks(self._warmed, self._warm_failed, lambda _: None)
        self._warming = self._job(callbacks, WARM_UP, self._session.config)
        self._warming.start()
        self._warn(self.executor.awaited)
        self.update_state()

    def run_on(self, executor: Executor | None) -> None:
        """Go on with these workers, from now on the session's own; None: one of this machine."""
        self.close()
        self._given, self._own = None, executor
        if self._session.project is not None:
            self.warm_up()

    def _job(self, callbacks: Callbacks, function: str, *args: Any) -> RetriedJob:  # noqa: ANN401
        return RetriedJob(self.executor, self._session.dispatch, callbacks, function, args)

    def _warmed(self, info: WorkerInfo) -> None:
        self._warming = None
        self.worker = info
        self._session.device_changed.emit(info)
        self.update_state()

    def _warm_failed(self, error: BaseException) -> None:
        self._warming = None
        self._session.messaged.emit(Message.of(error))
        self.update_state()

    def close(self) -> None:
        """End everything, the worker process included unless it was given to the session."""
        self.stop_all()
        if self._warming is not None:
            self._warming.abandon()
            self._warming = None
        if self._given is None and self._own is not None:
            self._own.shutdown()
            self._own = None
        self.worker = None
        self.update_state()

    # -- model ----------------------------------------------------------------------------------

    def use(self, checkpoint: str | None) -> None:
        """Go on with another model of the project, or with none; remembered at once."""
        self.checkpoint = checkpoint
        self._remember()
        self._session.checkpoint_changed.emit(checkpoint)

    def forget(self) -> None:
        """Start over for another project."""
        self.checkpoint = None
        self.alike = ()
        self.reports.clear()

    # -- training -------------------------------------------------------------------------------

    def train_soon(self) -> None:
        """Train after a short pause, or once more if rounds already run."""
        self._timers.start("train", LIVE_SECONDS, self._session.fine_tune)

    def train(self, max_rounds: int | None = None) -> None:
        """Start a chain of rounds, or ask for one more after the present one."""
        if self._chain is not None and self._trains and not self._chain.cancelled:
            self._again = True
            return
        self._timers.cancel("train", "follow")
        if self._chain is None and self._tiles is None:
            self._start_chain(train=True, rounds=max_rounds or self._session.config.fit.max_rounds)
            return
        self._again = True  # after a view that is being predicted, a cancelled round, or tiles
        if self._tiles is not None:
            self._tiles.cancel()
            self.update_state()

    def _start_chain(self, *, train: bool, rounds: int) -> None:
        self._again = False
        self._trains = train
        self._said.clear()
        self._chain = RoundChain(
            self.executor,
            self._prepare,
            max_rounds=rounds,
            dispatch=self._session.dispatch,
            on_report=self._reported,
            on_warning=self._retried,
            on_finished=self._chain_finished,
        )
        self._chain.start(self.checkpoint)
        self._warn(self.executor.awaited)
        self._tell_rounds()
        self.update_state()

    def _prepare(self, number: int, checkpoint: str | None) -> RoundRequest:
        project = self._session.project
        assert project is not None  # noqa: S101 - chains are abandoned when a project closes
        self._view_moved = False
        return RoundRequest(
            project=str(project.path),
            config=self._session.config,
            view=self._session.view,
            checkpoint=checkpoint,
            round=number,
            train=self._trains,
            probabilities=self._session.probabilities,
        )

    def _reported(self, report: RoundReport) -> None:
        self._warn(report.warnings)
        self._refresh(report.changed)
        self.reports.append(report)
        if report.losses:
            self.alike = report.alike
        if report.checkpoint != self.checkpoint:
            self.use(report.checkpoint)
        self._session.reported.emit(report)
        self._tell_rounds(finished=1)

    def _retried(self, error: BaseException) -> None:
        """Tell that the worker died; its job is with a new one already."""
        self._session.messaged.emit(Message.of(error, "warning"))
        if self._warming is None and self.worker is not None:
            self.warm_up()  # the new worker has another process id

    def _chain_finished(self, outcome: Outcome, error: BaseException | None) -> None:
        trained, self._chain = self._trains, None
        self._tell("rounds", 1, 1)
        if error is not None:
            self._session.messaged.emit(Message.of(error))
        completed = outcome in (Outcome.DONE, Outcome.LIMIT)
        image = self._session.image
        huge = image is not None and extent.is_huge(image)  # the screen shows more than a round did
        self._plane_due = completed and (trained or self._plane_due or huge)
        if self._again:
            self.train_again()
        elif completed or (outcome is Outcome.CANCELLED and self.all_due):  # asked for since
            self._go_on()
        self.update_state()  # not before: between two kinds of work nobody is ready

    def _go_on(self) -> None:
        """Predict what the last round left out: where the annotator went, then the rest."""
        if self._view_moved and self.checkpoint is not None:
            self.predict_view()
        elif self.all_due:
            self.predict_all(self._images)
        elif self._plane_due:
            self._plane_due = False
            self._complete_plane()

    def train_again(self) -> None:
        """Start the chain that was asked for while something else was under way."""
        self._again = False
        self._session.fine_tune()

    # -- predicting -----------------------------------------------------------------------------

    def predict_view(self) -> None:
        """Predict the view once, without training, after what runs."""
        if self._chain is None and self._tiles is None:
            self._start_chain(train=False, rounds=1)
        else:
            self.view_changed()
            self._view_moved = True

    def follow_soon(self) -> None:
        """Predict the view again after a short pause: what was painted has its say around it."""
        if self.checkpoint is not None:
            self._timers.start("follow", LIVE_SECONDS, self.predict_view)

    def view_changed(self) -> None:
        """Follow the annotator elsewhere: rounds do by themselves, tiles are reordered."""
        image, seen = self._session.image, self._session.seen
        if self._tiles is not None:
            if self._asked or image is None or seen is None or not extent.is_huge(image):
                self._tiles.look_at(self._session.view)
            else:
                self._tiles.take([extent.unasked(image, seen)], self._session.view)
        elif self._chain is not None:
            self._view_moved = True

    def predict_all(self, images: tuple[str, ...] | None) -> None:
        """Predict every plane of these images, or of all."""
        self.all_due, self._images = True, images
        if self._tiles is not None:
            self._asked = True
            self._tiles.take(list(self._all_planes()), self._session.view)
        elif self._chain is None:  # else it follows by itself
            self._start_tiles(list(self._all_planes()), asked=True)

    def _all_planes(self) -> Iterable[PlaneWork]:
        project = self._session.project
        if project is not None:
            for name in project.images if self._images is None else self._images:
                entry = project.image(name)
                for plane in entry.planes():
                    yield PlaneWork(name, plane, entry.plane_size)

    def _complete_plane(self) -> None:
        """Predict the rest of the plane, or of what is seen of a huge one."""
        image, seen, view = self._session.image, self._session.seen, self._session.view
        if image is None or seen is None or view is None:
            return
        work = extent.unasked(image, seen)
        if not extent.is_done(work, view):
            self._start_tiles([work], asked=False)

    def _start_tiles(self, planes: list[PlaneWork], *, asked: bool) -> None:
        project, checkpoint = self._session.project, self.checkpoint
        if project is None or checkpoint is None:
            return
        soft = self._session.probabilities
        request = TilesRequest(str(project.path), self._session.config, checkpoint, (), soft)
        self._asked = asked
        self._tiles = TileQueue(
            self.executor,
            request,
            planes,
            dispatch=self._session.dispatch,
            on_report=self._tiles_reported,
            on_progress=partial(self._tell, "tiles"),
            on_warning=self._retried,
            on_finished=self._tiles_finished,
            done=extent.predicted_before(project, request),
        )
        self._tell("tiles", *self._tiles.progress)
        self._tiles.start(self._session.view)
        self._warn(self.executor.awaited)
        self.update_state()

    def _warn(self, sentences: Iterable[str]) -> None:
        """Pass on what the worker warns of, each sentence once."""
        for text in sentences:
            if text not in self._said:
                self._said.add(text)
                self._session.messaged.emit(Message("warning", text))

    def _tiles_reported(self, report: TilesReport) -> None:
        self._warn(report.warnings)
        self._refresh(report.done)
        self._session.tiled.emit(report)

    def _tiles_finished(self, outcome: Outcome, error: BaseException | None) -> None:
        self._tiles = None
        self._tell("tiles", 1, 1)
        if error is not None:
            self._session.messaged.emit(Message.of(error))
        if outcome is Outcome.DONE:
            self.all_due = False
        again = self._again or (outcome is Outcome.CANCELLED and self.all_due)  # asked for since
        if self._again:
            self.train_again()
        elif again:
            self.predict_all(self._images)
        elif self._view_moved and outcome is Outcome.DONE:
            self.predict_view()
        self.update_state()
        if self._asked and not again and error is None:
            self._session.predicted_all.emit(outcome is Outcome.DONE)

    def _refresh(self, tiles: Iterable[Tile]) -> None:
        """Forget cached pixels of these tiles and tell that they changed."""
        project = self._session.project
        for tile in tiles:
            if project is not None and tile.image in project.images:
                project.image(tile.image).prediction.invalidate(tile.plane, tile.box)
                self._session.prediction_changed.emit(tile)

    # -- stopping -------------------------------------------------------------------------------

    def cancel(self) -> None:
        """Let what runs finish, and start nothing after it."""
        self._again = self.all_due = self._view_moved = self._plane_due = False
        self._timers.cancel("train", "follow")
        for active in (self._chain, self._tiles):
            if active is not None:
                active.cancel()
        self.update_state()

    def stop_all(self) -> None:
        """Drop what runs without waiting for it; its late results are ignored."""
        self.cancel()
        for active in (self._chain, self._tiles):
            if active is not None:
                active.abandon()
        self._chain = self._tiles = None
        self.update_state()

    def _tell_rounds(self, finished: int = 0) -> None:
        if self._chain is None:
            return
        if self._trains:
            total = self._session.config.fit.max_rounds
            # The last unit stays open until the chain itself says that it has ended.
            done = min(self._chain.round + finished, total - 1) if total > 1 else 0
            self._session.progressed.emit(Progress(done, total, "Fine-tuning"))
        else:
            self._session.progressed.emit(Progress(0, 1, "Predicting"))

    def _tell(self, what: str, done: int, total: int) -> None:
        text = "Fine-tuning" if what == "rounds" and self._trains else "Predicting"
        self._session.progressed.emit(Progress(done, total, text))
