"""Simulated scribbles: what an annotator would paint, drawn from a ground truth, seeded.

Each region gets one or more strokes of a round brush along its inner part: a path of least cost
between two random places, where pixels far from the region's border are cheap, then smoothed.
Thin regions get thin strokes. Optionally a fraction of the painted pixels spills over the nearest
border.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from napari_cas.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import ArrayLike, NDArray

    Mask = NDArray[np.bool_]


@dataclass(frozen=True)
class Scribbles:
    """How to scribble.

    Attributes
    ----------
    per_region : int
        Strokes in each region; they carry one id.
    length : float
        Length of a stroke as a multiple of the square root of its region's area.
    width : int
        Diameter of the brush in pixels; narrower where the region is.
    spill : float
        Fraction, 0 to below 1, of a region's painted pixels that lie outside of it.
    shuffle : bool
        Whether ids are drawn at random, so that they mean nothing across images; else they are
        those of the truth.
    """

    per_region: int = 1
    length: float = 0.8
    width: int = 5
    spill: float = 0.0
    shuffle: bool = True

    def __post_init__(self) -> None:
        if self.per_region < 1 or self.length <= 0 or self.width < 1:
            raise InputError(
                "Scribbles that paint nothing",
                expected="per_region ≥ 1, length > 0, width ≥ 1",
                got=str(self),
            )
        if not 0 <= self.spill < 1:
            raise InputError("Spill out of range", expected="0 ≤ spill < 1", got=str(self.spill))


def scribble(
    truth: ArrayLike, options: Scribbles | None = None, *, seed: int = 0
) -> NDArray[np.int32]:
    """Paint scribbles into the regions of a ground truth.

    Parameters
    ----------
    truth : array_like
        (Y, X) integers; 0 belongs to no region. Every other value is one region, connected or not.
    options : Scribbles, optional
        How to scribble.
    seed : int
        Same seed, same scribbles.

    Returns
    -------
    ndarray
        (Y, X) int32; 0 is unpainted. Every region has at least one pixel.

    Raises
    ------
    InputError
        If the truth is not (Y, X) integers.
    """
    labels = np.asarray(truth)
    if labels.ndim != 2 or not np.issubdtype(labels.dtype, np.integer):
        raise InputError(
            "A truth cannot be scribbled on",
            expected="(Y, X) integers",
            got=f"{labels.shape} {labels.dtype}",
        )
    options = options or Scribbles()
    rng = np.random.default_rng(seed)
    regions = [int(value) for value in np.unique(labels) if value != 0]
    ids = rng.permutation(len(regions)) + 1 if options.shuffle else regions
    painted = np.zeros(labels.shape, np.int32)
    for region, number in zip(regions, ids, strict=True):
        inside = labels == region
        stroke = np.zeros(labels.shape, bool)
        for _ in range(options.per_region):
            stroke |= paint_stroke(inside, options, rng)
        if options.spill:
            free = ~inside & (labels != 0) & (painted == 0)
            stroke |= spilled(stroke, free, options.spill)
        painted[stroke] = number
    return painted


def paint_stroke(inside: Mask, options: Scribbles, rng: np.random.Generator) -> Mask:
    """Return the (Y, X) mask of one stroke within a region."""
    from scipy.ndimage import find_objects, label

    parts, _ = label(inside, np.ones((3, 3)))
    sizes = np.bincount(parts.ravel())[1:]
    chosen = int(rng.choice(sizes.size, p=sizes / sizes.sum())) + 1
    box = find_objects(parts, chosen)[chosen - 1]
    stroke = np.zeros(inside.shape, bool)
    stroke[box] = _stroke_in(parts[box] == chosen, options, rng)
    return stroke


def _stroke_in(part: Mask, options: Scribbles, rng: np.random.Generator) -> Mask:
    """Return one stroke within a connected part, both cropped to its box."""
    from scipy.ndimage import distance_transform_edt

    depth: NDArray[np.float64] = distance_transform_edt(np.pad(part, 1))[1:-1, 1:-1]
    path = _smooth(_path(depth, options.length * np.sqrt(part.sum()), rng))
    radius = np.clip(depth[tuple(path.T)] - 1, 0.0, (options.width - 1) / 2)
    return _brush(part.shape, path, radius) & part


def _path(depth: NDArray[np.float64], length: float, rng: np.random.Generator) -> NDArray[np.intp]:
    """Return (n, 2) pixels along the deep part of a region, of about the length wanted."""
    from skimage.graph import MCP_Geometric

    rows, columns = np.nonzero(depth)
    weights = depth[rows, columns] ** 2
    start = int(rng.choice(rows.size, p=weights / weights.sum()))
    costs = np.where(depth > 0, 1.0 / np.maximum(depth / depth.max(), 1e-3), -1.0)
    search: Callable[..., MCP_Geometric] = MCP_Geometric
    paths = search(costs)
    paths.find_costs([(rows[start], columns[start])])
    far = np.hypot(rows - rows[start], columns - columns[start])
    reach = min(length, float(far.max()))
    near = np.flatnonzero(far >= 0.9 * reach)
    near = near[far[near] <= max(1.1 * reach, far[near].min())]
    chance = depth[rows[near], columns[near]] ** 2
    end = int(near[rng.choice(near.size, p=chance / chance.sum())])
    return np.asarray(paths.traceback((rows[end], columns[end])), dtype=np.intp)


def _smooth(path: NDArray[np.intp]) -> NDArray[np.intp]:
    """Average a path along itself, as a hand would draw it."""
    from scipy.ndimage import uniform_filter1d

    window = max(1, len(path) // 5)
    smooth = uniform_filter1d(path.astype(float), window, axis=0, mode="nearest")
    return np.unique(np.rint(smooth).astype(np.intp), axis=0)


def _brush(shape: tuple[int, ...], path: NDArray[np.intp], radius: NDArray[np.float64]) -> Mask:
    """Return a mask of round dabs along a path."""
    mask = np.zeros(shape, bool)
    reach = int(np.ceil(radius.max(initial=0.0)))
    dy, dx = np.mgrid[-reach : reach + 1, -reach : reach + 1]
    within = np.hypot(dy, dx)[None] <= radius[:, None, None] + 0.25
    y = path[:, 0, None, None] + dy
    x = path[:, 1, None, None] + dx
    within &= (y >= 0) & (y < shape[0]) & (x >= 0) & (x < shape[1])
    mask[y[within], x[within]] = True
    return mask


def spilled(stroke: Mask, free: Mask, fraction: float) -> Mask:
    """Return the pixels outside a region that a careless stroke would paint: the nearest ones.

    Parameters
    ----------
    stroke : ndarray
        (Y, X) bool, what was painted inside.
    free : ndarray
        (Y, X) bool, where paint may spill to.
    fraction : float
        Of all painted pixels, how many shall be spilled; fewer where `free` has too few.

    Returns
    -------
    ndarray
        (Y, X) bool.
    """
    from scipy.ndimage import distance_transform_edt

    distance: NDArray[np.float64] = distance_transform_edt(~stroke)
    places = np.flatnonzero(free)
    wanted = min(round(fraction / (1 - fraction) * int(stroke.sum())), places.size)
    nearest = places[np.argsort(distance.ravel()[places], kind="stable")[:wanted]]
    mask = np.zeros(stroke.shape, bool)
    mask.ravel()[nearest] = True
    return mask
