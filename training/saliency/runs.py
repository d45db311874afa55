"""One run from recipe to scores, resumable at every point: decode, features, epochs, scores."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from training.data.saliency import (
    SETS,
    SaliencySet,
    find_pairs,
    known_set,
    open_set,
    plain_set,
    set_digest,
)
from training.data.store import MappedSet, cache_folder
from training.kept import keep_scores, kept_scores
from training.saliency.feed import Examples, feature_examples, image_examples
from training.saliency.labels import Split, split
from training.saliency.loop import Trained, kernels, train
from training.saliency.network import FINEST
from training.saliency.readout import CAP, Reader, chance, fit_reader, score
from training.saliency.team import ALONE, Team

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from training.saliency.recipe import Recipe

SPLIT_SEED = 0
"""All runs hold out the same validation images, so that features are computed once for all."""


@dataclass(frozen=True)
class TestSet:
    """A set to test on, or a seeded part of it."""

    name: str
    images: int | None = None

    @property
    def title(self) -> str:
        """Name for a table, with the number of images where it is a part."""
        return self.name if self.images is None else f"{self.name} ({self.images:,} images)"


@dataclass
class Place:
    """Where data, caches and runs lie, and what computes.

    Attributes
    ----------
    data : Path or None
        Folder of the data sets; empty: :func:`training.data.saliency.data_folder`.
    cache : Path
        Decoded sets and features.
    device : str
        Torch device.
    say : callable
        Takes progress lines.
    team : Team
        The processes that train together.
    own : dict
        Sets that are not published, by the names that recipes call them by.
    small : bool
        Tables 4 to 6 are made at the small scale, whatever the device.
    opened, digests : dict
        What was opened before, and digests of what is at hand.
    """

    data: Path | None = None
    cache: Path = field(default_factory=cache_folder)
    device: str = "cpu"
    say: Callable[[str], None] = print
    tensorboard: bool = False
    team: Team = ALONE
    own: dict[str, SaliencySet] = field(default_factory=dict)
    small: bool = False
    opened: dict[object, Examples] = field(default_factory=dict, repr=False)
    digests: dict[object, str] = field(default_factory=dict, repr=False)

    @property
    def runs(self) -> Path:
        """Folder of the runs."""
        return self.cache / "runs"

    def known(self, name: str) -> SaliencySet:
        """Return a set by its name, somebody's own or a published one."""
        return self.own.get(name) or known_set(name)


def own_set(name: str, place: Place) -> SaliencySet:
    """Return a published set by its name, or a plain folder or zip, which the place then knows.

    Raises
    ------
    DataSetError
        If it is neither, or not complete.
    """
    if name in SETS:
        return SETS[name]
    found = plain_set(Path(name))
    place.own[found.name] = found
    return found


def training_examples(recipe: Recipe, place: Place) -> tuple[Examples, Examples]:
    """Return the examples to train on and those held out."""
    parts = _parts(recipe, place)
    return (
        _examples(recipe, place, recipe.train_set, parts.train),
        _examples(recipe, place, recipe.train_set, parts.validation),
    )


def test_examples(recipe: Recipe, test: TestSet, place: Place) -> Examples:
    """Return the examples of a test set, all or as many as it says, the same for every run."""
    return _examples(recipe, place, test.name, _test_rows(test, place))


def _parts(recipe: Recipe, place: Place) -> Split:
    known = place.known(recipe.train_set)
    return split(known.count, recipe.train_images, recipe.validation_images, SPLIT_SEED)


def _test_rows(test: TestSet, place: Place) -> NDArray[np.intp]:
    rows = np.arange(place.known(test.name).count)
    if test.images is None or test.images >= len(rows):
        return rows
    return np.sort(np.random.default_rng(SPLIT_SEED).permutation(rows)[: test.images])


def _digests(recipe: Recipe, tests: Sequence[TestSet], place: Place) -> dict[str, Any]:
    """Return digests of the images at hand: learnt from, held out and, by title, tested on."""

    def digest(name: str, rows: NDArray[np.intp]) -> str:
        key = (name, recipe.size, rows.tobytes())
        if key not in place.digests:
            place.digests[key] = set_digest(
                place.known(name), place.data, recipe.size, rows.tolist()
            )
        return place.digests[key]

    parts = _parts(recipe, place)
    return {
        "learnt": [digest(recipe.train_set, rows) for rows in (parts.train, parts.validation)],
        "tested": {test.title: digest(test.name, _test_rows(test, place)) for test in tests},
    }


