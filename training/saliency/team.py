"""Several processes on one run, a GPU each: ``torchrun --nproc-per-node 4 -m training table 1``.

torchrun starts the same command in each process and says by environment variables who is who. The
first process leads: it decodes, logs, writes and scores; the others join in training, on their
share of every batch. torchrun ends all of them if one fails.
"""

from __future__ import annotations

import os
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, TypeVar

import torch
from torch import distributed, nn

from napari_cas.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from torch import Tensor

T = TypeVar("T")
_PATIENCE = timedelta(hours=12)
"""The others wait while the leader decodes a set or scores; torch's default is minutes."""


@dataclass(frozen=True)
class Team:
    """Who this process is among those of a run; by default it is alone.

    Attributes
    ----------
    rank : int
        Number of this process, 0 for the leader.
    size : int
        Number of processes.
    """

    rank: int = 0
    size: int = 1

    @property
    def leads(self) -> bool:
        """Whether this is the process that writes."""
        return self.rank == 0

    @contextmanager
    def leader_first(self) -> Iterator[None]:
        """Let the leader do something before the others, who then find what it kept on disk."""
        if not self.leads:
            distributed.barrier()
        yield
        if self.leads and self.size > 1:
            distributed.barrier()

    def from_leader(self, make: Callable[[], T]) -> T:
        """Have the leader alone do something; return its result, which is pickled, to all."""
        if self.size == 1:
            return make()
        box: list[T | None] = [make() if self.leads else None]
        distributed.broadcast_object_list(box, src=0)
        return box[0]  # type: ignore[return-value]  # the leader put a T there

    def share(self, batch_size: int) -> slice:
        """Return this process's part of a batch.

        Raises
        ------
        ConfigError
            If the batch cannot be shared evenly: gradients are averaged over processes, which is
            the average over the batch only if all have equally many examples.
        """
        if batch_size % self.size:
            raise ConfigError(
                "The batch cannot be shared evenly among the processes",
                expected=f"a multiple of {self.size}",
                got=str(batch_size),
                todo="Pass another --batch-size.",
            )
        return slice(self.rank, None, self.size)

    def wrap(self, model: nn.Module, device: str) -> nn.Module:
        """Return a model whose gradients are averaged over all processes at every step."""
        if self.size == 1:
            return model
        from torch.nn.parallel import DistributedDataParallel

        ids = [torch.device(device)] if device.startswith("cuda") else None
        return DistributedDataParallel(model, device_ids=ids)

    def mean(self, value: Tensor) -> float:
        """Return the mean of a scalar over all processes."""
        if self.size > 1:
            distributed.all_reduce(value)
        return float(value) / self.size


ALONE = Team()


@contextmanager
def assembled(device: str) -> Iterator[tuple[Team, str]]:
    """Join the processes that torchrun started, if it did, and part at the end.

    Parameters
    ----------
    device : str
        "cpu", or "cuda" for the GPU of this process's number.

    Yields
    ------
    Team
        Of one where torchrun was not used.
    str
        This process's own device.

    Raises
    ------
    ConfigError
        If there are fewer GPUs than processes.
    """
    size = int(os.environ.get("WORLD_SIZE", "1"))
    if size == 1:
        yield ALONE, device
        return
    place = int(os.environ["LOCAL_RANK"])
    if device.startswith("cuda"):
        if place >= torch.cuda.device_count():
            raise ConfigError(
                "There are more processes than GPUs",
                expected=f"--nproc-per-node up to {torch.cuda.device_count()}",
                got=f"process {place + 1}",
            )
        device = f"cuda:{place}"
        torch.cuda.set_device(device)
    backend = "cpu:gloo,cuda:nccl" if device.startswith("cuda") else "gloo"
    distributed.init_process_group(backend, timeout=_PATIENCE)
    try:
        yield Team(distributed.get_rank(), distributed.get_world_size()), device
    finally:
        distributed.destroy_process_group()


def synchronised(model: nn.Module, team: Team, device: str) -> nn.Module:
    """Return a model whose batch normalisation sees the whole batch, where torch can do that.

    On the CPU it cannot: each process normalises by its own share.
    """
    if team.size == 1 or not device.startswith("cuda"):
        return model
    found: nn.Module = nn.SyncBatchNorm.convert_sync_batchnorm(model)  # type: ignore[no-untyped-call]
    return found
