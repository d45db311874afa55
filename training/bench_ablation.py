"""What each part of the label-free learner is worth: the same experiment without it.

Images, strokes and scores are those of :mod:`training.bench_label_free`: a few images painted, ids
shuffled in every image, others segmented; RWTD and BSDS500 image by image.
"""

from __future__ import annotations

import statistics
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any
from unittest import mock

import numpy as np

from napari_cas.config import Config, FitConfig, LossConfig, PredictConfig
from napari_cas.metrics.regions import adjusted_rand_index
from training.bench_label_free import (
    ACROSS,
    LENGTH,
    PAINTED,
    SINGLE,
    Cell,
    score_labels,
    shuffled_ids,
    singles,
    split,
)
from training.label_free import RATE, ours
from training.scribbles import Scribbles, scribble

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from napari_cas.models.quick import Head

_TRAINER = "napari_cas.engine.trainer"


def _nothing(*_: object, **__: object) -> None:
    """Stand in for a part that is left out."""


def _random_start(head: Head, *_: object, **__: object) -> None:
    """Begin with random weights, once, instead of with the closed form."""
    from torch import nn

    if not head.out.weight.any():
        nn.init.xavier_normal_(head.out.weight)


def _no_groups(features: Any, count: Any, plane: Any, **_: object) -> Any:  # noqa: ANN401, ARG001
    """Take every region for a kind of its own."""
    import torch

    return torch.arange(len(count))


EQ_1 = LossConfig(discriminator="squared", uniformer="squared", alpha=0.1)
_FROM_RANDOM = {
    f"{_TRAINER}.start_from_discriminant": _random_start,
    f"{_TRAINER}.Anchor": _nothing,
}
_TO_THE_END = {f"{_TRAINER}._is_flat": lambda _: False}
"""Train on where a training would stop because nothing changes any more, as live mode does."""
VARIANTS: Mapping[str, tuple[Config, Mapping[str, Callable[..., Any]]]] = {
    "as it is": (Config(), {}),
    "loss of Eq. 1": (Config(loss=EQ_1), {}),
    "no steps after the closed form": (
        Config(fit=FitConfig(round_seconds=1e-6, max_rounds=1)),
        {},
    ),
    "all 12 rounds": (Config(), _TO_THE_END),
    "all 12 rounds, no hold on unpainted pixels": (
        Config(),
        {**_TO_THE_END, f"{_TRAINER}.Anchor": _nothing},
    ),
    "no closed form": (Config(fit=FitConfig(learning_rate=RATE)), _FROM_RANDOM),
    "no closed form, loss of Eq. 1": (
        Config(loss=EQ_1, fit=FitConfig(learning_rate=RATE)),
        _FROM_RANDOM,
    ),
    "alike regions told apart": (Config(), {"napari_cas.engine.sampling.group_alike": _no_groups}),
    "edges not followed": (Config(predict=PredictConfig(follow_edges=False)), {}),
}
"""Settings and replaced parts by name."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    from pathlib import Path

    sets = ["wbc", "dsb2018:fluo", "mosaics", "rwtd"]
    known = ", ".join((*ACROSS, *SINGLE))
    parser.add_argument("--sets", nargs="+", default=sets, metavar="SET", help=f"of {known}")
    parser.add_argument("--variants", nargs="+", default=list(VARIANTS), metavar="VARIANT")
    parser.add_argument("--seeds", type=int, default=1, help="how many")
    parser.add_argument("--test", type=int, default=15, help="images that are scored, at most")
    parser.add_argument("--results", type=Path, help="folder for ablation.md and ablation.csv")


def run(args: argparse.Namespace) -> dict[str, Any]:
    """Measure; see the module's text.

    Returns
    -------
    dict
        ``rows``: a ``variant`` with its mean adjusted Rand index by set; ``machine``.
    """
    from tqdm import tqdm

    from training.machine import describe_machine

    rows: list[dict[str, Any]] = [{"variant": name} for name in args.variants]
    todo = [(row, name) for name in args.sets for row in rows]
    for row, name in tqdm(todo, desc="ablation", unit="experiment"):
        scores = [measure(name, row["variant"], k, args.test) for k in range(args.seeds)]
        row[name] = statistics.fmean(scores)
    result = {"rows": rows, "seeds": args.seeds, "test": args.test, "sets": args.sets}
    result["machine"] = describe_machine()
    if args.results is not None:
        write(result, args.results)
    return result


def measure(name: str, variant: str, seed: int, test: int) -> float:
    """Return the mean adjusted Rand index of one variant on one set."""
    config, replaced = VARIANTS[variant]
    with ExitStack() as stack:
        for target, instead in replaced.items():
            stack.enter_context(mock.patch(target, instead))
        if name in SINGLE:
            return _measure_single(name, config, seed, test)
        return _measure_across(name, config, seed, test)


def _measure_across(name: str, config: Config, seed: int, test: int) -> float:
    painted, others, classes = split(Cell(name, PAINTED, LENGTH, seed), test)
    options = Scribbles(length=LENGTH, shuffle=False)
    rng = np.random.default_rng([seed, 1])
    strokes: list[NDArray[np.int32]] = []
    for number, item in enumerate(painted):
        named = scribble(item.truth, options, seed=seed * 10_000 + number)
        strokes.append(shuffled_ids(named, classes, rng))
    images, targets = [p.image for p in painted], [o.image for o in others]
    return score_labels(ours(images, strokes, targets, seed, config).labels, others, classes)["ari"]


def _measure_single(name: str, config: Config, seed: int, test: int) -> float:
    scores = []
    for number, item in enumerate(singles(Cell(name, 1, LENGTH, seed), test)):
        strokes = scribble(item.truth, Scribbles(length=LENGTH), seed=seed * 10_000 + number)
        labels: Sequence[NDArray[Any]] = ours(
            [item.image], [strokes], [item.image], seed, config
        ).labels
        scores.append(adjusted_rand_index(item.truth, labels[0]))
    return statistics.fmean(scores)


def write(result: dict[str, Any], folder: Path) -> None:
    """Write ``ablation.md`` and ``ablation.csv``."""
    from training.report import Column, Table

    columns = [Column("variant", "variant", 0)]
    columns += [Column(name, name, 3) for name in result["sets"]]
    machine = result["machine"]
    scored = f"{result['test']} images, {result['seeds']} seed(s)"
    notes = [
        f"Adjusted Rand index on images that nobody painted; {PAINTED} others are. {scored}.",
        "RWTD and BSDS500: on each painted image itself.",
        f"Measured on {machine['processor']} ({machine['cores']} cores), torch {machine['torch']}.",
    ]
    title = "What each part of the label-free learner is worth"
    Table("ablation", title, columns, result["rows"], notes).write(folder)


def describe(result: dict[str, Any]) -> str:
    """Return the table for people."""
    sets = result["sets"]
    lines = ["| variant | " + " | ".join(sets) + " |", "|---" * (len(sets) + 1) + "|"]
    for row in result["rows"]:
        cells = " | ".join(f"{row[name]:.3f}" for name in sets)
        lines.append(f"| {row['variant']} | {cells} |")
    return "\n".join(lines)
