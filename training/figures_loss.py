"""Draw the figures of ``docs/loss.md``: how Eq. 1 collapses, and what keeps the others from it.

``python -m training.figures_loss`` fits a small network to scribbles on single images, one loss
after the other, and records after how many steps how many channels are in use. It takes BSDS500
validation images where they are (see ``training/data/bsds.py``), otherwise the project's samples.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from napari_cas.losses import cas_loss, index_regions
from napari_cas.losses.baselines import named_cross_entropy
from napari_cas.losses.discriminators import DISCRIMINATORS
from napari_cas.metrics.regions import adjusted_rand_index
from training.options import count

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from numpy.typing import NDArray

CHANNELS = 16
STEPS = (0, 2, 5, 10, 20, 40, 80, 150)
PICTURED = (5, 20, 150)
FOLDER = Path(__file__).resolve().parent.parent / "docs" / "images"


@dataclass(frozen=True)
class Way:
    """A loss with its line in the figures."""

    title: str
    colour: str
    loss: Callable[[Tensor, Tensor], Tensor]
    line: str = "-"


WAYS = {
    "squared": Way(
        "Eq. 1, α = 0.1", "#D55E00", partial(cas_loss, alpha=0.1, discriminator="squared")
    ),
    "log_overlap": Way(
        "overlap barrier, α = 0.1",
        "#009E73",
        partial(cas_loss, alpha=0.1, discriminator="log_overlap"),
    ),
    "log_volume": Way(
        "log-volume, α = 0.9", "#0072B2", partial(cas_loss, alpha=0.9, discriminator="log_volume")
    ),
    "log_volume_ce": Way(
        "log-volume, cross-entropy to mean, α = 0.5",
        "#56B4E9",
        partial(cas_loss, alpha=0.5, discriminator="log_volume", uniformer="cross_entropy"),
    ),
    "named": Way("cross-entropy, given names", "#000000", named_cross_entropy, "--"),
}


class Task(NamedTuple):
    """One image to segment from its scribbles."""

    features: NDArray[np.float32]
    """(Y, X, F), each feature of mean 0 and variance 1."""
    regions: NDArray[np.int32]
    truth: NDArray[np.int32]


class Moment(NamedTuple):
    """How far a fit has come."""

    step: int
    ari: float
    channels: int
    labels: NDArray[np.uint8]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of this command to a parser."""
    parser.add_argument("--images", type=count, default=20, help="images of BSDS500 to take")
    parser.add_argument("--seeds", type=count, default=1, help="networks and scribbles per image")
    parser.add_argument("--folder", type=Path, default=FOLDER, help="where pictures are written")


def run(args: argparse.Namespace) -> dict[str, Any]:
    """Fit, draw and return the curves: per loss the mean ARI and channels in use at each step."""
    curves: dict[str, list[list[Moment]]] = {name: [] for name in WAYS}
    source, regions = "", []
    for origin, task in _tasks(args.images, args.seeds):
        source = origin
        regions.append(int(task.regions.max()))
        for name, way in WAYS.items():
            curves[name].append(list(fit(task, way.loss)))
    found = {
        name: {
            "step": list(STEPS),
            "ari": np.mean([[moment.ari for moment in fit] for fit in fits], 0).tolist(),
            "channels": np.mean([[m.channels for m in fit] for fit in fits], 0).tolist(),
        }
        for name, fits in curves.items()
    }
    result = {"source": source, "fits": len(regions), "regions": float(np.mean(regions))}
    args.folder.mkdir(parents=True, exist_ok=True)
    draw_curves(found, result, args.folder / "loss-collapse.png")
    draw_segmentations(args.folder / "loss-steps.png")
    return {**result, "curves": found}


def fit(task: Task, loss: Callable[[Tensor, Tensor], Tensor], seed: int = 0) -> Iterator[Moment]:
    """Fit a network of three 1 × 1 layers to the scribbles and yield where it is at ``STEPS``."""
    torch.manual_seed(seed)
    painted = torch.from_numpy(task.regions > 0)
    features = torch.from_numpy(task.features)
    width = features.shape[2]
    network = nn.Sequential(
        nn.Linear(width, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, CHANNELS)
    )
    adam = torch.optim.Adam(network.parameters(), lr=1e-2)
    ids = torch.from_numpy(task.regions)[painted][None].long()
    for step in range(STEPS[-1] + 1):
        if step in STEPS:
            yield _moment(step, network(features).detach(), task)
        logits = network(features[painted]).T[None]
        adam.zero_grad()
        loss(logits, ids).backward()  # type: ignore[no-untyped-call]
        adam.step()


def _moment(step: int, logits: Tensor, task: Task) -> Moment:
    """Score a prediction; channels in use are those strongest in some region's descriptor."""
    labels = logits.argmax(2).numpy().astype(np.uint8) + 1
    soft = logits.softmax(2).numpy()
    numbers = range(1, int(task.regions.max()) + 1)
    used = {int(soft[task.regions == number].mean(0).argmax()) for number in numbers}
    return Moment(step, adjusted_rand_index(task.truth, labels), len(used), labels)


