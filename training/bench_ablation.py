"""What each part of the label-free learner is worth: the same experiment without it.

Images, strokes and scores are those of :mod:`training.bench_label_free`: a few images painted, ids
shuffled in every image, others segmented; RWTD and BSDS500 image by image.
"""

from __future__ import annotations

import statistics
import sys
from contextlib import ExitStack
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple
from unittest import mock

import numpy as np

from napari_cas.config import Config, FitConfig, LossConfig, ModelSpec, PredictConfig
from napari_cas.metrics.regions import adjusted_rand_index
from training.bench_label_free import (
    ALONE,
    LENGTH,
    PAINTED,
    SETS_HELP,
    Cell,
    check_sets,
    is_single,
    score_labels,
    shuffled_ids,
    singles,
    split,
    stroke_seed,
)
from training.label_free import RATE, cross_entropy, ours
from training.options import add_choice, count
from training.scribbles import Scribbles, scribble

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from pathlib import Path

    from numpy.typing import NDArray
    from torch import Tensor

    from napari_cas.engine.appearances import Painted as Regions
    from napari_cas.engine.discriminant import Discriminant
    from napari_cas.engine.sampling import PixelSampler
    from napari_cas.models.quick import Head
    from napari_cas.protocol import LossPoint
    from training.data.labelled import Labelled
    from training.label_free import Images, Learnt, Method, Painted

_TRAINER, _CLOSED = "napari_cas.engine.trainer", "napari_cas.engine.closed_form"
_QUICK = "napari_cas.models.quick"


def _nothing(*_: object, **__: object) -> None:
    """Stand in for a part that is left out."""


def _random_start(head: Head, sampler: PixelSampler, **_: object) -> Discriminant:
    """Begin with random weights, once, instead of with the closed form."""
    from torch import nn

    from napari_cas.engine.discriminant import Discriminant

    if not head.out.weight.any():
        nn.init.xavier_normal_(head.out.weight)
    weight, bias = head.linear_weight, head.linear_bias
    nothing = weight.new_zeros(0)
    return Discriminant(
        weight, bias, sampler.group * 0, sampler.group, varied=True, centre=nothing, noise=nothing
    )


def _believe(painted: Regions, *_: object) -> Tensor:
    """Take every region of a plane for a kind of its own, whatever the other planes say."""
    import torch

    return torch.arange(len(painted.plane))


def _no_groups(features: Any, count: Any, *_: object, **__: object) -> Any:  # noqa: ANN401, ARG001
    """Take every region for a kind of its own."""
    import torch

    each = torch.arange(len(count))
    return each, each


def _one_step(learner: Any, batch: Any, loss: LossConfig, _: int) -> Iterator[LossPoint]:  # noqa: ANN401
    """Take one step, as the tool's first round does."""
    from napari_cas.engine.fit import fit

    return fit(learner, batch, loss, 1)


def _one_side(net: Callable[[Tensor], Sequence[Tensor]], rgb: Tensor) -> Sequence[Tensor]:
    """Look at the image as it is, and not turned by half as well."""
    return net(rgb)


def _copies_by_name(images: Images, painted: Painted, others: Images, seed: int) -> Learnt:
    """Train by cross-entropy on the varied copies that ours learns from, too."""
    from napari_cas.engine.variations import COPIES

    return cross_entropy(images, painted, others, seed, copies=COPIES)


def _deeper(images: Images, painted: Painted, others: Images, seed: int) -> Learnt:
    """Fine-tune the encoder, too; what names it is given mean nothing to it."""
    from training.deeper import deeper

    return deeper(images, painted, others, seed)


class Variant(NamedTuple):
    """Ours with other settings or without a part, or another method.

    Attributes
    ----------
    config : Config
        Settings of ours.
    replaced : mapping
        What is put in the place of a name for as long as it runs.
    method : callable, optional
        Instead of ours; it is given the true names.
    dense : bool
        Whether the truth is painted at every pixel instead of strokes: what strokes leave unsaid.
    """

    config: Config = Config()
    replaced: Mapping[str, Any] = {}
    method: Method | None = None
    dense: bool = False


