"""Learning across images from regions without names, beside methods that are given the names.

A few images are painted, one scribble per class; ids are shuffled in every image, so that an id
means nothing elsewhere. Other images are segmented and scored by the adjusted Rand index, image by
image, and by the matched mean IoU with one map from channels to classes for all of them.
Cross-entropy on the same features and head, scikit-image's random-forest recipe and a forest on the
same features get (a) the shuffled ids and (b) the true ones. On RWTD and BSDS500, where names mean
nothing across images, each image is painted and segmented by itself. Images and strokes are the
same for all methods. A set may be anybody's folder or zip of ``images/`` and ``masks/``.
"""

from __future__ import annotations

import json
import statistics
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_cas.errors import ConfigError
from napari_cas.metrics.matching import class_confusion, match_channels
from napari_cas.metrics.regions import adjusted_rand_index
from training.data.labelled import Labelled, LabelledSet
from training.data.saliency import DataSetError
from training.kept import code_digest
from training.label_free import METHODS
from training.options import count
from training.scribbles import Scribbles, scribble

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from numpy.typing import NDArray

ALONE = ":alone"
"""After a set's name or path: each image is painted and segmented by itself."""
ACROSS = ("wbc", "dsb2018:fluo", "dsb2018:color", "mosaics")
SINGLE = ("rwtd", "bsds500")
SETS_HELP = (
    f"of {', '.join((*ACROSS, *SINGLE))}, mosaics:12 for 12 kinds of texture, another labelled or "
    "saliency set such as ECSSD, or a folder or zip of images/ and masks/ whose numbers are "
    f"classes (255: not scored); with {ALONE} behind it, image by image"
)
COLUMNS = ("ours", *(f"{m}, {ids}" for ids in ("shuffled", "true") for m in list(METHODS)[1:]))
PAINTED, LENGTH = 12, 0.8
_LARGEST = 256
_MOSAICS = 64


@dataclass(frozen=True)
class Cell:
    """One experiment: all methods on one set with one seed."""

    set: str
    painted: int
    length: float
    seed: int

    @property
    def key(self) -> str:
        """Name under which its result is kept."""
        return f"{self.set} n={self.painted} length={self.length:g} seed={self.seed}"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument(
        "--sets",
        nargs="+",
        default=[*ACROSS, *SINGLE],
        metavar="SET",
        help=SETS_HELP,
    )
    parser.add_argument("--seeds", type=count, default=3, help="how many")
    parser.add_argument("--test", type=count, default=30, help="images that are scored, at most")
    parser.add_argument(
        "--single", type=count, default=20, help="images of a set learnt one by one"
    )
    parser.add_argument(
        "--sweep",
        nargs="*",
        default=["wbc"],
        metavar="SET",
        help="sets for the curves against painted images and painted pixels",
    )
    parser.add_argument(
        "--results",
        type=Path,
        help="folder for JSON, CSV, Markdown and plots; what is there already is not run again",
    )


def cells(args: argparse.Namespace) -> list[Cell]:
    """Return all experiments: the table's first, then those of the curves."""
    seeds = range(args.seeds)
    number = {s: 1 if is_single(s) else PAINTED for s in args.sets}
    table = [Cell(s, number[s], LENGTH, k) for s in args.sets for k in seeds]
    by_images = [(n, LENGTH) for n in (1, 2, 4, 24)]
    by_pixels = [(PAINTED, length) for length in (0.1, 0.3, 2.0)]
    points = [*by_images, *by_pixels]
    curves = [Cell(s, n, length, k) for s in args.sweep for n, length in points for k in seeds]
    return table + curves


def mosaic_kinds(name: str) -> int:
    """Return how many kinds of texture mosaics are of, `name` being ``mosaics`` or ``mosaics:N``.

    Raises
    ------
    DataSetError
        If N is no number.
    """
    _, _, kinds = name.partition(":")
    if kinds and not kinds.isdecimal():
        raise DataSetError(
            f"There are no {name}", expected="mosaics or mosaics:N, N kinds of texture", got=name
        )
    return int(kinds or 3)


def is_single(name: str) -> bool:
    """Tell whether a set's images are painted and segmented each by itself."""
    return name in SINGLE or name.endswith(ALONE)


def check_sets(names: Iterable[str]) -> None:
    """Look whether sets are there: the last of them may be needed hours from now.

    Raises
    ------
    DataSetError
        If one is unknown, missing or incomplete.
    """
    for name in names:
        if name == "bsds500":
            from training.data.bsds import BSDS500

            BSDS500("val")
        elif name.partition(":")[0] == "mosaics":
            from training.data.mosaics import Mosaics

            Mosaics(1, kinds=mosaic_kinds(name))
        else:
            LabelledSet(name.removesuffix(ALONE))


