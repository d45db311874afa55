"""What the loop eats: batches prepared in a thread, and how long the loop had to wait for them.

Images and features lie in memory maps, so a batch is a copy and no worker processes are needed.
"""

from __future__ import annotations

import json
import queue
import shutil
import tempfile
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch

from training.data.store import MappedSet, cache_folder

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray
    from torch import Tensor


@dataclass(frozen=True)
class Examples:
    """Network inputs and ground truth of N images.

    Attributes
    ----------
    inputs : tuple of ndarray
        Each (N, ...): what the network's ``forward`` takes, in order.
    pictures : MappedSet
        The images and masks they were made from.
    rows : ndarray
        (N,) the row of each example in `pictures`.
    row_axis : int
        Axis of an input that mirrors an image: the horizontal one.
    regions : ndarray or None
        (N, H, W) region ids from 1, 0 where unpainted, instead of the masks of `pictures`.
    """

    inputs: tuple[NDArray[np.generic], ...]
    pictures: MappedSet
    rows: NDArray[np.intp]
    row_axis: int
    regions: NDArray[np.uint8] | None = None

    def __len__(self) -> int:
        """Return the number of examples."""
        return len(self.rows)

    def take(self, which: NDArray[np.intp]) -> tuple[list[Tensor], Tensor]:
        """Return the inputs and the ground truth of some examples.

        The truth is (n, S, S) booleans, or uint8 region ids where the examples have some.
        """
        inputs = [torch.from_numpy(np.ascontiguousarray(part[which])) for part in self.inputs]
        if self.regions is not None:
            return inputs, torch.from_numpy(self.regions[which])
        return inputs, torch.from_numpy(self.pictures.salient(self.rows[which]))


def image_examples(pictures: MappedSet, rows: NDArray[np.intp]) -> Examples:
    """Return examples whose input is the image itself, for networks that are trained whole."""
    return Examples((_Rows(pictures.images, rows),), pictures, rows, 2)  # type: ignore[arg-type]


@dataclass(frozen=True)
class _Rows:
    """Some rows of a memory map, without copying it."""

    whole: NDArray[np.generic]
    rows: NDArray[np.intp]

    def __getitem__(self, which: NDArray[np.intp]) -> NDArray[np.generic]:
        return self.whole[self.rows[which]]


def feature_examples(
    pictures: MappedSet,
    rows: NDArray[np.intp],
    *,
    finest: int = 8,
    cache: Path | None = None,
    batch: int = 16,
) -> Examples:
    """Return examples whose inputs are frozen features, computed once and kept on disk.

    Parameters
    ----------
    pictures : MappedSet
        The images.
    rows : ndarray
        Which of them.
    finest : int, default 8
        Stride of the finest features, 4 or 8.
    cache : Path, optional
        Folder of the features, by default :func:`training.data.store.cache_folder`.
    batch : int, default 16
        Images at a time.
    """
    import hashlib

    known = (pictures.digest + pictures.content).encode()
    digest = hashlib.sha256(rows.astype(np.int64).tobytes() + known).hexdigest()
    stride = "" if finest == 8 else f"-stride{finest}"
    name = f"{pictures.name.lower()}-lite0{stride}-{digest[:12]}"
    folder = (cache or cache_folder()) / name
    if not (folder / "index.json").is_file():
        _compute_features(pictures, rows, folder, finest, batch)
    count = int(json.loads((folder / "index.json").read_text())["levels"])
    levels = tuple(np.load(folder / f"level{i}.npy", mmap_mode="r") for i in range(count))
    return Examples(levels, pictures, rows, -1)


def _compute_features(
    pictures: MappedSet, rows: NDArray[np.intp], folder: Path, finest: int, batch: int
) -> None:
    """Write float16 features of all rows into a temporary folder; rename it when complete."""
    from tqdm import tqdm

    from training.saliency.network import FrozenFeatures

    network = FrozenFeatures(finest)
    folder.parent.mkdir(parents=True, exist_ok=True)
    made = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
    try:
        levels: list[NDArray[np.float16]] = []
        starts = range(0, len(rows), batch)
        for start in tqdm(starts, desc=f"Features of {pictures.name}", mininterval=5, disable=None):
            images = torch.from_numpy(pictures.images[rows[start : start + batch]])
            found = network(images)
            if not levels:
                shapes = [(len(rows), *part.shape[1:]) for part in found]
                levels = [
                    np.lib.format.open_memmap(made / f"level{i}.npy", "w+", np.float16, shape)
                    for i, shape in enumerate(shapes)
                ]
            for level, part in zip(levels, found, strict=True):
                level[start : start + batch] = part.half().numpy()
        (made / "index.json").write_text(json.dumps({"levels": len(levels)}))
        made.rename(folder)
    except BaseException:
        shutil.rmtree(made, ignore_errors=True)
        if not (folder / "index.json").is_file():  # else another process was faster
            raise


