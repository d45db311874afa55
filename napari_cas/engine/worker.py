"""What the worker process runs: a round of fine-tuning, or tiles to predict.

Each is a pure function of (project, checkpoint, request), up to the time limit of a round. The
model, its optimiser and features stay in this module between calls, so that the next call needs no
loading; where they do not fit the request, the checkpoint on disk is taken.
"""

from __future__ import annotations

import hashlib
import os
import time
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import torch

from napari_cas.engine.closed_form import STEPS_PER_ROUND
from napari_cas.engine.device import (
    available_devices,
    is_out_of_memory,
    resolve_device,
    set_threads,
)
from napari_cas.engine.doubt import most_doubtful
from napari_cas.engine.features import FeatureCache
from napari_cas.engine.memory import spare_memory
from napari_cas.engine.sources import EntrySource, neighbours
from napari_cas.engine.tiling import grid
from napari_cas.engine.trainer import RoundResult, Trainer
from napari_cas.errors import CASError, CheckpointError, WorkerError
from napari_cas.models import create_model
from napari_cas.protocol import (
    LossPoint,
    RoundReport,
    RoundRequest,
    Tile,
    TilesReport,
    TilesRequest,
    WorkerInfo,
)
from napari_cas.store import Project

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from napari_cas.config import Config

_FIRST_STEPS = 1
"""Of the quick network's first round: its closed-form start is good, and the annotator waits."""
_KEPT = 3
_POINTS = 50
_AUTOMATIC = "round-"


@dataclass
class _Warm:
    """What stays in memory between calls."""

    project: str = ""
    checkpoint: str | None = None
    digest: str = ""
    trainer: Trainer | None = None
    cache: FeatureCache = field(default_factory=FeatureCache)
    stem: tuple[object, ...] = ()
    born: dict[str, int] = field(default_factory=dict)


_warm = _Warm()


def warm_up(config: Config) -> WorkerInfo:
    """Import, load weights and run the network once, so that the first click need not wait.

    Raises
    ------
    ConfigError
        If the device is not available.
    WeightsError
        If the network's weights are missing.
    """
    set_threads()
    _settle_memory(config)
    device = resolve_device(config.device)
    model = create_model(config.model).to(device)
    with torch.no_grad():
        model(torch.zeros(1, model.in_channels, 128, 128, device=device))
    return WorkerInfo(str(device), available_devices(), os.getpid(), str(torch.__version__))


def run_round(request: RoundRequest) -> RoundReport:
    """Fine-tune for about `config.fit.round_seconds`, predict the view, write both to the project.

    Parameters
    ----------
    request : RoundRequest
        Names the project and the checkpoint to start from.

    Returns
    -------
    RoundReport
        The checkpoint written, loss terms, changed boxes, seconds by phase.

    Raises
    ------
    RegionError
        If there is nothing to tell apart.
    CheckpointError
        If there is no such checkpoint, or it is damaged.
    WorkerError
        If memory runs out.
    """
    start = time.perf_counter()
    set_threads()
    with _memory_guard(), Project.open(request.project, mode="worker") as project:
        _forget_replaced(project)
        sources = [EntrySource(project.image(name)) for name in project.images]
        trainer = _trainer(project, request.config, request.checkpoint, sources)
        checkpoint, result = request.checkpoint, None
        if request.train:
            first = checkpoint is None and request.config.model.name == "quick"
            steps = _FIRST_STEPS if first else STEPS_PER_ROUND
            result = trainer.train(sources, steps, request.config.fit.round_seconds)
            checkpoint = _save(project, trainer, request)
        elif checkpoint is None:
            raise CheckpointError(
                "There is no model to predict with", todo="Fine-tune first, then predict."
            )
        seconds = dict(result.seconds) if result else {}
        changed = () if request.view is None else (request.view,)
        seconds |= _predict(project, trainer, changed, str(checkpoint), request.probabilities)[0]
    seconds["total"] = time.perf_counter() - start
    return _report(checkpoint, trainer, result, changed, seconds)


