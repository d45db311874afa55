"""From an image to labels, tile by tile, the same as in one go."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch
from torch import Tensor

from napari_cas.engine.blocks import block_means
from napari_cas.engine.features import FeatureCache, feature_box, tile_features
from napari_cas.engine.sources import read_stacked
from napari_cas.engine.tiling import grid, overlapping, window, with_halo
from napari_cas.models import QuickModel, SegmentationModel
from napari_cas.models.pyramid import crop
from napari_cas.models.smoothing import REACH, follow_edges

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from napari_cas.engine.sources import Image
    from napari_cas.protocol import Box, Plane


_BLOCK = 8
"""Side of the blocks, in pixels, whose brightness decides whether a tile is empty."""


class Prediction(NamedTuple):
    """What a model says about a plane or a part of it.

    Attributes
    ----------
    labels : ndarray
        (Y, X) uint8, 1..M: the most probable channel plus one; 0 on tiles left out as empty and
        where there are no data.
    probabilities : ndarray
        (M, Y, X) float32, summing to one over channels, or all 0 where the label is 0.
    """

    labels: NDArray[np.uint8]
    probabilities: NDArray[np.float32]


@torch.no_grad()
def predict_box(
    model: SegmentationModel,
    source: Image,
    plane: Plane,
    box: Box,
    tile: int,
    cache: FeatureCache,
    *,
    smooth: bool = True,
    skip_below: float = 0.0,
) -> Prediction:
    """Predict a box of a plane.

    Parameters
    ----------
    model : SegmentationModel
        In evaluation mode.
    source : Image
        Where pixels come from.
    plane, box
        What to predict, inside the plane.
    tile : int
        Side of a tile in pixels.
    cache : FeatureCache
        Frozen features are looked up and left here; of a whole network, which has none, the
        probabilities of its tiles: whoever asks for a part of a tile soon asks for the next.
    smooth : bool
        Whether the quick network's probabilities follow the image's edges.
    skip_below : float
        Tiles whose contrast is below this percentage get label 0 and no probabilities.

    Returns
    -------
    Prediction
        Of the box.
    """
    labels = np.zeros(box.shape, np.uint8)
    probabilities = np.zeros((model.channels, *box.shape), np.float32)
    for piece in overlapping(grid(source.size, tile, model.stretch), box):
        part = piece.intersection(box)
        gaps = source.no_data(plane, part)
        if gaps is not None and gaps.all():
            continue
        # The whole tile decides, so that no view cuts an object in two.
        if skip_below and contrast(source.read(plane, piece)) < skip_below:
            continue
        soft = _probabilities(model, source, plane, piece, part, cache, smooth=smooth)
        inside = part.inside(box)
        best = soft.max(0).indices  # on a CPU six times as fast as argmax
        labels[inside.slices] = (best + 1).to(torch.uint8).cpu().numpy()
        probabilities[(slice(None), *inside.slices)] = soft.cpu().numpy()
        if gaps is not None:
            labels[inside.slices][gaps] = 0
            probabilities[(slice(None), *inside.slices)][:, gaps] = 0
    return Prediction(labels, probabilities)


def contrast(image: NDArray[np.float32]) -> float:
    """Return by how much the brightness of an image varies, as a percentage of its range.

    Means over small blocks are compared, so that noise does not count and no object is missed that
    fills a block.

    Parameters
    ----------
    image : ndarray
        (C, h, w) on the 0–255 scale; the channel that varies most counts.
    """
    return float(np.ptp(block_means(image, _BLOCK), axis=(1, 2)).max()) / 2.55


def _probabilities(
    model: SegmentationModel,
    source: Image,
    plane: Plane,
    tile: Box,
    part: Box,
    cache: FeatureCache,
    *,
    smooth: bool,
) -> Tensor:
    """Return probabilities (M, h, w) of `part` of a tile."""
    if isinstance(model, QuickModel):
        pyramid = tile_features(model, source, plane, tile, cache)
        held = feature_box(tile, source.size)
        wanted = with_halo(part, REACH if smooth else 0, source.size).intersection(held)
        view = window(wanted, held, model.stride)
        pyramid = crop(pyramid, view)
        used = model.head.used()
        logits = model.head.map(pyramid, step=2 if smooth else 1, only=used)[0]
        soft = torch.softmax(logits, dim=0)
        if smooth:
            soft = follow_edges(soft, model.guide(pyramid))
        y0, x0 = held.y0 + view.y0, held.x0 + view.x0
        some = soft[:, part.y0 - y0 : part.y1 - y0, part.x0 - x0 : part.x1 - x0]
        return some.new_zeros(model.channels, *part.shape).index_copy_(0, used, some)
    soft = _whole(model, source, plane, tile, cache)
    return soft[(slice(None), *part.inside(tile).slices)]


def _whole(
    model: SegmentationModel, source: Image, plane: Plane, tile: Box, cache: FeatureCache
) -> Tensor:
    """Return the probabilities (M, h, w) of a tile by a network without features of its own."""
    key = ("probabilities", source.name, plane, tile)
    held = cache.get(key, Tensor)
    if held is not None:
        return held
    outer = with_halo(tile, model.halo, source.size)
    pixels = read_stacked(source, plane, outer, model.stacked)
    image = torch.from_numpy(pixels)[None].to(model.mixing.device)
    logits = model(image)[0][(slice(None), *tile.inside(outer).slices)]
    soft = torch.softmax(logits, dim=0)
    cache.put(key, soft, soft.numel() * soft.element_size())
    return soft
