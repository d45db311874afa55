"""A model while it is being fine-tuned: what the worker keeps warm and a checkpoint restores."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch

from napari_cas.engine import checkpoint
from napari_cas.engine.device import resolve_device
from napari_cas.engine.features import FeatureCache
from napari_cas.engine.fit import Learner, fit
from napari_cas.engine.predict import Prediction, predict_box
from napari_cas.engine.preprocess import check_channels, principal_mixing
from napari_cas.engine.sampling import (
    Batch,
    PaintedTile,
    PixelSampler,
    check_regions,
    painted_tiles,
)
from napari_cas.models import QuickModel, create_model

if TYPE_CHECKING:
    from napari_cas.protocol import Box, LossPoint, Plane
    from collections.abc import Mapping, Sequence
    from napari_cas.config import Config
    from napari_cas.engine.sources import Source
    from napari_cas.models import SegmentationModel

STEPS_PER_ROUND = 100
_STILL = 0.005
_FLAT = 0.02


class RoundResult(NamedTuple):
    """What one round of training did."""

    losses: tuple[LossPoint, ...]
    channels_used: int
    regions: int
    converged: bool
    digest: str
    seconds: dict[str, float]
    warnings: tuple[str, ...]


class Trainer:
    """A network with its optimiser, on a device.

    Parameters
    ----------
    config : Config
        All settings.
    in_channels : int
        Channels of the images.
    cache : FeatureCache, optional
        Features that may be shared with another trainer of the same stem.
    """

    def __init__(self, config: Config, in_channels: int, cache: FeatureCache | None = None) -> None:
        self.config = config
        self.in_channels = in_channels
        self.cache = FeatureCache() if cache is None else cache
        self.device = resolve_device(config.device)
        self.model: SegmentationModel = create_model(config.model, in_channels, config.seed).to(
            self.device
        )
        rate = config.fit.learning_rate or self.model.learning_rate
        parameters = [p for p in self.model.parameters() if p.requires_grad]
        self.learner = Learner(
            self._logits, parameters, torch.optim.AdamW(parameters, lr=rate), rate
        )
        self._digest, self._regions = "", 0

    @classmethod
    def restore(
        cls,
        tensors: Mapping[str, np.ndarray],
        record: Mapping[str, Any],
        config: Config | None = None,
        cache: FeatureCache | None = None,
    ) -> Trainer:
        """Continue from a checkpoint, with its own settings or, for the same network, with others.

        Raises
        ------
        CheckpointError
            If it is foreign or damaged.
        """
        saved, in_channels = checkpoint.config_in(record)
        trainer = cls(
            (config or saved).model_copy(update={"model": saved.model}), in_channels, cache
        )
        checkpoint.restore(trainer.model, trainer.learner, tensors)
        training = record["training"]
        trainer.learner.step = int(training["step"])
        if (config or saved).fit.learning_rate == saved.fit.learning_rate:
            trainer.learner.learning_rate = float(training["learning_rate"])
        trainer._digest, trainer._regions = training["data_digest"], int(training["regions"])
        return trainer

    def save(self) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
        """Return the checkpoint: arrays by name and the JSON record."""
        record = checkpoint.record_of(
            self.config, self.in_channels, self.learner, self._digest, self._regions
        )
        return checkpoint.tensors_of(self.model, self.learner), record

    @property
    def data_digest(self) -> str:
        """Digest of where what was painted in the last round."""
        return self._digest

    def reconfigure(self, config: Config) -> None:
        """Go on with other settings for the same network."""
        before = self.config.fit.learning_rate
        self.config = config
        if config.fit.learning_rate != before:
            self.learner.learning_rate = config.fit.learning_rate or self.model.learning_rate

    def _logits(self, inputs: torch.Tensor) -> torch.Tensor:
        if isinstance(self.model, QuickModel):
            return self.model.head(inputs).T[None]  # type: ignore[no-any-return]
        return self.model(inputs)  # type: ignore[no-any-return]

    def train(
        self, sources: Sequence[Source], steps: int = STEPS_PER_ROUND, seconds: float = 1e9
    ) -> RoundResult:
        """Train one round on what is painted.

        Parameters
        ----------
        sources : sequence of Source
            All images; those without paint are not touched.
        steps : int
            Steps at most.
        seconds : float
            Optimiser time at most. Only where it ends a round early does the result depend on the
            machine's speed.

        Raises
        ------
        RegionError
            If there is nothing to tell apart.
        """
        start = time.perf_counter()
        tiles = painted_tiles(sources, self.config.predict.tile_size)
        self._regions = check_regions(tiles)
        for tile in tiles:
            check_channels(self.in_channels, tile.source.channels, tile.source.name)
        self._set_mixing(tiles)
        sampler = self._sampler(tiles)
        self._digest = sampler.digest
        ready = time.perf_counter()
        before = self._probe(sampler)
        losses = []
        for point in fit(self.learner, sampler.batch, self.config.loss, steps):
            losses.append(point)
            if time.perf_counter() - ready > seconds:
                break
        moved = float((before != self._probe(sampler)).float().mean())
        warnings, self.learner.warnings = tuple(self.learner.warnings), []
        return RoundResult(
            tuple(losses),
            self._channels_used(sampler),
            self._regions,
            moved < _STILL and _is_flat(losses),
            sampler.digest,
            {"features": ready - start, "fit": time.perf_counter() - ready},
            warnings,
        )

    def _set_mixing(self, tiles: Sequence[PaintedTile]) -> None:
        """Fit the mixing of more than three channels once, on the first painted tiles."""
        if self.in_channels <= 3 or self.learner.step:
            return
        samples = [
            t.source.read(t.plane, t.box)[:, ::8, ::8].reshape(self.in_channels, -1)
            for t in tiles[:16]
        ]
        mixing, offset = principal_mixing(samples)
        self.model.mixing.copy_(torch.from_numpy(mixing))
        self.model.offset.copy_(torch.from_numpy(offset))
        self.cache.clear()

    def _sampler(self, tiles: Sequence[PaintedTile]) -> PixelSampler:
        assert isinstance(self.model, QuickModel)
        sampler = PixelSampler(self.model, tiles, self.cache, self.config.seed)
        if not self.model.head.fitted:
            self.model.head.standardise(torch.cat([sampler.features, sampler.probes]))
        return sampler

    @torch.no_grad()
    def _probe(self, sampler: PixelSampler) -> torch.Tensor:
        """Return the labels of fixed pixels, painted or not, to see whether training moves them."""
        return self._logits(sampler.probes).argmax(1)

    @torch.no_grad()
    def _channels_used(self, sampler: PixelSampler) -> int:
        """Count the channels that are some painted region's strongest."""
        inputs, regions = sampler.batch(0)
        soft = torch.softmax(self._logits(inputs), dim=1)[0]
        sums = torch.zeros(len(regions.count), soft.shape[0], device=soft.device)
        sums.index_add_(0, regions.index[0], soft.T)
        return len(sums.argmax(1).unique())

    def predict(self, source: Source, plane: Plane, box: Box) -> Prediction:
        """Predict a box of a plane."""
        check_channels(self.in_channels, source.channels, source.name)
        self.model.eval()
        return predict_box(
            self.model, source, plane, box, self.config.predict.tile_size, self.cache
        )


def _is_flat(losses: Sequence[LossPoint]) -> bool:
    """Whether the last quarter of a round is hardly better than the second."""
    quarter = len(losses) // 4
    if quarter < 2:
        return False
    totals = [p.total for p in losses]
    second, last = np.mean(totals[quarter : 2 * quarter]), np.mean(totals[-quarter:])
    return bool(second - last < _FLAT * max(abs(second), 0.05))