@dataclass
class Batch:
    """One step's worth; ``salient`` is uint8 region ids where the examples have some."""

    inputs: list[Tensor]
    salient: Tensor
    flipped: Tensor


@dataclass
class Waits:
    """How long the loop waited for data, in seconds."""

    seconds: float = 0.0
    batches: int = 0


@dataclass
class Feed:
    """Batches of an epoch, prepared by one thread ahead of the loop.

    Parameters
    ----------
    examples : Examples
        Where the data lies.
    flipped : ndarray
        (N,) booleans: whose ids are exchanged.
    batch_size : int
        Examples per step; the incomplete last batch of an epoch is left out.
    mirror : bool
        Mirror each example with probability one half.
    device : str
        Where batches go; for CUDA they are pinned and copied without blocking.
    ahead : int
        Batches kept ready.
    share : slice
        The part of every batch that this process takes; all by default.
    """

    examples: Examples
    flipped: NDArray[np.bool_]
    batch_size: int
    mirror: bool = False
    device: str = "cpu"
    ahead: int = 3
    share: slice = field(default_factory=lambda: slice(None))
    waits: Waits = field(default_factory=Waits)

    @property
    def steps(self) -> int:
        """Batches per epoch, at least one."""
        return max(len(self.examples) // self.batch_size, 1)

    def epoch(self, seed: Sequence[int]) -> Iterator[Batch]:
        """Yield the batches of one epoch in an order that only depends on `seed`."""
        rng = np.random.default_rng(list(seed))
        order = rng.permutation(len(self.examples))
        mirrored = rng.random(len(order)) < 0.5 if self.mirror else np.zeros(len(order), np.bool_)
        ready: queue.Queue[Batch | BaseException | None] = queue.Queue(self.ahead)
        stop = threading.Event()
        filler = threading.Thread(
            target=self._fill, args=(order, mirrored, ready, stop), name="feed", daemon=True
        )
        filler.start()
        try:
            while True:
                begun = time.perf_counter()
                batch = ready.get()
                self.waits.seconds += time.perf_counter() - begun
                if batch is None:
                    return
                if isinstance(batch, BaseException):
                    raise batch
                self.waits.batches += 1
                yield self._moved(batch)
        finally:
            stop.set()
            while filler.is_alive():  # it may be waiting for a place in the queue
                _drain(ready)
                filler.join(0.01)

    def _fill(
        self,
        order: NDArray[np.intp],
        mirrored: NDArray[np.bool_],
        ready: queue.Queue[Batch | BaseException | None],
        stop: threading.Event,
    ) -> None:
        try:
            for step in range(self.steps):
                if stop.is_set():
                    return
                batch = slice(step * self.batch_size, (step + 1) * self.batch_size)
                which = order[batch][self.share]
                inputs, salient = self.examples.take(which)
                for row in np.flatnonzero(mirrored[batch][self.share]):
                    for part in inputs:
                        axis = self.examples.row_axis
                        part[row] = part[row].flip(axis - 1 if axis > 0 else axis)
                    salient[row] = salient[row].flip(-1)
                ready.put(Batch(inputs, salient, torch.from_numpy(self.flipped[which])))
            ready.put(None)
        except BaseException as error:  # handed to the loop, which raises it
            ready.put(error)

    def _moved(self, batch: Batch) -> Batch:
        """Copy a batch to the device without waiting for it."""
        if self.device == "cpu":
            return batch

        def move(tensor: Tensor) -> Tensor:
            pinned = tensor.pin_memory() if self.device.startswith("cuda") else tensor
            return pinned.to(self.device, non_blocking=True)

        return Batch([move(t) for t in batch.inputs], move(batch.salient), move(batch.flipped))


def _drain(ready: queue.Queue[Batch | BaseException | None]) -> None:
    while True:
        try:
            ready.get_nowait()
        except queue.Empty:
            return
