"""The quick network's closed-form part: put into the head, and held on to where nobody painted."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from scipy.optimize import linear_sum_assignment
from torch import Tensor
from torch.nn import functional as F  # noqa: N812

from napari_cas.engine.coarse import Coarse
from napari_cas.engine.device import generator
from napari_cas.engine.discriminant import Discriminant, Linked, discriminate, with_borders
from napari_cas.engine.painting import ACCEPTED

if TYPE_CHECKING:
    from napari_cas.engine.composites import Composites
    from napari_cas.engine.sampling import PixelSampler
    from napari_cas.models.quick import Head

_PIXELS = 512
_SHARES = (1.0, 0.25, 0.06, 0.0)
"""Of what composites say, the most that leaves corrections what they were said to be: the network
says what is beside borders, and may be wrong."""

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
    linked = None
    if bool((sampler.channel >= 0).any()):
        linked = Linked(sampler.channel, sampler.shares(head))
    found = discriminate(
        head.standardised(sampler.features),
        sampler.count,
        sampler.plane,
        sampler.group,
        sampler.neighbours * head.scale,
        len(head.linear_bias),
        varied,
        coarse,
        linked,
    )
    if known and bool(head.linear_weight.any()):
        return found
    order = torch.arange(len(head.linear_bias))
    if head.linear_weight.any():
        order = _order(head, sampler, found)
    head.linear_weight[order] = found.weight
    head.linear_bias[order] = found.bias
    return found


@torch.no_grad()
def channels_of(head: Head, sampler: PixelSampler, found: Discriminant) -> Tensor:
    """Return the (R,) channel of each region, as it was put into the head."""
    return _order(head, sampler, found)[found.channel]


def _order(head: Head, sampler: PixelSampler, found: Discriminant) -> Tensor:
    """Return the (M,) channel of each kind: known, or as before."""
    if found.order is None:
        return _as_before(head, sampler, found.channel)
    size = len(head.linear_bias)
    rest = torch.ones(size, dtype=torch.bool)
    rest[found.order] = False
    return torch.cat([found.order, rest.nonzero()[:, 0]])


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
    order = _order(head, sampler, found)
    kind = torch.argsort(order)[composites.channel]
    number = torch.bincount(kind, minlength=len(order))
    number[len(found.centre) :] = 0
    known = number[kind] >= _FEWEST
    if not known.any():
        return
    beside = head.standardised(composites.features[known.to(composites.features.device)])
    varied = head.standardised(sampler.varied), sampler.varied_count
    for share in _SHARES:
        weight, bias = with_borders(found, *varied, beside, kind[known], share)
        head.linear_weight[order[: len(weight)]] = weight
        head.linear_bias[order[: len(bias)]] = bias
        if _obeys(head, sampler):
            break


def _obeys(head: Head, sampler: PixelSampler) -> bool:
    """Return whether most of each region of a known kind is what the annotator said of it."""
    told = (sampler.channel >= 0) & (sampler.ids < ACCEPTED)
    if not bool(told.any()):
        return True
    own = torch.repeat_interleave(told, sampler.count)
    region = torch.repeat_interleave(torch.arange(len(told)), sampler.count)[own]
    said = head.linear(sampler.features[own.to(sampler.features.device)]).argmax(1).cpu()
    right = torch.zeros(len(told)).index_add(0, region, (said == sampler.channel[region]).float())
    return bool((right > sampler.count / 2)[told].all())


class Anchor:
    """Penalty for leaving the linear map at pixels that nobody painted.

    Cross-entropy between its probabilities and the head's at random pixels: the perceptron may say
    more about painted pixels than the linear map, at no price elsewhere. Free, it would fit each
    image's own light, and a single image's strokes. Whether that is worth it is measured by
    ``python -m training bench ablation``; see docs/label-free.md.

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
