"""Methods that learn from a few painted images and segment others, on the same strokes.

Ours is told which pixels of one image belong together, the others which name each pixel has. Given
names that were shuffled in every image they are told what ours is told; given the true names, more.
"""

from __future__ import annotations

import math
import time
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

import numpy as np

from napari_cas.config import Config, FitConfig, ModelSpec

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray
    from torch import Tensor

    from napari_cas.config import Enlargement
    from napari_cas.engine.composites import Composites
    from napari_cas.engine.painting import PaintedTile
    from napari_cas.engine.sources import ArraySource
    from napari_cas.engine.trainer import Trainer
    from napari_cas.models import QuickModel
    from napari_cas.protocol import Box

Images: TypeAlias = "Sequence[NDArray[np.uint8]]"
Painted: TypeAlias = "Sequence[NDArray[np.int32]]"


class Learnt(NamedTuple):
    """Segmentations of the other images, and how long it took."""

    labels: Sequence[NDArray[Any]]
    fit_seconds: float
    predict_seconds: float


Method: TypeAlias = "Callable[[Images, Painted, Images, int], Learnt]"
"""From painted images, their strokes, other images and a seed to the others' segmentations."""

RATE = 1e-2
"""Step size that suits cross-entropy from a random start best, of 1e-3, 2e-3, 1e-2."""

_COMPOSED = 512
"""Pixels of composites in each step of cross-entropy."""

STEPS, ROUNDS = 100, 6
"""Optimiser steps of cross-entropy: rounds of as many steps, each with its own cooling, as ours."""


def ours(
    images: Images, painted: Painted, others: Images, seed: int, config: Config | None = None
) -> Learnt:
    """Fine-tune and predict through the public interface."""
    import napari_cas

    config = (config or Config()).model_copy(update={"seed": seed})
    start = time.perf_counter()
    model = napari_cas.fine_tune(images, painted, config)
    fitted = time.perf_counter()
    labels = [np.asarray(napari_cas.predict(model, image).labels) for image in others]
    return Learnt(labels, fitted - start, time.perf_counter() - fitted)


def cross_entropy(
    images: Images,
    painted: Painted,
    others: Images,
    seed: int,
    *,
    copies: int = 0,
    composites: bool = False,
    enlarge: Enlargement = 1,
) -> Learnt:
    """Train the same head on the same features and pixels as ours, with cross-entropy.

    Parameters
    ----------
    images, painted, others, seed
        As for every `Method`.
    copies : int
        Varied copies of the painted images that it learns from, too.
    composites : bool
        Whether it learns from composites of the painted images as ours does.
    enlarge : {1, 2, 4}
        How many times larger the network sees images.
    """
    start = time.perf_counter()
    classes = max([2, *(int(p.max()) for p in painted)])
    fit = FitConfig(learning_rate=RATE)
    spec = ModelSpec(channels=classes, enlarge=enlarge)
    config = Config(model=spec, fit=fit, seed=seed)
    trainer, sources = trainer_of(config, images, painted)
    _train_by_name(trainer, sources, copies, composites=composites)
    fitted = time.perf_counter()
    labels = [apply(trainer, image) for image in others]
    return Learnt(labels, fitted - start, time.perf_counter() - fitted)


