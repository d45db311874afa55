"""Which images are at hand for the tables of regions: scores of others are not taken for theirs."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

from training.data.bsds import BSDS500, SPLITS
from training.data.labelled import KINDS, voc_split
from training.data.saliency import data_folder, find_pairs
from training.data.store import Pair, Source, digest_of
from training.regions import bsds_folder, rwtd_pairs

if TYPE_CHECKING:
    from collections.abc import Callable

    from training.saliency.runs import Place


def digest_at_hand(train_set: str, place: Place) -> str:
    """Return a digest of all images and annotations that a table of regions is made of.

    It is of names, sizes and times, so that nothing is decoded to look at scores made before.

    Parameters
    ----------
    train_set : str
        Key of :data:`training.table_regions.BUDGETS`.
    place : Place
        Where the data are; it remembers the digest.

    Raises
    ------
    DataSetError
        If the set is not there or not complete.
    """
    if train_set not in place.digests:
        place.digests[train_set] = _DIGESTS[train_set](place)
    return place.digests[train_set]


def _rwtd(place: Place) -> str:
    return digest_of(rwtd_pairs(place), 0)


def _voc(place: Place) -> str:
    pairs = find_pairs(KINDS["voc2012"].published, place.data or data_folder())
    lists = [voc_split(split, place.data) for split in ("train", "val")]
    return hashlib.sha256(f"{digest_of(pairs, 0)} {lists}".encode()).hexdigest()


def _bsds(place: Place) -> str:
    pairs = []
    for split in SPLITS:
        data = BSDS500(split, bsds_folder(place))
        images, truths = (data.folder / part / split for part in ("images", "groundTruth"))
        pairs += [
            Pair(f"{split} {n}", Source(images / f"{n}.jpg"), Source(truths / f"{n}.mat"))
            for n in data.names
        ]
    return digest_of(pairs, 0)


_DIGESTS: dict[str, Callable[[Place], str]] = {"RWTD": _rwtd, "VOC 2012": _voc, "BSDS500": _bsds}
