"""Borders that nobody painted: pieces of tiles pasted onto others.

Strokes lie inside of things. What the network's coarse levels say beside a border, where what is on
either side blends, they never teach. So pieces of painted tiles are cut out along random lines and
pasted onto others (CutMix [1]_, which French et al. [2]_ use for segmentation), in another light
and from another side. What is on either side of such a border is no secret: the network says it,
looking at the tiles as they are. How far pixels of the composite are off their kind then joins the
noise of Fisher's discriminant (:func:`napari_cas.engine.discriminant.with_borders`). Only what the
network is sure of counts, half of it beside the new borders.

No name is needed: what it says are channels. What it is worth: ``python -m training bench
ablation``, docs/label-free.md, "Borders".

References
----------
.. [1] Yun et al., "CutMix: regularization strategy to train strong classifiers with localizable
   features", ICCV 2019.
.. [2] French et al., "Semi-supervised semantic segmentation needs strong, varied perturbations",
   BMVC 2020.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch
from scipy import ndimage

from napari_cas.engine.sources import neighbours
from napari_cas.engine.variations import Variation, from_side
from napari_cas.models.pyramid import gather, indices
from napari_cas.protocol import Box

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray
    from torch import Tensor

    from napari_cas.engine.features import FeatureCache
    from napari_cas.engine.painting import PaintedTile
    from napari_cas.models.pyramid import Pyramid
    from napari_cas.models.quick import QuickModel
    from napari_cas.protocol import Plane

_PER_ROUND, _MOST = 8, 40
_PATCHES = 16
_SIDE, _SMALLEST = 256, 32
_PIXELS = 400
_NEAR = 12
_SURE = 0.9
_SCALES = (4.0, 40.0)
_EXPOSURE = 0.5
"""Deviation of the logarithm of a gain that all channels share. Varied copies of the paint vary
less: what is said of composites cannot be far wrong, so that more may be asked."""


class Patch(NamedTuple):
    """A part of a painted tile; `box` is on the plane."""

    tile: PaintedTile
    box: Box


class Composites(NamedTuple):
    """Pixels of composites, and what they show.

    Attributes
    ----------
    features : Tensor
        (P, D).
    channel : Tensor
        (P,) int64: what the network says of the pixel where it comes from.
    """

    features: Tensor
    channel: Tensor


class _Composite(NamedTuple):
    """Pixels of one composite.

    Attributes
    ----------
    features : Tensor
        (P, D).
    patch : tuple of int
        Numbers of the patch that was pasted onto and of the one that was pasted.
    inside : ndarray
        (P,) bool: whether a pixel is of the one that was pasted.
    origin : ndarray
        (2, P) int64: the pixel's place in either patch, counted row by row.
    """

    features: Tensor
    patch: tuple[int, int]
    inside: NDArray[np.bool_]
    origin: NDArray[np.int64]


def how_many(rounds: int) -> int:
    """Return how many composites to learn from in a round that many after the paint changed.

    More with every round, up to a limit: they are made a few at a time, so that no round is long.
    """
    return min(_MOST, _PER_ROUND * max(1, rounds))


@torch.no_grad()
def make_composites(
    model: QuickModel,
    tiles: Sequence[PaintedTile],
    predict: Callable[[PaintedTile, Box], NDArray[np.float32]],
    cache: FeatureCache,
    seed: int,
    count: int,
    *,
    light: bool,
    side: bool,
) -> Composites | None:
    """Make composites of painted tiles.

    Parameters
    ----------
    model : QuickModel
        Its stem makes the features.
    tiles : sequence of PaintedTile
        Where pieces are cut out.
    predict : callable
        From a tile and a box on its plane to probabilities (M, h, w), 0 where there are no data.
    cache : FeatureCache
        Holds features of composites between rounds.
    seed : int
        Determines all that is random.
    count : int
        How many; the first ones are always the same.
    light, side : bool
        Whether in another light, and whether from other sides: not where they are what tells
        regions apart.

    Returns
    -------
    Composites or None
        None if tiles are too small, or the network is sure of nothing.
    """
    patches = cut_patches(tiles, seed)
    if not patches:
        return None
    made = [
        _compose(model, patches, cache, [seed, k], light=light, turned=side) for k in range(count)
    ]
    used = {i for composite in made for i in composite.patch}
    said = {i: predict(*patches[i]) for i in sorted(used)}
    features, channel = zip(*(_sure(composite, said) for composite in made), strict=True)
    found = Composites(torch.cat(features), torch.cat(channel))
    return found if len(found.channel) else None


def cut_patches(tiles: Sequence[PaintedTile], seed: int) -> list[Patch]:
    """Cut squares out of painted tiles: a few out of each, or one out of some where they are many.

    Parameters
    ----------
    tiles : sequence of PaintedTile
        Those less than 32 pixels high or wide give none.
    seed : int
        Where they lie depends on it and on the tile.

    Returns
    -------
    list of Patch
        At most 16, of at most 256 pixels a side.
    """
    some = tiles[:: max(1, -(-len(tiles) // _PATCHES))]
    found = []
    for tile in some:
        box = tile.box
        side = min(_SIDE, *box.shape)
        if side < _SMALLEST:
            continue
        rng = np.random.default_rng([seed, *map(int, box), *tile.plane])
        copies = _PATCHES // len(some) if max(box.shape) > _SIDE else 1
        for _ in range(copies):
            y, x = (
                o + int(rng.integers(n - side + 1)) for o, n in zip(box, box.shape, strict=False)
            )
            found.append(Patch(tile, Box(y, x, y + side, x + side)))
    return found


def _compose(
    model: QuickModel,
    patches: Sequence[Patch],
    cache: FeatureCache,
    seed: Sequence[int],
    *,
    light: bool,
    turned: bool,
) -> _Composite:
    """Make one composite, or take last round's."""
    rng = np.random.default_rng([*seed])
    one, other = (int(i) for i in rng.integers(len(patches), size=2))
    pair = patches[one], patches[other]
    key = (
        "composite",
        light,
        turned,
        *seed,
        *((p.tile.source.name, p.tile.plane, p.box) for p in pair),
    )
    held = cache.get(key, _Composite)
    if held is not None:
        return held._replace(patch=(one, other))
    side = min(p.box.shape[0] for p in pair)
    inside = random_mask((side, side), rng)
    y, x = _places(inside, rng)
    views = [_View.draw(p.box.shape[0], side, rng, turned=turned) for p in pair]
    lit = _light(pair[0].tile.source.channels, rng) if light else None
    pyramid = _look(model, pair, views, inside, lit)
    features = gather(pyramid, *indices(y, x, pyramid[0].device))
    places = (np.arange(p.box.shape[0] ** 2).reshape(1, *p.box.shape) for p in pair)
    origin = np.stack([v.of(at)[0, y, x] for v, at in zip(views, places, strict=True)])
    made = _Composite(features, (one, other), inside[y, x], origin)
    cache.put(key, made, 4 * features.numel())
    return made