def run_tiles(request: TilesRequest) -> TilesReport:
    """Predict tiles with one checkpoint and write them to the project.

    Raises
    ------
    CheckpointError
        If there is no such checkpoint, or it is damaged.
    WorkerError
        If memory runs out.
    """
    set_threads()
    with _memory_guard(), Project.open(request.project, mode="worker") as project:
        _forget_replaced(project)
        trainer = _trainer(project, request.config, request.checkpoint, ())
        with trainer.cache.passing_through(_tiles_of_planes(project, request)):
            seconds, empty = _predict(
                project, trainer, request.tiles, request.checkpoint, request.probabilities
            )
    return TilesReport(request.tiles, seconds, str(trainer.device), empty, trainer.take_warning())


def _tiles_of_planes(project: Project, request: TilesRequest) -> int:
    """Return how many tiles the planes have that are requested or looked at beside those."""
    planes = {(tile.image, tile.plane) for tile in request.tiles}
    for name, plane in tuple(planes):
        source, reach = EntrySource(project.image(name)), request.config.model.context_planes
        planes |= {(name, other) for other in neighbours(source, plane, reach)}
    side = request.config.predict.tile_size
    return sum(len(grid(project.image(name).plane_size, side)) for name, _ in planes)


def _trainer(
    project: Project, config: Config, checkpoint: str | None, sources: Sequence[EntrySource]
) -> Trainer:
    """Return the warm trainer where it is the one asked for, else one from disk or a new one."""
    digest = "" if checkpoint is None else project.model_digest(checkpoint)
    path = str(project.path)
    held = _warm.trainer
    if (
        held is not None
        and checkpoint is not None
        and (_warm.project, _warm.checkpoint, _warm.digest) == (path, checkpoint, digest)
        and _same_network(held.config, config)
    ):
        held.reconfigure(config)
        return held
    _warm.trainer = None  # a whole network should not be in memory twice
    _settle_memory(config)
    if checkpoint is None:
        trainer = Trainer(config, _channels(sources), _cache(path, config))
    else:
        tensors, record = project.load_model(checkpoint)
        trainer = Trainer.restore(tensors, record, config, _cache(path, config))
    _warm.project, _warm.checkpoint, _warm.digest = path, checkpoint, digest
    _warm.trainer = trainer
    return trainer


def _settle_memory(config: Config) -> None:
    """Spare memory where a network takes much of it; the quick one's rounds should be short."""
    spare_memory(config.model.name != "quick")


def _same_network(held: Config, wanted: Config) -> bool:
    return (held.model, held.device, held.seed) == (wanted.model, wanted.device, wanted.seed)


def _cache(project: str, config: Config) -> FeatureCache:
    """Return the cache of features, emptied when another project or stem comes."""
    model = config.model
    network = (model.name, model.weights, model.context_planes, model.enlarge)
    stem = (project, network, config.predict, config.device)
    if stem != _warm.stem:
        _warm.cache.clear()
        _warm.stem = stem
    return _warm.cache


def _forget_replaced(project: Project) -> None:
    """Empty the cache when an image is not the one that had this name and place before."""
    born = {}
    for name in project.images:
        folder = project.path / "images" / name
        with suppress(OSError):  # opening it says what is wrong with it
            # Written once, when the image was added.
            born[str(folder)] = (folder / "labels" / "zarr.json").stat().st_mtime_ns
    if any(_warm.born.get(folder, at) != at for folder, at in born.items()):
        _warm.cache.clear()
        if _warm.trainer is not None:
            _warm.trainer.forget_images()
    _warm.born |= born


def _channels(sources: Sequence[EntrySource]) -> int:
    """Return the channels of the first painted image."""
    for source in sources:
        if next(source.painted(), None) is not None:
            return source.channels
    return sources[0].channels if sources else 3


