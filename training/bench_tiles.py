"""How far labels of tiles differ from those of one go, by network and by context around a tile.

A real texture is learnt for a round from its strokes, with random weights for the networks that are
fine-tuned whole; then the same plane is predicted in one go and in tiles of which no side is
predicted in one go by itself.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

import numpy as np

from napari_cas.config import Config, FitConfig, ModelName, ModelSpec
from napari_cas.protocol import Box
from training.machine import describe_machine
from training.report import Column, Table

if TYPE_CHECKING:
    import argparse

    from napari_cas.engine.predict import Prediction
    from napari_cas.engine.sources import ArraySource
    from napari_cas.engine.trainer import Trainer

_AT_ONCE = 4096
_CHANNELS = 6


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument(
        "--networks",
        nargs="+",
        choices=get_args(ModelName),
        default=["quick", "deeplabv3_resnet50", "fcn_resnet50"],
    )
    parser.add_argument("--sample", default="tissue", help="texture, one of the sample images")
    parser.add_argument("--side", type=int, default=512, help="height and width of the plane")
    parser.add_argument("--tile", type=int, default=128, help="side of a tile")
    parser.add_argument("--halos", type=int, nargs="+", default=[64, 192, 320], help="context")
    parser.add_argument("--steps", type=int, default=25, help="optimiser steps before")
    parser.add_argument("--results", type=Path, help="folder for tiles.md and tiles.csv")


def run(args: argparse.Namespace) -> dict[str, Any]:
    """Measure; see the module's text.

    Returns
    -------
    dict
        ``rows``: network, halo in pixels, whether it is the network's own, labels in use, share of
        pixels with another label; ``settings``, ``machine``.
    """
    machine = describe_machine()
    rows: list[dict[str, Any]] = []
    for name in args.networks:
        rows += compare(name, args)
    keys = ("sample", "side", "tile", "steps")
    result = {
        "rows": rows,
        "settings": {key: getattr(args, key) for key in keys},
        "machine": machine,
    }
    if args.results is not None:
        write(result, args.results)
    return result


def textured(sample: str, side: int) -> ArraySource:
    """Return a sample repeated to a plane, with its strokes in the first copy."""
    from napari_cas.engine.sources import ArraySource
    from napari_cas.samples import load_sample

    loaded = load_sample(sample)
    image = np.moveaxis(np.atleast_3d(loaded.image), 2, 0)
    copies = (1, *(-(-side // n) for n in image.shape[1:]))
    regions = np.zeros((side, side), np.int32)
    strokes = loaded.strokes[:side, :side]
    regions[: strokes.shape[0], : strokes.shape[1]] = strokes
    return ArraySource("plane", np.tile(image, copies)[:, :side, :side], regions)


def compare(name: str, args: argparse.Namespace) -> list[dict[str, Any]]:
    """Return a row for each halo of one network."""
    from napari_cas.engine.trainer import Trainer

    source = textured(args.sample, args.side)
    weights = "default" if name == "quick" else "none"
    spec = ModelSpec.model_validate({"name": name, "weights": weights, "channels": _CHANNELS})
    config = Config(model=spec, fit=FitConfig(crop_size=128, batch_size=2))
    trainer = Trainer(config, source.channels)
    trainer.train([source], args.steps)
    trainer.model.eval()
    one, own = _predict(trainer, source, _AT_ONCE), trainer.model.halo
    rows = []
    for halo in sorted({own, *args.halos}):
        trainer.model.halo = halo
        tiled = _predict(trainer, source, args.tile)
        rows.append(
            {
                "network": name,
                "halo": halo,
                "own": "yes" if halo == own else "",
                "labels": len(np.unique(one.labels)),
                "differing": 100 * float((tiled.labels != one.labels).mean()),
            }
        )
    return rows


def _predict(trainer: Trainer, source: ArraySource, tile: int) -> Prediction:
    from napari_cas.engine.features import FeatureCache
    from napari_cas.engine.predict import predict_box

    return predict_box(
        trainer.model, source, (), Box(0, 0, *source.size), tile, FeatureCache(limit=0)
    )


def write(result: dict[str, Any], folder: Path) -> None:
    """Write ``tiles.md`` and ``tiles.csv``."""
    settings, machine = result["settings"], result["machine"]
    columns = [
        Column("network", "network"),
        Column("halo", "context, px", 0),
        Column("own", "the network's own"),
        Column("labels", "labels in use", 0),
        Column("differing", "differing labels, %", 2),
    ]
    measured = (
        f"A plane of {settings['side']} × {settings['side']} pixels (sample "
        f"'{settings['sample']}', repeated) in tiles of {settings['tile']}, against one go; after "
        f"{settings['steps']} steps, whole networks from random weights. Target: at most 0.1 %."
    )
    why = (
        "DeepLabV3 (and LR-ASPP) mix the mean over all that they are shown into every pixel, so no "
        "context makes tiles equal to one go. Planes of up to two tiles a side, 1024 pixels by "
        "default, are predicted in one go by the whole networks; this table is about larger ones."
    )
    made = f"Made by `python -m training bench tiles` on {machine['processor']}."
    table = Table("tiles", "Tiles against one go", columns, result["rows"], [measured, why, made])
    table.write(folder)


def describe(result: dict[str, Any]) -> str:
    """Return the result as a few lines for people."""
    return "\n".join(
        f"{r['network']:26s} context {r['halo']:4d}{'*' if r['own'] else ' '} "
        f"{r['labels']} labels, {r['differing']:.2f} % differ"
        for r in result["rows"]
    )
