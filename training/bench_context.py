"""What neighbouring planes add (2.5-D): a stack learnt from a few painted planes, with and without.

The stack and its ground truth are files (TIFF, Zarr, npy) with axes z, y, x. A few planes are
scribbled on, the same for all settings; the model learns from them and predicts all. Scored are the
planes nobody painted: the adjusted Rand index over all their pixels, and the mean over planes.
"""

from __future__ import annotations

import tempfile
import time
from pathlib import Path
from statistics import fmean
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_cas.config import Config, FitConfig, ModelSpec
from napari_cas.errors import InputError
from napari_cas.metrics.regions import adjusted_rand_index
from napari_cas.store.readers import read_image
from training.machine import describe_machine
from training.options import count
from training.scribbles import scribble

if TYPE_CHECKING:
    import argparse

    from numpy.typing import NDArray

    from napari_cas.jobs import LocalExecutor


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("stack", help="an image with axes zyx")
    parser.add_argument("truth", help="its classes, whole numbers; 0 is not scored")
    parser.add_argument("--contexts", type=int, nargs="+", default=[0, 1, 2], help="to compare")
    parser.add_argument("--painted", type=count, default=3, help="planes that are scribbled on")
    parser.add_argument("--seeds", type=count, default=3, help="repetitions with other scribbles")
    parser.add_argument("--rounds", type=count, default=4, help="rounds of fine-tuning")
    parser.add_argument("--channels", type=count, default=8, help="softmax channels")
    parser.add_argument("--noise", type=float, default=0.0, help="deviation of noise that is added")


def run(args: argparse.Namespace) -> dict[str, Any]:
    """Measure; see the module's text.

    Returns
    -------
    dict
        ``rows`` (one for each context and seed), ``contexts`` (means), ``settings``, ``machine``.
    """
    from napari_cas.jobs import LocalExecutor

    stack, truth = _read(args.stack), _read(args.truth)
    if stack.shape != truth.shape:
        raise InputError("The truth does not fit", expected=str(stack.shape), got=str(truth.shape))
    rows = []
    with tempfile.TemporaryDirectory() as folder, LocalExecutor(nice=0) as executor:
        for seed in range(args.seeds):
            noise = np.random.default_rng(seed).normal(0, args.noise, stack.shape)
            noisy = stack + noise.astype(np.float32) if args.noise else stack
            painted = paint(truth, args.painted, seed)
            for context in args.contexts:
                path = Path(folder) / f"{seed}-{context}.zarr"
                config = Config(
                    model=ModelSpec(channels=args.channels, context_planes=context),
                    fit=FitConfig(max_rounds=args.rounds, round_seconds=600),
                    seed=seed,
                )
                found, seconds = learn(noisy, painted, config, path, executor)
                row = {"context": context, "seed": seed, "seconds_per_plane": seconds}
                rows.append(row | score(truth, found, painted))
    keys = ("ari", "mean_plane_ari", "seconds_per_plane")
    return {
        "contexts": [
            {"context": c} | {k: fmean(r[k] for r in rows if r["context"] == c) for k in keys}
            for c in args.contexts
        ],
        "rows": rows,
        "settings": {
            k: getattr(args, k) for k in ("painted", "seeds", "rounds", "channels", "noise")
        }
        | {"shape": list(stack.shape)},
        "machine": describe_machine(),
    }


def _read(path: str) -> NDArray[Any]:
    image = read_image(path)
    if len(image.axes) != 3 or "c" in image.axes:
        raise InputError(f"{path} is no stack", expected="axes zyx", got=image.axes)
    return np.asarray(image.data[:])


def paint(truth: NDArray[Any], planes: int, seed: int) -> NDArray[np.int32]:
    """Return scribbles on planes spread evenly over those that have two classes or more.

    Raises
    ------
    InputError
        There are fewer such planes than wanted.
    """
    rich = [z for z, plane in enumerate(truth) if len(np.unique(plane[plane > 0])) > 1]
    if len(rich) < planes:
        raise InputError("Too few planes to paint", expected=str(planes), got=str(len(rich)))
    painted = np.zeros(truth.shape, np.int32)
    places = (np.arange(planes) + 0.5) * len(rich) / planes
    for z in (rich[int(place)] for place in places):
        painted[z] = scribble(truth[z], seed=seed)
    return painted


def learn(
    stack: NDArray[Any],
    painted: NDArray[np.int32],
    config: Config,
    path: Path,
    executor: LocalExecutor,
) -> tuple[NDArray[np.uint8], float]:
    """Return the labels of all planes and the seconds that predicting one takes."""
    from napari_cas.session import NewImage, Session

    session = Session(executor=executor, config=config)
    session.create_project(path, [NewImage("stack", stack, "zyx")])
    assert session.image is not None
    session.image.regions[...] = painted
    session.stroke_finished()
    session.fine_tune()
    session.run_until_idle()
    start = time.perf_counter()
    session.predict_all()
    session.run_until_idle()
    seconds = (time.perf_counter() - start) / (len(stack) - 1)  # rounds have done one
    labels = np.asarray(session.image.prediction[...])
    session.close()
    return labels, seconds


def score(truth: NDArray[Any], found: NDArray[Any], painted: NDArray[np.int32]) -> dict[str, float]:
    """Return the agreement on planes without paint, over all their pixels and plane by plane."""
    fresh = ~painted.any(axis=(1, 2))
    planes = [z for z in np.flatnonzero(fresh) if len(np.unique(truth[z][truth[z] > 0])) > 1]
    return {
        "ari": adjusted_rand_index(truth[fresh], found[fresh]),
        "mean_plane_ari": fmean(adjusted_rand_index(truth[z], found[z]) for z in planes),
    }


def describe(result: dict[str, Any]) -> str:
    """Return the result as a few lines for people."""
    lines = ["context planes  ARI    mean of planes  s/plane"]
    lines += [
        f"{r['context']:14d}  {r['ari']:.3f}  {r['mean_plane_ari']:14.3f}  "
        f"{r['seconds_per_plane']:7.3f}"
        for r in result["contexts"]
    ]
    return "\n".join(lines)
