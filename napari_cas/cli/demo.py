"""The demo: a sample in napari, ready to paint; or the whole job without a window."""

from __future__ import annotations

import importlib
import importlib.util
import os
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from napari_cas.cli import learning, options, pictures
from napari_cas.cli.files import paint_array
from napari_cas.config import Config
from napari_cas.errors import InputError, ProjectError
from napari_cas.protocol import Box
from napari_cas.session import NewImage
from napari_cas.store.files import storing

if TYPE_CHECKING:
    import argparse

    from napari_cas.cli.console import Console
    from napari_cas.samples import SampleData
    from napari_cas.session import Session

FOLDER = "napari-cas-demo"


def run(arguments: argparse.Namespace, console: Console) -> int:
    """Open napari with a sample where there is a display; do the job headless where not."""
    from napari_cas.samples import list_samples

    samples = list_samples()
    names = [sample.name for sample in samples]
    if arguments.list:
        console.report["samples"] = names
        for sample in samples:
            console.result(f"{sample.name:10} {sample.title} ({sample.license})")
        return 0
    name = arguments.sample or names[0]
    if name not in names:
        raise InputError("No such sample", expected=", ".join(names), got=name)
    reason = None if arguments.headless else why_no_window()
    if not arguments.headless and reason is None:
        # A handler in Python would wait until something happens in Qt's event loop.
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        # By name only: the user interface sits above the command line, which runs without it.
        importlib.import_module("napari_cas.ui.demo").open_demo(name)
        return 0
    if reason is not None:
        console.say(f"{reason}: doing the job without a window.")
    return headless(name, arguments, console)


def why_no_window() -> str | None:
    """Return why napari cannot be opened here, or None when it can."""
    if sys.platform.startswith("linux") and not (
        os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")
    ):
        return "There is no display"
    if importlib.util.find_spec("napari") is None:
        return "napari is not installed (pip install 'napari-cas[all]')"
    bindings = ("PyQt6", "PySide6", "PyQt5", "PySide2")
    if not any(importlib.util.find_spec(binding) for binding in bindings):
        return "No Qt is installed (pip install 'napari-cas[all]')"
    return None


def headless(name: str, arguments: argparse.Namespace, console: Console) -> int:
    """Do the main job with real parts: project, strokes, worker, prediction, export, check."""
    from napari_cas.samples import load_sample

    sample = load_sample(name)
    folder = free_folder(Path(arguments.output or FOLDER))
    config = options.apply(Config(), arguments)
    with console.session(config) as session:
        session.warm_up()
        session.create_project(folder / "project.zarr", [_as_new(name, sample)])
        count = paint(session, sample)
        session.stroke_finished()
        console.say(f"Sample {name}: {sample.image.shape}, {count} painted regions.")
        console.wait(session)
        console.say("Fine-tuning:")
        made = learning.continued(session)
        learning.run(session, console, made)
        made.forget()
        first = console.report["fine_tune"]["seconds_to_first_prediction"]
        console.say(f"First prediction {first:.2f} s after the click.")
        session.predict_all()
        console.wait(session)
        prediction = _score(session, sample, console)
        picture = folder / f"{name}.png"
        _write_picture(picture, session, prediction)
    _export(folder, name, console)
    console.report |= {
        "sample": name,
        "project": str(folder / "project.zarr"),
        "picture": str(picture),
    }
    console.result(f"Picture:  {picture}  (image | strokes | prediction)")
    console.result(f"Project:  {folder / 'project.zarr'}")
    return 0


def free_folder(wanted: Path) -> Path:
    """Return a folder that does not exist yet, so that nothing of anybody's is replaced."""
    folder, number = wanted, 2
    with storing(wanted):
        while folder.exists() and any(folder.iterdir()):
            folder, number = wanted.with_name(f"{wanted.name}-{number}"), number + 1
        folder.mkdir(parents=True, exist_ok=True)
    return folder.resolve()


def paint(session: Session, sample: SampleData) -> int:
    """Paint the strokes that ship with a sample and return how many regions they make."""
    if session.image is None:
        raise ProjectError("The project has no image")
    return paint_array(session.image, sample.strokes)


def _as_new(name: str, sample: SampleData) -> NewImage:
    return NewImage(name, sample.image, sample.axes)


def _score(session: Session, sample: SampleData, console: Console) -> np.ndarray:
    """Compare the prediction with the truth that ships with the sample."""
    from napari_cas.metrics.regions import adjusted_rand_index

    if session.image is None:
        raise ProjectError("The project has no image")
    prediction = np.asarray(session.image.prediction_view[...])
    if sample.truth is None:
        return prediction
    score = adjusted_rand_index(sample.truth, prediction)
    console.report["adjusted_rand_index"] = round(score, 4)
    console.result(f"Agreement with the ground truth (adjusted Rand index): {score:.3f}")
    return prediction


def _write_picture(path: Path, session: Session, prediction: np.ndarray) -> None:
    entry, view = session.image, session.view
    if entry is None or view is None:
        raise ProjectError("The project has no image")
    plane = view.plane
    image = entry.read(plane, Box(0, 0, *entry.plane_size))
    strokes = np.asarray(entry.regions[plane])
    pictures.write(path, pictures.side_by_side(image, strokes, prediction[plane]))


def _export(folder: Path, name: str, console: Console) -> None:
    """Export as OME-Zarr and check the result as a stranger would."""
    from napari_cas.store import Project
    from napari_cas.store.export import export
    from napari_cas.store.validate import validate

    target = folder / f"{name}.ome.zarr"
    with Project.open(folder / "project.zarr", mode="r") as project:
        export(project, target)
    problems = [str(problem) for problem in validate(target)]
    console.report |= {"export": str(target), "problems": problems}
    verdict = "valid OME-Zarr 0.5" if not problems else "; ".join(problems)
    console.result(f"Export:   {target}  ({verdict})")
