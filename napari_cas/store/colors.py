"""One colour per label, the same in the viewer, in exports and in pictures.

The first seven are the colour-blind-safe palette of Okabe and Ito (2008) without black and white.
The next fourteen were chosen one by one to be as far as possible from all before, in CIELAB, as
seen by normal, red-blind and green-blind eyes (Machado, Oliveira and Fernandes, 2009). After that
hues follow the golden ratio, so that neighbours in number are far apart in hue.
"""

from __future__ import annotations

import colorsys
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numpy.typing import ArrayLike, NDArray

_PALETTE = (
    "E69F00", "56B4E9", "009E73", "F0E442", "0072B2", "D55E00", "CC79A7",
    "0000FF", "443311", "112299", "FFDDCC", "88FF88", "BB44FF", "770066",
    "EE1155", "44EEFF", "884400", "99CC88", "1100BB", "553344", "CCAA55",
)  # fmt: skip
_GOLDEN = 0.618033988749895


def label_color(label: int) -> tuple[int, int, int, int]:
    """Return a label's colour as red, green, blue and opacity, each 0..255.

    Label 0 is transparent. The same label always has the same colour.

    Examples
    --------
    >>> label_color(1)
    (230, 159, 0, 255)
    """
    if label <= 0:
        return 0, 0, 0, 0
    if label <= len(_PALETTE):
        text = _PALETTE[label - 1]
        return int(text[:2], 16), int(text[2:4], 16), int(text[4:], 16), 255
    step = label - len(_PALETTE)
    red, green, blue = colorsys.hls_to_rgb(
        (step * _GOLDEN) % 1, (0.45, 0.6, 0.72)[step % 3], (0.85, 0.6)[step // 3 % 2]
    )
    return round(red * 255), round(green * 255), round(blue * 255), 255


def colorize(labels: ArrayLike) -> NDArray[np.uint8]:
    """Return a picture of integer labels, shape (..., 4), uint8, transparent where 0."""
    values = np.asarray(labels)
    found, inverse = np.unique(values, return_inverse=True)
    table = np.array([label_color(int(label)) for label in found], np.uint8).reshape(-1, 4)
    return table[inverse.reshape(values.shape)]


def image_label_colors(labels: Iterable[int]) -> list[dict[str, object]]:
    """Return the ``colors`` of OME-Zarr's ``image-label`` for these labels."""
    return [{"label-value": label, "rgba": list(label_color(label))} for label in labels]
