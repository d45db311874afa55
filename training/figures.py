"""Plots of the tables and panels of pictures, with matplotlib's file backend."""

from __future__ import annotations

from statistics import fmean, stdev
from typing import TYPE_CHECKING, Any

import numpy as np

from training.saliency.recipe import LOSS_TITLES, LossName
from training.table_saliency import COMPARED, mean_score

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from numpy.typing import NDArray

    from training.saliency.runs import TestSet
    from training.table_saliency import Plan

COLOURS: dict[LossName, str] = {"cas": "#0072B2", "cross_entropy": "#D55E00", "cace": "#009E73"}
"""Of Okabe and Ito's palette: told apart by colour-blind readers, too."""


def plot_flips(wanted: Plan, found: Mapping[str, Any], file: Path) -> None:
    """Draw F-measure and MAE against the share of exchanged ids, a line per loss."""
    figure, axes = _axes(2, len(wanted.tests))
    flips = sorted({float(str(line.settings["flip"])) for line in wanted.lines})
    for column, test in enumerate(wanted.tests):
        for row, key in enumerate(("f", "mae")):
            for loss in COMPARED:
                values = [mean_score(found["runs"], test, key, loss=loss, flip=p) for p in flips]
                _line(axes[row][column], flips, values, LOSS_TITLES[loss], COLOURS[loss])
            _chance(axes[row][column], found, test, key)
            axes[row][column].set_ylim(0, 1 if key == "f" else 0.6)
        axes[0][column].set_title(test.title)
        axes[1][column].set_xlabel("share p of images whose ids are exchanged")
    axes[0][0].set_ylabel("F_β, higher is better")
    axes[1][0].set_ylabel("MAE of S, lower is better")
    axes[0][0].legend(loc="lower left", frameon=False)
    _save(figure, file)


def plot_alphas(wanted: Plan, found: Mapping[str, Any], file: Path) -> None:
    """Draw F-measure and MAE against α, a line per test set."""
    figure, axes = _axes(1, 2)
    alphas = [float(str(line.settings["alpha"])) for line in wanted.lines]
    for axis, key, label in ((axes[0][0], "f", "F_β"), (axes[0][1], "mae", "MAE of S")):
        for test, colour in zip(wanted.tests, COLOURS.values(), strict=False):
            values = [mean_score(found["runs"], test, key, alpha=alpha) for alpha in alphas]
            _line(axis, alphas, values, test.title, colour)
        axis.set_xlabel("α, weight of the uniformer")
        axis.set_ylabel(label)
        axis.set_ylim(0, 1 if key == "f" else 0.6)
    axes[0][0].legend(loc="lower left", frameon=False)
    _save(figure, file)


def panel(rows: Sequence[Sequence[NDArray[Any]]], titles: Sequence[str], file: Path) -> None:
    """Write pictures in rows and columns.

    Parameters
    ----------
    rows : sequence of sequences of ndarray
        Each (H, W, 3) uint8, or (H, W) from 0 to 1 shown in grey, or integer labels in colours.
    titles : sequence of str
        Of the columns.
    file : Path
        PNG to write.
    """
    figure, axes = _axes(len(rows), len(titles), side=1.5)
    for i, row in enumerate(rows):
        for j, picture in enumerate(row):
            axis = axes[i][j]
            if picture.ndim == 2 and picture.dtype.kind in "iu":
                axis.imshow(picture, cmap="tab20", interpolation="nearest", vmin=0, vmax=19)
            else:
                axis.imshow(picture.astype(np.float32) if picture.ndim == 2 else picture,
                            cmap="gray", vmin=0, vmax=1)  # fmt: skip
            axis.set_axis_off()
            if i == 0:
                axis.set_title(titles[j], fontsize=8)
    figure.subplots_adjust(wspace=0.03, hspace=0.03)
    _save(figure, file, margins=False)


def _axes(rows: int, columns: int, side: float = 3.2) -> tuple[Figure, list[list[Axes]]]:
    # Not pyplot: it would keep figures alive and pick a window toolkit.
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(side * 1.25 * columns, side * rows), layout="constrained")
    if side < 2:
        figure = Figure(figsize=(side * columns, side * rows + 0.2))
    FigureCanvasAgg(figure)
    return figure, figure.subplots(rows, columns, squeeze=False).tolist()


def _line(
    axis: Axes, x: Sequence[float], values: Sequence[Sequence[float]], label: str, colour: str
) -> None:
    kept = [(at, v) for at, v in zip(x, values, strict=True) if v]
    if not kept:
        return
    means = [fmean(v) for _, v in kept]
    spreads = [stdev(v) if len(v) > 1 else 0.0 for _, v in kept]
    axis.errorbar([at for at, _ in kept], means, spreads, label=label, color=colour, capsize=3,
                  marker="o", linewidth=2)  # fmt: skip
    axis.spines[["top", "right"]].set_visible(False)


def _chance(axis: Axes, found: Mapping[str, Any], test: TestSet, key: str) -> None:
    level = found.get("chance", {}).get(test.title, {}).get(key)
    if level is not None:
        axis.axhline(level, color="0.5", linestyle=":")
        axis.text(
            0.02, level, "knowing nothing", color="0.4", va="bottom", fontsize=8,
            transform=axis.get_yaxis_transform(),
        )  # fmt: skip


def _save(figure: Figure, file: Path, *, margins: bool = True) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    box = None if margins else "tight"
    figure.savefig(file, dpi=110, metadata={"Software": None}, bbox_inches=box)
