"""Click to first prediction, through the real parts, beside scikit-image's random-forest recipe.

For every image a fresh project on disk and one simulated scribble per region. Ours is timed
from submitting the request to the warm worker process until its report is back, by when the
prediction is on disk; features are computed within. The recipe is timed from features to
prediction, in memory. Both run in turns on the same machine at the same priority, so that the ratio
means something where the seconds do not.
"""

from __future__ import annotations

import statistics
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_cas.config import Config, FitConfig, ModelSpec
from napari_cas.metrics.regions import adjusted_rand_index
from napari_cas.protocol import Box, RoundReport, RoundRequest, Tile
from training.options import count
from training.scribbles import Scribbles, scribble

if TYPE_CHECKING:
    import argparse

    from numpy.typing import NDArray

    from napari_cas.jobs.executor import LocalExecutor


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("--images", type=count, default=20, help="how many images")
    parser.add_argument("--split", default="val", choices=("train", "val"), help="of BSDS500")
    parser.add_argument("--seed", type=int, default=0, help="of strokes, network and forest")
    parser.add_argument("--channels", type=count, default=None, help="softmax channels")
    parser.add_argument("--round-seconds", type=float, default=None, help="training per round")
    parser.add_argument("--spill", type=float, default=0.0, help="share of misplaced pixels")
    parser.add_argument("--nice", type=int, default=0, help="priority of the worker")
    parser.add_argument("--first-only", action="store_true", help="stop after the first prediction")


def settings(args: argparse.Namespace) -> Config:
    """Return the configuration: the defaults, but for what the options say."""
    model, fit = {}, {}
    if args.channels is not None:
        model["channels"] = args.channels
    if args.round_seconds is not None:
        fit["round_seconds"] = args.round_seconds
    return Config(model=ModelSpec(**model), fit=FitConfig(**fit), seed=args.seed)


def run(args: argparse.Namespace) -> dict[str, Any]:
    """Measure; see the module's text.

    Returns
    -------
    dict
        ``images`` (a row each), ``mean`` and ``median`` over them, ``ratio`` of the mean seconds,
        ``settings`` and ``machine``.
    """
    from tqdm import tqdm

    from napari_cas.jobs.executor import LocalExecutor
    from training.data.bsds import BSDS500
    from training.machine import describe_machine

    data, config = BSDS500(args.split), settings(args)
    names = data.names[: args.images]
    strokes = Scribbles(spill=args.spill)
    with tempfile.TemporaryDirectory() as folder, LocalExecutor(nice=args.nice) as executor:
        bench = Bench(Path(folder), executor, config)
        warmed = bench.warm_up()
        rows = []
        for number, name in enumerate(tqdm(names, desc="interactive", unit="image")):
            found = data.read(name)
            truth = found.coarsest()
            painted = scribble(truth, strokes, seed=args.seed + number)
            rows.append(
                {"image": name, "regions": int(truth.max())}
                | bench.compare(
                    found.image,
                    painted,
                    truth,
                    forest_first=bool(number % 2),
                    go_on=not args.first_only,
                )
            )
    return summarise(rows) | {
        "settings": config.model_dump(mode="json") | {"split": args.split, "spill": args.spill},
        "machine": describe_machine() | {"device": warmed},
    }


