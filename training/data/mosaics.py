"""Mosaics of scikit-image's textures, in the manner of the Brodatz mosaics.

Brick, grass and gravel (CC0, in scikit-image's wheel). Training mosaics are cut from the left
halves of the textures and test mosaics from the right ones, so that no pixel is in both.
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

import numpy as np

from training.data.labelled import Labelled

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

TEXTURES = ("brick", "grass", "gravel")
_CELLS = 7


class Mosaics:
    """Seeded mosaics of smooth-bordered cells, each of one texture, with random gain and offset.

    Parameters
    ----------
    count : int
        How many.
    side : int
        Side in pixels.
    test : bool
        Whether they are cut from the halves kept for testing.
    """

    classes = TEXTURES

    def __init__(self, count: int, side: int = 192, *, test: bool = False) -> None:
        self.count, self.side, self.test = count, side, test
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
        truth = _cells(self.side, rng)
        image = np.zeros(truth.shape)
        for number, half in enumerate(_halves(self.test), start=1):
            y, x = (int(rng.integers(0, size - self.side + 1)) for size in half.shape)
            patch = half[y : y + self.side, x : x + self.side].astype(np.float64)
            # Brightness shall not tell textures apart.
            patch = (patch - patch.mean()) / patch.std() * rng.uniform(30, 45)
            image[truth == number] = (patch + rng.uniform(110, 145))[truth == number]
        return Labelled(name, np.clip(image, 0, 255).astype(np.uint8), truth)


@cache
def _halves(test: bool) -> tuple[NDArray[np.uint8], ...]:
    """Return the left or right half of each texture."""
    from skimage import data

    halves = []
    for name in TEXTURES:
        texture = np.asarray(getattr(data, name)(), np.uint8)
        middle = texture.shape[1] // 2
        halves.append(texture[:, middle:] if test else texture[:, :middle])
    return tuple(halves)


def _cells(side: int, rng: np.random.Generator) -> NDArray[np.uint8]:
    """Return (side, side) classes 1..3 of cells around random points, all three among them."""
    y, x = np.mgrid[:side, :side]
    points = rng.uniform(0, side, (_CELLS, 2))
    # Waves bend the straight borders of the cells.
    wave = side / 20
    phase = rng.uniform(0, 2 * np.pi, 2)
    u = y + wave * np.sin(x / side * 9 + phase[0])
    v = x + wave * np.sin(y / side * 9 + phase[1])
    nearest = np.hypot(u - points[:, :1, None], v - points[:, 1:, None]).argmin(0)
    kinds = np.arange(_CELLS) % len(TEXTURES) + 1
    return np.asarray(rng.permutation(kinds)[nearest], np.uint8)
