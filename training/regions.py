"""Many regions per image: BSDS500 and the Real-World Texture Dataset on the loop of the paper.

A prediction is a partition: the channel of largest probability at each pixel. Nothing says what a
channel means, so no channel has to be chosen.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch.nn import functional as nnf

from training.data.bsds import BSDS500, Annotated
from training.data.saliency import PLAIN, SaliencySet, all_pairs, data_folder
from training.data.store import MappedSet, content_digest, map_set
from training.saliency.feed import Examples
from training.saliency.runs import examples_for

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from numpy.typing import NDArray
    from torch import Tensor

    from training.data.store import Pair
    from training.saliency.loop import Trained
    from training.saliency.recipe import Recipe
    from training.saliency.runs import Place

RWTD = SaliencySet(
    "RWTD",
    256,
    ("rwtd*", "RWTD*"),
    (PLAIN,),
    "the Real-World Texture Dataset (Khan, Algarni, Yezzi, Sundaramoorthi, CVPR 2015)",
)
RWTD_SEED = 0
"""No split is published; this seed takes 128 images to train on and leaves 128 to test."""
BSDS_SIZE = (320, 480)
"""Images are 321×481 or turned; portraits are turned and the last row and column left out."""


def rwtd_examples(recipe: Recipe, place: Place) -> tuple[Examples, Examples]:
    """Return the 128 images to train on and the 128 to test on.

    Raises
    ------
    DataSetError
        If the set is not there or not complete.
    """
    pictures = map_set("RWTD", rwtd_pairs(place), cache=place.cache)
    order = np.random.default_rng(RWTD_SEED).permutation(len(pictures))
    half = len(order) // 2
    return (
        examples_for(recipe, pictures, np.sort(order[:half]), place),
        examples_for(recipe, pictures, np.sort(order[half:]), place),
    )


def rwtd_pairs(place: Place) -> list[Pair]:
    """Return the 256 images with their masks; raises as :func:`rwtd_examples` does."""
    return all_pairs(RWTD, place.data or data_folder())


def part_of(examples: Examples, which: NDArray[np.intp]) -> Examples:
    """Return some of the examples, by their positions, without copying."""
    inputs = tuple(_Repeated(part, which) for part in examples.inputs)
    return Examples(inputs, examples.pictures, examples.rows[which], examples.row_axis)  # type: ignore[arg-type]


def bsds_examples(recipe: Recipe, splits: tuple[str, ...], place: Place) -> Examples:
    """Return one example per image and annotator of some splits.

    Annotators who marked over 255 regions are left out, so that ids fit a byte.
    """
    images, rows, regions = [], [], []
    names = []
    for split in splits:
        for found in BSDS500(split, bsds_folder(place)):
            images.append(_landscape(found.image))
            names.append(found.name)
            for segmentation in found.segmentations:
                if segmentation.max() <= np.iinfo(np.uint8).max:
                    rows.append(len(images) - 1)
                    regions.append(_landscape(segmentation).astype(np.uint8))
    pictures = MappedSet(
        name="BSDS500-" + "-".join(splits),
        names=tuple(names),
        images=np.stack(images),
        masks=np.zeros((len(images), 1, 1), np.uint8),
        digest=hashlib.sha256("\n".join(names).encode()).hexdigest(),
        content=content_digest([*images, *regions]),
    )
    one_each = examples_for(recipe, pictures, np.arange(len(images)), place)
    index = np.asarray(rows)
    inputs = tuple(_Repeated(part, index) for part in one_each.inputs)
    return Examples(inputs, pictures, index, one_each.row_axis, np.stack(regions))  # type: ignore[arg-type]


class _Repeated:
    """Rows of an array, repeated and in another order, without copying it."""

    def __init__(self, whole: NDArray[np.generic], rows: NDArray[np.intp]) -> None:
        self.whole, self.rows = whole, rows

    def __getitem__(self, which: NDArray[np.intp]) -> NDArray[np.generic]:
        return self.whole[self.rows[which]]


def bsds_split(split: str, place: Place) -> Iterator[Annotated]:
    """Return the images of a split with all their annotations, read one at a time."""
    return iter(BSDS500(split, bsds_folder(place)))


def bsds_test(recipe: Recipe, split: str, place: Place) -> Examples:
    """Return one example per image of a split, in the order of :func:`bsds_split`."""
    found = [(a.name, _landscape(a.image)) for a in bsds_split(split, place)]
    images = np.stack([image for _, image in found])
    names = tuple(name for name, _ in found)
    pictures = MappedSet(
        name=f"BSDS500-{split}",
        names=names,
        images=images,
        masks=np.zeros(images.shape[:3], np.uint8),
        digest=hashlib.sha256("\n".join(names).encode()).hexdigest(),
        content=content_digest(images),
    )
    return examples_for(recipe, pictures, np.arange(len(found)), place)


def bsds_folder(place: Place) -> Path | None:
    """Return the folder of BSDS500, or nothing where it is the default one."""
    return None if place.data is None else place.data / "bsds500"


def _landscape(picture: NDArray[np.generic]) -> NDArray[np.generic]:
    """Return 320×480 pixels of a picture of 321×481, turned if it is a portrait."""
    turned = picture if picture.shape[1] > picture.shape[0] else picture.swapaxes(0, 1)
    return turned[: BSDS_SIZE[0], : BSDS_SIZE[1]]


def to_shape(labels: NDArray[np.generic], shape: tuple[int, ...]) -> NDArray[np.generic]:
    """Undo :func:`_landscape`: turn back, and repeat the last row and column."""
    turned = labels if shape[1] > shape[0] else labels.T
    grown = [(0, max(wanted - had, 0)) for wanted, had in zip(shape, turned.shape, strict=True)]
    return np.pad(turned, grown, mode="edge")


def probabilities(
    trained: Trained, examples: Examples, device: str = "cpu", batch: int = 16
) -> Iterator[NDArray[np.float32]]:
    """Yield the softmax (M, H, W) of each example at the size of its truth."""
    for start in range(0, len(examples), batch):
        which = np.arange(start, min(start + batch, len(examples)))
        inputs, truth = examples.take(which)
        # Nothing is yielded in inference mode: whoever takes it would go on in that mode.
        with torch.inference_mode():
            output = trained.model(*(part.to(device) for part in inputs)).float()
        for one in output:  # one at a time: whole pictures of many channels are large
            yield _soft(one, truth.shape[-2:])


@torch.inference_mode()
def _soft(logits: Tensor, size: tuple[int, ...]) -> NDArray[np.float32]:
    """Return the softmax (M, H, W) of logits (M, h, w) at another size."""
    whole = nnf.interpolate(logits[None], size=size, mode="bilinear", align_corners=False)
    found: NDArray[np.float32] = whole[0].softmax(0).cpu().numpy()
    return found


def connected(labels: NDArray[Any], smallest: int) -> NDArray[np.intp]:
    """Split a partition into connected parts; parts under `smallest` pixels join their nearest.

    Parameters
    ----------
    labels : ndarray
        (H, W) labels from 1.
    smallest : int
        Pixels that a part must have.

    Returns
    -------
    ndarray
        (H, W) parts, from 1.
    """
    from scipy import ndimage
    from skimage.measure import label

    parts: NDArray[np.intp] = label(labels, background=0, connectivity=1)
    small = np.bincount(parts.ravel())[parts] < smallest
    if not small.any() or small.all():
        return parts
    nearest = ndimage.distance_transform_edt(small, return_distances=False, return_indices=True)
    joined: NDArray[np.intp] = parts[tuple(nearest)]
    return joined
