"""Executors, the chain of rounds and the queue of tiles: neither torch nor Qt."""

from __future__ import annotations

from napari_cas.jobs.chain import RoundChain
from napari_cas.jobs.executor import Executor, LocalExecutor
from napari_cas.jobs.job import Outcome
from napari_cas.jobs.tiles import PlaneWork, TileQueue, tiles_of

__all__ = [
    "Executor",
    "LocalExecutor",
    "Outcome",
    "PlaneWork",
    "RoundChain",
    "TileQueue",
    "tiles_of",
]
