"""Painted pixels as they would look under other light and from other sides.

A few painted images show few of the ways in which the next ones differ: exposure, stain, which side
is up. What is painted is therefore looked at again in copies whose channels have another gain,
offset and gamma and that are turned and mirrored: one of the eight symmetries of the square each.
Statistics and training then see what such changes do to features, and rely on it less.

What it is worth: ``python -m training bench ablation``, the table in docs/label-free.md.
"""

from __future__ import annotations

import zlib
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch

from napari_cas.engine.preprocess import RANGE
from napari_cas.engine.sources import neighbours
from napari_cas.engine.tiling import with_halo
from napari_cas.models.pyramid import gather, indices
from napari_cas.protocol import Box

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray
    from torch import Tensor

    from napari_cas.engine.sources import Array, Source
    from napari_cas.models.quick import QuickModel
    from napari_cas.protocol import Plane

COPIES = 2
"""Copies of each painted tile."""

_CONTEXT = 64
"""Pixels around the painted ones that are looked at for their features."""

_MOST = 32
_SPREAD = 0.2


class Variation(NamedTuple):
    """Another light and another side.

    Attributes
    ----------
    gain : ndarray
        (C,) factors of the channels.
    offset, gamma : float
        Added to all channels, in units of an image's usual range; exponent of all channels.
    turns : int
        Quarter turns, 0 to 3.
    mirrored : bool
        Whether left and right are exchanged before turning.
    """

    gain: NDArray[np.float32]
    offset: float
    gamma: float
    turns: int
    mirrored: bool

    @classmethod
    def draw(cls, channels: int, rng: np.random.Generator) -> Variation:
        """Draw one at random for images of so many channels."""
        gain = np.exp(rng.normal(0, _SPREAD, channels)).astype(np.float32)
        offset, gamma = rng.normal(0, _SPREAD / 2), np.exp(rng.normal(0, _SPREAD))
        return cls(gain, float(offset), float(gamma), int(rng.integers(4)), bool(rng.integers(2)))

    def apply(self, image: Array) -> Array:
        """Return the copy (C, h', w') of an image (C, h, w) on the 0–255 scale."""
        unit = image / 255.0
        light = np.sign(unit) * np.abs(unit) ** self.gamma * self.gain[:, None, None] + self.offset
        seen = from_side(light, self.turns, mirrored=self.mirrored)
        return np.asarray(np.clip(seen * 255.0, *RANGE), np.float32)

    def move(
        self, y: NDArray[np.intp], x: NDArray[np.intp], shape: tuple[int, int]
    ) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
        """Return where pixels of an image of `shape` are in the copy."""
        height, width = shape
        if self.mirrored:
            x = width - 1 - x
        for _ in range(self.turns):
            y, x, height, width = width - 1 - x, y, width, height
        return y, x


def from_side(array: NDArray[Any], turns: int, *, mirrored: bool) -> NDArray[Any]:
    """Return an array (C, h, w), mirrored if asked for and then turned so many quarters."""
    return np.rot90(array[..., ::-1] if mirrored else array, turns, axes=(1, 2))


def shared_out(tiles: int, planes: int, copies: int) -> list[tuple[int, int]]:
    """Return which tiles are varied, as pairs of tile and number of the copy.

    None of a single plane: other light than its own does not come, and which side is up may be what
    tells its regions apart. Where much is painted, images differ enough by themselves; what copies
    cost then has a limit.

    Parameters
    ----------
    tiles, planes : int
        How many tiles, of how many planes, hold paint.
    copies : int
        Copies of each tile, at most.
    """
    if planes < 2:
        return []
    pairs = [(tile, copy) for copy in range(copies) for tile in range(tiles)]
    return pairs[:: max(1, -(-len(pairs) // _MOST))]


@torch.no_grad()
def varied_features(
    model: QuickModel,
    source: Source,
    plane: Plane,
    pixels: tuple[NDArray[np.intp], NDArray[np.intp]],
    seed: Sequence[int],
) -> Tensor:
    """Return the features that pixels have in a copy of their image.

    Parameters
    ----------
    model : QuickModel
        Its stem makes the features.
    source, plane
        The image and which plane of it.
    pixels : tuple of ndarray
        (P,) rows and columns on the plane; P > 0. Only the box around them is looked at.
    seed : sequence of int
        Not negative. Together with the image's name, they determine the copy.

    Returns
    -------
    Tensor
        (P, D).
    """
    rng = np.random.default_rng([zlib.crc32(source.name.encode()), *plane, *seed])
    variation = Variation.draw(source.channels, rng)
    y, x = pixels
    around = Box(int(y.min()), int(x.min()), int(y.max()) + 1, int(x.max()) + 1)
    box = with_halo(around, _CONTEXT, source.size)
    own, *others = (
        model.features(_tensor(variation.apply(source.read(p, box)), model))
        for p in (plane, *neighbours(source, plane, model.context))
    )
    where = variation.move(y - box.y0, x - box.x0, box.shape)
    return gather(model.with_context(own, others), *indices(*where, own[0].device))


def _tensor(image: Array, model: QuickModel) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(image))[None].to(model.mixing.device)
