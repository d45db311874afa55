"""Table 5 of the paper, PASCAL VOC 2012: what class-agnostic channels say about classes.

The paper reports an average precision whose definition is not at hand. Taken here is the
challenge's own: the area under the precision-recall curve of each class, made monotonic, here over
pixels, averaged over the 20 classes of objects [1]_. A class-agnostic network names nothing, so its
channels are read as classes by how often they meet on the training images.

References
----------
.. [1] Everingham et al., "The PASCAL Visual Object Classes Challenge: a retrospective", IJCV 111
   (2015), sections 2 and 4.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_cas.metrics.matching import class_confusion
from napari_cas.metrics.precision import average_precision
from napari_cas.metrics.regions import covering, rand_index, variation_of_information
from training.data.labelled import KINDS, VOC_CLASSES, LabelledSet, voc_split
from training.data.saliency import DataSetError
from training.data.store import MappedSet, content_digest
from training.regions import probabilities
from training.report import Cell, Column, Table
from training.saliency.feed import Examples
from training.saliency.runs import examples_for
from training.table_regions import Variant, add_runs, mean_cells, train_regions

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from training.saliency.loop import Trained
    from training.saliency.recipe import Recipe
    from training.saliency.runs import Place

CLASSES = len(VOC_CLASSES)
STEP = 2
"""Average precision counts every second row and column: 5 million pixels on the subset."""
COLUMNS = (
    Column("method", "method"), Column("network", "network"), Column("seeds", ""),
    Column("precision", "average precision"), Column("iou", "mean IoU"),
    Column("covering", "covering"), Column("rand", "Rand index"),
    Column("variation", "variation of information"),
)  # fmt: skip
_VARIANTS = (
    Variant("CAS, Eq. 1, α = 0.1", {"discriminator": "squared", "alpha": 0.1}),
    Variant("CAS, log-volume, α = 0.9", {"discriminator": "log_volume", "alpha": 0.9}),
    Variant("cross-entropy, given the classes' names", {"loss": "cross_entropy"}),
)
_NOTES = (
    (
        "Trained on the images of the train list, scored on those of the val list; nothing was "
        "chosen by looking at val. CAS is told which pixels of an image belong together, not what "
        "they are. M = 21 channels, as many as classes with background."
    ),
    (
        "Average precision: of each class, over pixels, the area under the precision-recall curve "
        "made monotonic (PASCAL VOC's since 2010), averaged over the 20 classes of objects; "
        "background is none of them. Channels are read as classes by p(class | channel), counted "
        "on the training images. The paper's own figure and definition were not at hand. Mean "
        "IoU: VOC's measure of segmentation, of the likeliest class, averaged over the classes "
        "that occur, with background. The other three are of the strongest channel as a "
        "partition, without names, means over images. Void pixels are left out everywhere."
    ),
)  # fmt: skip


def build(place: Place, *, seeds: int, why: str) -> tuple[Table, list[dict[str, Any]]]:
    """Return Table 5 and the scores of its runs; arguments as in :func:`table_bsds.build`."""
    table = Table("table5", "Table 5: PASCAL VOC 2012", COLUMNS)
    fixed = {"channels": CLASSES, "train_set": _set_name(place, why)}
    variants = [Variant(v.method, {**fixed, **v.settings}) for v in _VARIANTS]
    runs, _ = add_runs(table, "VOC 2012", variants, place, seeds, why, _run, mean_cells)
    if runs:
        images = {split: len(voc_split(split, place.data)) for split in ("train", "val")}
        had = sum(images.values())
        if had < KINDS["voc2012"].published.count:
            table.title = table.title.replace("2012", f"2012, {had}-image subset", 1)
        table.notes.append(f"{images['train']} images to train on, {images['val']} to score.")
    paper: dict[str, Cell] = {"method": "the paper's CAS: not at hand"}
    table.rows.append(paper)
    table.notes += _NOTES
    return table, runs


def _set_name(place: Place, why: str) -> str:
    """Return a name for the images at hand, which may be any subset: runs are found by it."""
    try:
        names = [] if why else [voc_split(split, place.data) for split in ("train", "val")]
    except DataSetError:
        return "VOC 2012"  # said where the runs are made
    return f"VOC 2012 {hashlib.sha256(repr(names).encode()).hexdigest()[:8]}"


def _run(recipe: Recipe, place: Place) -> dict[str, Any]:
    learn, test = (_examples(recipe, split, place) for split in ("train", "val"))
    trained = train_regions(recipe, learn, place)
    meanings = _meanings(trained, learn, place.device)
    return _scores(_read(trained, test, meanings, place.device)) | {"record": trained.record}


def _examples(recipe: Recipe, split: str, place: Place) -> Examples:
    """Return the images of a split with their classes, 0 where void, at the recipe's size."""
    names = voc_split(split, place.data)
    known = LabelledSet("voc2012", place.data)
    shape = (recipe.size, recipe.size)
    found = [known.read(name) for name in names]
    images = np.stack([_resized(item.image, shape, nearest=False) for item in found])
    truths = np.stack([_resized(item.truth, shape, nearest=True) for item in found])
    digest = hashlib.sha256("\n".join(names).encode() + images.tobytes()).hexdigest()
    known_by = content_digest([truths])
    pictures = MappedSet(f"VOC2012-{split}", names, images, truths, digest, known_by)
    rows = np.arange(len(names))
    examples = examples_for(recipe, pictures, rows, place)
    return Examples(examples.inputs, pictures, rows, examples.row_axis, truths)


