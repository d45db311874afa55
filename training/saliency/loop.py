"""The training loop, the same for every network and loss; it reads top to bottom.

One run is a folder: ``recipe.json``, ``exchanged.txt`` (the images whose ids were exchanged),
``log.csv``, ``checkpoint.safetensors``. Started again it goes on after the last complete epoch,
with the same batches it would have had.
"""

from __future__ import annotations

import csv
import math
import os
import platform
import time
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from napari_cas.engine.device import seeded
from napari_cas.errors import CheckpointError, ConfigError
from training.kept import code_digest
from training.saliency.checkpoint import load_checkpoint, save_checkpoint
from training.saliency.feed import Batch, Examples, Feed
from training.saliency.labels import exchanged, region_ids
from training.saliency.network import create_network
from training.saliency.objectives import Objective, create_objective
from training.saliency.team import ALONE, Team, synchronised

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from numpy.typing import NDArray
    from torch import Tensor, nn
    from torch.utils.tensorboard import SummaryWriter

    from training.saliency.recipe import Recipe

LOG_FIELDS = (
    "epoch", "phase", "loss", "learning_rate", "seconds", "cpu_seconds", "wait_seconds",
    "images_per_second",
)  # fmt: skip
CHECKPOINT = "checkpoint.safetensors"


@dataclass
class Trained:
    """A finished run.

    Attributes
    ----------
    model : nn.Module
        The network in evaluation mode, on the run's device.
    objective : Objective
        The loss it was trained with, which knows how its output is read.
    record : dict
        Recipe, data digests, versions, device, times; JSON.
    """

    model: nn.Module
    objective: Objective
    record: dict[str, Any]


def train(
    recipe: Recipe,
    examples: Examples,
    folder: Path,
    *,
    device: str = "cpu",
    progress: Callable[[str], None] | None = None,
    tensorboard: bool = False,
    team: Team = ALONE,
) -> Trained:
    """Train a network as a recipe says, or take up where an earlier call was interrupted.

    Parameters
    ----------
    recipe : Recipe
        Everything that determines the run, apart from the data.
    examples : Examples
        The training images with their true masks; ids are exchanged here, by the recipe's seed.
    folder : Path
        The run's own folder.
    device : str, default "cpu"
        Torch device.
    progress : callable, optional
        Called with one line per epoch.
    tensorboard : bool, default False
        Also write TensorBoard events, where the tensorboard package is installed.
    team : Team, optional
        Processes that train together, each calling this function; the leader alone writes. Their
        shares of every batch make up the batch that one process would have had.

    Raises
    ------
    CheckpointError
        If the folder holds a checkpoint of another network or of other images, or a damaged one.
    ConfigError
        If batches cannot be shared evenly among the processes, or the loss is not finite.
    """
    folder.mkdir(parents=True, exist_ok=True)
    flipped = exchanged(len(examples), recipe.flip, recipe.seed)
    if team.leads:
        _write_labels(folder, recipe, examples, flipped)
    share = team.share(recipe.batch_size)
    feed = Feed(examples, flipped, recipe.batch_size, recipe.mirror, device, share=share)
    model, objective = create_network(recipe).to(device), create_objective(recipe)
    model = synchronised(model, team, device)
    if recipe.channels_last:
        model = model.to(memory_format=torch.channels_last)
    optimizer = torch.optim.Adam(model.parameters(), lr=recipe.learning_rate)
    record = _take_up(folder / CHECKPOINT, recipe, examples, model, optimizer, device)
    record["processes"] = team.size
    wrapped = team.wrap(model, device)
    stepped = torch.compile(wrapped) if recipe.compile else wrapped
    writing = _writer(folder, wanted=tensorboard and team.leads)
    with kernels(deterministic=recipe.deterministic), writing as writer:
        for epoch in range(record["epochs_done"], recipe.pre_epochs + recipe.epochs):
            phase = objective if epoch >= recipe.pre_epochs else create_objective(recipe, pre=True)
            # Dropout and the triplet loss draw from torch's global generators.
            with seeded(torch.device(device), recipe.seed, epoch, team.rank):
                row = _epoch(recipe, epoch, feed, stepped, phase, optimizer, team)
            record["epochs_done"] = epoch + 1
            for name in ("seconds", "cpu_seconds", "wait_seconds"):
                record[name] = record.get(name, 0.0) + row[name]
            record["images_per_second"] = row["images_per_second"]
            record["final_loss"] = row["loss"]
            if team.leads:
                _log(folder / "log.csv", row)
                _plot(writer, row)
                save_checkpoint(folder / CHECKPOINT, model, optimizer, record)
            if progress is not None:
                progress(
                    f"epoch {epoch + 1}, {row['phase']}: loss {row['loss']:.4f}, "
                    f"{row['images_per_second']:.0f} images/s, waited {row['wait_seconds']:.1f} s"
                )
    return Trained(model.eval(), objective, record)


