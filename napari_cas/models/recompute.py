"""Maps that are made again for the backward pass instead of being kept for it."""

from __future__ import annotations

from contextlib import contextmanager, nullcontext
from functools import partial
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from contextlib import AbstractContextManager
    from typing import TypeAlias

    _Context: TypeAlias = AbstractContextManager[None]


class Recomputed(nn.Sequential):
    """Blocks in a row whose inner maps are made twice in training on a CPU [1]_.

    A ResNet's first stages hold many large maps and take few operations: forgetting theirs saves
    much of what a training step keeps, for little of its time. Results are the same to the bit.

    References
    ----------
    .. [1] Chen et al., "Training deep nets with sublinear memory cost", 2016.
    """

    def forward(self, maps: Tensor) -> Tensor:
        """Return maps (B, C', h', w') of maps (B, C, h, w)."""
        if not torch.is_grad_enabled() or maps.device.type != "cpu":
            return super().forward(maps)  # type: ignore[no-untyped-call, no-any-return]
        for block in self:
            maps = checkpoint(
                block,
                maps,
                use_reentrant=False,
                preserve_rng_state=False,
                context_fn=partial(_contexts, block),
            )
        return maps


def _contexts(block: nn.Module) -> tuple[_Context, _Context]:
    """Return what is around the first look at a batch and around the second."""
    norms = [module for module in block.modules() if isinstance(module, nn.BatchNorm2d)]
    return nullcontext(), _uncounted(norms)


@contextmanager
def _uncounted(norms: Sequence[nn.BatchNorm2d]) -> Iterator[None]:
    """Let batch normalisations look at a batch again without counting it again."""
    before = [(norm.momentum, norm.num_batches_tracked) for norm in norms]
    for norm in norms:
        norm.momentum, norm.num_batches_tracked = 0.0, None
    try:
        yield
    finally:
        for norm, (momentum, batches) in zip(norms, before, strict=True):
            norm.momentum, norm.num_batches_tracked = momentum, batches


def recompute(net: nn.Module, stages: Iterable[str]) -> None:
    """Have the inner maps of some stages made twice, in place.

    Parameters
    ----------
    net : Module
        Names in its state dict stay as they are.
    stages : iterable of str
        Names of `Sequential` modules of blocks in which nothing is random.
    """
    for name in stages:
        net.set_submodule(name, Recomputed(*net.get_submodule(name).children()))