def _train_by_name(
    trainer: Trainer, sources: Sequence[ArraySource], copies: int, *, composites: bool
) -> None:
    """Minimise cross-entropy of the painted ids with ours' sampler, optimiser and schedule."""
    import torch
    from torch.nn import functional as nnf

    from napari_cas.engine.painting import painted_tiles
    from napari_cas.engine.sampling import PixelSampler

    config, model = trainer.config, quick_of(trainer)
    tiles = painted_tiles(sources, config.predict.tile_size)
    sampler = PixelSampler(model, tiles, trainer.cache, config.seed, copies)
    model.head.standardise(torch.cat([sampler.features, sampler.probes]))
    optimiser = trainer.learner.optimiser
    model.train()
    made = None
    for step in range(STEPS * ROUNDS):
        if composites and step and not step % STEPS:
            made = _composites(trainer, tiles, step // STEPS)
        batch = sampler.batch(step)
        # The batch numbers its regions afresh, from their numbers in the sampler, plus one.
        ids = sampler.ids.to(batch.inputs.device)[batch.regions.ids - 1]
        names = ids[batch.regions.index[0].long()] - 1
        loss = nnf.cross_entropy(model.head(batch.inputs), names)
        if made is not None:
            loss = loss + _consistency(trainer, made, step)
        optimiser.zero_grad(set_to_none=True)
        torch.autograd.backward(loss)
        cooling = 0.55 + 0.45 * math.cos(math.pi * (step % STEPS) / STEPS)
        for group in optimiser.param_groups:
            group["lr"] = trainer.learner.learning_rate * group.get("pace", 1.0) * cooling
        optimiser.step()
    model.eval()


def _composites(trainer: Trainer, tiles: Sequence[PaintedTile], rounds: int) -> Composites | None:
    """Make composites, as ours does."""
    from napari_cas.engine.composites import how_many, make_composites

    def predict(tile: PaintedTile, box: Box) -> NDArray[np.float32]:
        return trainer.predict(tile.source, tile.plane, box).probabilities

    seed = trainer.config.seed
    return make_composites(
        quick_of(trainer),
        tiles,
        predict,
        trainer.cache,
        seed,
        how_many(rounds),
        light=True,
        side=True,
    )


def _consistency(trainer: Trainer, composites: Composites, step: int) -> Tensor:
    """Return the penalty for calling a pixel of a composite otherwise than where it comes from."""
    import torch
    from torch.nn import functional as nnf

    from napari_cas.engine.device import generator

    rng = generator(trainer.config.seed, step)
    chosen = torch.randint(len(composites.channel), (_COMPOSED,), generator=rng)
    chosen = chosen.to(composites.features.device)
    logits = quick_of(trainer).head(composites.features[chosen])
    return nnf.cross_entropy(logits, composites.channel.to(logits.device)[chosen])


def quick_of(trainer: Trainer) -> QuickModel:
    """Return the trainer's network, which is the quick one by default."""
    from napari_cas.models import QuickModel

    assert isinstance(trainer.model, QuickModel)
    return trainer.model


def forest(images: Images, painted: Painted, others: Images, seed: int) -> Learnt:
    """Fit scikit-image's recipe, filters and a random forest, on all strokes."""
    from training.forest import features, fit_and_apply

    start = time.perf_counter()
    described = [features(image) for image in images]
    return _by_forest(
        described, painted, [features(image) for image in others], seed, start, fit_and_apply
    )


def deep_forest(images: Images, painted: Painted, others: Images, seed: int) -> Learnt:
    """Fit a random forest on the same frozen features as ours."""
    from training.forest import fit_and_apply

    start = time.perf_counter()
    trainer, _ = trainer_of(Config(), images[:1], painted[:1])
    described = [_deep(trainer, image) for image in images]
    return _by_forest(
        described, painted, [_deep(trainer, image) for image in others], seed, start, fit_and_apply
    )


def _by_forest(
    described: list[NDArray[np.float32]],
    painted: Painted,
    others: list[NDArray[np.float32]],
    seed: int,
    start: float,
    fit_and_apply: Callable[..., list[NDArray[np.int64]]],
) -> Learnt:
    """Fit and apply a forest; features of the others count as prediction, by their share."""
    ready = time.perf_counter()
    share = len(described) / (len(described) + len(others))
    labels = list(fit_and_apply(described, painted, others, seed=seed))
    described_in = ready - start
    rest = time.perf_counter() - ready
    return Learnt(labels, described_in * share, described_in * (1 - share) + rest)


def trainer_of(
    config: Config, images: Images, painted: Painted
) -> tuple[Trainer, list[ArraySource]]:
    """Return a fresh trainer and the painted images as its sources."""
    from napari_cas.engine.device import set_threads
    from napari_cas.engine.trainer import Trainer

    set_threads()
    pairs = enumerate(zip(images, painted, strict=True))
    sources = [source_of(f"{number:06d}", *pair) for number, pair in pairs]
    return Trainer(config, sources[0].channels), sources


def source_of(
    name: str,
    image: NDArray[Any],
    strokes: NDArray[np.integer[Any]],
    corrections: NDArray[np.uint8] | None = None,
) -> ArraySource:
    """Return a painted image as a trainer takes it, checked as the public interface does."""
    from napari_cas.engine.checks import as_image, as_regions
    from napari_cas.engine.sources import ArraySource

    array = as_image(image, f"image {name}")
    regions = as_regions(strokes, array.shape[1:], f"strokes {name}")
    return ArraySource(name, array, regions, corrections=corrections)


def apply(trainer: Trainer, image: NDArray[np.uint8]) -> NDArray[np.integer[Any]]:
    """Return the labels of an image the trainer has not seen."""
    from napari_cas.engine.checks import as_image
    from napari_cas.engine.sources import ArraySource
    from napari_cas.protocol import Box

    trainer.cache.clear()
    source = ArraySource("other", as_image(image, "other"))
    return np.asarray(trainer.predict(source, (), Box(0, 0, *source.size)).labels)


def _deep(trainer: Trainer, image: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Return (Y, X, D) frozen features of every pixel."""
    import torch

    from napari_cas.engine.checks import as_image
    from napari_cas.engine.features import tile_features
    from napari_cas.engine.sources import ArraySource
    from napari_cas.models.pyramid import gather
    from napari_cas.protocol import Box

    trainer.cache.clear()
    source = ArraySource("other", as_image(image, "other"))
    box = Box(0, 0, *source.size)
    pyramid = tile_features(quick_of(trainer), source, (), box, trainer.cache)
    rows, columns = torch.meshgrid(*(torch.arange(n) for n in source.size), indexing="ij")
    found = gather(pyramid, rows.flatten(), columns.flatten())
    return found.cpu().numpy().astype(np.float32).reshape(*source.size, -1)


METHODS: dict[str, Method] = {
    "ours": ours,
    "cross-entropy": cross_entropy,
    "forest": forest,
    "deep forest": deep_forest,
}
"""All methods by name."""
