"""Fine-tuning deeper: the quick network's encoder learns what its closed form says.

The tool keeps the encoder frozen. Here it goes on where the tool has ended: the whole network
learns to say of pieces of the painted images, in other light, from other sides and pasted onto one
another, what the tool says of them, strokes followed. So it learns from every pixel, painted or
not, and still from no name (self-training [1]_). ``python -m training bench ablation`` has it as
variants; docs/label-free.md, "Deeper", says what it is worth and why the tool does not do it.

References
----------
.. [1] Xie et al., "Self-training with noisy student improves ImageNet classification", CVPR 2020.
"""

from __future__ import annotations

import copy
import math
import time
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as nnf

from napari_cas.config import Config
from napari_cas.engine.composites import random_mask
from napari_cas.engine.variations import Variation
from napari_cas.models.quick import Stem
from napari_cas.protocol import Box
from training.label_free import Learnt, apply, quick_of, trainer_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from napari_cas.engine.trainer import Trainer
    from napari_cas.models import QuickModel
    from training.label_free import Images, Painted

STEPS = 400
_BATCH, _SIDE = 4, 160
_RATE, _HEAD_RATE = 3e-4, 1e-3
_WARM_UP = 20
_SHARPNESS = 8
"""Probabilities are taken to this power: as they are, the student was worse than its teacher."""


class Lesson(NamedTuple):
    """An image (C, H, W) on the 0–255 scale, and what to say of it: (M, H, W) probabilities."""

    image: NDArray[np.float32]
    said: NDArray[np.float32]


class OwnStem(Stem):
    """A stem with a network of its own, which learns.

    Parameters
    ----------
    stem : Stem
        Of the quick network as it is.
    """

    def __init__(self, stem: Stem, in_channels: int) -> None:
        super().__init__(in_channels, stem.weights, stem.enlarge)
        self.own = copy.deepcopy(stem.network(torch.device("cpu"))).requires_grad_(True)

    def network(self, device: torch.device) -> nn.Module:
        """Return the network that learns."""
        return self.own.to(device)

    def seen(self, image: Tensor, rgb: Tensor) -> tuple[Tensor, ...]:
        """Return features to learn by, from one side: a random one is as good, at half the cost."""
        with torch.no_grad():
            levels = [*map(list, self.filters(image)), []]
        channels_last = ((rgb - 127.0) / 128.0).contiguous(memory_format=torch.channels_last)
        for level, found in zip(levels[1:], self.own(channels_last), strict=True):
            level.append(found)
        return tuple(
            nnf.pad(torch.cat(level, 1), (1, 0, 1, 0), mode="replicate") for level in levels
        )


def deeper(images: Images, painted: Painted, others: Images, seed: int) -> Learnt:
    """Fine-tune as the tool does, then the encoder on what that says of the painted images."""
    start = time.perf_counter()
    trainer, sources = trainer_of(Config(seed=seed), images, painted)
    for _ in range(trainer.config.fit.max_rounds):
        if trainer.train(sources).converged:
            break
    lessons = []
    for source in sources:
        whole = Box(0, 0, *source.size)
        said = trainer.predict(source, (), whole).probabilities ** _SHARPNESS
        lessons.append(Lesson(source.read((), whole), said / said.sum(0)))
    teach(trainer, lessons, np.random.default_rng(seed))
    fitted = time.perf_counter()
    labels = [apply(trainer, image) for image in others]
    return Learnt(labels, fitted - start, time.perf_counter() - fitted)


def teach(trainer: Trainer, lessons: Sequence[Lesson], rng: np.random.Generator) -> None:
    """Teach all of the network by cross-entropy; strokes are not followed afterwards."""
    model = quick_of(trainer)
    stem, optimiser = _unfreeze(model)
    for step in range(STEPS):
        batch = [_example(lessons, rng) for _ in range(_BATCH)]
        image = torch.from_numpy(np.stack([lesson.image for lesson in batch]))
        said = torch.from_numpy(np.stack([lesson.said for lesson in batch]))[..., 1::2, 1::2]
        logits = model.head.map(stem.seen(image, model.to_rgb(image)), step=2)
        loss = -(said * torch.log_softmax(logits, 1)).sum(1).mean()
        cooling = min(1.0, (step + 1) / _WARM_UP) * (1 + math.cos(math.pi * step / STEPS)) / 2
        for group in optimiser.param_groups:
            group["lr"] = group["most"] * cooling
        optimiser.zero_grad()
        torch.autograd.backward(loss)
        optimiser.step()
    trainer.forget_images()  # features are of the network as it was


def _unfreeze(model: QuickModel) -> tuple[OwnStem, torch.optim.Optimizer]:
    """Give the model a stem and a linear map that learn, and return what teaches them."""
    head = model.head
    head.linear_weight = nn.Parameter(head.linear_weight.clone())
    head.linear_bias = nn.Parameter(head.linear_bias.clone())
    model.stem = stem = OwnStem(model.stem, model.in_channels)
    groups = [
        {"params": [*stem.own.parameters()], "most": _RATE},
        {"params": [*head.parameters()], "most": _HEAD_RATE},
    ]
    return stem, torch.optim.AdamW(groups, weight_decay=1e-4)


def _example(lessons: Sequence[Lesson], rng: np.random.Generator) -> Lesson:
    """Draw a piece of a lesson, half of the time with another pasted onto it, in another light."""
    image, said = _piece(lessons, rng)
    if rng.random() < 0.5:
        above, of_above = _piece(lessons, rng)
        inside = random_mask((_SIDE, _SIDE), rng)
        image, said = np.where(inside, above, image), np.where(inside, of_above, said)
    light = Variation.draw(len(image), rng)._replace(turns=0, mirrored=False)
    return Lesson(light.apply(image), np.ascontiguousarray(said))


def _piece(lessons: Sequence[Lesson], rng: np.random.Generator) -> Lesson:
    """Draw a square of a lesson from a random side; what is smaller is mirrored at its border."""
    lesson = lessons[int(rng.integers(len(lessons)))]
    height, width = lesson.image.shape[1:]
    more = ((0, 0), (0, max(0, _SIDE - height)), (0, max(0, _SIDE - width)))
    y, x = (int(rng.integers(max(0, n - _SIDE) + 1)) for n in (height, width))
    turns, mirrored = int(rng.integers(4)), bool(rng.integers(2))
    found = []
    for whole in lesson:
        part = np.pad(whole, more, mode="symmetric")[:, y : y + _SIDE, x : x + _SIDE]
        turned = np.rot90(part, turns, (1, 2))
        found.append(np.ascontiguousarray(turned[..., ::-1] if mirrored else turned))
    return Lesson(*found)
