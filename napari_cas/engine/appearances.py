"""How many appearances the painted regions show, and which region shows which.

Nobody said. For every possible number, regions are merged (:mod:`napari_cas.engine.align`) in units
of the noise, and the scatter between images of what was merged is added to the noise, until nothing
changes. Which number is right, planes decide that were left out: a classifier taught by the other
planes should give each of their regions one channel, and different regions different ones. That is
what the class-agnostic segmentation loss asks for, measured here in bits. Of numbers that are about
as good the smallest is taken.

Two ways in are tried for each number. Where every image shows the same kinds under different light
or stain, what a region is *relative to its image* says more than what it is; where images show
different kinds, it says less.

Merging whatever is nearer than an image's own regions, instead, splits a kind whose light or stain
varies: several channels for the nuclei of stained tissue. ``python -m training bench label-free``
measures what comes of it.
"""

from __future__ import annotations

from functools import cache
from typing import NamedTuple

import torch
from scipy.optimize import linear_sum_assignment
from torch import Tensor
from torch.nn import functional as F  # noqa: N812

from napari_cas.engine.align import align

_DIRECTIONS = 16
_ALTERNATIONS = 4
_FOLDS = 6
_PIXELS = 64
_SURVEYED = 128
_ERRORS = 0.5
_MOST, _LEAST = 0.5, 1e-6
"""Shares: of planes that show what others may be given, and the least a probability counts as."""
_FIRST, _NEAR = 8, 0.7
"""Up to so many appearances are looked for first, and further only where about as many are there:
more than this share of them."""
_SHRINKAGE, _ISOTROPIC = 0.3, 0.2
"""Of a covariance: towards its diagonal, of which towards a multiple of one."""


class Appearances(NamedTuple):
    """What the regions show.

    Attributes
    ----------
    number : Tensor
        (R,) int64: the appearance of each region, from 0; all different within a plane.
    noise : Tensor
        (D, D) float64: covariance within an appearance, over pixels and images.
    """

    number: Tensor
    noise: Tensor


class Painted(NamedTuple):
    """Statistics of the painted regions.

    Attributes
    ----------
    features, region : Tensor
        (P, D) float64 standardised features of pixels, and the region of each.
    means, plane : Tensor
        (R, D) float64 mean features and (R,) int64 plane of each region.
    noise : Tensor
        (D, D) float64: covariance within regions.
    """

    features: Tensor
    region: Tensor
    means: Tensor
    plane: Tensor
    noise: Tensor


def find_appearances(painted: Painted, channels: int) -> Appearances:
    """Find how many appearances there are and which region shows which.

    Parameters
    ----------
    painted : Painted
        No plane has more than `channels` regions.
    channels : int
        At most this many appearances.
    """
    fewest = int(torch.bincount(painted.plane).max())
    if bool((painted.plane == painted.plane[0]).all()):
        return _alternate(painted, fewest, centred=False)
    survey, _ = few_planes(painted)
    tried: list[tuple[int, bool]] = []
    found: list[Appearances] = []
    scores: list[Tensor] = []
    for most in _stages(fewest, min(channels, len(survey.plane))):
        more = range(tried[-1][0] + 1 if tried else fewest, most + 1)
        new = [(count, centred) for count in more for centred in (False, True)]
        found += [_alternate(survey, count, centred=centred) for count, centred in new]
        scores += [left_out_scores(survey, one.number) for one in found[len(tried) :]]
        tried += new
        counts = [int(appearances.number.max()) + 1 for appearances in found]
        best = _smallest_good(torch.stack(scores), counts)
        if counts[best] <= _NEAR * most:
            break
    if len(survey.plane) == len(painted.plane):
        return _as_others_say(painted, found[best].number)
    count, centred = tried[best]
    return _as_others_say(painted, _alternate(painted, count, centred=centred).number)


def _as_others_say(painted: Painted, number: Tensor) -> Appearances:
    """Give each plane's regions, one to one, the appearances that other planes take them for.

    Regions stay, or become what more than half of the planes show: whoever paints everything paints
    that here, too. What no other plane shows is given up where that is likelier than not.
    """
    mean = left_out(only(painted, torch.ones_like(number, dtype=torch.bool)), number)
    rare = torch.bincount(number) <= _MOST * (int(painted.plane.max()) + 1)
    found = number.clone()
    for plane in range(int(painted.plane.max()) + 1):
        own = (painted.plane == plane).nonzero()[:, 0]
        is_now, likely = number[own], mean[own]
        there = torch.isin(is_now, number[_rest(painted.plane, plane)])
        stays = torch.where(there, likely.gather(1, is_now[:, None])[:, 0], 0.5)
        likely[:, rare] = likely[:, is_now[~there]] = 0
        likely.scatter_(1, is_now[:, None], stays[:, None])
        price = -likely.clamp(min=_LEAST).log()
        rows, columns = linear_sum_assignment(price.numpy())
        found[own[rows]] = torch.from_numpy(columns)
    found = from_zero(found)
    return Appearances(found, shrunk(painted.noise + between_images(painted.means, found)))


