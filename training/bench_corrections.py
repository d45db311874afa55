"""A simulated annotator who corrects: how good, and how much is obeyed, after each press.

Each image is painted by itself, one scribble per region, and segmented. Then a stroke is painted
into each of the largest wrong places (:mod:`training.annotator`) and the button is pressed again.
Every method is corrected where it is wrong itself. Ours goes on from the model it has, as in the
window; the others begin anew with all the paint. BSDS500 is of little use here: its regions look
alike, and ours takes them as one.
"""

from __future__ import annotations

import statistics
import sys
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from napari_cas.config import Config
from napari_cas.metrics.regions import adjusted_rand_index
from training.annotator import correct, read_as_regions
from training.bench_label_free import (
    ALONE,
    LENGTH,
    SETS_HELP,
    Cell,
    check_sets,
    singles,
    stroke_seed,
)
from training.label_free import METHODS, source_of
from training.options import add_choice, count
from training.scribbles import Scribbles, scribble

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable
    from pathlib import Path

    from numpy.typing import NDArray

    from training.data.labelled import Labelled

    Segment = Callable[[NDArray[np.int32]], NDArray[Any]]

UNTAUGHT = "ours, taught once"
"""Ours without training after the first press: corrections are followed, and nothing else."""

SETS = [f"{name}{ALONE}" for name in ("dsb2018:color", "dsb2018:fluo", "wbc", "ECSSD")] + ["rwtd"]


class Pressed(NamedTuple):
    """What one press of the button gave.

    Attributes
    ----------
    ari : float
        Adjusted Rand index of the whole image.
    obeyed : float
        Share of the pixels corrected just before that are right now; 1 where none were.
    """

    ari: float
    obeyed: float


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    from pathlib import Path

    parser.add_argument("--sets", nargs="+", default=SETS, metavar="SET", help=SETS_HELP)
    add_choice(parser, "--methods", [*METHODS, UNTAUGHT])
    parser.add_argument("--images", type=count, default=10, help="of each set")
    parser.add_argument("--presses", type=count, default=4, help="after the first")
    parser.add_argument("--strokes", type=count, default=2, help="corrected before each press")
    parser.add_argument("--seed", type=int, default=0, help="of strokes and networks")
    parser.add_argument("--results", type=Path, help="folder for the table")


def run(args: argparse.Namespace) -> dict[str, Any]:
    """Measure; see the module's text.

    Returns
    -------
    dict
        ``rows``: by ``set`` and ``method``, means after each press (``ari 0``, ``ari 1`` …),
        ``obeyed`` and ``fall``; ``machine``.
    """
    from tqdm import tqdm

    from training.machine import describe_machine

    check_sets(args.sets)
    todo = [(name, method) for name in args.sets for method in args.methods]
    rows = []
    for name, method in (progress := tqdm(todo, desc="corrections", unit="experiment")):
        items = list(singles(Cell(name, 1, LENGTH, args.seed), args.images))
        pressed = [
            measure(item, method, stroke_seed(args.seed, number), args.presses, args.strokes)
            for number, item in enumerate(items)
        ]
        rows.append({"set": name, "method": method} | summarise(pressed))
        progress.write(_line(rows[-1]), file=sys.stderr)
    result = {"rows": rows, "presses": args.presses, "strokes": args.strokes}
    result |= {"images": args.images, "machine": describe_machine()}
    if args.results is not None:
        write(result, args.results)
    return result


def measure(item: Labelled, method: str, seed: int, presses: int, strokes: int) -> list[Pressed]:
    """Return what each press gives on one image, the first included."""
    truth = item.truth.astype(np.int32)
    painted = scribble(truth, Scribbles(length=LENGTH), seed=seed)
    rng = np.random.default_rng([seed, 1])
    segment = start(item, method, seed)
    fresh = np.zeros(truth.shape, bool)
    found = []
    for _ in range(presses + 1):
        labels = segment(painted)
        read = read_as_regions(labels, truth, painted)
        obeyed = float((read == truth)[fresh].mean()) if fresh.any() else 1.0
        found.append(Pressed(adjusted_rand_index(truth, labels), obeyed))
        fresh = correct(read, truth, painted, rng, strokes)
    return found


def start(item: Labelled, method: str, seed: int) -> Segment:
    """Return what segments an image from its paint; ours goes on from where it was."""
    if method in METHODS and method != "ours":
        learn = METHODS[method]
        return lambda painted: learn([item.image], [painted], [item.image], seed).labels[0]
    from napari_cas.engine.device import set_threads
    from napari_cas.engine.trainer import Trainer
    from napari_cas.protocol import Box

    set_threads()
    config = Config(seed=seed)
    trainer = Trainer(config, 1 if item.image.ndim == 2 else item.image.shape[2])

    def press(painted: NDArray[np.int32]) -> NDArray[Any]:
        source = source_of(item.name, item.image, painted)
        taught = method == UNTAUGHT and trainer.learner.step
        for _ in range(0 if taught else config.fit.max_rounds):
            if trainer.train([source]).converged:
                break
        return trainer.predict(source, (), Box(0, 0, *source.size)).labels

    return press


def summarise(pressed: list[list[Pressed]]) -> dict[str, float]:
    """Return means over images: the index after each press, what was obeyed, the deepest falls.

    Returns
    -------
    dict
        ``ari 0``, ``ari 1`` …; ``obeyed``: mean over presses; ``fall``: by how much an image's
        index was below the one before, at worst, its mean over images.
    """
    index = np.array([[press.ari for press in one] for one in pressed])
    falls = np.maximum(index[:, :-1] - index[:, 1:], 0).max(1)
    found = {f"ari {number}": float(mean) for number, mean in enumerate(index.mean(0))}
    obeyed = statistics.fmean(press.obeyed for one in pressed for press in one[1:])
    return found | {"obeyed": obeyed, "fall": float(falls.mean())}


def write(result: dict[str, Any], folder: Path) -> None:
    """Write ``corrections.md`` and ``corrections.csv``."""
    from training.report import Column, Table

    columns = [Column("set", "set", 0), Column("method", "method", 0)]
    columns += [Column(f"ari {n}", f"press {n}", 3) for n in range(result["presses"] + 1)]
    columns += [Column("obeyed", "obeyed", 2), Column("fall", "worst fall", 3)]
    machine = result["machine"]
    notes = [
        f"Adjusted Rand index, mean of {result['images']} images a set, each painted by itself.",
        f"Before each further press {result['strokes']} strokes where the method was wrong.",
        "'Obeyed': share of the pixels corrected just before that are right afterwards.",
        "'Worst fall': by how much a press made an image worse at most, mean over images.",
        f"Measured on {machine['processor']} ({machine['cores']} cores), torch {machine['torch']}.",
    ]
    title = "An annotator who corrects"
    Table("corrections", title, columns, result["rows"], notes).write(folder)


def _line(row: dict[str, Any]) -> str:
    index = " ".join(f"{value:.3f}" for key, value in row.items() if key.startswith("ari"))
    return (
        f"{row['set']}, {row['method']}: {index}, obeyed {row['obeyed']:.2f}, "
        f"worst fall {row['fall']:.3f}"
    )


def describe(result: dict[str, Any]) -> str:
    """Return the rows for people."""
    return "\n".join(_line(row) for row in result["rows"])