class Bench:
    """Runs both methods on one image after another.

    Parameters
    ----------
    folder : Path
        Where projects are made.
    executor : LocalExecutor
        Holds the worker.
    config : Config
        Settings of ours.
    """

    def __init__(self, folder: Path, executor: LocalExecutor, config: Config) -> None:
        self.folder, self.executor, self.config = folder, executor, config
        self.made = 0

    def warm_up(self) -> str:
        """Start the worker and run both methods once on other pixels; return the device."""
        info = self.executor.submit("napari_cas.engine.worker:warm_up", self.config).result()
        rng = np.random.default_rng(0)
        image = rng.integers(0, 255, (128, 160, 3)).astype(np.uint8)
        painted = np.zeros((128, 160), np.int32)
        painted[8:12, 8:60], painted[100:104, 8:60] = 1, 2
        self.compare(image, painted, painted, forest_first=True, go_on=False)
        return str(info.device)

    def compare(
        self,
        image: NDArray[np.uint8],
        painted: NDArray[np.int32],
        truth: NDArray[np.int32],
        *,
        forest_first: bool,
        go_on: bool,
    ) -> dict[str, Any]:
        """Return a row: seconds and adjusted Rand index of both methods on one image."""
        project = self._project(image, painted)
        row: dict[str, Any] = self._forest(image, painted, truth) if forest_first else {}
        view = Tile("image", (), Box(0, 0, *truth.shape))
        start = time.perf_counter()
        report = self._round(project, view, None, 0)
        row["seconds"] = time.perf_counter() - start
        row["ari"] = adjusted_rand_index(truth, _prediction(project))
        row["phases"] = {k: round(v, 4) for k, v in report.seconds.items()}
        if go_on:
            row |= self._converge(project, view, report, truth)
            row["converged_seconds"] = row["converged_seconds"] + row["seconds"]
        if not forest_first:
            row |= self._forest(image, painted, truth)
        row["ratio"] = row["seconds"] / row["forest_seconds"]
        return row

    def _project(self, image: NDArray[np.uint8], painted: NDArray[np.int32]) -> Path:
        """Make a project with a painted image."""
        from napari_cas.store import Project

        self.made += 1
        path = self.folder / f"{self.made:04d}.zarr"
        with Project.create(path) as project:
            entry = project.add_image("image", image, "yxc" if image.ndim == 3 else "yx")
            entry.regions[:] = painted
        return path

    def _round(self, project: Path, view: Tile, checkpoint: str | None, number: int) -> RoundReport:
        """Run one round in the worker."""
        request = RoundRequest(str(project), self.config, view, checkpoint, number)
        done = self.executor.submit("napari_cas.engine.worker:run_round", request).result()
        assert isinstance(done, RoundReport)
        return done

    def _converge(
        self, project: Path, view: Tile, report: RoundReport, truth: NDArray[np.int32]
    ) -> dict[str, Any]:
        """Run further rounds until converged or the most allowed."""
        start, rounds = time.perf_counter(), 1
        while not report.converged and rounds < self.config.fit.max_rounds:
            report = self._round(project, view, report.checkpoint, rounds)
            rounds += 1
        return {
            "converged_seconds": time.perf_counter() - start,
            "converged_ari": adjusted_rand_index(truth, _prediction(project)),
            "rounds": rounds,
            "channels_used": report.channels_used,
        }

    def _forest(
        self, image: NDArray[np.uint8], painted: NDArray[np.int32], truth: NDArray[np.int32]
    ) -> dict[str, float]:
        """Run the recipe."""
        from training.forest import segment

        start = time.perf_counter()
        labels = segment(image, painted, seed=self.config.seed)
        seconds = time.perf_counter() - start
        return {"forest_seconds": seconds, "forest_ari": adjusted_rand_index(truth, labels)}


def _prediction(project: Path) -> NDArray[np.uint8]:
    """Read the prediction that is on disk."""
    from napari_cas.store import Project

    with Project.open(project, mode="r") as opened:
        return np.asarray(opened.image("image").prediction[:])


def summarise(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """Return rows with their mean and median, and the ratio of the mean seconds."""
    keys = [k for k, v in rows[0].items() if isinstance(v, (int, float)) and k != "image"]
    mean = {k: statistics.fmean(row[k] for row in rows) for k in keys}
    median = {k: statistics.median(row[k] for row in rows) for k in keys}
    ratio = mean["seconds"] / mean["forest_seconds"]
    better = sum(row["ari"] > row["forest_ari"] for row in rows)
    return {
        "images": rows,
        "mean": mean,
        "median": median,
        "ratio": ratio,
        "first_prediction_better_in": f"{better} of {len(rows)}",
    }


def describe(result: dict[str, Any]) -> str:
    """Return the result as a few lines for people."""
    lines = [
        f"{'image':>8} {'regions':>7} {'s':>6} {'ARI':>6} {'forest s':>8} {'ARI':>6} {'ratio':>6}"
    ]
    lines += [
        f"{row['image']:>8} {row['regions']:7.3g} {row['seconds']:6.2f} {row['ari']:6.3f} "
        f"{row['forest_seconds']:8.2f} {row['forest_ari']:6.3f} {row['ratio']:6.2f}"
        for row in [*result["images"], {"image": "mean", **result["mean"]}]
    ]
    if "converged_ari" in result["mean"]:
        mean = result["mean"]
        lines.append(
            f"converged: ARI {mean['converged_ari']:.3f} after {mean['rounds']:.1f} rounds, "
            f"{mean['converged_seconds']:.1f} s"
        )
    lines.append(f"ratio of mean seconds: {result['ratio']:.3f}")
    return "\n".join(lines)
