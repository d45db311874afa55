"""``python -m training bench textures``: how Table 6 reads its channels, chosen on training images.

The 128 training images of the Real-World Texture Dataset are parted into folds; what was trained on
the others is read on each. The 128 test images are not looked at.
"""

from __future__ import annotations

import sys
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from training.data.store import cache_folder
from training.machine import describe_machine
from training.options import count
from training.regions import part_of, rwtd_examples
from training.report import Table
from training.saliency.loop import train
from training.saliency.runs import Place
from training.table_regions import recipe_of
from training.table_rwtd import COLUMNS, VARIANTS, read, read_anew, score, superpixels_of, truths
from training.table_rwtd import READINGS as TABLE
from training.two_regions import two_regions

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from training.saliency.feed import Examples
    from training.saliency.recipe import Recipe
    from training.table_regions import Variant
    from training.table_rwtd import Labels, Reading

FOLDS = 4
FOLD_SEED = 7
WEIGHTS = ((0.0, 0.0), (1.0, 0.0), (2.0, 0.0), (2.0, 1.0), (2.0, 2.0), (2.0, 4.0), (4.0, 2.0))
"""Weights of colour and filter energies that are compared."""
BESIDE = {f"two regions, {c:g} × colour, {t:g} × filters": (c, t) for c, t in WEIGHTS}
MARGINS = (3.0, 6.0, 12.0)
"""Of the border drawn anew after the table's reading, in pixels, that are compared."""
READINGS: dict[str, Reading] = {
    "strongest channel": TABLE["strongest channel"],
    **{
        name: partial(two_regions, colour=colour, texture=texture)
        for name, (colour, texture) in BESIDE.items()
    },
    **{f"the table's, drawn anew {m:g} px inside": partial(read_anew, margin=m) for m in MARGINS},
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    add = parser.add_argument
    add("--results", type=Path, default=Path("docs/results"), help="where the table is written")
    add("--data", type=Path, help="folder of the data sets (default: NAPARI_CAS_DATA)")
    add("--cache", type=Path, help="features and runs (default: NAPARI_CAS_CACHE)")
    add("--threads", type=count, default=2, help="torch's CPU threads")


def run(args: argparse.Namespace) -> dict[str, Any]:
    """Train on all folds but one, read the one, for all; return and write the table.

    Raises
    ------
    DataSetError
        If the set is not there or not complete.
    """
    import torch

    torch.set_num_threads(args.threads)
    place = Place(
        args.data, args.cache or cache_folder(),
        say=lambda line: print(line, file=sys.stderr, flush=True),
    )  # fmt: skip
    table = Table("textures", "Textures: what was chosen on the training images", COLUMNS)
    for variant in VARIANTS:
        table.rows += _rows(variant, place)
    learn, _ = rwtd_examples(recipe_of(VARIANTS[0], "RWTD", 0, small=True), place)
    for name, weights in BESIDE.items():
        if any(weights):
            parted = [two_regions(parts, None, *weights) for parts in superpixels_of(learn)]
            alone = score(parted, truths(learn))
            table.rows.append({"method": "nothing learnt", "reading": name, **alone})
    table.notes.append(
        f"The 128 training images of Table 6 in {FOLDS} folds drawn by a fixed seed: trained on 96 "
        "of them, read on the other 32, all scores together; one seed. The test images were not "
        f"read. Made by `python -m training bench textures` on {describe_machine()['processor']}."
    )
    table.write(args.results)
    return {"rows": table.rows, "markdown": table.markdown()}


def describe(result: dict[str, Any]) -> str:
    """Return the table as Markdown."""
    return str(result["markdown"])


def folds(count: int) -> Iterator[tuple[NDArray[np.intp], NDArray[np.intp]]]:
    """Yield, for each fold, the positions to train on and those to read, sorted."""
    order = np.random.default_rng(FOLD_SEED).permutation(count)
    for fold in range(FOLDS):
        held_out = order[fold::FOLDS]
        yield np.sort(np.setdiff1d(order, held_out)), np.sort(held_out)


def _rows(variant: Variant, place: Place) -> list[dict[str, Any]]:
    """Return the scores of every reading of a variant over all folds."""
    recipe = recipe_of(variant, "RWTD", 0, small=True)
    learn, _ = rwtd_examples(recipe, place)
    found: dict[str, list[Labels]] = {name: [] for name in READINGS}
    true: list[Labels] = []
    for fold, (rest, held_out) in enumerate(folds(len(learn))):
        for name, partitions in _read_fold(recipe, learn, rest, held_out, fold, place).items():
            found[name] += partitions
        true += truths(part_of(learn, held_out))
        place.say(f"{variant.method}: fold {fold + 1} of {FOLDS} done")
    return [
        {"method": variant.method, "reading": name, "network": recipe.network,
         **score(partitions, true)}
        for name, partitions in found.items()
    ]  # fmt: skip


def _read_fold(
    recipe: Recipe,
    learn: Examples,
    rest: NDArray[np.intp],
    held_out: NDArray[np.intp],
    fold: int,
    place: Place,
) -> dict[str, list[Labels]]:
    folder = place.runs / f"{recipe.key}-fold{fold}"
    trained = train(recipe, part_of(learn, rest), folder, progress=place.say)
    return read(trained, part_of(learn, held_out), readings=READINGS)