def _rest(plane: Tensor, number: int) -> Tensor:
    """Return which regions, of planes (R,), teach a plane that is left out."""
    folds = min(_FOLDS, int(plane.max()) + 1)
    return plane % folds != number % folds


def _stages(fewest: int, channels: int) -> list[int]:
    """Return up to which numbers of appearances to try, one after the other."""
    stages = [max(_FIRST, fewest)]
    while stages[-1] < channels:
        stages.append(2 * stages[-1])
    return [min(stage, channels) for stage in stages]


def shrunk(noise: Tensor) -> Tensor:
    """Shrink a covariance (D, D) estimated from few pixels so that it can be inverted."""
    diagonal = noise.diagonal()
    level = diagonal.mean().clamp(min=1e-9)
    target = (1 - _ISOTROPIC) * diagonal + _ISOTROPIC * level
    return (1 - _SHRINKAGE) * noise + _SHRINKAGE * torch.diag(target)


def centres(means: Tensor, kind: Tensor) -> Tensor:
    """Return the (K, D) means of what is of one kind, (R, D), numbered 0 to K - 1."""
    number = torch.bincount(kind)
    zeros = means.new_zeros(len(number), means.shape[1])
    return zeros.index_add(0, kind, means) / number[:, None]


def linear(centre: Tensor, noise: Tensor) -> tuple[Tensor, Tensor]:
    """Return weight (K, D) and bias (K,) of Gaussians' log-likelihoods, up to what they share."""
    weight = torch.linalg.solve(noise, centre.T).T
    bias = -0.5 * (weight * centre).sum(1)
    # With zero mean the largest logit is never negative, so that unused channels can lie below it.
    return weight - weight.mean(0), bias - bias.mean()


def temperature(logits: Tensor, target: Tensor) -> float:
    """Return the factor on logits that makes their probabilities fit the paint best.

    Features of one pixel depend on one another less than a Gaussian's would, and pixels are not
    independent: as they come, the logits are overconfident.
    """
    factors = torch.logspace(-2, 0.5, 21, dtype=torch.float64).tolist()

    @cache
    def cost(place: int) -> float:
        return float(F.cross_entropy(logits * factors[place], target))

    first, last = 0, len(factors) - 1
    while first < last:  # the cost is convex in the factor
        middle = (first + last) // 2
        if cost(middle) <= cost(middle + 1):
            last = middle
        else:
            first = middle + 1
    return float(factors[first])


def few_planes(painted: Painted) -> tuple[Painted, Tensor]:
    """Keep whole planes of about 128 regions, the one with most regions among them.

    Returns
    -------
    Painted
        Of these planes, with at most 64 pixels per region.
    Tensor
        (R,) bool: which regions these are.
    """
    kept = torch.isin(painted.plane, painted.plane[:_SURVEYED])
    kept |= painted.plane == torch.bincount(painted.plane).argmax()
    return only(painted, kept), kept


def only(painted: Painted, kept: Tensor) -> Painted:
    """Return some regions, `kept` (R,) bool, with at most 64 pixels each; planes from 0."""
    order = torch.argsort(painted.region, stable=True)
    region = painted.region[order]
    count = torch.bincount(region, minlength=len(kept))
    taken = torch.where(kept, count.clamp(max=_PIXELS), 0)
    pixel = evenly(count, taken)
    new = kept.cumsum(0) - 1
    return Painted(
        painted.features[order[pixel]],
        new[region[pixel]],
        painted.means[kept],
        from_zero(painted.plane[kept]),
        painted.noise,
    )


def evenly(count: Tensor, taken: Tensor) -> Tensor:
    """Return positions of `taken` (R,) of the `count` (R,) elements of each region, in a row.

    Evenly spaced: a region may lie on several tiles, whose pixels follow one another.
    """
    start = count.cumsum(0) - count
    region = torch.repeat_interleave(torch.arange(len(count), device=count.device), taken)
    rank = torch.arange(len(region), device=count.device) - (taken.cumsum(0) - taken)[region]
    return start[region] + rank * count[region] // taken[region]