def _epoch(
    recipe: Recipe,
    epoch: int,
    feed: Feed,
    model: Callable[..., Tensor] | nn.Module,
    objective: Objective,
    optimizer: torch.optim.Optimizer,
    team: Team,
) -> dict[str, Any]:
    """Train one pass; return the row for the log."""
    if isinstance(model, torch.nn.Module):
        model.train()
    total = torch.zeros((), device=feed.device)
    begun, cpu, waited = time.perf_counter(), time.process_time(), feed.waits.seconds
    for step, batch in enumerate(feed.epoch((recipe.seed, epoch))):
        rate = _rate(recipe, epoch, step, feed.steps)
        for group in optimizer.param_groups:
            group["lr"] = rate
        with _autocast(recipe, feed.device):
            loss = step_loss(model, objective, batch)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        total += loss.detach()  # not .item(): that would wait for the device at every step
    mean = team.mean(total) / feed.steps
    seconds = time.perf_counter() - begun
    if not math.isfinite(mean):
        raise ConfigError(
            f"The loss of epoch {epoch + 1} is not finite", got=str(mean),
            todo="Lower the learning rate (--learning-rate).",
        )  # fmt: skip
    return {
        "epoch": epoch + 1,
        "phase": objective.name,
        "loss": mean,
        "learning_rate": rate,
        "seconds": seconds,
        "cpu_seconds": time.process_time() - cpu,
        "wait_seconds": feed.waits.seconds - waited,
        "images_per_second": feed.steps * min(feed.batch_size, len(feed.examples)) / seconds,
    }


