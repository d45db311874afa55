"""Mosaics of scikit-image's textures, in the manner of the Brodatz mosaics.

Brick, grass and gravel (CC0, in scikit-image's wheel). Training mosaics are cut from the left
halves of the textures and test mosaics from the right ones, so that no pixel is in both. There may
be more kinds than three: the same textures half and twice as large, and negatives of them.
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

import numpy as np

from napari_cas.engine.blocks import block_means
from training.data.labelled import Labelled
from training.data.saliency import DataSetError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

TEXTURES = ("brick", "grass", "gravel")
LOOKS = ("", " at half the size", " at twice the size", ", negative")
KINDS = tuple(texture + look for look in LOOKS for texture in TEXTURES)
_CELLS = 7
_SHOWN = 4
"""Kinds on each mosaic where there are more than three."""


class Mosaics:
    """Seeded mosaics of smooth-bordered cells, each of one texture, with random gain and offset.

    Parameters
    ----------
    count : int
        How many.
    side : int, optional
        Side in pixels; by default 192, and 128 where there are more than three kinds, of which
        every mosaic shows four.
    test : bool
        Whether they are cut from the halves kept for testing.
    kinds : int
        How many kinds, 3 to 12: the first of `KINDS`.

    Raises
    ------
    DataSetError
        If there are not so many.
    """

    def __init__(
        self, count: int, side: int | None = None, *, test: bool = False, kinds: int = 3
    ) -> None:
        if not len(TEXTURES) <= kinds <= len(KINDS):
            raise DataSetError(
                "There are no mosaics of so many kinds",
                expected=f"{len(TEXTURES)} to {len(KINDS)}",
                got=str(kinds),
            )
        self.count, self.test = count, test
        self.side = side or (192 if kinds == len(TEXTURES) else 128)
        self.classes = KINDS[:kinds]
        self.names = tuple(f"{'test' if test else 'train'}-{i:03d}" for i in range(count))

    def __len__(self) -> int:
        """Return the number of mosaics."""
        return self.count

    def __iter__(self) -> Iterator[Labelled]:
        """Make the mosaics in their order."""
        return (self.read(name) for name in self.names)

    def read(self, name: str) -> Labelled:
        """Make one mosaic; always the same for the same name."""
        rng = np.random.default_rng([int(self.test), int(name.rsplit("-", 1)[1])])
        shown = np.arange(len(self.classes))
        if len(shown) > len(TEXTURES):
            shown = rng.permutation(shown)[:_SHOWN]
        cells = _cells(self.side, len(shown), rng)
        image = np.zeros(cells.shape)
        for number, kind in enumerate(shown):
            half = _halves(self.test)[kind]
            y, x = (int(rng.integers(0, size - self.side + 1)) for size in half.shape)
            patch = half[y : y + self.side, x : x + self.side].astype(np.float64)
            # Brightness shall not tell textures apart.
            patch = (patch - patch.mean()) / patch.std() * rng.uniform(30, 45)
            image[cells == number] = (patch + rng.uniform(110, 145))[cells == number]
        truth = (shown + 1).astype(np.uint8)[cells]
        return Labelled(name, np.clip(image, 0, 255).astype(np.uint8), truth)


@cache
def _halves(test: bool) -> tuple[NDArray[np.uint8], ...]:
    """Return the left or right half of each kind of texture."""
    from skimage import data

    halves = []
    for name in TEXTURES:
        texture = np.asarray(getattr(data, name)(), np.uint8)
        middle = texture.shape[1] // 2
        halves.append(texture[:, middle:] if test else texture[:, :middle])
    return tuple(_look(half, look) for look in LOOKS for half in halves)


def _look(texture: NDArray[np.uint8], look: str) -> NDArray[np.uint8]:
    """Return a texture as one of `LOOKS`."""
    if look == " at half the size":
        return np.asarray(block_means(texture.astype(np.float64), 2).round(), np.uint8)
    if look == " at twice the size":
        return texture.repeat(2, 0).repeat(2, 1)
    return 255 - texture if look == ", negative" else texture


def _cells(side: int, kinds: int, rng: np.random.Generator) -> NDArray[np.intp]:
    """Return (side, side) numbers from 0 of cells around random points, all kinds among them."""
    y, x = np.mgrid[:side, :side]
    points = rng.uniform(0, side, (_CELLS, 2))
    # Waves bend the straight borders of the cells.
    wave = side / 20
    phase = rng.uniform(0, 2 * np.pi, 2)
    u = y + wave * np.sin(x / side * 9 + phase[0])
    v = x + wave * np.sin(y / side * 9 + phase[1])
    nearest = np.hypot(u - points[:, :1, None], v - points[:, 1:, None]).argmin(0)
    return np.asarray(rng.permutation(np.arange(_CELLS) % kinds)[nearest], np.intp)