EQ_1 = LossConfig(discriminator="squared", uniformer="squared", alpha=0.1)
_FROM_RANDOM = {
    f"{_CLOSED}.start_from_discriminant": _random_start,
    f"{_CLOSED}.learn_borders": _nothing,
    f"{_CLOSED}.Anchor": _nothing,
}
_FIRST = Config(fit=FitConfig(max_rounds=1))
_ONE_STEP = {f"{_TRAINER}.fit": _one_step}
_BELIEVED = {"napari_cas.engine.discriminant.DOUBTS": (0.0,)}
VARIANTS: Mapping[str, Variant] = {
    "as it is": Variant(),
    "loss of Eq. 1": Variant(Config(loss=EQ_1)),
    "the first answer: closed form and one step": Variant(_FIRST, _ONE_STEP),
    "the first answer, deepest features believed": Variant(_FIRST, _ONE_STEP | _BELIEVED),
    "deepest features believed": Variant(replaced=_BELIEVED),
    "4 rounds": Variant(Config(fit=FitConfig(max_rounds=4))),
    "all 12 rounds": Variant(replaced={f"{_TRAINER}._ENOUGH": float("inf")}),
    "looked at from one side": Variant(replaced={f"{_QUICK}.from_two_sides": _one_side}),
    "no varied copies": Variant(replaced={f"{_CLOSED}.COPIES": 0}),
    "no composites": Variant(replaced={f"{_CLOSED}.make_composites": _nothing}),
    "never held": Variant(replaced={f"{_CLOSED}.Anchor": _nothing}),
    "no composites, never held": Variant(
        replaced={f"{_CLOSED}.make_composites": _nothing, f"{_CLOSED}.Anchor": _nothing}
    ),
    "no closed form": Variant(Config(fit=FitConfig(learning_rate=RATE)), _FROM_RANDOM),
    "no closed form, loss of Eq. 1": Variant(
        Config(loss=EQ_1, fit=FitConfig(learning_rate=RATE)), _FROM_RANDOM
    ),
    "alike regions told apart": Variant(
        replaced={"napari_cas.engine.sampling.group_alike": _no_groups}
    ),
    "varied copies without asking": Variant(
        replaced={"napari_cas.engine.discriminant._HIDDEN": float("inf")}
    ),
    "twins told apart": Variant(replaced={"napari_cas.engine.discriminant.join_twins": _believe}),
    "edges not followed": Variant(Config(predict=PredictConfig(follow_edges=False))),
    "images enlarged twice": Variant(Config(model=ModelSpec(enlarge=2))),
    "images enlarged four times": Variant(Config(model=ModelSpec(enlarge=4))),
    "every pixel painted": Variant(dense=True),
    "fine-tuned deeper": Variant(method=_deeper),
    "fine-tuned deeper, every pixel painted": Variant(method=_deeper, dense=True),
    "cross-entropy, true names": Variant(method=cross_entropy),
    "cross-entropy, true names, every pixel painted": Variant(method=cross_entropy, dense=True),
    "cross-entropy, true names, varied copies": Variant(method=_copies_by_name),
    "cross-entropy, true names, composites": Variant(
        method=partial(cross_entropy, composites=True)
    ),
    "cross-entropy, true names, images enlarged twice": Variant(
        method=partial(cross_entropy, enlarge=2)
    ),
    "cross-entropy, true names, images enlarged four times": Variant(
        method=partial(cross_entropy, enlarge=4)
    ),
}
"""By name."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    from pathlib import Path

    sets = ["wbc", "dsb2018:fluo", "mosaics", "rwtd"]
    parser.add_argument("--sets", nargs="+", default=sets, metavar="SET", help=SETS_HELP)
    add_choice(parser, "--variants", VARIANTS)
    parser.add_argument("--seeds", type=count, default=1, help="how many")
    parser.add_argument("--test", type=count, default=15, help="images that are scored, at most")
    parser.add_argument(
        "--shrink", type=count, default=1, metavar="N", help="make images N times smaller before"
    )
    parser.add_argument("--results", type=Path, help="folder for the table")
    parser.add_argument("--name", default="ablation", help="of the table's files")


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
    check_sets(args.sets)
    todo = [(row, name) for name in args.sets for row in rows]
    for row, name in (progress := tqdm(todo, desc="ablation", unit="experiment")):
        scores = [
            measure(name, row["variant"], k, args.test, args.shrink) for k in range(args.seeds)
        ]
        row[name] = statistics.fmean(scores)
        # It takes long; what is known need not wait for the rest.
        progress.write(f"{name}, {row['variant']}: {row[name]:.3f}", file=sys.stderr)
    result = {"rows": rows, "seeds": args.seeds, "test": args.test, "sets": args.sets}
    result |= {"shrink": args.shrink, "machine": describe_machine()}
    if args.results is not None:
        write(result, args.results, args.name)
    return result


def measure(name: str, variant: str, seed: int, test: int, shrink: int = 1) -> float:
    """Return the mean adjusted Rand index of one variant on one set, its images made smaller."""
    chosen = VARIANTS[variant]
    with ExitStack() as stack:
        for target, instead in chosen.replaced.items():
            stack.enter_context(mock.patch(target, instead))
        if is_single(name):
            return _measure_single(name, chosen, seed, test, shrink)
        return _measure_across(name, chosen, seed, test, shrink)


def _learn(
    variant: Variant, images: Images, strokes: Painted, others: Images, seed: int
) -> Sequence[NDArray[Any]]:
    if variant.method is not None:
        return variant.method(images, strokes, others, seed).labels
    return ours(images, strokes, others, seed, variant.config).labels


def _measure_across(name: str, variant: Variant, seed: int, test: int, shrink: int) -> float:
    painted, others, classes = split(Cell(name, PAINTED, LENGTH, seed), test)
    painted, others = ([smaller(item, shrink) for item in items] for items in (painted, others))
    rng = np.random.default_rng([seed, 1])
    strokes: list[NDArray[np.int32]] = []
    for number, item in enumerate(painted):
        named = _painted(item, variant, stroke_seed(seed, number), shuffle=False)
        strokes.append(named if variant.method else shuffled_ids(named, classes, rng))
    images, targets = [p.image for p in painted], [o.image for o in others]
    return score_labels(_learn(variant, images, strokes, targets, seed), others, classes)["ari"]


def _measure_single(name: str, variant: Variant, seed: int, test: int, shrink: int) -> float:
    scores = []
    for number, whole in enumerate(singles(Cell(name, 1, LENGTH, seed), test)):
        item = smaller(whole, shrink)
        strokes = _painted(item, variant, stroke_seed(seed, number), shuffle=True)
        labels = _learn(variant, [item.image], [strokes], [item.image], seed)
        scores.append(adjusted_rand_index(item.truth, labels[0]))
    return statistics.fmean(scores)


def smaller(item: Labelled, times: int) -> Labelled:
    """Return an image that is `times` smaller: means of squares, and the truth amid them."""
    from training.data.labelled import Labelled

    height, width = (n // times * times for n in item.truth.shape)
    image = item.image[:height, :width]
    squares = image.reshape(height // times, times, width // times, times, *image.shape[2:])
    mean = squares.mean((1, 3)).round().astype(np.uint8)
    middle = slice(times // 2, None, times)
    return Labelled(item.name, mean, item.truth[:height, :width][middle, middle])


def _painted(item: Labelled, variant: Variant, seed: int, *, shuffle: bool) -> NDArray[np.int32]:
    if variant.dense:
        return item.truth.astype(np.int32)
    return scribble(item.truth, Scribbles(length=LENGTH, shuffle=shuffle), seed=seed)


def write(result: dict[str, Any], folder: Path, name: str = "ablation") -> None:
    """Write ``NAME.md`` and ``NAME.csv``."""
    from training.report import Column, Table

    columns = [Column("variant", "variant", 0)]
    columns += [Column(name, name, 3) for name in result["sets"]]
    machine = result["machine"]
    scored = f"{result['test']} images, {result['seeds']} seed(s)"
    if result["shrink"] > 1:
        scored += f", made {result['shrink']} times smaller"
    notes = [
        f"Adjusted Rand index on images that nobody painted; {PAINTED} others are. {scored}.",
        f"RWTD, BSDS500 and any '{ALONE}': on each painted image itself.",
        "'Every pixel painted' tells the truth.",
        f"Measured on {machine['processor']} ({machine['cores']} cores), torch {machine['torch']}.",
    ]
    title = "What each part of the label-free learner is worth"
    Table(name, title, columns, result["rows"], notes).write(folder)


def describe(result: dict[str, Any]) -> str:
    """Return the table for people."""
    sets = result["sets"]
    lines = ["| variant | " + " | ".join(sets) + " |", "|---" * (len(sets) + 1) + "|"]
    for row in result["rows"]:
        cells = " | ".join(f"{row[name]:.3f}" for name in sets)
        lines.append(f"| {row['variant']} | {cells} |")
    return "\n".join(lines)
