"""Whether the size of an image matters: cost of a round, memory and throughput from 2k to 20k.

A real texture is repeated over planes of several sizes, written lazily, and the same strokes are
painted near the middle of each, so that what is learnt from and what is looked at are the same
pixels. Sizes take turns, each with a worker of its own: on a shared machine all see the same load.
Throughput is that of whole tiles from the request to the prediction on disk; beside it stands the
same network on the same pixels in memory: no project, no process boundary, no disk. Both take
turns, too.
"""

from __future__ import annotations

import json
import statistics
import tempfile
import time
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

import numpy as np

from napari_cas.config import Config, ModelName, ModelSpec
from napari_cas.protocol import Box, RoundReport, RoundRequest, Tile, TilesRequest
from training.memory import PeakMemory
from training.options import count

if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from napari_cas.jobs.executor import LocalExecutor

VIEW = 1024
"""Side of what is looked at: the most that a round predicts."""
_SETTINGS = ("sample", "network", "weights", "rounds", "tiles", "batch", "nice")
_ALIGN, _NAME, _MILLION = 512, "image", 1e6


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument(
        "--sizes", type=count, nargs="+", default=[2048, 8192, 20480], help="sides in pixels"
    )
    parser.add_argument("--sample", default="tissue", help="texture, one of the sample images")
    parser.add_argument("--network", choices=get_args(ModelName), default="quick")
    parser.add_argument("--weights", default="default", help="'none': random; or a file")
    parser.add_argument("--rounds", type=count, default=8, help="warm rounds that are timed")
    parser.add_argument(
        "--tiles",
        type=count,
        default=24,
        help="tiles predicted on each size, spread over the plane",
    )
    parser.add_argument("--batch", type=count, default=2, help="tiles per request")
    parser.add_argument("--nice", type=int, default=0, help="priority of the workers")
    parser.add_argument("--results", type=Path, help="folder for scale.md, scale.csv, scale.json")


class Repeated:
    """An image repeated in both directions, made where it is read.

    Parameters
    ----------
    image : ndarray
        (Y, X, C).
    side : int
        Height and width.
    anchor : int
        Row and column where a copy begins.
    """

    def __init__(self, image: NDArray[np.uint8], side: int, anchor: int) -> None:
        self._image, self._anchor = image, anchor
        self.shape = (side, side, image.shape[2])
        self.dtype = image.dtype

    def __getitem__(self, where: tuple[slice, ...]) -> NDArray[np.uint8]:
        rows, columns = (
            (np.arange(*part.indices(whole)) - self._anchor) % own
            for part, whole, own in zip(where, self.shape[:2], self._image.shape, strict=False)
        )
        return self._image[rows[:, None], columns, where[2]]


@dataclass
class Size:
    """One size under measurement."""

    side: int
    project: Path
    executor: LocalExecutor
    pid: int
    view: Box
    checkpoint: str | None = None
    rounds: list[dict[str, float]] = field(default_factory=list)
    figures: dict[str, Any] = field(default_factory=dict)


def run(args: argparse.Namespace) -> dict[str, Any]:
    """Measure; see the module's text.

    Returns
    -------
    dict
        ``planes`` (a row per size), ``round_ratio`` (largest to smallest size), ``settings`` and
        ``machine``.
    """
    from training.machine import describe_machine

    machine = describe_machine()
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        bench = Bench(args, Path(folder), stack)
        planes = [bench.prepare(side) for side in sorted(args.sizes)]
        for _ in range(args.rounds):
            for plane in planes:
                bench.round(plane)
        for plane in planes:
            bench.predict(plane)
    result = summarise(planes) | {
        "settings": {k: getattr(args, k) for k in _SETTINGS},
        "machine": machine | {"device": bench.device, "load after": describe_machine()["load"]},
    }
    if args.results is not None:
        write(result, args.results)
    return result


