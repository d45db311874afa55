"""The training loop. It knows nothing of images, projects or processes."""

from __future__ import annotations

import math
import statistics
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from napari_cas.engine.device import seeded
from napari_cas.engine.snapshot import Snapshot
from napari_cas.errors import CASError
from napari_cas.losses import cas_terms
from napari_cas.protocol import LossPoint

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from napari_cas.config import LossConfig
    from napari_cas.engine.sampling import Batch
    from napari_cas.losses import CASTerms

_STATE = frozenset({"step", "exp_avg", "exp_avg_sq"})
"""What AdamW keeps of a parameter."""
_CLIP = 5.0
_RECOVERIES = 3
_FLAT = 0.02


@dataclass
class Learner:
    """What training changes: a network, its optimiser, the steps done.

    Attributes
    ----------
    module : callable
        From a batch's inputs to logits (B, M, ...).
    optimiser : AdamW
        Over the trainable parameters; "pace" of a group multiplies the step size.
    learning_rate : float
        Peak step size; halved whenever the loss stops being finite.
    step : int
        Steps since the beginning of the chain.
    seed : int
        What is random within a step, such as dropout, depends on it and on the step's number.
    buffers : tuple of Tensor
        What the network changes by itself in training: the running statistics of its batches.
    penalty : callable, optional
        From the step's number to a scalar that is minimised along with the loss.
    """

    module: Callable[[Tensor], Tensor]
    optimiser: torch.optim.AdamW
    learning_rate: float
    step: int = 0
    seed: int = 0
    buffers: tuple[Tensor, ...] = ()
    warnings: list[str] = field(default_factory=list)
    penalty: Callable[[int], Tensor] | None = None

    @property
    def parameters(self) -> list[nn.Parameter]:
        """What the optimiser changes, in its order."""
        return [p for group in self.optimiser.param_groups for p in group["params"]]

    @property
    def tensors(self) -> list[Tensor]:
        """All that training changes but the optimiser's own."""
        return [*self.parameters, *self.buffers]

    def begin_again(self, restart: Callable[[], None]) -> None:
        """Forget what was learnt: `restart` sets all parameters, at random as `seed` says."""
        with seeded(self.parameters[0].device, self.seed):
            restart()
        self.optimiser.state.clear()

    def tidy(self) -> None:
        """Leave nothing half made after an error inside a step, such as memory that ran out."""
        self.optimiser.zero_grad(set_to_none=True)
        # AdamW makes these one by one, and takes what is there for complete.
        for parameter, state in list(self.optimiser.state.items()):
            if not state.keys() >= _STATE:
                del self.optimiser.state[parameter]


def fit(
    learner: Learner, batch: Callable[[int], Batch], loss: LossConfig, steps: int
) -> Iterator[LossPoint]:
    """Take `steps` optimiser steps, yielding the loss after each; stop whenever the caller does.

    Parameters
    ----------
    learner : Learner
        Changed in place.
    batch : callable
        From the step's number to its batch.
    loss : LossConfig
        α, discriminator, uniformer.
    steps : int
        Steps of this round.

    Yields
    ------
    LossPoint
        Loss terms of each step, as minimised.

    Raises
    ------
    CASError
        If the loss is not finite even after the learning rate was lowered three times.
    """
    recoveries = 0
    with Snapshot(learner.tensors) as good:
        for done in range(steps):
            with seeded(learner.parameters[0].device, learner.seed, learner.step):
                terms = _gradients(learner, batch(learner.step), loss)
            if terms is None:
                recoveries += 1
                _recover(learner, good, recoveries)
                continue
            for group in learner.optimiser.param_groups:
                group["lr"] = learner.learning_rate * group["pace"] * _cooling(done / steps)
            learner.optimiser.step()
            learner.step += 1
            yield LossPoint(
                learner.step, terms.total.item(), terms.uniformer.item(), terms.discriminator.item()
            )


def _gradients(learner: Learner, batch: Batch, loss: LossConfig) -> CASTerms | None:
    """Leave the gradients of one batch, clipped; None where anything is not finite."""
    terms = cas_terms(
        learner.module(batch.inputs),
        batch.regions,
        alpha=loss.alpha,
        discriminator=loss.discriminator,
        uniformer=loss.uniformer,
        check_finite=False,
    )
    objective = terms.total
    if learner.penalty is not None:
        objective = objective + learner.penalty(learner.step)
    if not math.isfinite(objective.item()):
        return None
    learner.optimiser.zero_grad(set_to_none=True)
    objective.backward()  # type: ignore[no-untyped-call]
    # A finite loss may have gradients that are not; after a round's last step nobody would notice.
    norm = nn.utils.clip_grad_norm_(learner.parameters, _CLIP)
    # So may running statistics be, which training does not look at and prediction is made with.
    norm = norm + nn.utils.get_total_norm([b for b in learner.buffers if b.is_floating_point()])
    return terms if math.isfinite(norm.item()) else None


def _cooling(progress: float) -> float:
    """Cosine from 1 to 0.1 within a round, so that what is shown at its end has settled."""
    return 0.55 + 0.45 * math.cos(math.pi * progress)


def _recover(learner: Learner, good: Snapshot, times: int) -> None:
    """Go back to the round's first state with half the learning rate and a fresh optimiser."""
    if times > _RECOVERIES:
        raise CASError(
            "Training does not converge: the loss is not finite",
            got=f"learning rate {learner.learning_rate:g}",
            todo="Lower the learning rate or reset the model.",
        )
    good.restore(learner.tensors)
    learner.optimiser.state.clear()
    learner.learning_rate /= 2
    learner.warnings.append(
        f"The loss was not finite; training went on with learning rate {learner.learning_rate:g}."
    )


def is_flat(losses: Sequence[LossPoint]) -> bool:
    """Tell whether the last quarter of a round is hardly better than the second."""
    quarter = len(losses) // 4
    if quarter < 2:
        return False
    totals = [p.total for p in losses]
    second = statistics.fmean(totals[quarter : 2 * quarter])
    last = statistics.fmean(totals[-quarter:])
    return second - last < _FLAT * max(abs(second), 0.05)