def run(args: argparse.Namespace) -> dict[str, Any]:
    """Run all experiments and, with ``--results``, write them.

    Returns
    -------
    dict
        ``cells``: results by :attr:`Cell.key`, each with a row per method, the ``command`` and
        ``code`` it was made by, and how many images were ``asked`` for; ``table``, ``curves``:
        means and standard deviations over seeds; ``machine``.

    Raises
    ------
    ConfigError
        If results of these sets that are there already are of another number of images.
    """
    from tqdm import tqdm

    from training.machine import describe_machine
    from training.report_label_free import summarise, write

    kept = args.results / "label_free.json" if args.results else None
    done: dict[str, Any] = {}
    if kept is not None and kept.is_file():
        done = json.loads(kept.read_text(encoding="utf-8"))["cells"]
    check_kept(done, args)
    check_sets(dict.fromkeys(cell.set for cell in cells(args) if cell.key not in done))
    made_by = {"command": _command(args), "code": code_digest()}
    result: dict[str, Any] = {}
    for cell in tqdm(cells(args), desc="label-free", unit="experiment"):
        if cell.key not in done:
            found = measure(cell, test=args.test, single=args.single)
            done[cell.key] = asdict(cell) | found | made_by | {"asked": _asked(cell, args)}
        result = {"cells": done} | summarise(done) | {"machine": describe_machine()}
        if args.results is not None:
            write(result, args.results)
    return result


def check_kept(done: Mapping[str, Any], args: argparse.Namespace) -> None:
    """Refuse to go on with a set's results of another number of images: means would be over both.

    Raises
    ------
    ConfigError
        Names the first of them. What took hours is not measured again unasked.
    """
    sets = {cell.set for cell in cells(args)}
    for key, found in done.items():
        cell = Cell(found["set"], found["painted"], found["length"], found["seed"])
        if cell.set not in sets:
            continue
        wanted = _asked(cell, args)
        if _had(cell, found, wanted) != wanted:
            option = "--single" if is_single(cell.set) else "--test"
            raise ConfigError(
                f"What is kept in {args.results} was made with another {option}",
                expected=f"as for {key}, of which {found['images']} images were scored",
                got=f"{option} {wanted}",
                todo=f"Pass the same {option}, or choose another --results.",
            )


def _asked(cell: Cell, args: argparse.Namespace) -> int:
    """Return how many images are to be scored, at most."""
    return int(args.single if is_single(cell.set) else args.test)


def _had(cell: Cell, found: Mapping[str, Any], wanted: int) -> int:
    """Return how many images a result was to be of; results of earlier code do not say.

    These are of as many as were scored; if fewer than wanted, then of any number where the set has
    no more, or cannot be looked at.
    """
    scored = int(found["images"])
    if "asked" in found or scored >= wanted or cell.set in ("bsds500", "rwtd"):
        return int(found.get("asked", scored))
    if cell.set.partition(":")[0] == "mosaics":
        return scored
    try:
        left = len(LabelledSet(cell.set.removesuffix(ALONE)))
    except DataSetError:
        return wanted
    return wanted if scored == left - (0 if is_single(cell.set) else cell.painted) else scored


def _command(args: argparse.Namespace) -> str:
    """Return what was typed, but for what is as by default and where files lie."""
    from argparse import ArgumentParser

    parser = ArgumentParser()
    add_arguments(parser)
    words = ["python -m training bench label-free"]
    for name in ("sets", "seeds", "test", "single", "sweep"):
        given = getattr(args, name)
        if given != parser.get_default(name):
            listed = given if isinstance(given, list) else [given]
            words += [f"--{name}", *(Path(str(value)).name for value in listed)]
    return " ".join(words)


def measure(cell: Cell, *, test: int, single: int) -> dict[str, Any]:
    """Return the scores of all methods in one experiment.

    Returns
    -------
    dict
        ``pixels``: mean number of painted pixels per painted image; ``images``: number scored;
        ``methods``: by column, ``ari``, ``miou`` (across images only) and seconds.
    """
    if is_single(cell.set):
        return _measure_single(cell, single)
    painted, others, classes = split(cell, test)
    options = Scribbles(length=cell.length, shuffle=False)
    named = [
        scribble(p.truth, options, seed=stroke_seed(cell.seed, i)) for i, p in enumerate(painted)
    ]
    rng = np.random.default_rng([cell.seed, 1])
    shuffled = [shuffled_ids(strokes, classes, rng) for strokes in named]
    images, targets = [p.image for p in painted], [o.image for o in others]
    rows = {}
    for column in COLUMNS:
        method, _, ids = column.partition(", ")
        strokes = named if ids == "true" else shuffled
        learnt = METHODS[method](images, strokes, targets, cell.seed)
        rows[column] = score_labels(learnt.labels, others, classes) | {
            "fit_seconds": round(learnt.fit_seconds, 2),
            "predict_seconds": round(learnt.predict_seconds, 2),
        }
    pixels = float(np.mean([np.count_nonzero(strokes) for strokes in named]))
    return {"pixels": pixels, "images": len(others), "methods": rows}


