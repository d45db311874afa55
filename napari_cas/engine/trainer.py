"""A model while it is being fine-tuned: what the worker keeps warm and a checkpoint restores."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, NamedTuple

import torch

from napari_cas.engine import checkpoint
from napari_cas.engine.closed_form import STEPS_PER_ROUND, ClosedForm
from napari_cas.engine.crops import CropSampler
from napari_cas.engine.device import SMALLEST, is_out_of_memory, resolve_device, sizes_of
from napari_cas.engine.features import FeatureCache
from napari_cas.engine.fit import Learner, fit, is_flat
from napari_cas.engine.painting import (
    alone_sentence,
    check_regions,
    digest_of,
    off_data_sentence,
    painted_tiles,
    regions_off_data,
)
from napari_cas.engine.predict import Prediction, predict_box
from napari_cas.engine.preprocess import check_channels, principal_mixing
from napari_cas.engine.sources import read_stacked
from napari_cas.engine.strokes import predict_with_strokes
from napari_cas.losses import cas_terms
from napari_cas.models import QuickModel, create_model

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import numpy as np

    from napari_cas.config import Config
    from napari_cas.engine.painting import PaintedTile
    from napari_cas.engine.sampling import PixelSampler
    from napari_cas.engine.sources import Source
    from napari_cas.models import SegmentationModel
    from napari_cas.protocol import Alike, Box, LossPoint, Plane

_FEWEST_STEPS = 5
_SURVEY = 4
_PREDICTED = 1 << 28
_STILL = 0.005
_ENOUGH = 400
"""Steps of the quick network on the same paint, at least: varied copies have come in by then, and
most composites."""


class RoundResult(NamedTuple):
    """What one round of training did."""

    losses: tuple[LossPoint, ...]
    channels_used: int
    regions: int
    converged: bool
    digest: str
    seconds: dict[str, float]
    warnings: tuple[str, ...]
    alike: tuple[Alike, ...]


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
        self._predicted = FeatureCache(_PREDICTED)
        self.device = resolve_device(config.device)
        self.model: SegmentationModel = create_model(config.model, in_channels, config.seed).to(
            self.device
        )
        rate = config.fit.learning_rate or self.model.learning_rate
        groups = self.model.parameter_groups()
        self.learner = Learner(
            self._logits,
            torch.optim.AdamW(groups, lr=rate),
            rate,
            seed=config.seed,
            buffers=() if isinstance(self.model, QuickModel) else tuple(self.model.buffers()),
        )
        self._digest, self._regions, self._since = "", 0, 0
        self._closed: ClosedForm | None = None
        if isinstance(self.model, QuickModel):
            self._closed = ClosedForm(
                self.model, self.learner, self.cache, self._predict_once, config.seed
            )
        self._said: set[str] = set()
        self._starved = ""
        self._take_sizes()

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
        progress = checkpoint.progress_in(record)
        checkpoint.check_input(tensors, in_channels * saved.model.stacked_planes)
        trainer = cls(
            (config or saved).model_copy(update={"model": saved.model}), in_channels, cache
        )
        checkpoint.restore(trainer.model, trainer.learner, tensors)
        if in_channels > 3:
            trainer.cache.clear()  # it may hold features of another mixing
        trainer.learner.step = progress.step
        if (config or saved).fit.learning_rate == saved.fit.learning_rate:
            trainer.learner.learning_rate = progress.learning_rate
        trainer._digest, trainer._regions = progress.digest, progress.regions
        trainer._since = progress.since
        if trainer._closed is not None:
            trainer._closed.copies = progress.copies
            trainer._closed.corrected = checkpoint.corrected_in(
                tensors, record, trainer.model.channels
            )
        return trainer

    def save(self) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
        """Return the checkpoint: arrays by name and the JSON record."""
        progress = checkpoint.Progress(
            self.learner.step,
            self.learner.learning_rate,
            self._digest,
            self._regions,
            self._since,
            self._closed.copies if self._closed else 0,
        )
        record = checkpoint.record_of(self.config, self.in_channels, progress)
        tensors = checkpoint.tensors_of(self.model, self.learner)
        if self._closed is not None:
            accepted, record["training"]["planes"] = self._closed.corrected.saved()
            tensors |= accepted
        return tensors, record

    @property
    def data_digest(self) -> str:
        """Digest of where what was painted in the last round."""
        return self._digest

    def reconfigure(self, config: Config) -> None:
        """Go on with other settings for the same network."""
        before, self.config = self.config, config
        if sizes_of(config) != sizes_of(before):  # else those that memory suffices for stay
            self._take_sizes()
        if config.fit.learning_rate != before.fit.learning_rate:
            self.learner.learning_rate = config.fit.learning_rate or self.model.learning_rate

    def _take_sizes(self) -> None:
        self._crop, self._batch, self._tile = sizes_of(self.config)

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
        self._predicted.clear()
        while True:
            try:
                return self._train(sources, steps, seconds, start)
            except (MemoryError, RuntimeError) as error:
                if not is_out_of_memory(error) or not self._shrink():
                    raise
                self.model.eval()
                self.learner.tidy()
                self.learner.warnings.clear()  # the next try says them again
                self._said.clear()

    def _train(
        self, sources: Sequence[Source], steps: int, seconds: float, start: float
    ) -> RoundResult:
        tiles: Sequence[PaintedTile] = painted_tiles(sources, self._tile)
        off_data = regions_off_data(tiles, sources)
        why = [off_data_sentence(off_data)] if off_data else []
        for tile in tiles:
            check_channels(self.in_channels, tile.source.channels, tile.source.name)
        tiles, changed = self._look(tiles)
        if self._closed is not None and self._closed.alone:
            why.append(alone_sentence(self._closed.alone))
        self._regions = check_regions(tiles, " ".join(why))
        for sentence in why:
            self._say_once(sentence)
        self._set_mixing(tiles)
        if changed:
            self._since = self.learner.step
        sampler = self._sampler(tiles)
        self._digest = sampler.digest
        ready = time.perf_counter()
        before = self._probe(sampler)
        losses = []
        self.model.train()
        for point in fit(self.learner, sampler.batch, self.config.loss, steps):
            losses.append(point)
            if time.perf_counter() - ready > seconds and len(losses) >= _FEWEST_STEPS:
                break
        self.model.eval()
        self.learner.tidy()  # gradients of a whole network are as large as itself
        moved = float((before != self._probe(sampler)).float().mean())
        warnings, self.learner.warnings = tuple(self.learner.warnings), []
        warnings = (*self.take_warning(), *warnings)
        return RoundResult(
            tuple(losses),
            self._channels_used(sampler),
            self._regions,
            self._has_settled(losses, moved),
            sampler.digest,
            {"features": ready - start, "fit": time.perf_counter() - ready},
            warnings,
            self._closed.alike if self._closed else (),
        )

    def _look(self, tiles: Sequence[PaintedTile]) -> tuple[Sequence[PaintedTile], bool]:
        """Return what there is to learn from, and whether it is new."""
        if self._closed is None:
            return tiles, digest_of(tiles) != self._digest
        self.model.eval()
        return self._closed.look(tiles, self._digest)

    def _has_settled(self, losses: Sequence[LossPoint], moved: float) -> bool:
        still = moved < _STILL and is_flat(losses)
        steps = self.learner.step - self._since
        return still and (steps >= _ENOUGH or not isinstance(self.model, QuickModel))

    def forget_images(self) -> None:
        """Drop what is remembered of images: others may come under their names."""
        self.cache.clear()
        self._predicted.clear()

    def take_warning(self) -> tuple[str, ...]:
        """Return the sentence about memory that ran out, once; empty if it did not."""
        said, self._starved = self._starved, ""
        return (said,) if said else ()

    def _shrink(self) -> bool:
        """Halve crops and tiles after memory ran out, then batches; False when all are small."""
        self.forget_images()
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
        if max(self._crop, self._tile) > SMALLEST:
            self._crop = max(SMALLEST // 2, self._crop // 64 * 32)
            self._tile = max(SMALLEST, self._tile // 128 * 64)
        elif self._batch > 1 and not isinstance(self.model, QuickModel):
            self._batch //= 2
        else:
            return False
        self._starved = (
            f"Memory ran out; going on with {self._batch} crops of {self._crop} pixels at a time "
            f"and tiles of {self._tile} pixels."
        )
        return True

    def _set_mixing(self, tiles: Sequence[PaintedTile]) -> None:
        """Fit the mixing of more than three channels once, on the first painted tiles."""
        channels, stacked = self.model.in_channels, self.model.stacked
        if channels <= 3 or self.learner.step:
            return
        some = tiles[:16]
        # Finer only where all are small: what is a sliver beside other tiles is no matter.
        step = max(1, min(8, max(min(t.box.shape) for t in some) // 8))
        samples = [
            read_stacked(t.source, t.plane, t.box, stacked)[:, ::step, ::step].reshape(channels, -1)
            for t in some
        ]
        mixing, offset = principal_mixing(samples)
        self.model.mixing.copy_(torch.from_numpy(mixing))
        self.model.offset.copy_(torch.from_numpy(offset))
        self.cache.clear()

    def _sampler(self, tiles: Sequence[PaintedTile]) -> PixelSampler | CropSampler:
        if self._closed is None:
            return CropSampler(
                tiles,
                self.cache,
                crop=self._crop,
                batch=self._batch,
                seed=self.config.seed,
                device=self.device,
                stacked=self.model.stacked,
            )
        rounds = -(-(self.learner.step - self._since) // STEPS_PER_ROUND)
        return self._closed.sampler(tiles, rounds, self._say_once)

    def _say_once(self, text: str) -> None:
        """Tell the annotator with this round's result what was not told before."""
        if text not in self._said:
            self._said.add(text)
            self.learner.warnings.append(text)

    @torch.no_grad()
    def _probe(self, sampler: PixelSampler | CropSampler) -> torch.Tensor:
        """Return the labels of fixed pixels, painted or not, to see whether training moves them."""
        return self._logits(sampler.probes).argmax(1)

    @torch.no_grad()
    def _channels_used(self, sampler: PixelSampler | CropSampler) -> int:
        """Count the channels that are some painted region's strongest."""
        used: set[int] = set()
        for step in range(_SURVEY if isinstance(sampler, CropSampler) else 1):
            inputs, regions = sampler.batch(step)
            terms = cas_terms(self._logits(inputs), regions, check_finite=False)
            used.update(terms.descriptors.argmax(1).tolist())
        return len(used)

    def predict(self, source: Source, plane: Plane, box: Box) -> Prediction:
        """Predict a box of a plane, in smaller tiles where memory runs out, and follow strokes."""
        check_channels(self.in_channels, source.channels, source.name)
        self.model.eval()
        channel = self._closed.corrected.learnt(source, plane, box) if self._closed else {}
        while True:
            try:
                return predict_with_strokes(
                    self.model,
                    source,
                    plane,
                    box,
                    self._tile,
                    channel,
                    lambda part: self._predict_once(source, plane, part),
                )
            except (MemoryError, RuntimeError) as error:
                if not is_out_of_memory(error) or not self._shrink():
                    raise

    def _predict_once(self, source: Source, plane: Plane, box: Box) -> Prediction:
        # Features stay true while a network learns; what it says does not.
        cache = self.cache if isinstance(self.model, QuickModel) else self._predicted
        return predict_box(
            self.model,
            source,
            plane,
            box,
            self._tile,
            cache,
            smooth=self.config.predict.follow_edges,
            skip_below=self.config.predict.skip_below,
        )