def _look(
    model: QuickModel,
    pair: Sequence[Patch],
    views: Sequence[_View],
    inside: NDArray[np.bool_],
    light: Variation | None,
) -> Pyramid:
    """Return the features of the second of two patches pasted onto the first inside a mask."""
    seen = []
    # At the end of a stack there are fewer neighbouring planes.
    for planes in zip(*(_around(patch, model.context) for patch in pair), strict=False):
        below, above = (
            view.of(patch.tile.source.read(plane, patch.box))
            for view, patch, plane in zip(views, pair, planes, strict=True)
        )
        image = np.where(inside, above, below)
        if light is not None:
            image = np.ascontiguousarray(light.apply(image))
        seen.append(model.features(torch.from_numpy(image)[None].to(model.mixing.device)))
    return model.with_context(seen[0], seen[1:])


def _sure(composite: _Composite, said: dict[int, NDArray[np.float32]]) -> tuple[Tensor, Tensor]:
    """Return features (P, D) and channels (P,) where the network is sure of a composite."""
    below, above = (
        said[i].reshape(len(said[i]), -1)[:, at]
        for i, at in zip(composite.patch, composite.origin, strict=True)
    )
    soft = np.where(composite.inside, above, below)
    sure = torch.from_numpy(soft.max(0) > _SURE)
    features = composite.features[sure.to(composite.features.device)]
    return features, torch.from_numpy(soft.argmax(0))[sure]


class _View(NamedTuple):
    """A square of a patch, turned and mirrored."""

    y: int
    x: int
    side: int
    turns: int
    mirrored: bool

    @classmethod
    def draw(cls, whole: int, side: int, rng: np.random.Generator, *, turned: bool) -> _View:
        """Draw a square of so many pixels a side from a patch of so many."""
        y, x = (int(rng.integers(whole - side + 1)) for _ in range(2))
        if not turned:
            return cls(y, x, side, 0, False)
        return cls(y, x, side, int(rng.integers(4)), bool(rng.integers(2)))

    def of(self, array: NDArray[Any]) -> NDArray[Any]:
        """Return it of a patch (C, h, w)."""
        part = array[:, self.y : self.y + self.side, self.x : self.x + self.side]
        return from_side(part, self.turns, mirrored=self.mirrored)


def _light(channels: int, rng: np.random.Generator) -> Variation:
    """Draw another light, of another exposure."""
    drawn = Variation.draw(channels, rng)._replace(turns=0, mirrored=False)
    exposure = np.exp(rng.normal(0, _EXPOSURE))
    return drawn._replace(gain=(drawn.gain * exposure).astype(np.float32))


def _around(patch: Patch, context: int) -> list[Plane]:
    """Return the plane of a patch and those around it."""
    tile = patch.tile
    return [tile.plane, *neighbours(tile.source, tile.plane, context)]


def random_mask(shape: tuple[int, int], rng: np.random.Generator) -> NDArray[np.bool_]:
    """Return areas (h, w) of random size and form, a quarter to three quarters of the whole."""
    low, high = np.log(_SCALES)
    noise = ndimage.gaussian_filter(rng.standard_normal(shape), np.exp(rng.uniform(low, high)))
    found: NDArray[np.bool_] = noise > np.quantile(noise, rng.uniform(0.25, 0.75))
    return found


def _places(
    inside: NDArray[np.bool_], rng: np.random.Generator
) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Return rows and columns of pixels, half of them beside the border of a mask."""
    away = np.where(
        inside, ndimage.distance_transform_edt(inside), ndimage.distance_transform_edt(~inside)
    )
    near = rng.permutation(np.flatnonzero(away <= _NEAR))[: _PIXELS // 2]
    anywhere = rng.integers(inside.size, size=_PIXELS // 2)
    y, x = np.unravel_index(np.concatenate([near, anywhere]), inside.shape)
    return y, x
