"""Table 4 of the paper, BSDS500: partitions at a range of scales, scored as its benchmark does."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from napari_cas.metrics.boundaries import BoundaryCounts, boundary_counts, boundary_of
from napari_cas.metrics.regions import overlap
from napari_cas.metrics.scales import covering_scales, mean_scales
from training import published
from training.hierarchy import (
    COLOUR_WEIGHT,
    CONTRAST_WEIGHT,
    SCALES,
    SIZE_POWER,
    SUPERPIXELS,
    colours,
    contrast,
    descriptors,
    merged,
    superpixels,
)
from training.kept import keep_scores, kept_scores
from training.regions import bsds_examples, bsds_split, bsds_test, probabilities, to_shape
from training.report import Cell, Column, Table, spread
from training.table_regions import Variant, add_runs, train_regions

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from numpy.typing import NDArray

    from training.data.bsds import Annotated
    from training.saliency.loop import Trained
    from training.saliency.recipe import Recipe
    from training.saliency.runs import Place

    Labels = NDArray[np.intp]
    Partitions = Iterable[Sequence[Labels]]

_NUMBERS = (
    ("contour", "contour F"), ("covering", "covering, ODS"), ("covering_ois", "OIS"),
    ("rand", "Rand index, ODS"), ("rand_ois", "OIS"),
    ("variation", "variation of information, ODS"), ("variation_ois", "OIS"),
    ("covering_fixed", "covering at the scale of val"),
)  # fmt: skip
COLUMNS = (
    Column("method", "method"), Column("network", "network"), Column("seeds", ""),
    *(Column(key, title) for key, title in _NUMBERS),
)  # fmt: skip
_CAS = {"loss": "cas", "channels": 16}
_VARIANTS = (
    Variant("CAS, Eq. 1, α = 0.1", {**_CAS, "discriminator": "squared", "alpha": 0.1}),
    Variant("CAS, log-volume, α = 0.9", {**_CAS, "discriminator": "log_volume", "alpha": 0.9}),
)
_FELZENSZWALB = tuple(float(scale) for scale in np.geomspace(100, 1600, 5))
_NOTE = (
    "CAS is trained on train and val with all annotators, M = 16, and tested on the 200 test "
    "images; 'fine' is a decoder of 124,000 weights on frozen EfficientNet-Lite0 features at "
    f"strides 4 to 32. SLIC superpixels ({SUPERPIXELS} asked for, some 530 got) are joined, the "
    "closest first, by the distance of the means of the square roots of their softmax ('and "
    f"colour': beside {COLOUR_WEIGHT:g} times CIELAB / 100; 'colour alone': only that), plus "
    f"{CONTRAST_WEIGHT:g} times the contrast of the same maps along their border, times the "
    f"smaller one's share of the image to the power of {SIZE_POWER:g}; up to {len(SCALES)} "
    "distances. How to read, and the budget, were chosen by training on train and looking at val."
)
_MEASURES = (
    "ODS: the scale that is best for all test images together, as the benchmark defines it; OIS: "
    "the best for each image; 'at the scale of val': the one that is best on the val images (which "
    "CAS was trained on), so that the test images choose nothing. Covering pools regions of all "
    "images and annotators, the others are means over images. Contour F pools matches within "
    "0.75 % of the diagonal, at the scale of val only."
)


def build(place: Place, *, seeds: int, why: str) -> tuple[Table, list[dict[str, Any]]]:
    """Return Table 4 and the scores of its runs.

    Parameters
    ----------
    place : Place
        Data, caches, device.
    seeds : int
        Runs per row.
    why : str
        Why nothing can be run; empty otherwise.
    """
    table = Table("table4", "Table 4: BSDS500, test split", COLUMNS)
    runs, why = add_runs(table, "BSDS500", _VARIANTS, place, seeds, why, _run, _cells)
    for method, partitions in _BASELINES.items():
        scores = None if why else _kept_baseline(method, partitions, place)
        row: dict[str, Cell] = {"method": f"{method} (ours measured)", "network": "none"}
        table.rows.append(row | (scores or {"covering": why}))
    table.rows += [
        {"method": name, **published.cells(row)} for name, row in published.BSDS500_ROWS.items()
    ]
    table.notes += [_NOTE, _MEASURES]
    return table, runs


def _cells(method: str, done: Sequence[dict[str, Any]]) -> list[dict[str, Cell]]:
    """Return the rows of a variant: by its channels alone, and with colour beside them."""
    rows: list[dict[str, Cell]] = []
    for reading, words in (("channels", ""), ("and colour", ", and colour")):
        row: dict[str, Cell] = {"method": f"{method}{words}"}
        rows.append(row | {key: spread([run[reading][key] for run in done]) for key, _ in _NUMBERS})
    return rows


def _run(recipe: Recipe, place: Place) -> dict[str, Any]:
    trained = train_regions(recipe, bsds_examples(recipe, ("train", "val"), place), place)

    def reader(*, colour: bool) -> Callable[[str], Partitions]:
        return lambda split: _by_channels(recipe, trained, split, place, colour=colour)

    return {
        "channels": _scores(reader(colour=False), place),
        "and colour": _scores(reader(colour=True), place),
        "record": trained.record,
    }


def _by_channels(
    recipe: Recipe, trained: Trained, split: str, place: Place, *, colour: bool
) -> Partitions:
    """Yield the partitions of every image of a split, at its full size, by what a network says."""
    maps = probabilities(trained, bsds_test(recipe, split, place), place.device)
    for found, truth in zip(maps, bsds_split(split, place), strict=True):
        shape = truth.image.shape[:2]
        roots = np.sqrt(np.stack([to_shape(channel, shape) for channel in found]))
        said = [(roots, 1.0), (colours(truth.image), COLOUR_WEIGHT)]
        yield _joined(truth.image, said if colour else said[:1])


def _by_colour(image: NDArray[np.uint8]) -> list[Labels]:
    return _joined(image, [(colours(image), COLOUR_WEIGHT)])


def _joined(image: NDArray[np.uint8], said: Sequence[tuple[NDArray[Any], float]]) -> list[Labels]:
    """Return the partitions of an image by some kinds of maps (K, H, W), each with its weight."""
    parts = superpixels(image)
    features = [weight * descriptors(maps, parts) for maps, weight in said]
    edges = np.mean([contrast(maps) for maps, _ in said], axis=0)
    return merged(np.concatenate(features, axis=1), parts, edges)


def _by_graph(image: NDArray[np.uint8]) -> list[Labels]:
    from skimage.segmentation import felzenszwalb

    return [felzenszwalb(image, scale, sigma=0.8, min_size=100) for scale in _FELZENSZWALB]


def _whole(image: NDArray[np.uint8]) -> list[Labels]:
    return [np.zeros(image.shape[:2], np.intp)]


_BASELINES: dict[str, Callable[[NDArray[np.uint8]], list[Labels]]] = {
    "colour alone": _by_colour,
    "Felzenszwalb-Huttenlocher": _by_graph,
    "one region": _whole,
}


def _kept_baseline(
    method: str, partitions: Callable[[NDArray[np.uint8]], list[Labels]], place: Place
) -> dict[str, Cell]:
    """Return the scores of a method without learning; kept in the cache."""
    file = place.cache / f"bsds500-{method.replace(' ', '-')}.json"
    known: dict[str, Cell] = kept_scores(file)
    if not known:
        place.say(f"  BSDS500: {method}")
        known = {
            **_scores(
                lambda split: (partitions(truth.image) for truth in bsds_split(split, place)), place
            )
        }
        keep_scores(file, known)
    return known


def _scores(partitions: Callable[[str], Partitions], place: Place) -> dict[str, float]:
    """Return a method's scores on test; the scale for contours is the best on val."""
    fixed = score_scales(partitions("val"), bsds_split("val", place))["covering_scale"]
    return score_scales(partitions("test"), bsds_split("test", place), int(fixed))


