"""Whether "Split into objects" takes any size: memory of napari's process, and how long it waits.

A prediction of smooth blobs, of as many objects as a fine texture gives, is written as the worker
would, and split in the real viewer with a 10 ms timer running in Qt's thread. The image beside it
is sparse: splitting does not look at it. Needs a display
(``xvfb-run -a -s "-screen 0 1400x900x24" python -m training bench objects --json``).
"""

from __future__ import annotations

import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy import fft

from napari_cas.store import Project
from training.bench_viewer import Gaps, summary
from training.driving import Driver
from training.machine import describe_machine
from training.memory import PeakMemory
from training.options import count

if TYPE_CHECKING:
    import argparse

    from numpy.typing import NDArray

_NAME = "stack"
_BLOCK = (64, 1024, 1024)
"""Size of the blobs' pattern, which has no seams where it is repeated."""
_COARSEST = 2048
_MIB = 2**20


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument(
        "--shapes", nargs="+", default=["64x4096x4096", "20480x20480"], help="ZxYxX or YxX"
    )
    parser.add_argument("--labels", type=count, default=8, help="labels of the prediction")
    parser.add_argument("--blob", type=float, default=4.0, help="deviation of the blobs, in pixels")
    parser.add_argument("--idle", type=float, default=10.0, help="seconds of idling before")
    parser.add_argument("--wait", type=float, default=3600.0, help="most seconds of splitting")
    parser.add_argument("--results", type=Path, help="folder for objects.md and objects.csv")


def run(args: argparse.Namespace) -> dict[str, Any]:
    """Measure; see the module's text.

    Returns
    -------
    dict
        ``rows`` (one for each shape), ``settings``, ``machine``.
    """
    machine = describe_machine()
    rows = []
    for text in args.shapes:
        shape = tuple(map(int, text.split("x")))
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "p.zarr"
            # Each in a process of its own: memory that one has taken and left must not count.
            with ProcessPoolExecutor(1, get_context("spawn")) as pool:
                pool.submit(prepare, path, shape, args).result()
            with ProcessPoolExecutor(1, get_context("spawn")) as pool:
                rows.append({"shape": text} | pool.submit(measure, path, args).result())
    result: dict[str, Any] = {
        "rows": rows,
        "settings": {"labels": args.labels, "blob": args.blob},
        "machine": machine | {"load after": describe_machine()["load"]},
    }
    if args.results is not None:
        write(result, args.results)
    return result


def blobs(labels: int, deviation: float) -> NDArray[np.uint8]:
    """Return labels 1 to `labels` in blobs, as many pixels of each, in a block that repeats."""
    noise = np.random.default_rng(0).standard_normal(_BLOCK, np.float32)
    axes = [np.fft.fftfreq(n) for n in _BLOCK[:2]] + [np.fft.rfftfreq(_BLOCK[2])]
    squares = np.add.outer(np.add.outer(axes[0] ** 2, axes[1] ** 2), axes[2] ** 2)
    smoothing = np.exp(-2 * (np.pi * deviation) ** 2 * squares).astype(np.float32)
    smooth = fft.irfftn(fft.rfftn(noise) * smoothing, _BLOCK)
    bounds = np.quantile(smooth[:, ::8, ::8], np.linspace(0, 1, labels + 1)[1:-1])
    return (np.digitize(smooth, bounds) + 1).astype(np.uint8)


def prepare(path: Path, shape: tuple[int, ...], args: argparse.Namespace) -> None:
    """Make a project of a sparse image, with blobs as its prediction."""
    pattern = blobs(args.labels, args.blob)
    with Project.create(path) as project:
        project.add_reference(_NAME, sparse_image(path.with_name("stack.ome.zarr"), shape))
    with Project.open(path, mode="worker") as project:
        entry = project.image(_NAME)
        _, height, width = _BLOCK
        for plane in np.ndindex(shape[:-2]):
            tile = pattern[plane[-1] % len(pattern)] if plane else pattern[0]
            for y in range(0, shape[-2], height):
                for x in range(0, shape[-1], width):
                    part = tile[: shape[-2] - y, : shape[-1] - x]
                    place = (slice(y, y + part.shape[0]), slice(x, x + part.shape[1]))
                    entry.prediction[(*plane, *place)] = part
        entry.flush()