def step_loss(
    model: Callable[..., Tensor] | nn.Module, objective: Objective, batch: Batch
) -> Tensor:
    """Return the loss of one batch; ids are made at the resolution of the network's output."""
    output: Tensor = model(*batch.inputs)
    salient = batch.salient
    if output.shape[-2:] != salient.shape[-2:]:
        # Nearest: the pixel at the centre of each output cell, so that ids stay ids.
        down = salient.shape[-1] // output.shape[-1]
        salient = salient[:, down // 2 :: down, down // 2 :: down]
    if salient.dtype != torch.bool:  # ids of their own, without a right or wrong
        return objective(output, salient.long())
    return objective(output, region_ids(salient, batch.flipped))


def _rate(recipe: Recipe, epoch: int, step: int, steps: int) -> float:
    """Return the learning rate of a step; each phase has its own schedule."""
    if recipe.schedule == "constant":
        return recipe.learning_rate
    before = recipe.pre_epochs if epoch >= recipe.pre_epochs else 0
    length = recipe.epochs if epoch >= recipe.pre_epochs else recipe.pre_epochs
    done = (epoch - before + step / steps) / length
    return recipe.learning_rate * 0.5 * (1 + math.cos(math.pi * done))


def _autocast(recipe: Recipe, device: str) -> AbstractContextManager[Any]:
    if recipe.precision == "float32":
        return nullcontext()
    return torch.autocast(torch.device(device).type, dtype=torch.bfloat16)


@contextmanager
def kernels(*, deterministic: bool) -> Iterator[None]:
    """Have torch take deterministic kernels meanwhile if asked to, and warn where there is none."""
    if not deterministic:
        yield
        return
    before = torch.are_deterministic_algorithms_enabled()
    warned = torch.is_deterministic_algorithms_warn_only_enabled()
    tried = torch.backends.cudnn.benchmark
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    torch.use_deterministic_algorithms(True, warn_only=True)
    torch.backends.cudnn.benchmark = False
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(before, warn_only=warned)
        torch.backends.cudnn.benchmark = tried


def _take_up(
    file: Path,
    recipe: Recipe,
    examples: Examples,
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    device: str,
) -> dict[str, Any]:
    """Load the last checkpoint if there is one; return the run's record."""
    data = {
        "train_set": examples.pictures.name,
        "train_digest": examples.pictures.digest,
        "train_images": len(examples),
    }
    if examples.pictures.content:
        data["train_content"] = examples.pictures.content
    if file.is_file():
        record = load_checkpoint(file, model, optimizer)
        _check_data(record, data, file.parent)
        return record
    return {
        "recipe": recipe.model_dump(),
        "epochs_done": 0,
        **data,
        "device": _device_name(device),
        "threads": torch.get_num_threads(),
        "code": code_digest(),
        "torch": torch.__version__,
        "numpy": np.__version__,
        "python": platform.python_version(),
    }


def _check_data(record: dict[str, Any], data: dict[str, Any], folder: Path) -> None:
    """Refuse to go on with other images: the recipe, by which a run is found, does not hold them.

    Raises
    ------
    CheckpointError
        The run was begun on other images.
    """
    begun = {name: record.get(name) for name in data}
    if "train_content" in data and "train_content" not in record:
        begun["train_content"] = data["train_content"]  # earlier runs do not say: hours are kept
    if begun == data:
        return
    raise CheckpointError(
        f"The run {folder} was begun on other images",
        expected=_described(data),
        got=_described(begun),
        todo="Delete its folder to train again, or choose another --cache.",
    )


def _described(data: dict[str, Any]) -> str:
    digest = str(data.get("train_content") or data["train_digest"])[:8]
    return f"{data['train_images']} images of {data['train_set']} (digest {digest})"


def _device_name(device: str) -> str:
    if device.startswith("cuda"):
        return torch.cuda.get_device_name(device)
    return device


def _write_labels(
    folder: Path, recipe: Recipe, examples: Examples, flipped: NDArray[np.bool_]
) -> None:
    """Store which labels were wrong, so that a run can be audited without rerunning it."""
    (folder / "recipe.json").write_text(recipe.model_dump_json(indent=2) + "\n")
    names = [examples.pictures.names[examples.rows[i]] for i in np.flatnonzero(flipped)]
    (folder / "exchanged.txt").write_text("".join(f"{name}\n" for name in names))


def _log(file: Path, row: dict[str, Any]) -> None:
    fresh = not file.is_file()
    with file.open("a", newline="") as opened:
        writer = csv.DictWriter(opened, LOG_FIELDS)
        if fresh:
            writer.writeheader()
        writer.writerow(row)


def _writer(folder: Path, *, wanted: bool) -> AbstractContextManager[SummaryWriter | None]:
    """Return a TensorBoard writer, or nothing."""
    if not wanted:
        return nullcontext()
    from torch.utils.tensorboard import SummaryWriter

    return SummaryWriter(str(folder))


def _plot(writer: SummaryWriter | None, row: dict[str, Any]) -> None:
    if writer is not None:
        for name in ("loss", "learning_rate", "images_per_second", "wait_seconds"):
            writer.add_scalar(name, row[name], row["epoch"])
