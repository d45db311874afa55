"""Table 4 of the paper, BSDS500: partitions at a range of scales, scored as its benchmark does."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from training import published
from training.at_hand import digest_at_hand
from training.hierarchy import (
    BASIN_BLUR,
    COLOUR_WEIGHT,
    CONTRAST_WEIGHT,
    SCALES,
    SIZE_POWER,
    basins,
    colours,
    contrast,
    descriptors,
    merged,
)
from training.kept import keep_scores, kept_scores
from training.regions import bsds_examples, bsds_split, bsds_test, probabilities, to_shape
from training.report import Cell, Column, Table, spread
from training.table_regions import Variant, add_runs, train_regions
from training.tally import Fixed, tallies

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from numpy.typing import NDArray

    from training.saliency.loop import Trained
    from training.saliency.recipe import Recipe
    from training.saliency.runs import Place

    Labels = NDArray[np.intp]
    Readings = Iterable[Sequence[Sequence[Labels]]]

_NUMBERS = (
    ("contour", "contour F, ODS"), ("contour_ois", "OIS"),
    ("covering", "covering, ODS"), ("covering_ois", "OIS"),
    ("rand", "Rand index, ODS"), ("rand_ois", "OIS"),
    ("variation", "variation of information, ODS"), ("variation_ois", "OIS"),
    ("contour_fixed", "contour F at the scale of val"),
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
    "strides 4 to 32. Basins of the contrast of its softmax and of colour, blurred by "
    f"{BASIN_BLUR:g} pixels, some 1,000 an image, are joined, the closest first, by the distance "
    "of the means of the square roots of their softmax ('and colour': beside "
    f"{COLOUR_WEIGHT:g} times CIELAB / 100; 'colour alone': only that, its basins, too), plus "
    f"{CONTRAST_WEIGHT:g} times the contrast of the same maps along their border, times the "
    f"smaller one's share of the image to the power of {SIZE_POWER:g}; up to {len(SCALES)} "
    "distances. How to read, and the budget, were chosen by training on train and "
    "looking at val."
)
_MEASURES = (
    "ODS: the scale that is best for all test images together, as the benchmark defines it; OIS: "
    "the best for each image; 'at the scale of val': the one that is best on the val images (which "
    "CAS was trained on), so that the test images choose nothing. Covering pools regions of all "
    "images and annotators, the others are means over images. Contour F pools matches within "
    "0.75 % of the diagonal over images, at every second scale but the finest three; its scale of "
    "val is the one that is best for itself."
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

    def readings(split: str) -> Readings:
        return _by_channels(recipe, trained, split, place)

    channels, coloured = _scores(readings, place)
    return {"channels": channels, "and colour": coloured, "record": trained.record}


def _by_channels(recipe: Recipe, trained: Trained, split: str, place: Place) -> Readings:
    """Yield each image's partitions, at its full size, by what a network says and beside colour."""
    maps = probabilities(trained, bsds_test(recipe, split, place), place.device)
    for found, truth in zip(maps, bsds_split(split, place), strict=True):
        shape = truth.image.shape[:2]
        roots = np.sqrt(np.stack([to_shape(channel, shape) for channel in found]))
        said = [_Said(roots, 1.0), _Said(colours(truth.image), COLOUR_WEIGHT)]
        parts = basins(_edges(said))  # by colour either way: channels have a stride of 4 pixels
        yield [_joined(parts, said[:1]), _joined(parts, said)]


def _by_colour(image: NDArray[np.uint8]) -> list[Labels]:
    said = [_Said(colours(image), COLOUR_WEIGHT)]
    return _joined(basins(_edges(said)), said)


class _Said:
    """Maps (K, H, W) of one kind, their weight, and their contrast (H, W)."""

    def __init__(self, maps: NDArray[Any], weight: float) -> None:
        self.maps, self.weight, self.contrast = maps, weight, contrast(maps)


def _edges(said: Sequence[_Said]) -> NDArray[np.float64]:
    return np.asarray(np.mean([one.contrast for one in said], axis=0))


def _joined(parts: Labels, said: Sequence[_Said]) -> list[Labels]:
    """Return the partitions of parts (H, W) by some kinds of maps."""
    features = [one.weight * descriptors(one.maps, parts) for one in said]
    return merged(np.concatenate(features, axis=1), parts, _edges(said))


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
    data = digest_at_hand("BSDS500", place)
    known: dict[str, Cell] = kept_scores(file, data)
    if not known:
        place.say(f"  BSDS500: {method}")
        (scores,) = _scores(
            lambda split: ([partitions(truth.image)] for truth in bsds_split(split, place)), place
        )
        known = {**scores}
        keep_scores(file, known, data)
    return known


def _scores(readings: Callable[[str], Readings], place: Place) -> list[dict[str, float]]:
    """Return the scores of each reading on test, also at its scales that are best on val."""
    val = [tally.scores() for tally in tallies(readings("val"), bsds_split("val", place))]
    return [
        tally.scores(Fixed(int(then["covering_scale"]), int(then["contour_scale"])))
        for tally, then in zip(
            tallies(readings("test"), bsds_split("test", place)), val, strict=True
        )
    ]
