"""Labels of low fidelity: which image is which, and whose region ids are exchanged."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch

from napari_cas.errors import ConfigError

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import Tensor

BACKGROUND_ID, SALIENT_ID = 1, 2
"""Region ids before any exchange; 0 would mean unpainted."""


class Split(NamedTuple):
    """Indices into a training set, sorted and apart."""

    train: NDArray[np.intp]
    validation: NDArray[np.intp]


def split(count: int, train: int | None, validation: int, seed: int = 0) -> Split:
    """Hold `validation` of `count` images out and take `train` (or all) of the rest.

    The validation images depend on `seed` and `validation` only, so that runs of other sizes are
    compared on the same ones.

    Raises
    ------
    ConfigError
        If there are not enough images.
    """
    wanted = count - validation if train is None else train
    if wanted < 1 or wanted + validation > count:
        raise ConfigError(
            f"{count} images cannot give {wanted if train is None else train} to train on and "
            f"{validation} to hold out",
            expected=f"at most {count} in all", got=str(validation + max(wanted, 1)),
            todo="Set --train-images and --validation-images lower.",
        )  # fmt: skip
    order = np.random.default_rng(seed).permutation(count)
    return Split(np.sort(order[validation : validation + wanted]), np.sort(order[:validation]))


def exchanged(count: int, share: float, seed: int) -> NDArray[np.bool_]:
    """Choose the images whose two region ids are exchanged.

    Exactly the nearest whole number to ``share * count`` of them, at random: were each drawn by
    itself, chance would leave a majority of right or wrong labels at a share of one half, and
    cross-entropy would learn from that.

    Parameters
    ----------
    count : int
        Training images.
    share : float
        From 0 to 1; the paper's probability.
    seed : int
        The same for every loss that is compared.

    Returns
    -------
    ndarray
        (count,) booleans.
    """
    chosen = np.zeros(count, dtype=np.bool_)
    order = np.random.default_rng([seed, 20210]).permutation(count)
    chosen[order[: round(share * count)]] = True
    return chosen


def region_ids(salient: Tensor, flipped: Tensor) -> Tensor:
    """Return the region ids that a loss is given.

    Parameters
    ----------
    salient : Tensor
        (B, H, W) booleans.
    flipped : Tensor
        (B,) booleans: images whose ids are exchanged.

    Returns
    -------
    Tensor
        (B, H, W) int64, 1 or 2.
    """
    return torch.where(salient ^ flipped[:, None, None], SALIENT_ID, BACKGROUND_ID)
