"""Predicting a whole data set: what was done, image by image, and what could not be."""

from __future__ import annotations

import time
from collections import Counter
from typing import TYPE_CHECKING, Any

from napari_cas.errors import ImageError, ProjectError, StorageError
from napari_cas.jobs import PlaneWork, tiles_of
from napari_cas.session.extent import predicted_before

if TYPE_CHECKING:
    from collections.abc import Sequence

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
    images : sequence of str
        Names of what is to be predicted.

    Attributes
    ----------
    errors : dict of str to str
        What is wrong with images that could not be predicted, by name.
    """

    def __init__(self, session: Session, images: Sequence[str]) -> None:
        self._session, self.images = session, tuple(images)
        self.errors: dict[str, str] = {}
        self._start = time.perf_counter()
        self._done: Counter[str] = Counter()
        self._empty: Counter[str] = Counter()
        self._seconds: dict[str, float] = dict.fromkeys(self.images, 0.0)
        self._devices: set[str] = set()
        project = session.project
        assert project is not None  # noqa: S101 - opened by the command
        known = predicted_before(project, session.checkpoint or "")
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
        """Return the images that have tiles left."""
        return [n for n in self.images if self._done[n] + self._before[n] < self._total[n]]

    def report(self) -> dict[str, Any]:
        """Return all counts, as JSON takes them."""
        images = {
            name: {
                "tiles": self._total[name],
                "predicted": self._done[name],
                "done_before": self._before[name],
                "empty": self._empty[name],
                "seconds": round(self._seconds[name], 3),
                "error": self.errors.get(name),
            }
            for name in self.images
        }
        return {
            "checkpoint": self._session.checkpoint,
            "devices": sorted(self._devices),
            "seconds": round(time.perf_counter() - self._start, 3),
            "images": images,
        }


def predict(session: Session, console: Console, images: Sequence[str]) -> Tally:
    """Predict images to the end; one that cannot be read does not hold up the others.

    Raises
    ------
    CASError
        Nothing has been learnt, the worker fails, the disk refuses, or the only image is damaged.
    """
    tally = Tally(session, images)
    try:
        _run(session, console, images)
    except (ImageError, ProjectError) as error:
        if isinstance(error, StorageError) or len(images) == 1:
            raise
        # The error ended them all; alone, each shows whether it is the one.
        for name in tally.unfinished():
            try:
                _run(session, console, [name])
            except StorageError:
                raise
            except (ImageError, ProjectError) as own:
                tally.errors[name] = str(own)
    _tell(tally, console)
    return tally


def _run(session: Session, console: Console, images: Sequence[str]) -> None:
    with console.refusals():
        session.predict_all(images)
    console.wait(session)


def _tell(tally: Tally, console: Console) -> None:
    """Put the counts into the report, and a line for each image before the person."""
    console.report["predict"] = report = tally.report()
    for name, counts in report["images"].items():
        words = [f"{counts['predicted']} of {counts['tiles']} tiles in {counts['seconds']:.1f} s"]
        words += [f"{counts['done_before']} done before"] * bool(counts["done_before"])
        words += [f"{counts['empty']} empty"] * bool(counts["empty"])
        words += [f"failed: {counts['error']}"] * bool(counts["error"])
        console.result(f"{name}: {', '.join(words)}")
