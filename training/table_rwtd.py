"""Table 6 of the paper: the Real-World Texture Dataset, each image read as two regions."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from napari_cas.metrics.boundaries import BoundaryCounts, boundary_counts, boundary_of, thinned
from napari_cas.metrics.regions import covering, probabilistic_rand_index, variation_of_information
from training import published
from training.regions import probabilities, rwtd_examples
from training.report import Cell, Column, Table, spread
from training.table_regions import Variant, add_runs, recipe_of, train_regions
from training.two_regions import MARGIN, Parts, drawn_anew, two_regions

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from numpy.typing import NDArray

    from training.saliency.feed import Examples
    from training.saliency.loop import Trained
    from training.saliency.recipe import Recipe
    from training.saliency.runs import Place

    Labels = NDArray[np.intp]
    Reading = Callable[[Parts, NDArray[np.float32]], Labels]

SCORES = ("contour", "covering", "rand", "variation")
COLUMNS = (
    Column("method", "loss"), Column("reading", "read by"), Column("network", "network"),
    Column("seeds", ""), Column("contour", "contour F"), Column("covering", "covering"),
    Column("rand", "Rand index"), Column("variation", "variation of information"),
)  # fmt: skip
VARIANTS = (
    Variant(
        "CAS, Eq. 1, α = 0.1, M = 2",
        {"loss": "cas", "discriminator": "squared", "alpha": 0.1, "channels": 2},
    ),
    Variant(
        "CAS, log-volume, α = 0.9, M = 16",
        {"loss": "cas", "discriminator": "log_volume", "alpha": 0.9, "channels": 16},
    ),
)
BESIDE = {"colour": 2.0, "texture": 1.0}
"""Weights beside the square roots of the channels; chosen on the training images alone."""


def read_anew(parts: Parts, maps: NDArray[np.float32], margin: float = MARGIN) -> Labels:
    """Part an image in two by channels, colour and filters, then draw the border anew."""
    return drawn_anew(parts.image, two_regions(parts, maps, **BESIDE), margin)


READINGS: dict[str, Reading] = {
    "strongest channel": lambda _, found: found.argmax(0) + 1,
    "two regions": two_regions,
    "two regions, colour and filters": lambda parts, found: two_regions(parts, found, **BESIDE),
    "the same, drawn anew": read_anew,
}
"""How a partition is made of an image's superpixels and channels (M, H, W)."""
_ALONE = "colour and filters alone (ours measured)"
_NOTE = (
    "No split is published: 128 images drawn by a fixed seed to train on, the other 128 to test "
    "on, so figures are not of the paper's images. Scores of partitions know no polarity. "
    "'Strongest channel': at each pixel. 'Two regions': superpixels, described by the square "
    "roots of their channels, parted by a normalised cut and a least contour, which needs no label "
    f"but knows that there are two. 'Colour and filters': {BESIDE['colour']:g} times CIELAB / 100 "
    f"and {BESIDE['texture']:g} times the energies of a filter bank beside the channels; 'alone': "
    f"without the channels. 'Drawn anew': what lies over {MARGIN:g} pixels inside either region is "
    "given to the tool as two strokes, and it segments the image: learnt from no label, on every "
    "image by itself. Channels, discriminator, reading and margin were chosen "
    "on the training images alone, by `python -m training bench textures`."
)


def rwtd_recipes(*, small: bool) -> dict[str, Recipe]:
    """Return the first seed's recipe of every variant of Table 6, by its name."""
    return {v.method: recipe_of(v, "RWTD", 0, small=small) for v in VARIANTS}


def build(place: Place, *, seeds: int, why: str) -> tuple[Table, list[dict[str, Any]]]:
    """Return Table 6 and the scores of its runs; arguments as in :func:`table_bsds.build`."""
    table = Table("table6", "Table 6: Real-World Texture Dataset", COLUMNS)
    runs, why = add_runs(table, "RWTD", VARIANTS, place, seeds, why, _run, _cells)
    alone: dict[str, Cell] = {"method": _ALONE, "network": "none"}
    if why:
        table.rows.append(alone | {"covering": why})
    else:
        _, test = rwtd_examples(recipe_of(VARIANTS[0], "RWTD", 0, small=True), place)
        table.rows += [
            alone | {"reading": reading, **score(found, truths(test))}
            for reading, found in unlearnt(test, **BESIDE).items()
        ]
    table.rows.append({"method": "the paper's FCN-a-CAS", **published.cells(published.RWTD)})
    table.notes.append(_NOTE)
    return table, runs


def _cells(method: str, done: Sequence[dict[str, Any]]) -> list[dict[str, Cell]]:
    """Return the rows of a variant, one per reading."""
    rows: list[dict[str, Cell]] = []
    for reading in READINGS:
        row: dict[str, Cell] = {"method": method, "reading": reading}
        rows.append(row | {key: spread([run[reading][key] for run in done]) for key in SCORES})
    return rows


def _run(recipe: Recipe, place: Place) -> dict[str, Any]:
    learn, test = rwtd_examples(recipe, place)
    trained = train_regions(recipe, learn, place)
    return {
        **{n: score(found, truths(test)) for n, found in read(trained, test, place.device).items()},
        "record": trained.record,
    }


def read(
    trained: Trained,
    examples: Examples,
    device: str = "cpu",
    readings: Mapping[str, Reading] = READINGS,
) -> dict[str, list[Labels]]:
    """Return, for each reading by its name, the partition (H, W) of every image."""
    found: dict[str, list[Labels]] = {name: [] for name in readings}
    maps = probabilities(trained, examples, device)
    for parts, channels in zip(superpixels_of(examples), maps, strict=True):
        for name, reading in readings.items():
            found[name].append(reading(parts, channels))
    return found


def unlearnt(examples: Examples, colour: float, texture: float) -> dict[str, list[Labels]]:
    """Return the partitions of all images by their colours and filter energies alone."""
    images = list(superpixels_of(examples))
    first = [two_regions(parts, None, colour, texture) for parts in images]
    again = [drawn_anew(parts.image, one) for parts, one in zip(images, first, strict=True)]
    return {"two regions": first, "the same, drawn anew": again}


def superpixels_of(examples: Examples) -> Iterator[Parts]:
    """Yield the superpixels of every image."""
    return (Parts.of(np.asarray(examples.pictures.images[row])) for row in examples.rows)


def truths(examples: Examples) -> list[Labels]:
    """Return the true partition (H, W), labels 1 and 2, of every image."""
    return list(examples.pictures.salient(examples.rows).astype(np.intp) + 1)


def score(found: Sequence[Labels], true: Sequence[Labels]) -> dict[str, float]:
    """Return the means over images, and the contour F-measure of all matches together."""
    means = np.mean(
        [
            (covering(t, f), probabilistic_rand_index([t], f), variation_of_information(t, f))
            for f, t in zip(found, true, strict=True)
        ],
        axis=0,
    )
    counts = BoundaryCounts()
    for f, t in zip(found, true, strict=True):
        counts += boundary_counts(boundary_of(f), [thinned(boundary_of(t))])
    return dict(zip(SCORES, (counts.f, *map(float, means)), strict=True))