def _save(project: Project, trainer: Trainer, request: RoundRequest) -> str:
    """Store the checkpoint under a name of its own, and forget the oldest automatic ones."""
    tensors, record = trainer.save()
    origin = f"{request.checkpoint}{request.config.model_dump_json()}{trainer.data_digest}"
    short = hashlib.blake2b(origin.encode(), digest_size=4).hexdigest()
    name = f"{_AUTOMATIC}{trainer.learner.step:06d}-{short}"
    project.save_model(name, tensors, record)
    _warm.checkpoint, _warm.digest = name, project.model_digest(name)
    automatic = [m for m in project.models if m.startswith(_AUTOMATIC)]
    for old in automatic[:-_KEPT]:
        if old not in (name, request.checkpoint):
            project.delete_model(old)
    return name


def _predict(
    project: Project,
    trainer: Trainer,
    tiles: Sequence[Tile],
    checkpoint: str,
    with_probabilities: bool,
) -> tuple[dict[str, float], tuple[Tile, ...]]:
    """Predict tiles, write them, and return the seconds of both and the tiles left empty."""
    seconds, empty = {"predict": 0.0, "write": 0.0}, []
    for tile in tiles:
        start = time.perf_counter()
        entry = project.image(tile.image)
        box = tile.box.clip(*entry.plane_size)
        labels, probabilities = trainer.predict(EntrySource(entry), tile.plane, box)
        predicted = time.perf_counter()
        if not labels.any():
            empty.append(tile)
        painted = entry.regions[(*tile.plane, *box.slices)] > 0
        entry.prediction[(*tile.plane, *box.slices)] = labels
        # Channels that nothing is in yet would be empty slices, and make all look sure.
        probabilities = probabilities[: max(trainer.model.known, default=None)]
        if with_probabilities:
            target = entry.create_probabilities(len(probabilities))
            where: tuple[slice | int, ...] = (slice(None), *tile.plane, *box.slices)
            target[where] = probabilities.astype("float16")
        entry.flush()
        entry.mark_predicted(
            checkpoint,
            [(tile.plane, tile.box)],
            probabilities=with_probabilities,
            settings=trainer.config.predict.note,
            doubts=most_doubtful(probabilities, painted, box),
        )
        seconds["predict"] += predicted - start
        seconds["write"] += time.perf_counter() - predicted
    return seconds, tuple(empty)


def _report(
    checkpoint: str | None,
    trainer: Trainer,
    result: RoundResult | None,
    changed: tuple[Tile, ...],
    seconds: dict[str, float],
) -> RoundReport:
    return RoundReport(
        checkpoint=checkpoint,
        steps=trainer.learner.step,
        losses=_thinned(result.losses) if result else (),
        channels_used=result.channels_used if result else 0,
        regions=result.regions if result else 0,
        changed=changed,
        converged=result.converged if result else True,
        seconds=seconds,
        device=str(trainer.device),
        warnings=(*(result.warnings if result else ()), *trainer.take_warning()),
        alike=result.alike if result else (),
        kinds=trainer.model.known,
    )


def _thinned(losses: tuple[LossPoint, ...]) -> tuple[LossPoint, ...]:
    """Return at most _POINTS points, the last among them."""
    every = -(-len(losses) // _POINTS)
    return losses[::-1][:: max(every, 1)][::-1]


@contextmanager
def _memory_guard() -> Iterator[None]:
    """Turn running out of memory into a sentence; keep nothing that a failure may have spoilt."""
    try:
        yield
    except CASError:
        # The trainer may be half way; features do not change.
        _warm.trainer = None
        raise
    except BaseException as error:
        forget()
        if not is_out_of_memory(error):
            raise
        raise WorkerError(
            "Memory ran out",
            got=str(error) or type(error).__name__,
            todo="Choose smaller tiles and crops, fewer channels, or the 'quick' network.",
        ) from error


def forget() -> None:
    """Drop all that is warm: the next call starts from the project alone."""
    _warm.trainer = None
    _warm.cache.clear()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
