"""The quick network's closed-form part: put into the head, and held on to where nobody painted."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from scipy.optimize import linear_sum_assignment
from torch import Tensor
from torch.nn import functional as F  # noqa: N812

from napari_cas.engine.coarse import Coarse
from napari_cas.engine.device import generator
from napari_cas.engine.discriminant import Discriminant, discriminate, with_borders

if TYPE_CHECKING:
    from napari_cas.engine.composites import Composites
    from napari_cas.engine.sampling import PixelSampler
    from napari_cas.models.quick import Head

_PIXELS = 512
_FEWEST = 50
"""Kinds of which composites show fewer pixels have no say beside borders."""


@torch.no_grad()
def start_from_discriminant(head: Head, sampler: PixelSampler, *, known: bool) -> Discriminant:
    """Set the head's linear map to what separates the painted regions best.

    Parameters
    ----------
    head : Head
        Standardised already; changed in place. Appearances keep the channels in which the head puts
        them now, so that colours stay while more is painted.
    sampler : PixelSampler
        Painted pixels and neighbouring unpainted ones.
    known : bool
        Whether the head's map was found on exactly these pixels; then it stays.

    Returns
    -------
    Discriminant
        As found, before channels are exchanged.
    """
    varied = None
    if sampler.copies:
        varied = head.standardised(sampler.varied), sampler.varied_count
    coarse = None
    if sampler.planes == 1:
        coarse = Coarse(sampler.deepest, head.standardised(sampler.probes))
    found = discriminate(
        head.standardised(sampler.features),
        sampler.count,
        sampler.plane,
        sampler.group,
        sampler.neighbours * head.scale,
        len(head.linear_bias),
        varied,
        coarse,
    )
    if known and bool(head.linear_weight.any()):
        return found
    order = torch.arange(len(head.linear_bias))
    if head.linear_weight.any():
        order = _as_before(head, sampler, found.channel)
    head.linear_weight[order] = found.weight
    head.linear_bias[order] = found.bias
    return found


def _as_before(head: Head, sampler: PixelSampler, channel: Tensor) -> Tensor:
    """Return the (M,) channel that each new channel takes over, by what most pixels were."""
    region = torch.repeat_interleave(torch.arange(len(sampler.count)), sampler.count)
    before = head(sampler.features).argmax(1).cpu()
    size = len(head.linear_bias)
    share = 1 / sampler.count.double()[region]
    votes = torch.zeros(size * size, dtype=torch.float64)
    votes.index_add_(0, channel[region] * size + before, share)
    # On equal votes, stay in order.
    votes = votes.view(size, size) + 1e-6 * torch.eye(size)
    _, columns = linear_sum_assignment(votes.numpy(), maximize=True)
    return torch.from_numpy(columns)


@torch.no_grad()
def learn_borders(
    head: Head, sampler: PixelSampler, found: Discriminant, composites: Composites
) -> None:
    """Set the head's linear map to what separates the painted regions beside borders, too.

    Parameters
    ----------
    head : Head
        Changed in place. Appearances keep the channels in which the head puts them now.
    sampler : PixelSampler
        Settled: what `found` was found from.
    found : Discriminant
        As found from the paint.
    composites : Composites
        This round's.
    """
    order = _as_before(head, sampler, found.channel)
    kind = torch.argsort(order)[composites.channel]
    number = torch.bincount(kind, minlength=len(order))
    number[len(found.centre) :] = 0
    known = number[kind] >= _FEWEST
    if not known.any():
        return
    weight, bias = with_borders(
        found,
        head.standardised(sampler.varied),
        sampler.varied_count,
        head.standardised(composites.features[known.to(composites.features.device)]),
        kind[known],
    )
    head.linear_weight[order[: len(weight)]] = weight
    head.linear_bias[order[: len(bias)]] = bias


class Anchor:
    """Penalty for leaving the linear map at pixels that nobody painted.

    Cross-entropy between its probabilities and the head's at random pixels: the perceptron may say
    more about painted pixels than the linear map, at no price elsewhere. Free, it would fit each
    image's own light, and a single image's strokes. Whether that is worth it is measured by
    ``python -m training bench ablation``; see docs/loss.md.

    Parameters
    ----------
    head : Head
        Whose linear map is final.
    probes : Tensor
        (Q, D) features of random pixels.
    seed : int
        Seed of the draws.
    """

    def __init__(self, head: Head, probes: Tensor, seed: int) -> None:
        self._head, self._probes, self._seed = head, probes, seed
        with torch.no_grad():
            self._target = torch.softmax(head.linear(probes), dim=1)

    def __call__(self, step: int) -> Tensor:
        """Return the penalty of one step."""
        rng = generator(self._seed, step)
        chosen = torch.randint(len(self._probes), (_PIXELS,), generator=rng)
        chosen = chosen.to(self._probes.device)
        logits = self._head(self._probes[chosen])
        return F.cross_entropy(logits, self._target[chosen])
