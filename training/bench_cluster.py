"""Whether a Dask cluster of 1, 2 and 4 workers predicts the local worker's labels, and how fast.

A real texture is repeated over a plane, the sample's strokes are painted and learnt from here. Then
a copy of the project is predicted by this machine's worker and by clusters, each a real scheduler
with real worker processes on the loopback interface, through the same session that napari and the
command line use. Each predicts twice: the first time workers import and load the network, the
second time they are warm, which is what is timed.
"""

from __future__ import annotations

import hashlib
import itertools
import shutil
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_cas.config import Config, FitConfig
from training.bench_scale import Repeated
from training.machine import describe_machine
from training.options import count

if TYPE_CHECKING:
    import argparse

    from napari_cas.jobs import Executor

_NAME = "image"
_LOCAL = "local"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("--side", type=count, default=4096, help="side of the plane in pixels")
    parser.add_argument(
        "--workers", type=count, nargs="+", default=[1, 2, 4], help="sizes of the clusters"
    )
    parser.add_argument("--sample", default="tissue", help="texture, one of the sample images")
    parser.add_argument("--rounds", type=int, default=2, help="rounds of fine-tuning before")
    parser.add_argument("--results", type=Path, help="folder for cluster.md and cluster.csv")


def run(args: argparse.Namespace) -> dict[str, Any]:
    """Measure; see the module's text.

    Returns
    -------
    dict
        ``runs`` (a row for the local worker and for each cluster), ``identical`` (whether all
        labels are), ``settings`` and ``machine``.
    """
    machine = describe_machine()
    with tempfile.TemporaryDirectory() as folder:
        bench = Bench(Path(folder), args)
        rows = [bench.local(), *(bench.cluster(workers) for workers in args.workers)]
    for row in rows:
        row["identical"] = row["digest"] == rows[0]["digest"]
    result = {
        "runs": rows,
        "identical": all(row["identical"] for row in rows),
        "settings": {k: getattr(args, k) for k in ("side", "workers", "sample", "rounds")},
        "machine": machine | {"load after": describe_machine()["load"]},
    }
    if args.results is not None:
        write(result, args.results)
    return result


class Bench:
    """A project that has learnt, and its predictions by one executor after another.

    Parameters
    ----------
    folder : Path
        Where projects are made.
    args : argparse.Namespace
        What `add_arguments` declares.
    """

    def __init__(self, folder: Path, args: argparse.Namespace) -> None:
        self._folder = folder
        self._project = folder / "learnt.zarr"
        self._copies = itertools.count()
        self._make(args)

    def _make(self, args: argparse.Namespace) -> None:
        """Write the plane, paint it and learn from it."""
        from napari_cas.samples import load_sample
        from napari_cas.session import NewImage, Session

        sample = load_sample(args.sample)
        image = Repeated(sample.image, args.side, 0)
        config = Config(fit=FitConfig(max_rounds=args.rounds))
        session = Session(config=config)
        session.create_project(self._project, [NewImage(_NAME, image, sample.axes)])
        assert session.image is not None
        height, width = (min(n, args.side) for n in sample.strokes.shape)
        session.image.regions[:height, :width] = sample.strokes[:height, :width]
        session.stroke_finished()
        session.fine_tune()
        # The session would go on to predict the plane, which every run is to do anew.
        session.tiled.connect(lambda _: session.cancel())
        session.run_until_idle()
        session.close()

    def local(self) -> dict[str, Any]:
        """Predict by the worker of this machine."""
        from napari_cas.jobs import LocalExecutor

        with LocalExecutor(nice=0) as executor:
            return self._measure(executor, _LOCAL)

    def cluster(self, workers: int) -> dict[str, Any]:
        """Predict by a cluster of so many workers."""
        from napari_cas.jobs.dask import DaskExecutor
        from training.cluster import ClusterProcesses, wait_for_workers

        with ExitStack() as stack:
            # Together they have as many threads as the local worker; one each at least.
            threads = max(1, int(describe_machine()["cores"]) // workers)
            cluster = ClusterProcesses(
                self._folder / f"dask-{workers}", environment={"OMP_NUM_THREADS": str(threads)}
            )
            processes = stack.enter_context(cluster)
            for _ in range(workers):
                processes.add_worker()
            executor = stack.enter_context(DaskExecutor(processes.address))
            wait_for_workers(executor, workers)
            return self._measure(executor, str(workers))

    def _measure(self, executor: Executor, name: str) -> dict[str, Any]:
        first, *_ = self._predict(executor)
        seconds, tiles, digest = self._predict(executor)
        return {
            "workers": name,
            "tiles": tiles,
            "cold_seconds": first,
            "seconds": seconds,
            "tiles_per_second": tiles / seconds,
            "digest": digest,
        }

    def _predict(self, executor: Executor) -> tuple[float, int, str]:
        """Predict a fresh copy; return the seconds, the tiles and a digest of the labels."""
        from napari_cas.session import Session

        # A name of its own each time: features of tiles are kept by project.
        copy = self._folder / f"copy-{next(self._copies)}.zarr"
        shutil.copytree(self._project, copy)
        (copy / "images" / _NAME / "predicted.jsonl").unlink(missing_ok=True)
        session, tiles = Session(executor=executor), 0

        def count(report: Any) -> None:  # noqa: ANN401 - a TilesReport
            nonlocal tiles
            tiles += len(report.done)

        session.tiled.connect(count)
        session.open_project(copy)
        assert session.image is not None
        start = time.perf_counter()
        session.predict_all()
        session.run_until_idle()
        seconds = time.perf_counter() - start
        labels = np.asarray(session.image.prediction[...])
        assert labels.all(), "not everything was predicted"
        session.close()
        shutil.rmtree(copy)
        return seconds, tiles, hashlib.sha256(labels.tobytes()).hexdigest()


_COLUMNS = (
    ("workers", "workers", 0),
    ("tiles", "tiles", 0),
    ("cold_seconds", "first time, s", 1),
    ("seconds", "warm, s", 1),
    ("tiles_per_second", "tiles/s", 2),
    ("identical", "labels as the local worker's", 0),
)


def write(result: dict[str, Any], folder: Path) -> None:
    """Write ``cluster.md`` and ``cluster.csv``."""
    from training.report import Column, Table

    columns = [Column(*column) for column in _COLUMNS]
    rows = [row | {"identical": "yes" if row["identical"] else "no"} for row in result["runs"]]
    title = "Any machine: a project predicted by a Dask cluster"
    Table("cluster", title, columns, rows, notes(result)).write(folder)


def notes(result: dict[str, Any]) -> list[str]:
    """Return what has to be known to read the figures."""
    machine, settings = result["machine"], result["settings"]
    what = (
        f"A plane of {settings['side']} × {settings['side']} (sample '{settings['sample']}', "
        "repeated), in tiles of 512. Scheduler and workers are processes of this machine that "
        "talk over TCP on loopback."
    )
    where = (
        f"Measured on {machine['processor']} with {machine['cores']} cores, whose threads are "
        "shared out to the workers: more workers than cores cannot be faster here. "
        f"Load {machine['load']} before and {machine['load after']} after."
    )
    return ["All labels are identical." if result["identical"] else "LABELS DIFFER.", what, where]


def describe(result: dict[str, Any]) -> str:
    """Return the result as a few lines for people."""
    lines = ["  ".join(key for key, _, _ in _COLUMNS)]
    for row in result["runs"]:
        cells = (row[key] for key, _, _ in _COLUMNS)
        lines.append("  ".join(f"{c:.2f}" if isinstance(c, float) else str(c) for c in cells))
    return "\n".join([*lines, *notes(result)])
