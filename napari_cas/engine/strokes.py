"""What was painted on a plane has its say in what is predicted there, and around it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch
from torch.nn import functional as F  # noqa: N812

from napari_cas.engine.tiling import grid, overlapping, with_halo
from napari_cas.models.smoothing import BLOCK
from napari_cas.models.strokes import REACH, follow_strokes
from napari_cas.protocol import Box

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from numpy.typing import NDArray
    from torch import Tensor

    from napari_cas.engine.predict import Prediction
    from napari_cas.engine.sources import Source
    from napari_cas.models import SegmentationModel
    from napari_cas.protocol import Plane


def predict_with_strokes(
    model: SegmentationModel,
    source: Source,
    plane: Plane,
    box: Box,
    tile: int,
    channel: Mapping[int, int],
    predict: Callable[[Box], Prediction],
) -> Prediction:
    """Predict a box of a plane, and follow the strokes that are painted there.

    Parameters
    ----------
    model : SegmentationModel
        What predicts.
    source : Source
        Where pixels and strokes come from.
    plane, box
        What to predict, inside the plane.
    tile : int
        Side of a tile in pixels; as much is looked at at a time.
    channel : mapping
        Channel of regions of this plane; others are not followed. What is painted on the prediction
        says itself which it is.
    predict : callable
        From a box of the plane to what the network says.

    Returns
    -------
    Prediction
        Of the box; where the network says nothing, strokes do not either.
    """
    found = predict(box)
    changed = []
    for piece in overlapping(grid(source.size, tile, model.stretch), box):
        part = piece.intersection(box)
        outer = _in_blocks(with_halo(part, REACH, source.size), source.size)
        strokes = _strokes(source, plane, outer, channel, model.channels)
        if not strokes.any():
            continue
        near = found.probabilities[(slice(None), *outer.inside(box).slices)]
        if not box.contains(outer):
            near = predict(outer).probabilities
        soft = _followed(near, _guide(model, source.read(plane, outer)), strokes)
        changed.append((part.inside(box).slices, soft[(slice(None), *part.inside(outer).slices)]))
    for where, soft in changed:  # not before: parts look beyond their borders
        empty = found.labels[where] == 0
        found.probabilities[(slice(None), *where)] = np.where(empty, 0, soft)
        found.labels[where] = np.where(empty, 0, soft.argmax(0) + 1)
    return found


def _in_blocks(box: Box, size: tuple[int, int]) -> Box:
    """Return a box grown to whole blocks, as far as the plane reaches."""
    y0, x0, y1, x1 = (corner // BLOCK * BLOCK for corner in (box.y0, box.x0, -box.y1, -box.x1))
    return Box(y0, x0, -y1, -x1).clip(*size)


def _strokes(
    source: Source, plane: Plane, box: Box, channel: Mapping[int, int], channels: int
) -> NDArray[np.int64]:
    """Return the painted channel plus one (h, w), 0 where nothing of a known channel is painted."""
    found = np.zeros(box.shape, np.int64)
    if channel:
        regions = source.regions(plane, box)
        for id_ in np.unique(regions).tolist():
            found[regions == id_] = channel.get(id_, -1) + 1
    said = source.corrected(plane, box)
    if said is not None:
        told = (said > 0) & (said <= channels)
        found[told] = said[told]
    return found


def _guide(model: SegmentationModel, image: NDArray[np.float32]) -> Tensor:
    """Return the colours (G, h, w), G ≤ 3, of an image (C, h, w) on the 0–255 scale."""
    pixels = torch.from_numpy(image)
    if len(pixels) > 3:
        mixed = model.in_channels == len(pixels)  # else it takes several planes as one image
        device = model.mixing.device
        pixels = model.to_rgb(pixels[None].to(device))[0].cpu() if mixed else pixels[:3]
    return pixels / 255.0


def _followed(
    soft: NDArray[np.float32], guide: Tensor, strokes: NDArray[np.int64]
) -> NDArray[np.float32]:
    """Return probabilities (M, h, w) that follow strokes, of any height and width."""
    height, width = strokes.shape
    beyond = (0, -width % BLOCK, 0, -height % BLOCK)
    followed = follow_strokes(
        F.pad(torch.from_numpy(soft)[None], beyond, mode="replicate")[0],
        F.pad(guide[None], beyond, mode="replicate")[0],
        F.pad(torch.from_numpy(strokes), beyond),
    )
    return followed[:, :height, :width].numpy()
