"""A simulated annotator who goes on from image to image and paints only where it is wrong.

The first image is painted with one scribble per region. Each further one is looked at as the model
has it, and a stroke is painted into each of the largest wrong places (:mod:`training.annotator`);
then the button is pressed. After each image the model is asked about others that nobody painted.

Ours is corrected on the prediction, with labels that the annotator knows from strokes on the images
before: kinds are not named, but pointed at. The other methods are told the names of all strokes and
begin anew with all of them.
"""

from __future__ import annotations

import statistics
import sys
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

import numpy as np

from napari_cas.config import Config
from napari_cas.metrics.regions import adjusted_rand_index
from training.annotator import largest
from training.bench_label_free import LENGTH, SETS_HELP, Cell, check_sets, split, stroke_seed
from training.label_free import METHODS, source_of
from training.options import add_choice, count, several
from training.scribbles import Scribbles, paint_stroke, scribble

if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from napari_cas.engine.sources import ArraySource
    from training.data.labelled import Labelled

    Labels: TypeAlias = NDArray[np.integer[Any]]
    Named: TypeAlias = NDArray[np.int32]

SETS = ["wbc", "dsb2018:fluo", "dsb2018:color"]


class Step(NamedTuple):
    """What one image gave: adjusted Rand indices.

    Attributes
    ----------
    before, here : float
        Of the image as it was first shown, and when it was corrected; before is 0 of the first.
    held : float
        Mean of the images that nobody paints.
    """

    before: float
    here: float
    held: float


class Told:
    """A method that is told the names of all strokes, and begins anew with each image."""

    def __init__(self, method: str, seed: int) -> None:
        self._learn, self._seed = METHODS[method], seed
        self._images: list[Any] = []
        self._named: list[Named] = []

    def teach(self, item: Labelled, named: Named) -> None:
        """Take strokes (Y, X) with the name of each; 0 is unpainted."""
        if named.any():
            self._images.append(item.image)
            self._named.append(named)

    def segment(self, items: Sequence[Labelled]) -> list[Labels]:
        """Return the segmentations (Y, X) of images."""
        others = [item.image for item in items]
        return list(self._learn(self._images, self._named, others, self._seed).labels)

    def after(self, item: Labelled, others: Sequence[Labelled]) -> list[Labels]:
        """Return the segmentations (Y, X) of what was taught last and of others."""
        return self.segment([item, *others])

    def read(self, labels: Labels) -> Labels:
        """Return the names (Y, X) that an annotator reads in a segmentation."""
        return labels


