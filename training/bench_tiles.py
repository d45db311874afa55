"""How far labels of tiles differ from those of one go, by network and by context around a tile.

A strip of a real texture is predicted in one go and in tiles. The quick network has learnt it from
its strokes. The networks that are fine-tuned whole have random weights, whose batch statistics are
those of the texture: a hard case, for their channels are nearly equally probable.
"""

from __future__ import annotations

import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

import numpy as np

from napari_cas.config import Config, ModelName, ModelSpec
from napari_cas.engine.sources import ArraySource
from napari_cas.protocol import Box
from training.machine import describe_machine
from training.options import count
from training.report import Column, Table

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator

    from numpy.typing import NDArray
    from torch import Tensor

    from napari_cas.engine.predict import Prediction
    from napari_cas.engine.trainer import Trainer
    from napari_cas.models import SegmentationModel
    from napari_cas.protocol import Plane

_AT_ONCE = 4096
_CHANNELS = 6
_RAMP = 32
"""Where blending is compared, pixels on each side of a tile's border that are blended."""
_BATCHES, _CROPS, _CROP = 6, 4, 256
"""Batches, crops in each and their side, from which batch statistics are taken."""
_TARGET = 0.1
_WINDOW, _ALL = "a window", "all that is shown"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument(
        "--networks",
        nargs="+",
        choices=get_args(ModelName),
        default=list(get_args(ModelName)),
    )
    parser.add_argument("--sample", default="tissue", help="texture, one of the sample images")
    parser.add_argument(
        "--size", type=count, nargs=2, default=[256, 2048], help="height and width of the plane"
    )
    parser.add_argument("--tile", type=count, default=256, help="side of a tile")
    parser.add_argument("--halos", type=int, nargs="*", default=[192], help="context")
    parser.add_argument(
        "--steps", type=int, default=25, help="optimiser steps of the quick network"
    )
    parser.add_argument(
        "--whole-steps",
        type=int,
        default=0,
        help="of the others: from random weights, ResNets soon give everything one label",
    )
    parser.add_argument("--results", type=Path, help="folder for tiles.md and tiles.csv")


def run(args: argparse.Namespace) -> dict[str, Any]:
    """Measure; see the module's text.

    Returns
    -------
    dict
        ``rows``: network, over what it takes means, halo in pixels, whether it is the network's
        own, labels in use, percentage of pixels with another label, the same had tiles been
        blended, pixels read for each pixel of the plane; ``settings``, ``machine``.
    """
    machine = describe_machine()
    rows: list[dict[str, Any]] = []
    for name in args.networks:
        rows += compare(name, args)
    keys = ("sample", "size", "tile", "steps", "whole_steps")
    result = {
        "rows": rows,
        "settings": {key: getattr(args, key) for key in keys},
        "machine": machine,
    }
    if args.results is not None:
        write(result, args.results)
    return result


class Plain(ArraySource):
    """A plane in memory that counts the pixels read from it."""

    pixels = 0

    def read(self, plane: Plane, box: Box) -> NDArray[np.float32]:
        """Return (C, h, w) float32."""
        self.pixels += box.shape[0] * box.shape[1]
        return super().read(plane, box)


