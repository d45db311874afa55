"""Whether hours of work leave traces: memory after many rounds, smoothness over many strokes.

Rounds run through a session with its worker, on a small image on which strokes are painted and
erased, so that what there is to learn changes without growing. Strokes are drawn with the mouse in
the real viewer, each at a place of its own, so that all of them can be found on disk afterwards;
turns of painting, of painting on a plain Labels layer in a viewer without the plugin, and of
leaving the mouse alone alternate and see the same machine. The second part needs a display
(``xvfb-run -a -s "-screen 0 1400x900x24" python -m training bench soak --json``).
"""

from __future__ import annotations

import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import psutil

from napari_cas.config import Config, FitConfig
from training.bench_viewer import Gaps, picture, summary
from training.driving import Driver

if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence

    from napari_cas.session import Session

_MIB = 2**20
_SIDE = 128
_WAIT = 300.0
_WARM = 0.1
"""Share of the rounds and strokes that count as warming up: libraries load, caches fill."""
_BRUSH = 5
_COLUMNS = 25
SIZE = 512
"""Side in pixels of the image that strokes are painted on."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("--rounds", type=int, default=500, help="rounds of training; 0: none")
    parser.add_argument("--strokes", type=int, default=1000, help="strokes painted; 0: none")
    parser.add_argument("--round-seconds", type=float, default=0.1, help="optimiser time of each")
    parser.add_argument("--nice", type=int, default=0, help="priority of the rounds' worker")
    parser.add_argument("--turns", type=int, default=4, help="turns of painting and of idling")
    parser.add_argument("--idle", type=float, default=15.0, help="seconds of each turn of idling")
    parser.add_argument("--results", type=Path, help="folder for soak.md and soak.csv")


def run(args: argparse.Namespace) -> dict[str, Any]:
    """Measure; see the module's text.

    Returns
    -------
    dict
        ``rounds`` and ``strokes`` (None where not asked for), ``settings``, ``machine``.
    """
    from training.machine import describe_machine

    machine = describe_machine()
    with tempfile.TemporaryDirectory() as folder:
        rounds = soak_rounds(Path(folder), args) if args.rounds else None
        strokes = soak_strokes(Path(folder), args) if args.strokes else None
    result: dict[str, Any] = {
        "rounds": rounds,
        "strokes": strokes,
        "settings": {"round_seconds": args.round_seconds, "turns": args.turns, "idle": args.idle},
        "machine": machine | {"load after": describe_machine()["load"]},
    }
    if args.results is not None:
        write(result, args.results)
    return result


# Rounds ---------------------------------------------------------------------------------------


def soak_rounds(folder: Path, args: argparse.Namespace) -> dict[str, Any]:
    """Run rounds and return the memory of both processes after each, summed up."""
    from napari_cas.jobs import LocalExecutor
    from napari_cas.session import NewImage, Session

    fit = FitConfig(round_seconds=args.round_seconds, max_rounds=10_000)
    executor = LocalExecutor(nice=args.nice)
    session = Session(executor=executor, config=Config(fit=fit))
    messages: list[str] = []
    session.messaged.connect(lambda message: messages.append(str(message)))
    try:
        image = picture(_SIDE)
        session.create_project(folder / "rounds.zarr", [NewImage("image", image, "yxc")])
        for region, row in enumerate((0.1, 0.45, 0.8), 1):
            _paint(session, round(row * _SIDE), 10, region)
        session.warm_up()
        if not session.run_until_idle(_WAIT) or session.worker is None:
            raise TimeoutError("the worker did not start")
        memory, seconds = _rounds(session, args.rounds)
        pid = session.worker.pid
    finally:
        session.close()
        executor.shutdown()
    return {
        "rounds": len(memory),
        "seconds": round(seconds, 1),
        "worker": growth([worker for _, worker in memory]),
        "caller": growth([caller for caller, _ in memory]),
        "messages": messages,
        "worker_gone": not psutil.pid_exists(pid),
    }


def _rounds(session: Session, count: int) -> tuple[list[tuple[float, float]], float]:
    """Train until so many rounds have reported; return MiB of both processes after each."""
    assert session.worker is not None
    own, worker = psutil.Process(), psutil.Process(session.worker.pid)
    memory: list[tuple[float, float]] = []

    def look(_: object) -> None:
        memory.append((own.memory_info().rss / _MIB, worker.memory_info().rss / _MIB))

    session.reported.connect(look)
    begin, chains = time.monotonic(), 0
    end = begin + _WAIT + 60 * count
    while len(memory) < count:
        if time.monotonic() > end:
            raise TimeoutError(f"{len(memory)} of {count} rounds")
        if session.run_until_idle(0.05):
            # It has converged: other strokes give it something to learn.
            chains += 1
            _paint(session, 20, 40, 1 if chains % 2 else 0)
            _paint(session, 105, 40, 0 if chains % 2 else 3)
            session.fine_tune()
    session.cancel()
    session.run_until_idle(_WAIT)
    return memory[:count], time.monotonic() - begin


def _paint(session: Session, row: int, column: int, region: int) -> None:
    assert session.image is not None
    session.image.regions[row : row + 3, column : column + 20] = region
    session.stroke_finished()


def growth(values: Sequence[float]) -> dict[str, float]:
    """Return how a series in MiB grew once it was warm.

    Parameters
    ----------
    values : sequence of float
        In order; the first tenth is warming up.

    Returns
    -------
    dict
        ``start`` and ``end`` (medians of the first and last tenth of what is warm), ``most``, and
        ``per_100``, the slope of a straight line through what is warm.
    """
    warm = np.asarray(values, float)[int(len(values) * _WARM) :]
    edge = max(1, len(warm) // 10)
    slope = float(np.polyfit(np.arange(len(warm)), warm, 1)[0]) if len(warm) > 1 else 0.0
    return {
        "start": round(float(np.median(warm[:edge])), 1),
        "end": round(float(np.median(warm[-edge:])), 1),
        "most": round(float(warm.max()), 1),
        "per_100": round(100 * slope, 2),
    }


# Strokes --------------------------------------------------------------------------------------


def soak_strokes(folder: Path, args: argparse.Namespace) -> dict[str, Any]:
    """Paint strokes in the real viewer and return smoothness, memory and what is on disk."""
    import napari
    from qtpy.QtWidgets import QWidget

    from napari_cas.ui.widget import AnnotationWidget

    viewers = [napari.Viewer(show=True) for _ in range(2)]
    for viewer in viewers:
        viewer.window.resize(1280, 800)
        viewer.add_image(picture(SIZE), name="picture", rgb=True)
    ours, plain = viewers
    widget, beside = AnnotationWidget(ours), QWidget()
    ours.window.add_dock_widget(widget, area="right", name="napari-cas")
    beside.setFixedWidth(widget.sizeHint().width())  # so that both canvases are of one size
    plain.window.add_dock_widget(beside, area="right", name="nothing")
    try:
        soak = Soak(ours, widget, plain, args)
        figures = soak.paint(folder / "strokes.zarr")
    finally:
        for viewer in viewers:
            viewer.close()
            Driver(viewer).process(0.2)
    return figures | {"lost": soak.lost(folder / "strokes.zarr")}


class Soak:
    """A viewer with our panel, one without, an image in each; strokes in turns with idling."""

    def __init__(self, viewer: Any, widget: Any, plain: Any, args: argparse.Namespace) -> None:  # noqa: ANN401
        self.viewer, self.widget, self.plain, self.args = viewer, widget, plain, args
        self.driver = Driver(viewer)
        self.ids: list[int] = []
        self.idle: list[float] = []
        self.painting: list[float] = []
        self.without: list[float] = []
        self.memory: list[float] = []

    def paint(self, project: Path) -> dict[str, Any]:
        """Do everything and return the figures."""
        session, driver = self.widget.session, self.driver
        bare = self.plain.add_labels(np.zeros((SIZE, SIZE), np.int32), name="regions")
        bare.mode, bare.brush_size = "paint", _BRUSH
        self.widget.intents.start(str(project))
        driver.wait(lambda: session.worker is not None and session.project is not None, _WAIT)
        self.viewer.layers["regions"].brush_size = _BRUSH
        driver.process(2)
        for share in np.array_split(np.arange(self.args.strokes), max(1, self.args.turns)):
            self._rest()
            self._draw_without(share.tolist())
            self._draw(share.tolist())
        idle, painting, without = map(summary, (self.idle, self.painting, self.without))
        return {
            "strokes": len(self.ids),
            "idle": idle,
            "painting": painting,
            "without": without,
            "ratio_p99": round(painting["p99"] / idle["p99"], 3),
            "ratio_without": round(painting["p99"] / without["p99"], 3),
            "viewer": growth(self.memory),
        }

    def _rest(self) -> None:
        with Gaps() as gaps:
            self.driver.process(self.args.idle)
        self.idle += gaps.values

    def _draw(self, strokes: Sequence[int]) -> None:
        process = psutil.Process()
        with Gaps() as gaps:
            for number in strokes:
                if number % 50 == 0 and number:
                    self.driver.key("N")
                self._stroke(self.driver, number)
                self.ids.append(int(self.viewer.layers["regions"].selected_label))
                self.memory.append(process.memory_info().rss / _MIB)
        self.painting += gaps.values

    def _draw_without(self, strokes: Sequence[int]) -> None:
        """Draw half of the same strokes on a plain Labels layer."""
        driver = Driver(self.plain)
        with Gaps() as gaps:
            for number in strokes[::2]:
                self._stroke(driver, number)
        self.without += gaps.values

    def _stroke(self, driver: Driver, number: int) -> None:
        y, x = self.place(number)
        driver.stroke([(y, x + step) for step in range(0, 12, 2)], pause=0.01)
        driver.process(0.02)

    def place(self, number: int) -> tuple[float, float]:
        """Return where a stroke begins: strokes fill rows, and none touches another."""
        rows = -(-self.args.strokes // _COLUMNS)
        row, column = divmod(number, _COLUMNS)
        return (row + 0.5) * SIZE / rows, (column + 0.1) * SIZE / _COLUMNS

    def lost(self, project: Path) -> int:
        """Return how many strokes are not on disk, by their middle pixel."""
        from napari_cas.store import Project

        with Project.open(project, "r") as opened:
            regions = np.asarray(opened.image(opened.images[0]).regions[...])
        places = (self.place(number) for number in range(len(self.ids)))
        found = [regions[round(y), round(x + 5)] for y, x in places]
        return int(np.count_nonzero(np.asarray(found) != np.asarray(self.ids)))


# Results --------------------------------------------------------------------------------------

_TITLES = (
    ("what", "process", 0),
    ("start", "MiB, warm", 0),
    ("end", "MiB, at the end", 0),
    ("most", "MiB, at most", 0),
    ("per_100", "MiB per 100", 2),
)


def write(result: dict[str, Any], folder: Path) -> None:
    """Write ``soak.md`` and ``soak.csv``."""
    from training.report import Column, Table

    columns = [Column(key, title, digits) for key, title, digits in _TITLES]
    title = "Long work: memory over many rounds and strokes, smoothness of painting"
    Table("soak", title, columns, _rows(result), _notes(result)).write(folder)


def _rows(result: dict[str, Any]) -> list[dict[str, Any]]:
    rounds, strokes = result["rounds"], result["strokes"]
    rows = []
    for part, key, what in (
        (rounds, "worker", "worker, {rounds} rounds"),
        (rounds, "caller", "session, {rounds} rounds"),
        (strokes, "viewer", "viewer, {strokes} strokes"),
    ):
        if part is not None:
            rows.append({"what": what.format(**part), **part[key]})
    return rows


def _notes(result: dict[str, Any]) -> list[str]:
    """Return what has to be known to read the figures."""
    rounds, strokes, machine = result["rounds"], result["strokes"], result["machine"]
    notes = []
    if rounds is not None:
        notes.append(
            f"Rounds of {result['settings']['round_seconds']} s on {_SIDE} × {_SIDE} pixels, "
            f"{rounds['seconds']:.0f} s in all, {len(rounds['messages'])} messages."
        )
    if strokes is not None:
        idle, painting, without = (strokes[key] for key in ("idle", "painting", "without"))
        notes.append(
            f"Gaps of a 10 ms timer in the viewer, 99th percentile: {painting['p99']} ms while "
            f"painting, {without['p99']} ms while painting such strokes on a plain Labels layer of "
            f"napari without the plugin ({strokes['ratio_without']} times), {idle['p99']} ms idle "
            f"({strokes['ratio_p99']} times; target: at most 1.5); longest {painting['max']}, "
            f"{without['max']} and {idle['max']} ms."
        )
        notes.append(f"Strokes that are not on disk afterwards: {strokes['lost']}.")
    notes.append(
        f"Measured on {machine['processor']} ({machine['cores']} cores), load {machine['load']} "
        f"before and {machine['load after']} after."
    )
    notes.append("'Warm' is after the first tenth; the slope is that of a line through the rest.")
    return notes


def describe(result: dict[str, Any]) -> str:
    """Return the result as a few lines for people."""
    lines = [
        "  ".join(f"{key} {row[key]}" if key != "what" else row[key] for key, _, _ in _TITLES)
        for row in _rows(result)
    ]
    return "\n".join([*lines, *_notes(result)])