def _kept(recipe: Recipe, place: Place, digests: dict[str, Any]) -> dict[str, Any]:
    """Return what is kept of a run, without scores of other images than those at hand."""
    known = kept_scores(place.runs / recipe.key / "scores.json")
    had = known.get("digests", {"learnt": None})
    if had["learnt"] != digests["learnt"]:
        return {}  # earlier files do not say either
    changed = {title for title, new in digests["tested"].items() if had["tested"].get(title) != new}
    scores = {title: own for title, own in known["scores"].items() if title not in changed}
    return {**known, "scores": scores}


def _examples(recipe: Recipe, place: Place, name: str, rows: NDArray[np.intp]) -> Examples:
    """Return examples, decoded and with features where the network wants them; opened once."""
    key = (name, recipe.size, FINEST.get(recipe.network), rows.tobytes())
    if key not in place.opened:
        pictures = open_set(
            place.known(name),
            data=place.data,
            size=recipe.size,
            cache=place.cache,
            take=rows.tolist(),
        )
        place.opened[key] = examples_for(recipe, pictures, np.arange(len(rows)), place)
    return place.opened[key]


def examples_for(
    recipe: Recipe, pictures: MappedSet, rows: NDArray[np.intp], place: Place
) -> Examples:
    """Return some pictures as what the recipe's network takes: images, or frozen features."""
    if not recipe.frozen:
        return image_examples(pictures, rows)
    return feature_examples(pictures, rows, finest=FINEST[recipe.network], cache=place.cache)


def missing(names: Sequence[str], place: Place) -> list[str]:
    """Return those of the sets that are not at hand."""
    from training.data.saliency import DataSetError, data_folder

    absent = []
    for name in names:
        try:
            find_pairs(place.known(name), place.data or data_folder())
        except DataSetError:
            absent.append(name)
    return absent


def run(recipe: Recipe, tests: Sequence[TestSet], place: Place) -> dict[str, Any]:
    """Return the scores of a recipe on test sets, training it first if that was not done.

    Returns
    -------
    dict
        ``recipe``, ``record`` of the run, ``reader`` (channel and correlations), and under
        ``scores`` those of :func:`training.saliency.readout.score` for each test set's title; under
        ``digests`` of which images. Also written to ``scores.json`` in the run's folder.

    Raises
    ------
    CheckpointError
        If the run was trained on other images than those at hand.
    """
    digests = _digests(recipe, tests, place)
    known = place.team.from_leader(lambda: _kept(recipe, place, digests))
    todo = [t for t in tests if t.title not in known.get("scores", {})]
    if not todo:
        return known
    with kernels(deterministic=recipe.deterministic):
        trained, held_out = _trained(recipe, place)

        def make() -> dict[str, Any]:
            reader = fit_reader(trained, held_out, place.device)
            return _score(recipe, place, trained, reader, todo, digests)

        return place.team.from_leader(make)


def _score(
    recipe: Recipe,
    place: Place,
    trained: Trained,
    reader: Reader,
    todo: Sequence[TestSet],
    digests: dict[str, Any],
) -> dict[str, Any]:
    """Score test sets, write the scores beside those known and return all."""
    file = place.runs / recipe.key / "scores.json"
    begun = time.perf_counter()
    before = _kept(recipe, place, digests)
    tested = before["digests"]["tested"] if before else {}
    scores = dict(before.get("scores", {}))
    for test in todo:
        scores[test.title] = score(
            trained, reader, test_examples(recipe, test, place), place.device
        )
    known = {
        "recipe": recipe.model_dump(),
        "record": trained.record,
        "reader": {"channel": reader.channel, "correlations": reader.correlations, "cap": CAP},
        "scores": scores,
        "digests": {**digests, "tested": {**tested, **digests["tested"]}},
        "scoring_seconds": time.perf_counter() - begun,
    }
    keep_scores(file, known)
    return known


def open_run(recipe: Recipe, place: Place) -> tuple[Trained, Reader]:
    """Return the trained network of a recipe and its reader, training it first if need be."""
    trained, held_out = _trained(recipe, place)
    return trained, fit_reader(trained, held_out, place.device)


def _trained(recipe: Recipe, place: Place) -> tuple[Trained, Examples]:
    """Return the trained network of a recipe and the images held out."""
    with place.team.leader_first():
        learn, held_out = training_examples(recipe, place)
    trained = train(
        recipe,
        learn,
        place.runs / recipe.key,
        device=place.device,
        progress=lambda line: place.say(f"  {recipe.title}, p = {recipe.flip:g}: {line}"),
        tensorboard=place.tensorboard,
        team=place.team,
    )
    return trained, held_out


def chance_scores(recipe: Recipe, tests: Sequence[TestSet], place: Place) -> dict[str, Any]:
    """Return what knowing nothing scores on each test set."""
    return {t.title: chance(test_examples(recipe, t, place)) for t in tests}