def _resized(picture: NDArray[np.uint8], shape: tuple[int, int], *, nearest: bool) -> Any:  # noqa: ANN401
    from PIL import Image

    if picture.shape[:2] == shape:
        return picture
    how = Image.Resampling.NEAREST if nearest else Image.Resampling.BILINEAR
    return np.asarray(Image.fromarray(picture).resize(shape, how))


def _meanings(trained: Trained, learn: Examples, device: str) -> NDArray[np.float64]:
    """Return p(class | channel) (M, classes) of the training images; even where never met."""
    assert learn.regions is not None  # these examples have classes
    met = np.zeros((CLASSES, CLASSES))
    for found, truth in zip(probabilities(trained, learn, device), learn.regions, strict=True):
        seen = truth > 0
        one_hot = np.eye(CLASSES)[truth[seen].astype(np.intp) - 1]
        met += found[:, seen].astype(np.float64) @ one_hot
    total = met.sum(1, keepdims=True)
    return np.where(total > 0, met / np.maximum(total, 1e-12), 1 / CLASSES)


def _read(
    trained: Trained, test: Examples, meanings: NDArray[np.float64], device: str
) -> Iterator[tuple[NDArray[np.intp], NDArray[np.float32], NDArray[np.uint8]]]:
    """Yield each image's strongest channel (H, W), class scores (C, H, W) and truth (H, W)."""
    assert test.regions is not None  # these examples have classes
    weights = meanings.T.astype(np.float32)
    for found, truth in zip(probabilities(trained, test, device), test.regions, strict=True):
        yield found.argmax(0), np.tensordot(weights, found, axes=1), truth


def _scores(
    read: Iterator[tuple[NDArray[np.intp], NDArray[np.float32], NDArray[np.uint8]]],
) -> dict[str, float]:
    """Return all scores of the images of a split."""
    confusion = np.zeros((CLASSES + 1, CLASSES), np.int64)
    partitions, kept_scores, kept_truths = [], [], []
    for channel, scores, truth in read:
        confusion += class_confusion(
            truth, scores.argmax(0), classes=CLASSES + 1, channels=CLASSES, ignore=0
        )
        partitions.append(
            (
                covering(truth, channel),
                rand_index(truth, channel),
                variation_of_information(truth, channel),
            )
        )
        seen = truth[::STEP, ::STEP] > 0
        kept_scores.append(scores[:, ::STEP, ::STEP][:, seen])
        kept_truths.append(truth[::STEP, ::STEP][seen])
    every, truths = np.concatenate(kept_scores, axis=1), np.concatenate(kept_truths)
    # Background, label 1, is no object: over it, VOC measures the intersection over union alone.
    precisions = [average_precision(truths == k + 1, every[k]) for k in range(1, CLASSES)]
    cover, rand, variation = np.mean(partitions, axis=0)
    return {
        "precision": float(np.nanmean(precisions)), "iou": _mean_iou(confusion[1:]),
        "covering": float(cover), "rand": float(rand), "variation": float(variation),
    }  # fmt: skip


def _mean_iou(confusion: NDArray[np.int64]) -> float:
    """Return the mean intersection over union of the classes that occur."""
    right = np.diagonal(confusion)
    union = confusion.sum(0) + confusion.sum(1) - right
    occurs = confusion.sum(1) > 0
    return float((right[occurs] / union[occurs]).mean())
