"""A picture of what happened: image, strokes and prediction side by side."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from napari_cas.store.colors import colorize

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

GAP = 8
"""Pixels of white between the three parts."""


def side_by_side(
    image: NDArray[np.generic], regions: NDArray[np.integer], prediction: NDArray[np.integer]
) -> NDArray[np.uint8]:
    """Return image, image with strokes, and prediction, beside each other.

    Parameters
    ----------
    image : ndarray, (C, Y, X)
        Pixels of any type; one channel is shown grey, the first three as red, green, blue.
    regions, prediction : ndarray of int, (Y, X)
        Labels; 0 is left transparent.

    Returns
    -------
    ndarray of uint8, (Y, 3 X + 2 gaps, 3)
    """
    shown = _shown(image)
    height = shown.shape[0]
    white = np.full((height, GAP, 3), 255, np.uint8)
    strokes = _over(shown // 2 + 64, colorize(regions), 1.0)
    labels = _over(shown, colorize(prediction), 0.75)
    return np.concatenate([shown, white, strokes, white, labels], axis=1)


def write(path: Path, picture: NDArray[np.uint8]) -> None:
    """Write a PNG."""
    import imageio.v3 as imageio

    imageio.imwrite(path, picture)


def _shown(image: NDArray[np.generic]) -> NDArray[np.uint8]:
    """Stretch values to what a screen shows."""
    values = np.asarray(image, np.float32)
    values = values[:3] if len(values) >= 3 else values[:1].repeat(3, axis=0)
    low, high = np.percentile(values, [0.1, 99.9])
    stretched = np.clip((values - low) / max(float(high - low), 1e-6), 0, 1)
    return np.asarray(np.moveaxis(stretched, 0, -1) * 255, np.uint8)


def _over(
    below: NDArray[np.uint8], colours: NDArray[np.uint8], opacity: float
) -> NDArray[np.uint8]:
    alpha = colours[..., 3:] / 255 * opacity
    mixed = below * (1 - alpha) + colours[..., :3] * alpha
    return np.asarray(mixed, np.uint8)