def score_scales(
    partitions: Partitions, truths: Iterator[Annotated], fixed: int | None = None
) -> dict[str, float]:
    """Score every image's partitions against all its annotations.

    Parameters
    ----------
    partitions : iterable of sequence of ndarray
        For each image, (Y, X) labels at each of T scales.
    truths : iterator of Annotated
        The images, in the same order.
    fixed : int, optional
        Scale at which contours are scored, and covering once more.

    Returns
    -------
    dict
        ``covering``, ``rand``, ``variation`` at ODS and, as ``…_ois``, at OIS; ``covering_scale``,
        the scale that is best by covering; with `fixed`, ``covering_fixed`` and ``contour``.
    """
    rows: list[NDArray[np.float64]] = []
    pixels: list[float] = []
    contours = BoundaryCounts()
    for found, truth in zip(partitions, truths, strict=True):
        rows.append(np.array([_image_scores(labels, truth) for labels in found]))
        pixels.append(float(truth.image.shape[0] * truth.image.shape[1] * len(truth.segmentations)))
        if fixed is not None:
            contours += boundary_counts(boundary_of(found[fixed]), truth.boundaries)
    covered, rand, variation = np.stack(rows).transpose(2, 0, 1)
    cover = covering_scales(covered, pixels)
    rands, variations = mean_scales(rand), mean_scales(variation, lower_is_better=True)
    scores = {
        "covering": cover.ods, "covering_ois": cover.ois, "covering_scale": cover.threshold,
        "rand": rands.ods, "rand_ois": rands.ois,
        "variation": variations.ods, "variation_ois": variations.ois,
    }  # fmt: skip
    if fixed is not None:
        scores["covering_fixed"] = float(covered[:, fixed].sum() / sum(pixels))
        scores["contour"] = contours.f
    return scores


def _image_scores(labels: Labels, truth: Annotated) -> tuple[float, float, float]:
    """Return covered pixels of all annotators, and mean Rand index and variation of information."""
    found = [overlap(one, labels, ignore=None) for one in truth.segmentations]
    return (
        sum(o.covering_counts()[0] for o in found),
        float(np.mean([o.rand_index() for o in found])),
        float(np.mean([o.variation_of_information() for o in found])),
    )