def textured(sample: str, size: tuple[int, int]) -> Plain:
    """Return a sample repeated to (height, width), with its strokes in the first copy."""
    from napari_cas.samples import load_sample

    loaded = load_sample(sample)
    image = np.moveaxis(np.atleast_3d(loaded.image), 2, 0)
    copies = (1, *(-(-wanted // n) for wanted, n in zip(size, image.shape[1:], strict=True)))
    regions = np.zeros(size, np.int32)
    strokes = loaded.strokes[: size[0], : size[1]]
    regions[: strokes.shape[0], : strokes.shape[1]] = strokes
    return Plain("plane", np.tile(image, copies)[:, : size[0], : size[1]], regions)


def compare(name: str, args: argparse.Namespace) -> list[dict[str, Any]]:
    """Return a row for each halo of one network, and one with means over all that is shown."""
    from napari_cas.models.pooling import LocalMean

    source = textured(args.sample, args.size)
    trainer = learn(name, source, args.steps if name == "quick" else args.whole_steps)
    model, own = trainer.model, trainer.model.halo
    pools = [module for module in model.modules() if isinstance(module, LocalMean)]
    one = _predict(trainer, source, _AT_ONCE)
    rows = [
        _row(trainer, source, one, args.tile, halo) | {"means": _WINDOW if pools else ""}
        for halo in sorted({own, *args.halos})
    ]
    if pools:
        for pool in pools:
            pool.window = _AT_ONCE
        one = _predict(trainer, source, _AT_ONCE)
        rows.append(_row(trainer, source, one, args.tile, own) | {"means": _ALL})
    for row in rows:
        row["own"] = "yes" if row["halo"] == own and row["means"] != _ALL else ""
    return [{"network": name} | row for row in rows]


def learn(name: str, source: ArraySource, steps: int) -> Trainer:
    """Return a network in evaluation mode, after steps on a source's strokes."""
    import torch

    from napari_cas.engine.trainer import Trainer

    with tempfile.TemporaryDirectory() as folder:
        weights = "default"
        if name != "quick":
            weights = str(Path(folder) / "weights.pth")
            torch.save(settled(name, source), weights)
        spec = ModelSpec.model_validate({"name": name, "weights": weights, "channels": _CHANNELS})
        trainer = Trainer(Config(model=spec), source.channels)
    if steps:
        trainer.train([source], steps)
    trainer.model.eval()
    return trainer


def settled(name: str, source: ArraySource) -> dict[str, Tensor]:
    """Return random weights of a whole network with the batch statistics of a source's crops."""
    import torch
    from torch.optim.swa_utils import update_bn

    from napari_cas.models import create_model

    spec = ModelSpec.model_validate({"name": name, "weights": "none", "channels": _CHANNELS})
    model = create_model(spec, source.channels)
    side = min(_CROP, *source.size)
    places = np.random.default_rng(0).integers(
        0, np.array(source.size) - side + 1, (_BATCHES, _CROPS, 2)
    )
    batches = (
        torch.stack(
            [torch.from_numpy(source.read((), Box(y, x, y + side, x + side))) for y, x in b]
        )
        for b in places.tolist()
    )
    with torch.no_grad():
        update_bn(batches, model)
    return model.get_submodule("net").state_dict()


def _row(trainer: Trainer, source: Plain, one: Prediction, tile: int, halo: int) -> dict[str, Any]:
    """Compare tiles with `halo` pixels of context to one go."""
    trainer.model.halo, source.pixels = halo, 0
    with blended(trainer.model, source.size, tile) as total:
        tiled = _predict(trainer, source, tile)
    return {
        "halo": halo,
        "labels": len(np.unique(one.labels)),
        "differing": 100 * float((tiled.labels != one.labels).mean()),
        "blended": 100 * float((total.argmax(0) + 1 != one.labels).mean()) if total.any() else None,
        "read": source.pixels / one.labels.size,
    }


@contextmanager
def blended(
    model: SegmentationModel, size: tuple[int, int], tile: int
) -> Iterator[NDArray[np.float32]]:
    """Add up what tiles say, their context included, with weights that sum to one at each pixel.

    Yields
    ------
    ndarray
        (M, Y, X), filled while a whole network predicts a plane of `size` in tiles; left 0 by the
        quick network, which is not called as a whole.
    """
    import torch

    from napari_cas.engine.tiling import grid, with_halo

    tiles = iter(grid(size, tile, model.stretch))
    total = np.zeros((model.channels, *size), np.float32)

    def add(_model: object, _inputs: object, logits: Tensor) -> None:
        box = next(tiles)
        outer = with_halo(box, model.halo, size)
        reach = max(min(_RAMP, model.halo), 0.5)  # half a pixel: no ramp
        rows = ramps((box.y0, box.y1), (outer.y0, outer.y1), size[0], reach)
        columns = ramps((box.x0, box.x1), (outer.x0, outer.x1), size[1], reach)
        soft = torch.softmax(logits[0], 0).cpu().numpy()
        total[(slice(None), *outer.slices)] += soft * np.outer(rows, columns)

    hook = model.register_forward_hook(add)
    try:
        yield total
    finally:
        hook.remove()


def ramps(
    inner: tuple[int, int], outer: tuple[int, int], length: int, reach: float
) -> NDArray[np.float32]:
    """Return a tile's weights along one side, by pixel of its outer box.

    They rise and fall over `reach` pixels on each side of the tile's borders, not at the plane's,
    and those of neighbouring tiles sum to one.
    """
    at = np.arange(*outer) + 0.5
    weights = np.ones(len(at), np.float32)
    if inner[0]:
        weights *= np.clip((at - inner[0]) / (2 * reach) + 0.5, 0, 1)
    if inner[1] < length:
        weights *= np.clip((inner[1] - at) / (2 * reach) + 0.5, 0, 1)
    return weights


def _predict(trainer: Trainer, source: ArraySource, tile: int) -> Prediction:
    from napari_cas.engine.features import FeatureCache
    from napari_cas.engine.predict import predict_box

    return predict_box(
        trainer.model, source, (), Box(0, 0, *source.size), tile, FeatureCache(limit=0)
    )


def write(result: dict[str, Any], folder: Path) -> None:
    """Write ``tiles.md`` and ``tiles.csv``."""
    columns = [
        Column("network", "network"),
        Column("means", "means over"),
        Column("halo", "context, px", 0),
        Column("own", "the network's own"),
        Column("labels", "labels in use", 0),
        Column("differing", "differing labels, %", 3),
        Column("blended", "were tiles blended, %", 3),
        Column("read", "pixels read per pixel", 2),
    ]
    said = notes(result["settings"], result["machine"]["processor"])
    Table("tiles", "Tiles against one go", columns, result["rows"], said).write(folder)


def notes(settings: dict[str, Any], processor: str) -> list[str]:
    """Return what has to be known to read the table."""
    height, width = settings["size"]
    plane = (
        f"A plane of {height} × {width} pixels (sample '{settings['sample']}', repeated) in tiles "
        f"of {settings['tile']}, against one go. Target: at most {_TARGET} %."
    )
    learnt = (
        f"The quick network after {settings['steps']} steps. The others after "
        f"{settings['whole_steps']} from random weights whose batch statistics are the plane's, "
        "for no pretrained ones could be had: a hard case, as their channels are nearly equally "
        "probable. So their rows speak of tiles, not of how well they segment."
    )
    means = (
        "'Means over': what DeepLabV3 and LR-ASPP average. The product averages over a window "
        "that moves with the pixel, so that a pixel depends on a limited context. With means over "
        "all that is shown, as the networks were published, no context makes tiles equal to one go."
    )
    blend = (
        f"'Were tiles blended': probabilities weighted by linear ramps, over {_RAMP} pixels on "
        "each side of the tiles' borders, and added up. Where the context is too small that helps "
        "a little; where it suffices it does harm or nothing, for it brings in what tiles say of "
        "their far surroundings. So the product cuts, and no tile waits for its neighbours."
    )
    cost = (
        "'Pixels read per pixel' is what the context costs on this plane, if it is a strip only to "
        "the left and right; in the middle of a large plane it is ((tile + 2 × context) / tile)²."
    )
    made = f"Made by `python -m training bench tiles` on {processor}."
    return [plane, learnt, means, blend, cost, made]


def describe(result: dict[str, Any]) -> str:
    """Return the result as a few lines for people."""
    lines = []
    for r in result["rows"]:
        blend = "" if r["blended"] is None else f", {r['blended']:.3f} % blended"
        means = f", means over {r['means']}" if r["means"] else ""
        lines.append(
            f"{r['network']:26s} context {r['halo']:4d}{'*' if r['own'] else ' '} "
            f"{r['labels']} labels, {r['differing']:.3f} % differ{blend}{means}"
        )
    return "\n".join(lines)