def sparse_image(path: Path, shape: tuple[int, ...]) -> Path:
    """Write an OME-Zarr 0.5 image with nothing but a corner and its coarsest level."""
    import zarr

    group = zarr.create_group(str(path))
    axes = "zyx"[-len(shape) :]
    texture = np.random.default_rng(0).integers(0, 255, (_COARSEST, _COARSEST)).astype(np.uint8)
    datasets: list[dict[str, Any]] = []
    height, width = shape[-2:]
    while not datasets or 2 * max(height, width) > _COARSEST:
        step = 2 ** len(datasets)
        array = group.create_array(
            str(len(datasets)),
            shape=(*shape[:-2], height, width),
            chunks=(*(1 for _ in shape[:-2]), 512, 512),
            dtype="uint8",
        )
        for plane in np.ndindex(shape[:-2]):
            array[(*plane, slice(_COARSEST), slice(_COARSEST))] = texture[:height, :width]
        scale = [float(step) if a in "yx" else 1.0 for a in axes]
        datasets.append(
            {
                "path": str(len(datasets)),
                "coordinateTransformations": [{"type": "scale", "scale": scale}],
            }
        )
        height, width = -(-height // 2), -(-width // 2)
    named = [{"name": a, "type": "space"} for a in axes]
    multiscale = {"name": _NAME, "axes": named, "datasets": datasets}
    ome: Any = {"version": "0.5", "multiscales": [multiscale]}
    group.attrs["ome"] = ome
    return path


def measure(path: Path, args: argparse.Namespace) -> dict[str, Any]:
    """Split the prediction in the real viewer and return the figures."""
    import napari

    from napari_cas.ui.widget import AnnotationWidget

    viewer = napari.Viewer(show=True)
    viewer.window.resize(1280, 800)
    widget = AnnotationWidget(viewer)
    viewer.window.add_dock_widget(widget, area="right", name="napari-cas")
    driver = Driver(viewer)
    told: list[str] = []
    widget.session.messaged.connect(lambda message: told.append(str(message)))
    try:
        widget.session.open_project(path)
        driver.process(2.0)
        with Gaps() as idle:
            driver.process(args.idle)
        start = time.perf_counter()
        with PeakMemory() as memory, Gaps() as gaps:
            widget.intents.splitting.split()
            driver.wait(lambda: f"{_NAME} objects" in viewer.layers or bool(told), args.wait)
            seconds = time.perf_counter() - start
            driver.process(1.0)
        if told:
            raise RuntimeError("; ".join(told))
        layer = viewer.layers[f"{_NAME} objects"]
        return {
            "objects": int(widget.panel.train.status.text().split()[0]),
            "seconds": round(seconds, 1),
            "before_mib": round(memory.before),
            "peak_mib": round(memory.peak),
            "disk_mib": round(_size_of(layer.data) / _MIB),
            "idle": summary(idle.values),
            "splitting": summary(gaps.values),
        }
    finally:
        viewer.close()
        driver.process(0.2)


def _size_of(data: Any) -> int:  # noqa: ANN401 - an array or the levels of one
    """Return the bytes that a layer's arrays take in temporary files."""
    from napari_cas.store import LabelArray

    levels = [data] if not hasattr(data, "_data") else list(data)
    folders = [level.files.path for level in levels if isinstance(level, LabelArray)]
    return sum(f.stat().st_size for folder in folders for f in folder.rglob("*") if f.is_file())


_WHAT = (
    "Peak resident memory of napari's whole process, its own libraries included (target: under "
    "2 GB at any size), and gaps of a 10 ms timer in its window's thread."
)
_COLUMNS = (
    ("shape", "prediction", 0),
    ("objects", "objects", 0),
    ("seconds", "s", 1),
    ("before_mib", "napari before, MiB", 0),
    ("peak_mib", "at most, MiB", 0),
    ("disk_mib", "temporary files, MiB", 0),
    ("idle_p99", "timer idle, 99 %, ms", 1),
    ("splitting_p99", "splitting, 99 %, ms", 1),
    ("splitting_max", "longest, ms", 0),
)


def write(result: dict[str, Any], folder: Path) -> None:
    """Write ``objects.md`` and ``objects.csv``."""
    from training.report import Column, Table

    rows = [
        {key: row[key] for key, _, _ in _COLUMNS[:6]}
        | {"idle_p99": row["idle"]["p99"]}
        | {f"splitting_{key}": row["splitting"][key] for key in ("p99", "max")}
        for row in result["rows"]
    ]
    machine, settings = result["machine"], result["settings"]
    made_of = (
        f"Blobs of {settings['labels']} labels from noise smoothed by {settings['blob']:g} pixels, "
        "no object of fewer than 20 pixels."
    )
    notes = [_WHAT, made_of, _measured_on(machine), "Made by `python -m training bench objects`."]
    columns = [Column(key, title, digits) for key, title, digits in _COLUMNS]
    Table("objects", "Objects of large stacks", columns, rows, notes).write(folder)


def _measured_on(machine: dict[str, Any]) -> str:
    return (
        f"Measured on {machine['processor']} ({machine['cores']} cores), load {machine['load']} "
        f"before and {machine['load after']} after, with a software renderer."
    )


def describe(result: dict[str, Any]) -> str:
    """Return the result as a few lines for people."""
    return "\n".join(
        f"{r['shape']}: {r['objects']} objects in {r['seconds']} s, napari at most "
        f"{r['peak_mib']} MiB ({r['before_mib']} before), timer's 99th percentile "
        f"{r['splitting']['p99']} ms ({r['idle']['p99']} idle), longest {r['splitting']['max']} ms"
        for r in result["rows"]
    )
