"""Tables 4, 5 and 6 of the paper: BSDS500, PASCAL VOC and the Real-World Texture Dataset."""

from __future__ import annotations

import json
from dataclasses import dataclass
from statistics import fmean
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_cas.metrics.boundaries import BoundaryCounts, boundary_counts, boundary_of
from napari_cas.metrics.regions import covering, probabilistic_rand_index, variation_of_information
from training import published
from training.data.saliency import DataSetError
from training.regions import (
    bsds_examples,
    bsds_test,
    connected,
    partitions,
    rwtd_examples,
    to_shape,
)
from training.report import NO_DATA, NO_GPU, Cell, Column, Table, spread
from training.saliency.loop import Trained, train
from training.saliency.recipe import Recipe, paper_recipe, small_recipe

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from numpy.typing import NDArray

    from training.saliency.feed import Examples
    from training.saliency.runs import Place

    Scorable = tuple[NDArray[Any], Sequence[NDArray[Any]]]

SCORES = ("contour", "covering", "rand", "variation")
COLUMNS = (
    Column("method", "loss"), Column("network", "network"), Column("seeds", ""),
    Column("contour", "contour F"), Column("covering", "covering"), Column("rand", "Rand index"),
    Column("variation", "variation of information"),
)  # fmt: skip
SMALLEST = (50, 200, 800)
"""Candidates for the smallest part in pixels; the best on the training images is taken."""
_BUDGETS: dict[str, dict[str, object]] = {
    "RWTD": {"train_set": "RWTD", "epochs": 40, "validation_images": 128},
    "BSDS500": {"train_set": "BSDS500", "epochs": 6},
}
_EQ1 = {"loss": "cas", "discriminator": "squared", "alpha": 0.1}
_VOLUME = {"loss": "cas", "discriminator": "log_volume", "alpha": 0.9}
_BSDS_NOTE = (
    "Trained on train and val with all annotators, tested on test once: against all annotators of "
    "each image, means over images; contour F from matches pooled over images, within 0.75 % of "
    "the diagonal. The partition is the connected parts of the strongest channels; the smallest "
    f"part allowed is the best of {', '.join(map(str, SMALLEST))} pixels by covering on the val "
    "images, which were trained on. There is one partition per image and no scale to choose, so "
    "ODS and OIS are the same."
)
_RWTD_NOTE = (
    "No split is published: 128 images drawn by a fixed seed to train on, the other 128 to test "
    "on, so figures are not of the paper's images. Scores of partitions know no polarity. The "
    "partition is the strongest channel at each pixel. All variants are shown, none was chosen."
)


@dataclass(frozen=True)
class Variant:
    """A row: what it is called and its settings."""

    method: str
    settings: dict[str, object]


_RWTD_VARIANTS = (
    Variant("CAS, Eq. 1, α = 0.1, M = 2", {**_EQ1, "channels": 2}),
    Variant("CAS, Eq. 1, α = 0.1, M = 8", {**_EQ1, "channels": 8}),
    Variant("CAS, log-volume, α = 0.9, M = 8", {**_VOLUME, "channels": 8}),
)


def rwtd_recipes(*, small: bool) -> dict[str, Recipe]:
    """Return the first seed's recipe of every row of Table 6, by the row's name."""
    return {v.method: _recipe(v, "RWTD", 0, small=small) for v in _RWTD_VARIANTS}


def build(
    number: int, place: Place, *, seeds: int, gpu_needed: bool
) -> tuple[Table, list[dict[str, Any]]]:
    """Return Table 4, 5 or 6 and the scores of all its runs.

    Parameters
    ----------
    number : int
        Of the paper's table.
    place : Place
        Data, caches, device. On the CPU the small network is used, on a GPU the paper's.
    seeds : int
        Runs per row.
    gpu_needed : bool
        Run nothing; the rows say so.
    """
    make = {4: _bsds, 5: _voc, 6: _rwtd}[number]
    return make(place, seeds, NO_GPU if gpu_needed else "")


def _bsds(place: Place, seeds: int, why: str) -> tuple[Table, list[dict[str, Any]]]:
    variants = [
        Variant("CAS, Eq. 1, α = 0.1, M = 16", {**_EQ1, "channels": 16}),
        Variant("CAS, log-volume, α = 0.9, M = 16", {**_VOLUME, "channels": 16}),
    ]
    title = "Table 4: BSDS500, test split"
    table, runs = _rows("table4", title, "BSDS500", variants, place, seeds, why, _bsds_run)
    table.rows += [
        _published("the paper's CAS", published.BSDS500),
        _published("gPb-owt-ucm, ODS", published.BSDS500_GPB),
    ]
    table.notes.append(_BSDS_NOTE)
    return table, runs


def _rwtd(place: Place, seeds: int, why: str) -> tuple[Table, list[dict[str, Any]]]:
    title = "Table 6: Real-World Texture Dataset"
    table, runs = _rows("table6", title, "RWTD", _RWTD_VARIANTS, place, seeds, why, _rwtd_run)
    table.rows.append(_published("the paper's FCN-a-CAS", published.RWTD))
    table.notes.append(_RWTD_NOTE)
    return table, runs


def _voc(place: Place, seeds: int, why: str) -> tuple[Table, list[dict[str, Any]]]:  # noqa: ARG001
    """Return Table 5 without figures: its measure is not at hand."""
    reason = why or "not run: the paper's average precision is not at hand"
    row: dict[str, Cell] = {"method": "CAS", "covering": reason}
    title = "Table 5: PASCAL VOC 2012, 632-image subset"
    return Table("table5", title, COLUMNS, [row]), []