def _measure_single(cell: Cell, count: int) -> dict[str, Any]:
    """Paint, learn and segment image by image; names cannot be shuffled across images."""
    aris: dict[str, list[float]] = {column: [] for column in COLUMNS}
    pixels = []
    for number, item in enumerate(singles(cell, count)):
        strokes = scribble(
            item.truth, Scribbles(length=cell.length), seed=stroke_seed(cell.seed, number)
        )
        pixels.append(np.count_nonzero(strokes))
        for method, learn in METHODS.items():
            labels = learn([item.image], [strokes], [item.image], cell.seed).labels[0]
            ari = adjusted_rand_index(item.truth, labels)
            for column in COLUMNS:
                if column.partition(", ")[0] == method:
                    aris[column].append(ari)
    rows = {column: {"ari": statistics.fmean(values)} for column, values in aris.items()}
    return {"pixels": float(np.mean(pixels)), "images": len(pixels), "methods": rows}


def split(cell: Cell, test: int) -> tuple[list[Labelled], list[Labelled], int]:
    """Return images to paint, images to score and the number of classes.

    Only images that show all classes are painted, so that each can teach all of them; where too few
    do, such as of a set with many classes, those that show most.
    """
    rng = np.random.default_rng([cell.seed, 0])
    if cell.set.partition(":")[0] == "mosaics":
        from training.data.mosaics import Mosaics

        kinds = mosaic_kinds(cell.set)
        train, kept = Mosaics(_MOSAICS, kinds=kinds), Mosaics(test, test=True, kinds=kinds)
        chosen = rng.permutation(len(train))[: cell.painted]
        return [train.read(train.names[i]) for i in chosen], list(kept), len(train.classes)
    found = LabelledSet(cell.set)
    classes = len(found.classes)
    items = [cropped(found.read(found.names[i])) for i in rng.permutation(len(found))]
    shown = [_shown(item.truth, classes) for item in items]
    most = sorted(range(len(items)), key=lambda k: -shown[k])[: cell.painted]
    others = [k for k in range(len(items)) if k not in most][:test]
    if not others:
        raise DataSetError(
            f"{cell.set} has too few images",
            expected=f"more than the {cell.painted} that are painted",
            got=str(len(items)),
            todo=f"Add images, or put {ALONE} behind it to segment each from its own strokes.",
        )
    return [items[k] for k in sorted(most)], [items[k] for k in others], classes


def singles(cell: Cell, count: int) -> Iterator[Labelled]:
    """Yield images that are painted and segmented each by itself; the same for all seeds."""
    if cell.set == "bsds500":
        from training.data.bsds import BSDS500

        data = BSDS500("val")
        for name in data.names[:count]:
            found = data.read(name)
            yield Labelled(name, found.image, found.coarsest().astype(np.uint8))
        return
    known = LabelledSet(cell.set.removesuffix(ALONE))
    order = np.random.default_rng(0).permutation(len(known))
    items = (known.read(known.names[i]) for i in order)
    yield from islice((x for x in items if len(np.unique(x.truth[x.truth > 0])) > 1), count)


def cropped(item: Labelled, side: int = _LARGEST) -> Labelled:
    """Return the middle of an image, at most `side` pixels high and wide."""
    y, x = (max(0, (n - side) // 2) for n in item.truth.shape)
    box = np.s_[y : y + side, x : x + side]
    return Labelled(item.name, item.image[box], item.truth[box])


def _shown(truth: NDArray[np.uint8], classes: int) -> int:
    """Return how many classes cover more than 0.2 % of the image each."""
    counts = np.bincount(truth.ravel(), minlength=classes + 1)[1:]
    return int((counts > 0.002 * truth.size).sum())


def shuffled_ids(
    strokes: NDArray[np.int32], classes: int, rng: np.random.Generator
) -> NDArray[np.int32]:
    """Return strokes whose ids 1..K were permuted."""
    names = np.concatenate([[0], rng.permutation(classes) + 1]).astype(np.int32)
    return np.asarray(names[strokes], np.int32)


def stroke_seed(seed: int, number: int) -> int:
    """Return the seed of one image's strokes, by the experiment's seed and the image's place."""
    return seed * 10_000 + number


def score_labels(
    labels: Sequence[NDArray[Any]], others: Sequence[Labelled], classes: int
) -> dict[str, float]:
    """Return mean adjusted Rand index and matched mean IoU of segmentations."""
    channels = max(int(found.max()) for found in labels) + 1
    table = np.zeros((classes + 1, channels), np.int64)
    aris = []
    for found, item in zip(labels, others, strict=True):
        aris.append(adjusted_rand_index(item.truth, found))
        table += class_confusion(item.truth, found, classes=classes + 1, channels=channels)
    return {"ari": statistics.fmean(aris), "miou": match_channels(table).mean_iou}


def describe(result: dict[str, Any]) -> str:
    """Return the table for people."""
    from training.report_label_free import markdown

    return markdown(result)