class Pointed:
    """Ours as in the window: it goes on, and is corrected on what it predicted."""

    def __init__(self, channels: int, seed: int) -> None:
        from napari_cas.engine.device import set_threads
        from napari_cas.engine.trainer import Trainer

        set_threads()
        self._config = Config(seed=seed)
        self._trainer = Trainer(self._config, channels)
        self._items: list[Labelled] = []
        self._named: list[Named] = []
        self._corrections: list[NDArray[np.uint8] | None] = []

    def teach(self, item: Labelled, named: Named) -> None:
        """Take strokes (Y, X), and press until nothing changes.

        The first image's names are regions, whose numbers mean nothing elsewhere; later ones are
        painted with the label that stands for them.
        """
        said = self._label_of(named).astype(np.uint8) if self._items else None
        self._items.append(item)
        self._named.append(named)
        self._corrections.append(said)
        sources = [source for source, regions in self._sources() if regions.any()]
        for _ in range(self._config.fit.max_rounds):
            if self._trainer.train(sources).converged:
                break

    def after(self, item: Labelled, others: Sequence[Labelled]) -> list[Labels]:  # noqa: ARG002
        """Return the segmentations (Y, X) of what was taught last, strokes followed, and others."""
        from napari_cas.protocol import Box

        source, _ = self._sources()[-1]
        here = self._trainer.predict(source, (), Box(0, 0, *source.size)).labels
        return [here, *self.segment(others)]

    def segment(self, items: Sequence[Labelled]) -> list[Labels]:
        """Return the segmentations (Y, X) of images."""
        from napari_cas.protocol import Box

        found: list[Labels] = []
        for item in items:
            source = source_of(f"of {item.name}", item.image, np.zeros(item.truth.shape, np.int32))
            found.append(self._trainer.predict(source, (), Box(0, 0, *source.size)).labels)
        return found

    def read(self, labels: Labels) -> Labels:
        """Return the names (Y, X) that an annotator reads in a segmentation."""
        votes = self._votes()
        # Of a label that lies on strokes of several names, that with the largest share of its own.
        share = votes / np.maximum(votes.sum(0), 1)
        return np.where(votes.any(1), share.argmax(1), 0)[labels]

    def _sources(self) -> list[tuple[ArraySource, Named]]:
        """Return all images with what is painted on them, and that once more."""
        triples = zip(self._items, self._regions(), self._corrections, strict=True)
        return [
            (source_of(f"{number:06d}", item.image, regions, said), regions)
            for number, (item, regions, said) in enumerate(triples)
        ]

    def _regions(self) -> list[Named]:
        """Return what is painted, under ids that are drawn for each image."""
        found = []
        for number, named in enumerate(self._named):
            rng = np.random.default_rng([self._config.seed, number])
            ids = np.append(0, rng.permutation(int(named.max())) + 1).astype(np.int32)
            found.append(ids[named])
        return found

    def _votes(self) -> NDArray[np.int64]:
        """Return how many pixels of strokes of each name (columns) have each label (rows)."""
        names = max(int(named.max()) for named in self._named) + 1
        votes = np.zeros((256, names), np.int64)
        for named, labels in zip(self._named, self.segment(self._items), strict=True):
            painted = named > 0
            np.add.at(votes, (labels[painted], named[painted]), 1)
        return votes

    def _label_of(self, named: Named) -> Labels:
        """Return the label (Y, X) that stands for what is painted; a new one where none does."""
        votes = self._votes()
        names = np.arange(max(votes.shape[1], int(named.max()) + 1))
        read = self.read(np.arange(256))
        label = np.zeros(len(names), np.int64)
        free = iter(np.flatnonzero(~votes.any(1))[1:].tolist())
        for name in np.unique(named[named > 0]).tolist():
            own = read == name
            label[name] = (votes[:, name] * own).argmax() if own.any() else next(free)
        return label[named]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    from pathlib import Path

    parser.add_argument("--sets", nargs="+", default=SETS, metavar="SET", help=SETS_HELP)
    add_choice(parser, "--methods", METHODS)
    # What corrections give is told by the images after the first.
    parser.add_argument("--images", type=several, default=6, help="painted, one after another")
    parser.add_argument("--strokes", type=count, default=3, help="on each but the first, at most")
    parser.add_argument("--test", type=count, default=10, help="images that nobody paints")
    parser.add_argument("--seeds", type=count, default=3, help="draws of images and strokes")
    parser.add_argument("--results", type=Path, help="folder for the table")


def run(args: argparse.Namespace) -> dict[str, Any]:
    """Measure; see the module's text.

    Returns
    -------
    dict
        ``rows``: by ``set`` and ``method``, means over draws of ``held 1``, ``held 2`` … after each
        image, and over images but the first, ``before`` and ``here``; ``machine``.
    """
    from tqdm import tqdm

    from training.machine import describe_machine

    check_sets(args.sets)
    todo = [(name, method) for name in args.sets for method in args.methods]
    rows = []
    for name, method in (progress := tqdm(todo, desc="onward", unit="experiment")):
        cells = [Cell(name, args.images, LENGTH, seed) for seed in range(args.seeds)]
        walks = [walk(cell, method, args.strokes, args.test) for cell in cells]
        rows.append({"set": name, "method": method} | summarise(walks))
        progress.write(_line(rows[-1]), file=sys.stderr)
    result = {"rows": rows, "images": args.images, "strokes": args.strokes, "seeds": args.seeds}
    result |= {"test": args.test, "machine": describe_machine()}
    if args.results is not None:
        write(result, args.results)
    return result