def _rows(
    name: str,
    title: str,
    train_set: str,
    variants: Sequence[Variant],
    place: Place,
    seeds: int,
    why: str,
    score: Callable[[Recipe, Place], dict[str, Any]],
) -> tuple[Table, list[dict[str, Any]]]:
    """Run all variants and seeds; return the table of their scores."""
    small = place.device == "cpu" and why != NO_GPU
    table = Table(name, title, COLUMNS)
    if small:
        table.name, table.title = f"{name}-small", f"{title} (small scale, two CPU cores)"
    runs: list[dict[str, Any]] = []
    for variant in variants:
        done: list[dict[str, Any]] = []
        for seed in range(0 if why else seeds):
            recipe = _recipe(variant, train_set, seed, small=small)
            try:
                done.append(_kept(recipe, place, score))
            except DataSetError as error:
                place.say(str(error))
                why = NO_DATA
                break
        runs += done
        row: dict[str, Cell] = {"method": variant.method, "seeds": str(seeds)}
        row["network"] = _recipe(variant, train_set, 0, small=small).network
        if done:
            row |= {key: spread([r[key] for r in done]) for key in SCORES}
        else:
            row["covering"] = why
        table.rows.append(row)
    if runs:
        table.notes.append(_budget(runs))
    return table, runs


def _recipe(variant: Variant, train_set: str, seed: int, *, small: bool) -> Recipe:
    make = small_recipe if small else paper_recipe
    return make(**{**_BUDGETS[train_set], **variant.settings, "train_images": None, "seed": seed})


def _budget(runs: Sequence[dict[str, Any]]) -> str:
    record = runs[0]["record"]
    cpu = sum(r["record"]["cpu_seconds"] for r in runs) / 60
    recipe = record["recipe"]
    return (
        f"{len(runs)} runs of {recipe['epochs']} epochs over {record['train_images']} examples on "
        f"{record['device']}, training {cpu:.1f} CPU minutes in all; ± is over seeds."
    )


def _published(method: str, row: published.Regions) -> dict[str, Cell]:
    return {
        "method": method, "contour": row.contour, "covering": row.covering,
        "rand": row.rand, "variation": row.variation,
    }  # fmt: skip


def _kept(
    recipe: Recipe, place: Place, make: Callable[[Recipe, Place], dict[str, Any]]
) -> dict[str, Any]:
    """Return the scores of a run, from its folder where they were made before."""
    file = place.runs / recipe.key / "scores.json"
    if not file.is_file():
        found = make(recipe, place)
        made = file.with_suffix(".tmp")
        made.write_text(json.dumps(found, indent=1) + "\n")
        made.replace(file)
    known: dict[str, Any] = json.loads(file.read_text())
    return known


def _rwtd_run(recipe: Recipe, place: Place) -> dict[str, Any]:
    learn, test = rwtd_examples(recipe, place)
    trained = _train(recipe, learn, place)
    truths = ([mask.astype(np.int64) + 1] for mask in test.pictures.salient(test.rows))
    found = partitions(trained, test, place.device)
    return _scored(zip(found, truths, strict=True), trained)


def _bsds_run(recipe: Recipe, place: Place) -> dict[str, Any]:
    trained = _train(recipe, bsds_examples(recipe, ("train", "val"), place), place)
    by_size = {
        size: fmean(
            s[0] for s in _region_scores(_bsds_partitions(recipe, trained, "val", size, place))
        )
        for size in SMALLEST
    }
    smallest = max(by_size, key=lambda size: by_size[size])
    place.say(f"covering of training images by smallest part: {by_size}; taken: {smallest}")
    return _scored(_bsds_partitions(recipe, trained, "test", smallest, place), trained)


def _bsds_partitions(
    recipe: Recipe, trained: Trained, split: str, smallest: int, place: Place
) -> Iterator[Scorable]:
    """Yield the partition of every image of a split, at its full size, and its annotations."""
    examples, annotated = bsds_test(recipe, split, place)
    for labels, truth in zip(partitions(trained, examples, place.device), annotated, strict=True):
        parts = connected(to_shape(labels, truth.image.shape[:2]), smallest)
        yield parts, truth.segmentations


def _train(recipe: Recipe, learn: Examples, place: Place) -> Trained:
    return train(
        recipe,
        learn,
        place.runs / recipe.key,
        device=place.device,
        progress=lambda line: place.say(
            f"  {recipe.train_set}, {recipe.channels} channels: {line}"
        ),
        tensorboard=place.tensorboard,
    )


def _region_scores(pairs: Iterable[Scorable]) -> Iterator[tuple[float, float, float]]:
    """Yield covering, Rand index and variation of information of each image."""
    for found, truths in pairs:
        yield (
            covering(truths, found),
            probabilistic_rand_index(truths, found),
            variation_of_information(truths, found),
        )


def _scored(pairs: Iterable[Scorable], trained: Trained) -> dict[str, Any]:
    """Return the means over images, and the contour F-measure of all matches together."""
    kept = list(pairs)
    means = np.mean(list(_region_scores(kept)), axis=0)
    counts = BoundaryCounts()
    for found, truths in kept:
        counts += boundary_counts(boundary_of(found), [boundary_of(truth) for truth in truths])
    scores = (counts.f, *map(float, means))
    return {**dict(zip(SCORES, scores, strict=True)), "record": trained.record}