def _alternate(painted: Painted, count: int, *, centred: bool) -> Appearances:
    """Alternate between which regions are alike and what the noise between alike ones is."""
    _, _, means, plane, noise = painted
    seen: list[Tensor] = []
    total = shrunk(noise)
    for _ in range(_ALTERNATIONS):
        points = means @ _directions(total, means, plane)
        if centred and not seen:
            points = _centred_per(points, plane)
        number = align(points, plane, count)
        if any(torch.equal(number, before) for before in seen):
            break
        seen.append(number)
        total = shrunk(noise + between_images(means, number))
    return Appearances(number, total)


def _directions(noise: Tensor, means: Tensor, plane: Tensor) -> Tensor:
    """Return (D, d) directions in which regions of one plane differ most, in units of noise."""
    # Every whitening is the same up to a rotation; this one costs a twentieth of an eigenbasis.
    root = torch.linalg.cholesky(noise)
    differing = torch.linalg.solve_triangular(root, _centred_per(means, plane).T, upper=False).T
    _, _, basis = torch.linalg.svd(differing, full_matrices=False)
    found: Tensor = torch.linalg.solve_triangular(root.T, basis[:_DIRECTIONS].T, upper=True)
    return found


def _centred_per(means: Tensor, kind: Tensor) -> Tensor:
    return means - centres(means, kind)[kind]


def between_images(means: Tensor, appearance: Tensor) -> Tensor:
    """Return the (D, D) covariance of the means of one appearance."""
    off = _centred_per(means, appearance)
    free = len(means) - int(appearance.max()) - 1
    # Unbiased, but from one or two spare means that would be a bold claim.
    return off.T @ off / max(free, len(means) / 2)


def left_out_scores(painted: Painted, number: Tensor) -> Tensor:
    """Return how well the other planes teach each plane.

    The entropy of the plane's channels minus twice that within its regions, in units of the
    logarithm of their number: at most 1.

    Parameters
    ----------
    painted : Painted
        Of two planes or more.
    number : Tensor
        (R,) the appearance of each region, 0 to K - 1.

    Returns
    -------
    Tensor
        (planes,), not a number for planes with a single region.
    """
    mean = left_out(painted, number)
    regions = torch.bincount(painted.plane)
    within = mean.new_zeros(len(regions)).index_add_(0, painted.plane, _entropy(mean)) / regions
    whole = mean.new_zeros(len(regions), mean.shape[1]).index_add_(0, painted.plane, mean)
    score = _entropy(whole / regions[:, None]) - 2 * within
    return torch.where(regions > 1, score / regions.log(), torch.nan)


def left_out(painted: Painted, number: Tensor) -> Tensor:
    """Return the (R, K) mean probabilities of each region, taught by other planes only.

    Parameters
    ----------
    painted : Painted
        Of two planes or more.
    number : Tensor
        (R,) the appearance of each region, 0 to K - 1.
    """
    features, region, means, plane, noise = painted
    planes = int(plane.max()) + 1
    total = means.new_zeros(len(means), int(number.max()) + 1)
    for fold in range(min(_FOLDS, planes)):
        rest = _rest(plane, fold)
        there, kind = number[rest].unique(return_inverse=True)  # type: ignore[no-untyped-call]
        known = number.new_full(rest.shape, -1)
        known[rest] = kind
        weight, bias = linear(
            centres(means[rest], kind), shrunk(noise + between_images(means[rest], kind))
        )
        logits = features @ weight.T + bias
        teaching = rest[region]
        heat = temperature(logits[teaching], known[region[teaching]])
        soft = means.new_zeros(int((~teaching).sum()), total.shape[1])
        soft[:, there] = torch.softmax(logits[~teaching] * heat, dim=1)
        total.index_add_(0, region[~teaching], soft)
    mean: Tensor = total / torch.bincount(region, minlength=len(means))[:, None]
    return mean


def from_zero(numbers: Tensor) -> Tensor:
    """Renumber from 0 without gaps, in order."""
    there = torch.bincount(numbers) > 0
    return (there.cumsum(0) - 1)[numbers]


def _entropy(probabilities: Tensor) -> Tensor:
    found: Tensor = torch.special.entr(probabilities).sum(-1)
    return found


def _smallest_good(scores: Tensor, counts: list[int]) -> int:
    """Return which row of scores (candidates, planes) has fewest appearances, of the good ones.

    Good: not worse than the best by more than half the standard error of the difference.
    """
    scores = scores[:, scores.isfinite().all(0)]
    if scores.shape[1] < 2:
        return 0
    mean = scores.mean(1)
    loss = scores[mean.argmax()] - scores
    error = loss.std(dim=1) / scores.shape[1] ** 0.5
    good = (loss.mean(1) <= _ERRORS * error + 1e-9).nonzero()[:, 0].tolist()
    return int(min(good, key=lambda i: (counts[i], -float(mean[i]))))