def walk(cell: Cell, method: str, strokes: int, test: int) -> list[Step]:
    """Return what each image gives, the first included."""
    painted, others, _ = split(cell, test)
    image = painted[0].image
    channels = 1 if image.ndim == 2 else image.shape[2]
    one = Pointed(channels, cell.seed) if method == "ours" else Told(method, cell.seed)
    rng = np.random.default_rng([cell.seed, 2])
    steps = []
    for number, item in enumerate(painted):
        truth = item.truth.astype(np.int32)
        before = 0.0
        if number:
            (labels,) = one.segment([item])
            before = adjusted_rand_index(truth, labels)
            named = corrected(one.read(labels), truth, rng, strokes)
        else:
            options = Scribbles(length=LENGTH, shuffle=False)
            named = scribble(truth, options, seed=stroke_seed(cell.seed, 0))
        one.teach(item, named)
        here, *held = (
            adjusted_rand_index(shown.truth, labels)
            for shown, labels in zip([item, *others], one.after(item, others), strict=True)
        )
        steps.append(Step(before, here, statistics.fmean(held)))
    return steps


def corrected(read: Labels, truth: Named, rng: np.random.Generator, strokes: int) -> Named:
    """Return strokes (Y, X) into the largest wrong places, each with its name; 0 elsewhere."""
    named = np.zeros_like(truth)
    wrong = (read != truth) & (truth > 0)
    for region, place in largest(wrong, truth)[:strokes]:
        named[paint_stroke(place, Scribbles(), rng)] = region
    return named


def summarise(walks: list[list[Step]]) -> dict[str, float]:
    """Return means over draws: of images never painted after each image, and before and here."""
    held = np.mean([[step.held for step in steps] for steps in walks], axis=0)
    found = {f"held {number}": float(mean) for number, mean in enumerate(held, 1)}
    later = [step for steps in walks for step in steps[1:]]
    found["before"] = statistics.fmean(step.before for step in later)
    return found | {"here": statistics.fmean(step.here for step in later)}


def write(result: dict[str, Any], folder: Path) -> None:
    """Write ``onward.md`` and ``onward.csv``."""
    from training.report import Column, Table

    columns = [Column("set", "set", 0), Column("method", "method", 0)]
    columns += [Column(f"held {n}", f"image {n}", 3) for n in range(1, result["images"] + 1)]
    columns += [Column("before", "as shown", 3), Column("here", "corrected", 3)]
    machine = result["machine"]
    notes = [
        f"Adjusted Rand index, mean of {result['seeds']} draws of images and strokes.",
        f"'Image 1' …: of {result['test']} images that nobody paints, after so many were painted.",
        "The first with one scribble per region, each further one only where the method was wrong.",
        f"At most {result['strokes']} strokes are painted on each of these.",
        "'As shown' and 'corrected': of the images painted after the first, before and after.",
        "Ours is corrected on its prediction; the others are told the names of all strokes.",
        f"Measured on {machine['processor']} ({machine['cores']} cores), torch {machine['torch']}.",
    ]
    Table("onward", "From image to image", columns, result["rows"], notes).write(folder)


def _line(row: dict[str, Any]) -> str:
    held = " ".join(f"{value:.3f}" for key, value in row.items() if key.startswith("held"))
    return (
        f"{row['set']}, {row['method']}: {held}, as shown {row['before']:.3f}, "
        f"corrected {row['here']:.3f}"
    )


def describe(result: dict[str, Any]) -> str:
    """Return the rows for people."""
    return "\n".join(_line(row) for row in result["rows"])
