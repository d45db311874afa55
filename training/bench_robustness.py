"""What wrong strokes do: spilling over borders, imbalance, twins with two ids, two kinds under one.

Twelve images are painted, ids shuffled in every image; others are segmented, scored by the adjusted
Rand index, as in :mod:`training.bench_label_free`. Beside ours cross-entropy on the same network
and scikit-image's forest recipe on the same strokes, both given the true names, so that the harm of
the strokes and that of missing names can be told apart.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from training.bench_label_free import (
    ACROSS,
    LENGTH,
    PAINTED,
    Cell,
    check_sets,
    score_labels,
    shuffled_ids,
    split,
    stroke_seed,
)
from training.label_free import METHODS
from training.options import add_choice, count
from training.report import Column, Table, spread
from training.scribbles import Scribbles, scribble

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable, Sequence
    from typing import TypeAlias

    from numpy.typing import NDArray

    from training.data.labelled import Labelled

    Strokes: TypeAlias = "tuple[NDArray[np.int32], NDArray[np.int32]]"
    """Ids as painted, not shuffled yet, and the true class of what is painted."""
    Fault: TypeAlias = Callable[[Labelled, int, int], Strokes]
    """From an image, the number of classes and a seed to strokes."""

_FEW = 20
_LUMPED = 3
"""Every third image has its first two classes under one id."""


def _spilling(spill: float) -> Fault:
    def paint(item: Labelled, classes: int, seed: int) -> Strokes:  # noqa: ARG001
        options = Scribbles(length=LENGTH, shuffle=False, spill=spill)
        painted = scribble(item.truth, options, seed=seed)
        return painted, painted

    return paint


def _imbalanced(item: Labelled, classes: int, seed: int) -> Strokes:
    """Fill the largest class and leave a dot in every other."""
    painted = _spilling(0.0)(item, classes, seed)[0].copy()
    largest = int(np.bincount(item.truth.ravel(), minlength=classes + 1)[1:].argmax()) + 1
    for number in range(1, classes + 1):
        if number == largest:
            painted[item.truth == number] = number
        else:
            painted.ravel()[np.flatnonzero(painted == number)[_FEW:]] = 0
    return painted, painted


def _twins(item: Labelled, classes: int, seed: int) -> Strokes:
    """Paint every class twice, under two ids."""
    options = Scribbles(length=LENGTH, shuffle=False)
    first, second = (scribble(item.truth, options, seed=seed + k) for k in (0, 5000))
    again = (second > 0) & (first == 0)
    painted = np.where(again, second + classes, first)
    return painted.astype(np.int32), np.where(again, second, first).astype(np.int32)


def _lumped(item: Labelled, classes: int, seed: int) -> Strokes:
    """Paint the first two classes under one id, on some images."""
    painted = _spilling(0.0)(item, classes, seed)[0]
    if classes < 3 or seed % _LUMPED:
        return painted, painted
    return np.where(painted == 2, 1, painted).astype(np.int32), painted


FAULTS: dict[str, Fault] = {
    "none": _spilling(0.0),
    "5 % spilled": _spilling(0.05),
    "10 % spilled": _spilling(0.1),
    "20 % spilled": _spilling(0.2),
    "20 pixels against a whole class": _imbalanced,
    "every kind under two ids": _twins,
    "two kinds under one id, every third image": _lumped,
}
"""What can be wrong with strokes."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    from pathlib import Path

    sets = ["wbc", "dsb2018:color", "mosaics"]
    known = f"of {', '.join(ACROSS)}, or a folder or zip of images/ and masks/"
    parser.add_argument("--sets", nargs="+", default=sets, metavar="SET", help=known)
    add_choice(parser, "--faults", FAULTS)
    parser.add_argument("--seeds", type=count, default=2, help="how many")
    parser.add_argument("--test", type=count, default=15, help="images that are scored, at most")
    parser.add_argument("--results", type=Path, help="folder for robustness.md and robustness.csv")


def run(args: argparse.Namespace) -> dict[str, Any]:
    """Measure; see the module's text.

    Returns
    -------
    dict
        ``rows``: set, fault and by method ``ari``, a list with one value per seed; ``machine``.
    """
    from tqdm import tqdm

    from training.machine import describe_machine

    check_sets(args.sets)
    todo = [(name, fault) for name in args.sets for fault in args.faults]
    rows = []
    for name, fault in tqdm(todo, desc="robustness", unit="fault"):
        found = [measure(name, FAULTS[fault], seed, args.test) for seed in range(args.seeds)]
        ari = {method: [scores[method] for scores in found] for method in found[0]}
        rows.append({"set": name, "fault": fault, "ari": ari})
    result = {"rows": rows, "seeds": args.seeds, "test": args.test, "machine": describe_machine()}
    if args.results is not None:
        table(result).write(args.results)
    return result


def measure(name: str, fault: Fault, seed: int, test: int) -> dict[str, float]:
    """Return the adjusted Rand index by method, of one set, fault and seed."""
    painted, others, classes = split(Cell(name, PAINTED, LENGTH, seed), test)
    strokes = [fault(item, classes, stroke_seed(seed, i)) for i, item in enumerate(painted)]
    rng = np.random.default_rng([seed, 1])
    ids = [shuffled_ids(own, int(own.max()), rng) for own, _ in strokes]
    images, targets = [p.image for p in painted], [o.image for o in others]
    scores = {}
    names = [true for _, true in strokes]
    for method, given in (("ours", ids), ("cross-entropy", names), ("forest", names)):
        labels: Sequence[NDArray[Any]] = METHODS[method](images, given, targets, seed).labels
        scores[method] = score_labels(labels, others, classes)["ari"]
    return scores


def table(result: dict[str, Any]) -> Table:
    """Return the table that is written as Markdown and CSV."""
    machine, seeds = result["machine"], result["seeds"]
    draws = f"Mean ± standard deviation over {seeds} draws" if seeds > 1 else "One draw"
    notes = [
        f"Adjusted Rand index on {result['test']} images nobody painted, after {PAINTED} others.",
        f"{draws} of images and strokes.",
        "Ours: ids shuffled in every image. The others know the true names of the same strokes.",
        f"Measured on {machine['processor']} ({machine['cores']} cores), torch {machine['torch']}.",
    ]
    columns = [
        Column("set", "set"),
        Column("fault", "strokes"),
        Column("ours", "ours, shuffled ids"),
        Column("cross-entropy", "cross-entropy, true names"),
        Column("forest", "forest, true names"),
    ]
    rows = [
        {"set": row["set"], "fault": row["fault"]}
        | {name: spread(values) for name, values in row["ari"].items()}
        for row in result["rows"]
    ]
    return Table("robustness", "What wrong strokes do", columns, rows, notes)


def describe(result: dict[str, Any]) -> str:
    """Return the table for people."""
    return table(result).markdown()
