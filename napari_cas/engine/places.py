"""Which pixels are drawn from a tile: painted ones, evenly by region, and random neighbours."""

from __future__ import annotations

from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

Places: TypeAlias = tuple[NDArray[np.intp], NDArray[np.intp]]
"""(P,) rows and columns."""

_BESIDE = 8


def pairs(shape: tuple[int, int], number: int, rng: np.random.Generator) -> Places:
    """Return rows and columns of random pixels, then of one neighbour of each."""
    limits = np.array(shape)[:, None]
    first = rng.integers(limits, size=(2, number))
    beside = first + rng.integers(-_BESIDE, _BESIDE + 1, size=(2, number))
    y, x = np.concatenate([first, np.clip(beside, 0, limits - 1)], axis=1)
    return y, x


def on_data(places: Places, gaps: NDArray[np.bool_], rng: np.random.Generator) -> Places:
    """Return pairs as of :func:`pairs`, those without data replaced by random ones with data."""
    found = np.stack(places).reshape(2, 2, -1)
    bad = gaps[tuple(found)].any(axis=0)
    good = np.flatnonzero(~bad)
    if len(good):
        found[..., bad] = found[..., rng.choice(good, np.count_nonzero(bad))]
    y, x = found.reshape(2, -1)
    return y, x


def pick(regions: NDArray[np.int64], limit: int, rng: np.random.Generator) -> Places:
    """Return rows and columns of at most `limit` random pixels per region."""
    flat = regions.ravel()
    painted = np.flatnonzero(flat)
    painted = painted[rng.permutation(len(painted))]
    order = np.argsort(flat[painted], kind="stable")
    painted = painted[order]
    _, start, count = np.unique(flat[painted], return_index=True, return_counts=True)
    rank = np.arange(len(painted)) - np.repeat(start, count)
    rows, columns = np.unravel_index(painted[rank < limit], regions.shape)
    return rows, columns
