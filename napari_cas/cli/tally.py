"""Predicting a whole data set: what was done, image by image, and what could not be."""

from __future__ import annotations

import time
from collections import Counter
from contextlib import suppress
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from napari_cas.errors import CheckpointError, ImageError, ProjectError, StorageError
from napari_cas.jobs import PlaneWork, tiles_of
from napari_cas.protocol import TilesRequest
from napari_cas.session.extent import predicted_before
from napari_cas.store.models import input_channels

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from napari_cas.cli.console import Console
    from napari_cas.protocol import Tile, TilesReport
    from napari_cas.session import Session
    from napari_cas.store import ImageEntry


class Tally:
    """Counts the tiles of images while a session predicts them.

    Parameters
    ----------
    session : Session
        With a project and a model.
    sources : mapping of str to str
        Where each image comes from that is to be predicted, by name.

    Attributes
    ----------
    errors : dict of str to str
        What is wrong with images that could not be predicted, by name.
    """

    def __init__(self, session: Session, sources: Mapping[str, str]) -> None:
        self._session, self.images, self._sources = session, tuple(sources), sources
        self.errors: dict[str, str] = {}
        self._start = time.perf_counter()
        self._done: Counter[str] = Counter()
        self._empty: Counter[str] = Counter()
        self._seconds: dict[str, float] = dict.fromkeys(self.images, 0.0)
        self._devices: set[str] = set()
        project = session.project
        assert project is not None  # noqa: S101 - opened by the command
        checkpoint, soft = session.checkpoint or "", session.probabilities
        request = TilesRequest(str(project.path), session.config, checkpoint, (), soft)
        known = predicted_before(project, request)
        self._total, self._before = {}, {}
        for name in self.images:
            tiles = self._tiles(project.image(name))
            self._total[name], self._before[name] = len(tiles), sum(map(known, tiles))
        session.tiled.connect(self._add)

    def _tiles(self, entry: ImageEntry) -> list[Tile]:
        """Return all tiles of an image."""
        side = self._session.config.predict.tile_size
        planes = (PlaneWork(entry.name, plane, entry.plane_size) for plane in entry.planes())
        return [tile for work in planes for tile in tiles_of(work, side)]

    def _add(self, report: TilesReport) -> None:
        self._devices.add(report.device)
        each = sum(report.seconds.values()) / max(len(report.done), 1)
        for tile in report.done:
            self._done[tile.image] += 1
            self._seconds[tile.image] += each
        self._empty.update(tile.image for tile in report.empty)

    def unfinished(self) -> list[str]:
        """Return the images that have tiles left and nothing wrong with them."""
        left = [n for n in self.images if self._done[n] + self._before[n] < self._total[n]]
        return [name for name in left if name not in self.errors]

    def report(self) -> dict[str, Any]:
        """Return all counts, as JSON takes them."""
        images: dict[str, dict[str, Any]] = {
            name: {
                "tiles": self._total[name],
                "predicted": self._done[name],
                "done_before": self._before[name],
                "empty": self._empty[name],
                "seconds": round(self._seconds[name], 3),
                "error": self.errors.get(name),
                "source": self._sources[name],
                "files": [],
            }
            for name in self.images
        }
        return {
            "checkpoint": self._session.checkpoint,
            "names": self._session.names,
            "devices": sorted(self._devices),
            "seconds": round(time.perf_counter() - self._start, 3),
            "images": images,
        }


def predict(
    session: Session,
    console: Console,
    sources: Mapping[str, str],
    beside: Mapping[str, str] = MappingProxyType({}),
) -> dict[str, str]:
    """Predict images to the end; one that cannot be read does not hold up the others.

    Parameters
    ----------
    session : Session
        With a project and a model.
    console : Console
        Hears the counts.
    sources : mapping of str to str
        Where each image comes from, by name.
    beside : mapping of str to str
        What is wrong with images that were given and are not in the project, by path.

    Returns
    -------
    dict of str to str
        What is wrong with images, by name or path.

    Raises
    ------
    CASError
        Nothing has been learnt, the worker fails, the disk refuses, or the only image is damaged.
    """
    tally = Tally(session, sources)
    alone = len(sources) + len(beside) == 1
    _leave_misfits(session, console, tally, alone=alone)
    images = [name for name in sources if name not in tally.errors]
    try:
        if images:
            _run(session, console, images)
    except (ImageError, ProjectError) as error:
        if isinstance(error, StorageError) or alone:
            raise
        # The error ended them all; alone, each shows whether it is the one.
        for name in tally.unfinished():
            try:
                _run(session, console, [name])
            except StorageError:
                raise
            except (ImageError, ProjectError) as own:
                tally.errors[name] = str(own)
                console.problem(f"{name}: {own}")
    _tell(tally, console, beside)
    return {**beside, **tally.errors}


def check_channels(session: Session, name: str, channels: int) -> None:
    """Raise ImageError where the model in use was made for images of other channels.

    The worker says so, too, but after it has started, and as if something had been painted.
    """
    if session.project is None or session.checkpoint is None:
        return
    wanted = None
    with suppress(CheckpointError):  # the worker says what is damaged
        wanted = input_channels(session.project.model_record(session.checkpoint))
    if wanted not in (None, channels):
        todo = "Use a model of its kind, or convert it to colour or grey as those were."
        than = "those the model learnt from"
        raise ImageError.of_channels(name, than, wanted=wanted, got=channels, todo=todo)


def _leave_misfits(session: Session, console: Console, tally: Tally, *, alone: bool) -> None:
    """Leave out images that the model cannot read, before the worker starts."""
    assert session.project is not None  # noqa: S101 - opened by the command
    for name in tally.images:
        try:
            check_channels(session, name, session.project.image(name).n_channels)
        except ImageError as error:
            if alone:
                raise
            tally.errors[name] = str(error)
            console.problem(f"{name}: {error}")


def _run(session: Session, console: Console, images: Iterable[str]) -> None:
    with console.refusals():
        session.predict_all(tuple(images))
    console.wait(session)


def _tell(tally: Tally, console: Console, beside: Mapping[str, str]) -> None:
    """Put the counts into the report, and a line for each image before the person."""
    console.report["predict"] = report = tally.report()
    for name, counts in report["images"].items():
        words = [f"{counts['predicted']} of {counts['tiles']} tiles in {counts['seconds']:.1f} s"]
        words += [f"{counts['done_before']} done before"] * bool(counts["done_before"])
        words += [f"{counts['empty']} empty"] * bool(counts["empty"])
        words += ["failed"] * bool(counts["error"])
        console.result(f"{name}: {', '.join(words)}")
    for path, error in beside.items():
        report["images"][path] = {"error": error, "source": path, "files": []}
        console.result(f"{path}: failed")
