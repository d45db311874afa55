"""Tables of many regions: how their rows are run."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from training.at_hand import digest_at_hand
from training.data.saliency import DataSetError
from training.kept import keep_scores, kept_scores, outdated
from training.report import NO_DATA, NO_GPU, Cell, Table, spread
from training.saliency.loop import Trained, train
from training.saliency.recipe import Recipe, paper_recipe, small_recipe

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from training.saliency.feed import Examples
    from training.saliency.runs import Place

    Scorable = tuple[NDArray[Any], Sequence[NDArray[Any]]]

BUDGETS: dict[str, dict[str, object]] = {
    "RWTD": {"train_set": "RWTD", "epochs": 40, "validation_images": 128},
    "VOC 2012": {"train_set": "VOC 2012", "epochs": 30},
    "BSDS500": {"train_set": "BSDS500", "epochs": 2, "batch_size": 8, "learning_rate": 3e-3},
}
_SMALL_NETWORKS = {"RWTD": "small", "BSDS500": "fine", "VOC 2012": "small"}


@dataclass(frozen=True)
class Variant:
    """A row: what it is called and its settings."""

    method: str
    settings: dict[str, object]


def build(
    number: int, place: Place, *, seeds: int, gpu_needed: bool
) -> tuple[Table, list[dict[str, Any]]]:
    """Return Table 4, 5 or 6 and the scores of all its runs.

    Parameters
    ----------
    number : int
        Of the paper's table.
    place : Place
        Data, caches, device, and whether small networks are used or the paper's.
    seeds : int
        Runs per row.
    gpu_needed : bool
        Run nothing; the rows say so.
    """
    from training import table_bsds, table_rwtd, table_voc

    make: dict[int, Callable[..., tuple[Table, list[dict[str, Any]]]]]
    make = {4: table_bsds.build, 5: table_voc.build, 6: table_rwtd.build}
    return make[number](place, seeds=seeds, why=NO_GPU if gpu_needed else "")


def mean_cells(method: str, done: Sequence[dict[str, Any]]) -> list[dict[str, Cell]]:
    """Return a variant's one row: the mean of each score over its runs."""
    scores = [key for key in done[0] if key != "record"]
    row: dict[str, Cell] = {"method": method}
    return [row | {key: spread([run[key] for run in done]) for key in scores}]


def add_runs(
    table: Table,
    train_set: str,
    variants: Sequence[Variant],
    place: Place,
    seeds: int,
    why: str,
    run: Callable[[Recipe, Place], dict[str, Any]],
    cells: Callable[[str, Sequence[dict[str, Any]]], list[dict[str, Cell]]],
) -> tuple[list[dict[str, Any]], str]:
    """Run all variants and seeds and add their rows to a table.

    Parameters
    ----------
    table : Table
        Its name and title are made to say so where it is of the small scale.
    train_set : str
        Key of the budgets.
    variants : sequence of Variant
        What is compared.
    place : Place
        Data, caches, device.
    seeds : int
        Runs per variant.
    why : str
        Why nothing can be run; empty otherwise.
    run : callable
        Trains and scores one recipe; kept in the run's folder.
    cells : callable
        From a variant's name and its runs' scores to its rows.

    Returns
    -------
    list of dict
        Scores of all runs.
    str
        Why nothing was run, now also if the data are missing.
    """
    if place.small:
        table.name += "-small"
        table.title += " (small scale, two CPU cores)"
    runs: list[dict[str, Any]] = []
    for variant in variants:
        recipes = [recipe_of(variant, train_set, seed, small=place.small) for seed in range(seeds)]
        done: list[dict[str, Any]] = []
        try:
            if not why:
                data = digest_at_hand(train_set, place)
                done = [_kept(recipe, place, run, data) for recipe in recipes]
        except DataSetError as error:
            place.say(str(error))
            why = NO_DATA
        runs += done
        rows = cells(variant.method, done) if done else [{"method": variant.method}]
        for row in rows:
            more: dict[str, Cell] = {"seeds": str(seeds), "network": recipes[0].network}
            table.rows.append(row | more | ({} if done else {"covering": why}))
    if runs:
        table.notes += [_budget(runs), *outdated(run["record"] for run in runs)]
    return runs, why


def recipe_of(variant: Variant, train_set: str, seed: int, *, small: bool) -> Recipe:
    """Return the recipe of one run."""
    make = small_recipe if small else paper_recipe
    fixed: dict[str, object] = {"train_images": None, "seed": seed}
    if small:
        fixed["network"] = _SMALL_NETWORKS[train_set]
    return make(**{**BUDGETS[train_set], **fixed, **variant.settings})


def _budget(runs: Sequence[dict[str, Any]]) -> str:
    record = runs[0]["record"]
    cpu = sum(r["record"]["cpu_seconds"] for r in runs) / 60
    recipe = record["recipe"]
    return (
        f"{len(runs)} runs of {recipe['epochs']} epochs over {record['train_images']} examples on "
        f"{record['device']}, training {cpu:.1f} CPU minutes in all; ± is over seeds."
    )


def _kept(
    recipe: Recipe, place: Place, make: Callable[[Recipe, Place], dict[str, Any]], data: str
) -> dict[str, Any]:
    """Return the scores of a run, from its folder where this code made them of the same data."""
    file = place.runs / recipe.key / "scores.json"
    known = kept_scores(file, data)
    if not known:
        known = make(recipe, place)
        keep_scores(file, known, data)
    return known


def train_regions(recipe: Recipe, learn: Examples, place: Place) -> Trained:
    """Train a recipe in its own folder, or load what was trained before."""
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