def _tasks(images: int, seeds: int) -> Iterator[tuple[str, Task]]:
    """Yield the images to fit, with the name of their source."""
    from training.data.bsds import BSDS500
    from training.data.saliency import DataSetError
    from training.forest import features
    from training.scribbles import scribble

    try:
        data = BSDS500("val")
    except DataSetError:
        for name in ("cells", "tissue", "coffee", "textures"):
            yield "the project's samples", _sample(name)
        return
    for name in data.names[:images]:
        item = data.read(name)
        truth = item.coarsest()
        found = _normalised(features(item.image))
        for seed in range(seeds):
            yield (
                f"{images} BSDS500 validation images",
                Task(found, scribble(truth, seed=seed), truth),
            )


def _sample(name: str) -> Task:
    """Return one of the samples that come with the project."""
    from napari_cas.samples import load_sample
    from training.forest import features

    sample = load_sample(name)
    strokes = np.unique(np.asarray(sample.strokes), return_inverse=True)[1]
    regions = strokes.reshape(np.shape(sample.strokes)).astype(np.int32)
    return Task(
        _normalised(features(np.asarray(sample.image))),
        regions,
        np.asarray(sample.truth).astype(np.int32),
    )


def _normalised(features: NDArray[np.float32]) -> NDArray[np.float32]:
    mean, spread = features.mean((0, 1)), features.std((0, 1)) + 1e-6
    return np.asarray((features - mean) / spread, np.float32)


def pull_on_a_collapsed_pair(strength: Sequence[float]) -> dict[str, list[float]]:
    """Return the gradient that two regions sitting in one of three channels feel.

    Their softmax is (p, (1 - p)/2, (1 - p)/2) for p in ``strength``, but for a thousandth more in
    the second channel here and in the third there. The norm of the gradient by the logits.
    """
    regions = index_regions(torch.tensor([[1, 2]]))
    found: dict[str, list[float]] = {name: [] for name in DISCRIMINATORS}
    for p in strength:
        rest = (1 - p) / 2
        soft = torch.tensor([[p, rest * 1.001, rest], [p, rest, rest * 1.001]]).double()
        logits = soft.log().requires_grad_()
        for name, function in DISCRIMINATORS.items():
            value = function(logits.softmax(1), regions, mean=True)
            found[name].append(float(torch.autograd.grad(value, logits)[0].norm()))
    return found


def draw_curves(found: dict[str, Any], setting: dict[str, Any], file: Path) -> None:
    """Draw channels in use and ARI over steps, and the pull on a collapsed pair."""
    figure, (left, middle, right) = _subplots(1, 3, (9.4, 3.5))
    steps = [step + 1 for step in STEPS]
    for name, way in WAYS.items():
        for axes, key in ((left, "channels"), (middle, "ari")):
            axes.plot(steps, found[name][key], way.line, color=way.colour, label=way.title)
    left.axhline(setting["regions"], color="#999999", linewidth=0.8, linestyle=":")
    left.text(1, setting["regions"], "regions painted", va="bottom", fontsize=7, color="#666666")
    left.set(title="channels in use", ylim=(0, 1.1 * setting["regions"]))
    middle.set(title="adjusted Rand index", ylim=(0, None))
    for axes in (left, middle):
        axes.set(xscale="log", xlabel="optimiser steps")
        axes.set_xticks([1, 11, 41, 151], ["0", "10", "40", "150"], minor=False)
        axes.minorticks_off()
    away = np.logspace(0, -6, 40) * 0.6
    for name, pull in pull_on_a_collapsed_pair((1 - away).tolist()).items():
        way = WAYS[name]
        right.plot(away, pull, color=way.colour, label=way.title.split(",")[0])
    right.set(title="pull on a collapsed pair", xscale="log", yscale="log")
    right.set_xlabel("share left outside the one channel")
    right.invert_xaxis()
    handles, titles = left.get_legend_handles_labels()
    figure.legend(handles, titles, loc="outside lower center", ncols=3, fontsize=8, frameon=False)
    figure.savefig(file, dpi=110)


def draw_segmentations(file: Path) -> None:
    """Draw what Eq. 1 and the log-volume make of one sample, step by step."""
    task = _sample("coffee")
    figure, rows = _subplots(2, len(PICTURED) + 1, (9.2, 3.6))
    _show(rows[0][0], task.regions, "strokes")
    _show(rows[1][0], task.truth, "truth")
    for row, name in zip(rows, ("squared", "log_volume"), strict=True):
        moments = {moment.step: moment for moment in fit(task, WAYS[name].loss)}
        for axes, step in zip(row[1:], PICTURED, strict=True):
            moment = moments[step]
            title = f"{WAYS[name].title.split(',')[0]}, step {step}: ARI {moment.ari:.2f}"
            _show(axes, moment.labels, title)
    figure.savefig(file, dpi=85)


def _subplots(rows: int, columns: int, size: tuple[float, float]) -> Any:  # noqa: ANN401
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt

    return plt.subplots(rows, columns, figsize=size, layout="constrained")


def _show(axes: Any, labels: NDArray[Any], title: str) -> None:  # noqa: ANN401
    shown = np.ma.masked_equal(labels, 0)
    axes.imshow(shown, cmap="tab20", vmin=0.5, vmax=20.5, interpolation="nearest")
    axes.set_title(title, fontsize=7)
    axes.set_axis_off()


if __name__ == "__main__":
    _parser = argparse.ArgumentParser(description=__doc__)
    add_arguments(_parser)
    print(json.dumps(run(_parser.parse_args()), indent=1))
