"""Predicting everything: batches of tiles, nearest to the view first, resumable."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

from napari_cas.jobs.job import Callbacks, Outcome, RetriedJob
from napari_cas.protocol import Box, Plane, Tile, TilesReport, TilesRequest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from napari_cas.jobs.executor import Executor

RUN_TILES = "napari_cas.engine.worker:run_tiles"
BATCH_SECONDS = 1.0
"""About how long a batch takes: cancelling acts within one."""
MAX_BATCH = 64
CHUNK = 256
"""Side of a chunk of the prediction on disk; tiles are multiples of it."""


class PlaneWork(NamedTuple):
    """A plane of an image to predict: whole, or the tiles that touch a part of it."""

    image: str
    plane: Plane
    size: tuple[int, int]
    part: Box | None = None


class TileQueue:
    """Submits batches of tiles until all planes are predicted.

    Parameters
    ----------
    executor : Executor
        Where batches run, as many at a time as it has slots.
    request : TilesRequest
        Project, settings and checkpoint; its tiles are ignored.
    planes : sequence of PlaneWork
        What to predict.
    dispatch : callable
        Runs functions in the owner's thread. All methods and callbacks are used there only.
    done : callable, optional
        Says of a tile whether this checkpoint has predicted it before (then it is left out).
    on_report, on_progress, on_warning, on_finished : callable
        Take a batch's report; tiles done and in all; the error after which a batch is tried again;
        the outcome with the error that caused it, if any.
    function : str
        What predicts a batch, ``"module:function"``.
    """

    def __init__(
        self,
        executor: Executor,
        request: TilesRequest,
        planes: Sequence[PlaneWork],
        *,
        dispatch: Callable[[Callable[[], None]], None],
        on_report: Callable[[TilesReport], None],
        on_progress: Callable[[int, int], None],
        on_warning: Callable[[BaseException], None],
        on_finished: Callable[[Outcome, BaseException | None], None],
        done: Callable[[Tile], bool] = lambda _: False,
        function: str = RUN_TILES,
    ) -> None:
        self._executor, self._dispatch, self._request = executor, dispatch, request
        self._function, self._is_done = function, done
        self._on_report, self._on_progress = on_report, on_progress
        self._on_warning, self._on_finished = on_warning, on_finished
        self._planes = list(planes)
        self._focus: Tile | None = None
        self._jobs: list[RetriedJob] = []
        self._batch = 1
        self._side = _side(request.config.predict.tile_size)
        self._total = sum(_count(work, self._side) for work in planes)
        self._finished_tiles: set[Tile] = set()
        self._sent: set[Tile] = set()
        self._started = self._ended = self._cancelled = self._paused = False

    @property
    def running(self) -> bool:
        """Whether there is still something to do or to wait for."""
        return self._started and not self._ended

    @property
    def cancelled(self) -> bool:
        """Whether no further batch will follow."""
        return self._cancelled

    @property
    def progress(self) -> tuple[int, int]:
        """Tiles done, those of earlier runs included, and tiles in all."""
        return len(self._finished_tiles), self._total

    def start(self, focus: Tile | None = None) -> None:
        """Begin with the tiles nearest to `focus`."""
        self._started = True
        self.look_at(focus)
        self._fill()

    def look_at(self, focus: Tile | None) -> None:
        """Go on with the tiles nearest to another place."""
        self._focus = focus
        self._planes.sort(key=lambda work: _plane_distance(work, focus))
        self._source = self._tiles()

    def take(self, planes: Sequence[PlaneWork], focus: Tile | None) -> None:
        """Go on with these planes in place of what was left; what was sent is not sent again."""
        self._planes = list(planes)
        self.look_at(focus)
        self._total = len(self._sent) + sum(tile not in self._sent for tile in self._tiles())
        if self.running:
            self._on_progress(*self.progress)
            self._fill()

    def pause(self) -> None:
        """Send no further batch for now."""
        self._paused = True

    def resume(self) -> None:
        """Go on after :meth:`pause`."""
        self._paused = False
        self._fill()

    def cancel(self) -> None:
        """Send no further batch; those under way finish and are reported."""
        self._cancelled = True
        for job in self._jobs:
            job.give_up_retrying()
        self._fill()

    def abandon(self) -> None:
        """Forget the batches under way: no callback any more."""
        self._cancelled = self._ended = True
        for job in self._jobs:
            job.abandon()
        self._jobs.clear()

    def _tiles(self) -> Iterator[Tile]:
        """Yield all tiles, plane by plane, from near to far."""
        for work in self._planes:
            boxes = list(_boxes(work, self._side))
            here = self._focus
            if here is not None and (here.image, here.plane) == (work.image, work.plane):
                centre = _centre(here.box)
                boxes.sort(key=lambda box: _square_distance(_centre(box), centre))
            for box in boxes:
                yield Tile(work.image, work.plane, box)

    def _next_batch(self) -> tuple[Tile, ...]:
        batch: list[Tile] = []
        for tile in self._source:
            if tile in self._sent:
                continue
            self._sent.add(tile)
            if self._is_done(tile):
                self._finished_tiles.add(tile)
                continue
            batch.append(tile)
            if len(batch) >= self._batch:
                break
        return tuple(batch)

    def _fill(self) -> None:
        """Keep every slot of the executor at work."""
        while not (self._cancelled or self._paused) and len(self._jobs) < self._executor.slots:
            tiles = self._next_batch()
            if not tiles:
                break
            self._submit(tiles)
        if not self._jobs and self.running and not (self._paused and not self._cancelled):
            self._end(Outcome.CANCELLED if self._cancelled else Outcome.DONE)

    def _submit(self, tiles: tuple[Tile, ...]) -> None:
        request = replace(self._request, tiles=tiles)
        job: RetriedJob

        def reported(report: TilesReport) -> None:
            self._jobs.remove(job)
            self._reported(report)

        def failed(error: BaseException) -> None:
            self._jobs.remove(job)
            self._failed(error)

        callbacks = Callbacks(reported, failed, self._on_warning)
        job = RetriedJob(self._executor, self._dispatch, callbacks, self._function, (request,))
        self._jobs.append(job)
        job.start()

    def _reported(self, report: TilesReport) -> None:
        self._finished_tiles.update(report.done)
        seconds = report.seconds.get("total") or sum(report.seconds.values())
        if seconds > 0 and report.done:
            wanted = BATCH_SECONDS * len(report.done) / seconds
            self._batch = int(min(max(wanted, 1), 2 * self._batch, MAX_BATCH))
        try:
            self._on_report(report)
            if not self._ended:
                self._on_progress(*self.progress)
        finally:
            # A listener's error must be heard, but must not leave the queue hanging.
            if not self._ended:
                self._fill()

    def _failed(self, error: BaseException) -> None:
        if self._cancelled:
            self._fill()
            return
        for job in self._jobs:
            job.abandon()
        self._jobs.clear()
        self._end(Outcome.FAILED, error)

    def _end(self, outcome: Outcome, error: BaseException | None = None) -> None:
        self._ended = True
        self._on_finished(outcome, error)


def tiles_of(work: PlaneWork, tile_size: int) -> list[Tile]:
    """Return the tiles into which a queue cuts a plane, row by row.

    Parameters
    ----------
    work : PlaneWork
        The plane.
    tile_size : int
        Side of a tile as configured, in pixels.
    """
    return [Tile(work.image, work.plane, box) for box in _boxes(work, _side(tile_size))]


def _side(tile_size: int) -> int:
    """Return whole chunks: two workers must never write into one chunk at the same time."""
    return -(-tile_size // CHUNK) * CHUNK


def _count(work: PlaneWork, side: int) -> int:
    return sum(1 for _ in _boxes(work, side))


def _boxes(work: PlaneWork, side: int) -> Iterator[Box]:
    """Cut a plane into tiles of `side` pixels, smaller at the right and lower border."""
    height, width = work.size
    part = (work.part or Box(0, 0, height, width)).clip(height, width)
    for y in range(part.y0 // side * side, part.y1, side):
        for x in range(part.x0 // side * side, part.x1, side):
            yield Box(y, x, min(y + side, height), min(x + side, width))


def _centre(box: Box) -> tuple[float, float]:
    return (box.y0 + box.y1) / 2, (box.x0 + box.x1) / 2


def _square_distance(a: tuple[float, float], b: tuple[float, float]) -> float:
    return (a[0] - b[0]) ** 2 + (a[1] - b[1]) ** 2


def _plane_distance(work: PlaneWork, focus: Tile | None) -> tuple[bool, int]:
    """Order planes: those of the image looked at first, the nearest of them first."""
    if focus is None or work.image != focus.image:
        return True, 0
    return False, sum(abs(a - b) for a, b in zip(work.plane, focus.plane, strict=True))
