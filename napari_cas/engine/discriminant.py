"""Linear discriminant analysis without names: what tells painted regions apart, in closed form.

Fisher's analysis needs the scatter within classes and the class means. Regions that nobody named
give most of it:

- the scatter *within* regions needs no names at all (relevant component analysis [1]_);
- neighbouring unpainted pixels are mostly of one region too, so half the covariance of their
  differences estimates the same noise (as in the minimum noise fraction [2]_), at places that no
  stroke covers; the pairs that differ most straddle borders and are left out;
- which regions of different planes show one appearance follows from their means, measured in units
  of that noise, and from knowing that two regions of one plane are different
  (:mod:`napari_cas.engine.align`). Regions of one appearance then give the scatter from image to
  image, which sharpens the measure, and so on until nothing changes.

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
from torch import Tensor
from torch.nn import functional as F  # noqa: N812

from napari_cas.engine.align import align

OUTSIDE = 2.5
"""Features count as at most this many deviations from their mean when statistics are taken."""

_NEIGHBOURS = 0.5  # weight of neighbouring pixels in the noise
_SHRINKAGE, _ISOTROPIC = 0.3, 0.2  # towards its diagonal, of which towards a multiple of one
_DIRECTIONS = 16
_ROUNDS = 4
_PIXELS = 256
_UNUSED = -12.0


class Discriminant(NamedTuple):
    """A linear map to logits, and the appearance of each region.

    Attributes
    ----------
    weight, bias : Tensor
        (M, D) and (M,), float32: logits of standardised features. Channels that no region has are
        below all others everywhere.
    channel : Tensor
        (R,) int64: the channel of each region.
    """

    weight: Tensor
    bias: Tensor
    channel: Tensor


def discriminate(
    features: Tensor,
    count: Tensor,
    plane: Tensor,
    group: Tensor,
    neighbours: Tensor,
    channels: int,
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

    Returns
    -------
    Discriminant
        On the device of `features`.
    """
    device = features.device
    some, index = _few_per_group(features, count, group)
    means, within = _moments(some, index)
    of_group = torch.zeros(len(means), dtype=torch.int64)
    of_group[group] = plane.cpu()
    noise = _with_neighbours(within, neighbours.cpu().double().clamp(-OUTSIDE, OUTSIDE))
    appearance, noise = _appearances(means, of_group, noise, channels)
    weight, bias = _linear(_centres(means, appearance), noise)
    heat = _temperature(some @ weight.T + bias, appearance[index])
    full = torch.zeros(channels, features.shape[1])
    low = torch.full((channels,), _UNUSED)
    full[: len(weight)], low[: len(weight)] = (weight * heat).float(), (bias * heat).float()
    return Discriminant(full.to(device), low.to(device), appearance[group])


def _few_per_group(features: Tensor, count: Tensor, group: Tensor) -> tuple[Tensor, Tensor]:
    """Return float64 features of at most `_PIXELS` pixels per region, and the group of each."""
    start = count.cumsum(0) - count
    taken = count.clamp(max=_PIXELS)
    region = torch.repeat_interleave(torch.arange(len(count)), taken)
    rank = torch.arange(len(region)) - (taken.cumsum(0) - taken)[region]
    # Evenly spaced: a region may lie on several tiles, whose pixels follow one another.
    pixel = start[region] + rank * count[region] // taken[region]
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


def _appearances(
    means: Tensor, plane: Tensor, noise: Tensor, channels: int
) -> tuple[Tensor, Tensor]:
    """Alternate between which regions are alike and what the noise between alike ones is."""
    seen: list[Tensor] = []
    total = _shrunk(noise)
    for _ in range(_ROUNDS):
        appearance = align(means @ _directions(total, means, plane), plane, channels)
        if any(torch.equal(appearance, before) for before in seen):
            break
        seen.append(appearance)
        total = _shrunk(noise + _between_images(means, appearance))
    return appearance, total


def _shrunk(noise: Tensor) -> Tensor:
    """Shrink a covariance estimated from few pixels so that it can be inverted."""
    diagonal = noise.diagonal()
    level = diagonal.mean().clamp(min=1e-9)
    target = (1 - _ISOTROPIC) * diagonal + _ISOTROPIC * level
    return (1 - _SHRINKAGE) * noise + _SHRINKAGE * torch.diag(target)


def _directions(noise: Tensor, means: Tensor, plane: Tensor) -> Tensor:
    """Return (D, d) directions in which regions of one plane differ most, in units of noise."""
    # Every whitening is the same up to a rotation; this one costs a twentieth of an eigenbasis.
    root = torch.linalg.cholesky(noise)
    differing = torch.linalg.solve_triangular(root, _centred_per(means, plane).T, upper=False).T
    _, _, basis = torch.linalg.svd(differing, full_matrices=False)
    found: Tensor = torch.linalg.solve_triangular(root.T, basis[:_DIRECTIONS].T, upper=True)
    return found


def _centres(means: Tensor, appearance: Tensor) -> Tensor:
    number = torch.bincount(appearance)
    zeros = means.new_zeros(len(number), means.shape[1])
    return zeros.index_add(0, appearance, means) / number[:, None]


def _centred_per(means: Tensor, kind: Tensor) -> Tensor:
    return means - _centres(means, kind)[kind]


def _between_images(means: Tensor, appearance: Tensor) -> Tensor:
    """Return the (D, D) covariance of the means of one appearance."""
    off = _centred_per(means, appearance)
    free = len(means) - int(appearance.max()) - 1
    # Unbiased, but from one or two spare means that would be a bold claim.
    return off.T @ off / max(free, len(means) / 2)


def _linear(centres: Tensor, noise: Tensor) -> tuple[Tensor, Tensor]:
    """Return the log-likelihoods of Gaussians at the centres up to what they share."""
    weight = torch.linalg.solve(noise, centres.T).T
    bias = -0.5 * (weight * centres).sum(1)
    # With zero mean the largest logit is never negative, so that unused channels can lie below it.
    return weight - weight.mean(0), bias - bias.mean()


def _temperature(logits: Tensor, target: Tensor) -> float:
    """Return the factor on logits that makes their probabilities fit the paint best.

    Features of one pixel depend on one another less than a Gaussian's would, and pixels are not
    independent: as they come, the logits are overconfident.
    """
    factors = torch.logspace(-2, 0.5, 21, dtype=torch.float64)
    costs = [F.cross_entropy(logits * f, target) for f in factors]
    return float(factors[int(torch.stack(costs).argmin())])
