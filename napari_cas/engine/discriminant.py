"""Linear discriminant analysis without names: what tells painted regions apart, in closed form.

Fisher's analysis needs the scatter within classes and the class means. Regions that nobody named
give most of it:

- the scatter *within* regions needs no names at all (relevant component analysis [1]_);
- neighbouring unpainted pixels are mostly of one region too, so half the covariance of their
  differences estimates the same noise (as in the minimum noise fraction [2]_), at places that no
  stroke covers; the pairs that differ most straddle borders and are left out;
- which regions of different planes show one appearance follows from their means, measured in units
  of that noise, from knowing that two regions of one plane are different, and from how well each
  answer teaches planes left out (:mod:`napari_cas.engine.appearances`). Regions of one appearance
  then give the scatter from image to image.

A gradient on a few strokes finds some direction that separates them, mostly a poor one. This finds
the one that separates them most relative to the noise, in milliseconds and always the same.

References
----------
.. [1] Bar-Hillel, Hertz, Shental, Weinshall, "Learning distance functions using equivalence
   relations", ICML 2003.
.. [2] Green, Berman, Switzer, Craig, "A transformation for ordering multispectral data in terms of
   image quality", IEEE TGRS 1988.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from scipy.optimize import linear_sum_assignment
from torch import Tensor

from napari_cas.engine.appearances import (
    Appearances,
    Painted,
    between_images,
    centres,
    evenly,
    few_planes,
    find_appearances,
    from_zero,
    left_out_scores,
    linear,
    shrunk,
    temperature,
)
from napari_cas.engine.coarse import DOUBTS, Coarse, doubted, most_explained
from napari_cas.engine.twins import join_twins

OUTSIDE = 2.5
"""Features count as at most this many deviations from their mean when statistics are taken."""

_NEIGHBOURS = 0.5  # weight of neighbouring pixels in the noise
_PIXELS = 256
_UNUSED = -12.0
_HIDDEN = 0.2
"""By so much may varied copies lower what painted planes teach each other, a score of at most 1:
they are for images in other light than any that is painted."""


class Discriminant(NamedTuple):
    """A linear map to logits, and the appearance of each region.

    Attributes
    ----------
    weight, bias : Tensor
        (M, D) and (M,), float32: logits of standardised features. Channels that no region has are
        below all others everywhere.
    channel : Tensor
        (R,) int64: the channel of each region.
    group : Tensor
        (R,) int64: the number that regions of one plane share which are taken as one, from 0.
    varied : bool
        Whether it was found from varied copies.
    centre, noise : Tensor
        (K, D) and (D, D), float64: what it was found from, the appearances' mean features and the
        noise around them.
    order : Tensor or None
        (K,) int64: the channels that the appearances have to have; None where nothing says so.
    """

    weight: Tensor
    bias: Tensor
    channel: Tensor
    group: Tensor
    varied: bool
    centre: Tensor
    noise: Tensor
    order: Tensor | None = None


class Linked(NamedTuple):
    """What is known of kinds beforehand.

    Attributes
    ----------
    channel : Tensor
        (R,) int64: the channel of each region; -1 where only its looks say of which kind it is.
    before : Tensor
        (R, M) float64: mean probabilities of each region, before it was learnt.
    """

    channel: Tensor
    before: Tensor


class _Found(NamedTuple):
    """What the regions show, by one way of looking at them."""

    painted: Painted
    appearances: Appearances
    group: Tensor
    order: Tensor | None = None


def discriminate(
    features: Tensor,
    count: Tensor,
    plane: Tensor,
    group: Tensor,
    neighbours: Tensor,
    channels: int,
    varied: tuple[Tensor, Tensor] | None = None,
    coarse: Coarse | None = None,
    linked: Linked | None = None,
) -> Discriminant:
    """Find the linear map that tells regions apart.

    Parameters
    ----------
    features : Tensor
        (P, D) standardised features of painted pixels, sorted by region; pixels of one region in
        random order.
    count, plane, group : Tensor
        (R,) pixels and plane of each region, and the number that regions of one plane share when
        they are to be taken as one. At most `channels` groups per plane.
    neighbours : Tensor
        (Q, D) differences of standardised features between neighbouring pixels; Q may be 0.
    channels : int
        Softmax channels M.
    varied : tuple of Tensor, optional
        `features` and `count` of the same regions on their own and on varied copies of the planes.
        Where light or side are what tells regions apart, copies would hide it: they count unless
        planes left out, as they are, are then told apart much worse.
    coarse : Coarse, optional
        Which features may tell places apart instead of kinds, where a single plane is painted.
    linked : Linked, optional
        Of which channels some regions are. Regions of one group are of one channel, or none is.

    Returns
    -------
    Discriminant
        On the device of `features`.
    """
    found = _find(features, count, plane, group, neighbours, channels, linked)
    use = False
    if varied is not None:
        other = _find(*varied, plane, group, neighbours, channels, linked)
        lost = (_judge(found, features, count) - _judge(other, features, count)).nanmean()
        use = not lost > _HIDDEN
        found = other if use else found
    if coarse is not None and bool((plane == plane[0]).all()):
        found = _as_borne_out(found, channels, coarse)
    weight, bias = _solve(found, channels)
    device = features.device
    number, noise = found.appearances
    centre = centres(found.painted.means, number)
    return Discriminant(
        weight.to(device),
        bias.to(device),
        number[found.group],
        found.group,
        use,
        centre,
        noise,
        found.order,
    )


def with_borders(
    found: Discriminant,
    features: Tensor,
    count: Tensor,
    beside: Tensor,
    kind: Tensor,
    share: float = 1.0,
) -> tuple[Tensor, Tensor]:
    """Find the linear map that tells the same regions apart beside borders, too.

    How far pixels of composites are off their kind's centre joins the noise, all kinds alike.

    Parameters
    ----------
    found : Discriminant
        Of the painted regions.
    features, count : Tensor
        What it was found from: (P, D) standardised features of painted pixels, sorted by region,
        and the (R,) pixels of each.
    beside : Tensor
        (Q, D) standardised features of pixels of composites; Q > 0.
    kind : Tensor
        (Q,) int64: the appearance of each, as numbered in `found.channel`.
    share : float
        How much of it counts, 0 to 1.

    Returns
    -------
    Tensor
        Weight (K, D) of the K appearances, float32, on the device of `features`.
    Tensor
        Their bias (K,).
    """
    off = beside.cpu().double().clamp(-OUTSIDE, OUTSIDE) - found.centre[kind]
    number = torch.bincount(kind)
    off /= (number * (number > 0).sum()).double().sqrt()[kind, None]
    noise = found.noise + share * off.T @ off
    some, region = _few_per_group(features, count, torch.arange(len(count)))
    weight, bias = _scaled(found.centre, noise, some, found.channel[region])
    return weight.float().to(features.device), bias.float().to(features.device)


def _find(
    features: Tensor,
    count: Tensor,
    plane: Tensor,
    group: Tensor,
    neighbours: Tensor,
    channels: int,
    linked: Linked | None = None,
) -> _Found:
    """Return what regions show, and which are one; parameters as of :func:`discriminate`."""
    if linked is not None:
        return _find_linked(features, count, plane, group, neighbours, channels, linked)
    while True:  # with fewer groups each time
        painted = describe(features, count, plane, group, neighbours)
        found = find_appearances(painted, channels)
        joined = join_twins(painted, found.number)
        if int(joined.max()) + 1 == len(joined):
            return _Found(painted, found, group)
        group = joined[group]


def _find_linked(
    features: Tensor,
    count: Tensor,
    plane: Tensor,
    group: Tensor,
    neighbours: Tensor,
    channels: int,
    linked: Linked,
) -> _Found:
    """Return what regions show of which some are of known channels."""
    free = linked.channel < 0
    kind, own = torch.zeros(0, dtype=torch.int64), group[free]
    if bool(free.any()):
        some = only_regions(features, count, free)
        found = _find(*some, from_zero(plane[free]), from_zero(own), neighbours, channels)
        kind, own = found.appearances.number[found.group], found.group
    order, known = _channels_of(kind, linked)
    joined, number = torch.empty_like(group), torch.empty_like(group)
    joined[free], number[free] = own, kind
    joined[~free] = from_zero(group[~free]) + (int(own.max()) + 1 if len(own) else 0)
    number[~free] = known
    painted = describe(features, count, plane, joined, neighbours)
    of_group = torch.empty(len(painted.means), dtype=torch.int64)
    of_group[joined] = number
    noise = shrunk(painted.noise + between_images(painted.means, of_group))
    return _Found(painted, Appearances(of_group, noise), joined, order)


def _channels_of(kind: Tensor, linked: Linked) -> tuple[Tensor, Tensor]:
    """Return the channel of each kind (K,), and the kinds of the regions that are linked.

    Kinds that the other regions show, `kind`, have the channels in which these were before; linked
    regions of other channels show further kinds.
    """
    free = linked.channel < 0
    order, channels = torch.zeros(0, dtype=torch.int64), linked.before.shape[1]
    if len(kind):
        votes = linked.before.new_zeros(int(kind.max()) + 1, channels)
        votes.index_add_(0, kind, linked.before[free])
        order = torch.from_numpy(linear_sum_assignment(votes.numpy(), maximize=True)[1])
    known = linked.channel[~free]
    more = known[~torch.isin(known, order)].unique()  # type: ignore[no-untyped-call]
    order = torch.cat([order, more])
    of = torch.empty(channels, dtype=torch.int64)
    of[order] = torch.arange(len(order))
    return order, of[known]


def only_regions(features: Tensor, count: Tensor, kept: Tensor) -> tuple[Tensor, Tensor]:
    """Return features and count of some regions, `kept` (R,) bool."""
    chosen = torch.repeat_interleave(kept, count)
    return features[chosen.to(features.device)], count[kept]


def _judge(found: _Found, features: Tensor, count: Tensor) -> Tensor:
    """Return how well other planes teach each, judged by pixels of the planes as they are."""
    some, index = _few_per_group(features, count, found.group)
    survey, kept = few_planes(found.painted._replace(features=some, region=index))
    return left_out_scores(survey, found.appearances.number[kept])


def describe(
    features: Tensor, count: Tensor, plane: Tensor, group: Tensor, neighbours: Tensor
) -> Painted:
    """Return the statistics of groups of regions; parameters as of :func:`discriminate`."""
    some, index = _few_per_group(features, count, group)
    means, within = _moments(some, index)
    noise = _with_neighbours(within, neighbours.cpu().double().clamp(-OUTSIDE, OUTSIDE))
    return Painted(some, index, means, planes_of(group, plane), noise)


def planes_of(group: Tensor, plane: Tensor) -> Tensor:
    """Return the plane of each group, of the groups and planes (R,) of regions."""
    found = torch.zeros(int(group.max()) + 1, dtype=torch.int64)
    found[group] = plane.cpu()
    return found


def _as_borne_out(found: _Found, channels: int, coarse: Coarse) -> _Found:
    """Doubt the deepest features as far as the whole plane bears out."""
    number, noise = found.appearances
    noises = [doubted(noise, coarse.deepest, doubt) for doubt in DOUBTS]
    tried = [found._replace(appearances=Appearances(number, n)) for n in noises]
    unpainted = coarse.unpainted.cpu()
    values = unpainted[:, coarse.deepest].clamp(-OUTSIDE, OUTSIDE)
    maps = [_solve(one, channels) for one in tried]
    return tried[most_explained(values, [unpainted @ w.T + b for w, b in maps])]


def _solve(found: _Found, channels: int) -> tuple[Tensor, Tensor]:
    """Return weight (M, D) and bias (M,) of the linear map between the centres of appearances."""
    painted, (appearance, noise), *_ = found
    centre = centres(painted.means, appearance)
    weight, bias = _scaled(centre, noise, painted.features, appearance[painted.region])
    full = torch.zeros(channels, weight.shape[1])
    low = torch.full((channels,), _UNUSED)
    full[: len(weight)], low[: len(weight)] = weight.float(), bias.float()
    return full, low


def _scaled(
    centre: Tensor, noise: Tensor, features: Tensor, appearance: Tensor
) -> tuple[Tensor, Tensor]:
    """Return the map between centres (K, D) that is as sure as painted pixels bear out."""
    weight, bias = linear(centre, noise)
    heat = temperature(features @ weight.T + bias, appearance)
    return weight * heat, bias * heat


def _few_per_group(features: Tensor, count: Tensor, group: Tensor) -> tuple[Tensor, Tensor]:
    """Return float64 features of at most `_PIXELS` pixels per region, and the group of each."""
    taken = count.clamp(max=_PIXELS)
    region = torch.repeat_interleave(torch.arange(len(count)), taken)
    pixel = evenly(count, taken)
    some = features[pixel.to(features.device)].cpu().double()
    return some.clamp(-OUTSIDE, OUTSIDE), group[region]


def _moments(features: Tensor, index: Tensor) -> tuple[Tensor, Tensor]:
    """Return (G, D) means and the (D, D) covariance within groups, all groups alike."""
    number = torch.bincount(index).double()
    zeros = features.new_zeros(len(number), features.shape[1])
    means = zeros.index_add(0, index, features) / number[:, None]
    centred = (features - means[index]) / number.sqrt()[index, None]
    return means, centred.T @ centred / len(number)


def _with_neighbours(within: Tensor, differences: Tensor) -> Tensor:
    """Mix in the covariance of the less different half of the neighbours, at the same scale."""
    size = differences.square().sum(1)
    near = differences[size <= size.median()] if len(size) else differences
    covariance = near.T @ near / max(2 * len(near), 1)
    inside, beside = within.trace(), covariance.trace()
    if not beside > 0:
        return within
    if not inside > 0:  # every region is a single pixel
        return covariance
    return (1 - _NEIGHBOURS) * within + _NEIGHBOURS * inside / beside * covariance