class Bench:
    """Prepares planes, runs rounds on them and predicts their tiles.

    Parameters
    ----------
    args : argparse.Namespace
        What `add_arguments` declares.
    folder : Path
        Where projects are made.
    stack : ExitStack
        Ends the workers.
    """

    def __init__(self, args: argparse.Namespace, folder: Path, stack: ExitStack) -> None:
        self.args, self.folder, self.stack = args, folder, stack
        self.config = Config(model=ModelSpec(name=args.network, weights=args.weights))
        self.device = ""
        # Not the product's workers: the network alone must not add to their memory.
        self.alone, _ = self._worker()

    def _worker(self) -> tuple[LocalExecutor, int]:
        from napari_cas.jobs.executor import LocalExecutor

        executor = self.stack.enter_context(LocalExecutor(nice=self.args.nice))
        info = executor.submit("napari_cas.engine.worker:warm_up", self.config).result()
        self.device = str(info.device)
        return executor, int(info.pid)

    def prepare(self, side: int) -> Size:
        """Write a plane, paint it, start its worker and run the first, cold round."""
        from napari_cas.samples import load_sample
        from napari_cas.store import Project

        sample = load_sample(self.args.sample)
        anchor = side // 2 // _ALIGN * _ALIGN
        path = self.folder / f"{side}.zarr"
        start = time.perf_counter()
        with PeakMemory() as memory, Project.create(path) as project:
            entry = project.add_image(_NAME, Repeated(sample.image, side, anchor), sample.axes)
            height, width = sample.strokes.shape
            entry.regions[anchor : anchor + height, anchor : anchor + width] = sample.strokes
        seconds = time.perf_counter() - start
        executor, pid = self._worker()
        view = Box(anchor - VIEW // 2, anchor - VIEW // 2, anchor + VIEW // 2, anchor + VIEW // 2)
        plane = Size(side, path, executor, pid, view.clip(side, side))
        plane.figures["intake_seconds"] = seconds
        plane.figures["intake_mib"] = memory.gained
        self.round(plane)
        plane.figures["first_round_seconds"] = plane.rounds.pop()["seconds"]
        return plane

    def round(self, plane: Size) -> None:
        """Run and time one more round."""
        request = RoundRequest(
            str(plane.project),
            self.config,
            Tile(_NAME, (), plane.view),
            plane.checkpoint,
            len(plane.rounds) + (plane.checkpoint is not None),
        )
        start = time.perf_counter()
        with PeakMemory(plane.pid) as worker:
            done = plane.executor.submit("napari_cas.engine.worker:run_round", request).result()
        seconds = time.perf_counter() - start
        plane.figures["worker_mib"] = max(plane.figures.get("worker_mib", 0), worker.peak)
        assert isinstance(done, RoundReport)
        plane.checkpoint = done.checkpoint
        plane.rounds.append({"seconds": seconds} | done.seconds)

    def predict(self, plane: Size) -> None:
        """Predict tiles through the product and by the network alone, in turns."""
        tiles = choose(plane.side, self.args.tiles, self.config.predict.tile_size, plane.view)
        seconds = dict.fromkeys(("product", "network", "network_without_halo"), 0.0)
        with PeakMemory() as own, PeakMemory(plane.pid) as worker:
            for first in range(0, len(tiles), self.args.batch):
                batch = tiles[first : first + self.args.batch]
                request = TilesRequest(
                    str(plane.project), self.config, str(plane.checkpoint), tuple(batch)
                )
                start = time.perf_counter()
                plane.executor.submit("napari_cas.engine.worker:run_tiles", request).result()
                seconds["product"] += time.perf_counter() - start
                alone = self.alone.submit("training.network_alone:network_alone", request).result()
                for name, value in alone.items():
                    seconds[name] += value
        pixels = sum(h * w for h, w in (tile.box.shape for tile in tiles)) / _MILLION
        plane.figures |= {"tiles": len(tiles), "tiles_mib": worker.peak, "own_mib": own.peak}
        plane.figures["worker_mib"] = max(plane.figures["worker_mib"], worker.peak)
        plane.figures["of_tiles"] = (-(-plane.side // self.config.predict.tile_size)) ** 2
        plane.figures |= {f"{name}_mpx_s": pixels / value for name, value in seconds.items()}
        plane.figures["efficiency"] = seconds["network"] / seconds["product"]


def choose(side: int, number: int, tile: int, view: Box) -> list[Tile]:
    """Return tiles spread evenly over a plane, without those that rounds have predicted."""
    from napari_cas.engine.tiling import grid, overlapping

    boxes = grid((side, side), tile)
    seen = set(overlapping(boxes, view))
    left = [box for box in boxes if box not in seen] or boxes
    places = np.unique(np.linspace(0, len(left) - 1, min(number, len(left))).round().astype(int))
    return [Tile(_NAME, (), left[i]) for i in places]


def summarise(planes: Sequence[Size]) -> dict[str, Any]:
    """Return a row per size and how much more a round costs on the largest than the smallest."""
    rows: list[dict[str, Any]] = []
    for plane in planes:
        seconds = [r["seconds"] for r in plane.rounds]
        besides = [r["seconds"] - r["fit"] for r in plane.rounds]
        rows.append(
            {
                "side": plane.side,
                "round_seconds": statistics.median(seconds),
                "least_round_seconds": min(seconds),
                "besides_fit_seconds": statistics.median(besides),
                "phases": {
                    k: statistics.median(r[k] for r in plane.rounds) for k in plane.rounds[0]
                },
            }
            | plane.figures
        )
    ratios = {
        f"{name}_ratio": rows[-1][f"{name}_seconds"] / rows[0][f"{name}_seconds"]
        for name in ("round", "least_round", "besides_fit")
    }
    return {"planes": rows, **ratios}


_COLUMNS = (
    ("side", "side, px", 0),
    ("round_seconds", "round, s", 2),
    ("least_round_seconds", "the fastest, s", 2),
    ("besides_fit_seconds", "round without the optimiser, s", 2),
    ("tiles", "tiles predicted", 0),
    ("of_tiles", "of", 0),
    ("product_mpx_s", "Mpx/s", 3),
    ("network_mpx_s", "network alone, Mpx/s", 3),
    ("network_without_halo_mpx_s", "without context, Mpx/s", 3),
    ("efficiency", "of the network's speed", 2),
    ("worker_mib", "worker's peak, MiB", 0),
    ("tiles_mib", "of tiles alone, MiB", 0),
    ("own_mib", "caller's peak, MiB", 0),
    ("intake_seconds", "making the project, s", 0),
    ("intake_mib", "memory for it, MiB", 0),
)


def write(result: dict[str, Any], folder: Path) -> None:
    """Write ``scale.md``, ``scale.csv`` and ``scale.json``, of other networks under their names."""
    from training.report import Column, Table

    columns = [Column(key, title, digits) for key, title, digits in _COLUMNS]
    rows = [{key: row[key] for key, _, _ in _COLUMNS} for row in result["planes"]]
    network = result["settings"]["network"]
    name = "scale" if network == "quick" else f"scale-{network}"
    title = f"Any size: rounds, memory and throughput ({network})"
    Table(name, title, columns, rows, notes(result)).write(folder)
    text = json.dumps(result, indent=2, ensure_ascii=False) + "\n"
    (folder / f"{name}.json").write_text(text, encoding="utf-8")


def notes(result: dict[str, Any]) -> list[str]:
    """Return what has to be known to read the figures."""
    machine, settings = result["machine"], result["settings"]
    shared = max(float(machine["load"]), float(machine["load after"])) > float(machine["cores"])
    least = min(row["efficiency"] for row in result["planes"])
    rounds = (
        f"A round costs {result['round_ratio']:.2f} times as much on the largest plane as on the "
        "smallest (target: at most 1.3), the fastest round "
        f"{result['least_round_ratio']:.2f} times, and {result['besides_fit_ratio']:.2f} times "
        "without the optimiser, whose time is fixed."
    )
    tiles = (
        f"Tiles reach the disk at {least:.2f} times the speed of the same network on the same "
        "pixels in memory, or faster (target: at least 0.85). Both take context around each tile, "
        "so that tiles fit together; 'without context' is what that costs."
    )
    setting = (
        f"The same strokes on the same pixels (sample '{settings['sample']}', repeated) and a view "
        f"of {VIEW} × {VIEW} on each size; medians of {settings['rounds']} warm rounds. Tiles are "
        "spread over the plane. Sizes, and product and network, take turns."
    )
    where = (
        f"Measured on {machine['processor']} ({machine['cores']} cores, {machine['device']}), "
        f"load {machine['load']} before and {machine['load after']} after"
    )
    end = ": others used the machine, so ratios count, seconds do not." if shared else "."
    memory = (
        "The worker's peak is that of all rounds, the first one included, and of predicting tiles; "
        "beside it that of tiles alone."
    )
    others = [tiles, setting, memory, where + end]
    return [rounds, *others] if len(result["planes"]) > 1 else others


def describe(result: dict[str, Any]) -> str:
    """Return the result as a few lines for people."""
    keys = [key for key, _, _ in _COLUMNS]
    lines = ["  ".join(keys)]
    lines += [
        "  ".join(f"{row[key]:{len(key)}.{digits}f}" for key, _, digits in _COLUMNS)
        for row in result["planes"]
    ]
    return "\n".join([*lines, *notes(result)])
