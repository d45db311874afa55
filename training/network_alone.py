"""What tiles cost the network alone, whose pixels are in memory: no project, no disk.

What the product adds to that is what `bench scale` wants to know.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from napari_cas.protocol import Box

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from napari_cas.engine.sources import Source
    from napari_cas.engine.trainer import Trainer
    from napari_cas.protocol import Plane, TilesRequest


class Held:
    """Part of an image in memory, as an image of its own (`engine.sources.Image`).

    Parameters
    ----------
    source : Source
        Read now, never again.
    plane, box
        What of it.
    cut : bool
        Whether the box is all there is, so that nothing outside of it is asked for.
    """

    def __init__(self, source: Source, plane: Plane, box: Box, *, cut: bool = False) -> None:
        self.name, self.channels = source.name, source.channels
        self._pixels = source.read(plane, box)
        self.depth = 1
        self.size = box.shape if cut else source.size
        self._corner = (0, 0) if cut else (box.y0, box.x0)

    def read(self, plane: Plane, box: Box) -> NDArray[np.float32]:  # noqa: ARG002
        """Return (C, h, w) float32."""
        y, x = self._corner
        return self._pixels[:, box.y0 - y : box.y1 - y, box.x0 - x : box.x1 - x]

    def no_data(self, plane: Plane, box: Box) -> None:
        """Return that there are data everywhere."""


def network_alone(request: TilesRequest) -> dict[str, float]:
    """Return the seconds that a request's tiles, of one image, take from pixels in memory.

    Runs in a worker: the very computation that the product does for a tile, with the context that
    it takes around, and without any, which is what a tile would cost if tiles need not fit.
    """
    from napari_cas.engine.device import set_threads
    from napari_cas.engine.features import feature_box
    from napari_cas.engine.sources import EntrySource
    from napari_cas.engine.tiling import with_halo
    from napari_cas.engine.trainer import Trainer
    from napari_cas.models import QuickModel
    from napari_cas.store import Project

    set_threads()
    seconds = {"network": 0.0, "network_without_halo": 0.0}
    with Project.open(request.project, mode="r") as project:
        trainer = Trainer.restore(*project.load_model(request.checkpoint), request.config)
        trainer.model.eval()
        source = EntrySource(project.image(request.tiles[0].image))
        for _, plane, box in request.tiles:
            quick = isinstance(trainer.model, QuickModel)
            kept = feature_box(box, source.size) if quick else box
            around = with_halo(kept, trainer.model.halo, source.size)
            seconds["network"] += _timed(trainer, Held(source, plane, around), box)
            whole = Box(0, 0, *box.shape)
            seconds["network_without_halo"] += _timed(
                trainer, Held(source, plane, box, cut=True), whole
            )
    return seconds


def _timed(trainer: Trainer, held: Held, box: Box) -> float:
    """Return the seconds of the network, smoothing included, on a tile of a held source."""
    from napari_cas.engine.features import FeatureCache
    from napari_cas.engine.predict import predict_box

    predict, nothing = trainer.config.predict, FeatureCache(limit=0)
    start = time.perf_counter()
    predict_box(
        trainer.model, held, (), box, predict.tile_size, nothing, smooth=predict.follow_edges
    )
    return time.perf_counter() - start
