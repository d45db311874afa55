"""What one optimiser step sees: painted pixels for a head on frozen features."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch
from torch import Tensor

from napari_cas.engine.alike import group_alike
from napari_cas.engine.appearances import from_zero
from napari_cas.engine.corrected import TWO
from napari_cas.engine.device import generator
from napari_cas.engine.discriminant import OUTSIDE, describe, only_regions, planes_of
from napari_cas.engine.drawing import PER_REGION, draw, limit_of, vary
from napari_cas.engine.mixed import Mixed, find_mixed, teaching
from napari_cas.engine.painting import ACCEPTED, digest_of
from napari_cas.engine.variations import shared_out
from napari_cas.losses import RegionIndex, index_regions
from napari_cas.protocol import Alike

if TYPE_CHECKING:
    from collections.abc import Sequence

    from napari_cas.engine.corrected import Corrected
    from napari_cas.engine.features import FeatureCache
    from napari_cas.engine.painting import PaintedTile
    from napari_cas.models.quick import Head, QuickModel
    from napari_cas.protocol import Plane

PIXELS_PER_STEP = 4096
REGIONS_PER_STEP = 128
_LOCAL_LEVELS = 3
_LEAST_VARIANCE = 1e-2


class Batch(NamedTuple):
    """What one step is computed from.

    Attributes
    ----------
    inputs : Tensor
        (P, D) features of pixels, or (B, C, H, W) crops.
    regions : RegionIndex
        Of the logits' shape: (1, P) or (B, H, W).
    """

    inputs: Tensor
    regions: RegionIndex


class PixelSampler:
    """Features at painted pixels, gathered once per round; each step draws from them.

    Every region of a step gives the same number of pixels, whatever its size, so that its
    descriptor is estimated equally well.

    Attributes
    ----------
    features, count : Tensor
        (P, D) features of painted pixels, sorted by region, and (R,) pixels of each region.
    plane, ids, group : Tensor
        (R,) plane, painted id, and the number that regions share which are taken as one.
    varied, varied_count : Tensor
        The same pixels and some of them in varied copies of their images, (V, D) and (R,).
    planes, copies : int
        How many planes are painted, and how many varied copies of a tile there are, at most.
    mixed : tuple of (str, tuple of int, int)
        Image, plane and painted id of regions that are taken as two.
    crowded : set of int
        Planes on which regions are taken as one that are not alike, for want of channels.
    probes, neighbours : Tensor
        (Q, D) features of random pixels, and differences between such that lie close together.
    deepest : Tensor
        (D,) bool: which features are of the network's deepest level.

    Parameters
    ----------
    model : QuickModel
        Its stem makes the features.
    tiles : sequence of PaintedTile
        What is painted.
    cache : FeatureCache
        Holds features of tiles and samples between rounds.
    seed : int
        Seed of all draws.
    copies : int
        Varied copies of each tile, at most (:mod:`napari_cas.engine.variations`).
    """

    def __init__(
        self,
        model: QuickModel,
        tiles: Sequence[PaintedTile],
        cache: FeatureCache,
        seed: int,
        copies: int = 0,
    ) -> None:
        self._seed = seed
        names = list(dict.fromkeys((t.source.name, t.plane) for t in tiles))
        limit = limit_of(tiles)
        samples = list(draw(model, tiles, cache, seed, limit))
        pairs = shared_out(len(tiles), len(names), copies)
        few = max(limit // 2, PER_REGION[0])
        extra = [vary(model, tiles[tile], cache, seed, copy, few) for tile, copy in pairs]
        of = [*range(len(tiles)), *(tile for tile, _ in pairs)]
        ids, features = zip(*((s.ids, s.features) for s in (*samples, *extra)), strict=True)
        number = {name: i for i, name in enumerate(names)}
        planes = [number[tiles[t].source.name, tiles[t].plane] for t in of]
        plane = torch.cat([torch.full_like(i, n) for i, n in zip(ids, planes, strict=True)])
        regions = index_regions(torch.cat(ids)[None], plane[None])
        painted = sum(len(s.ids) for s in samples)
        index = regions.index[0, :painted]
        self.features, self.count = _by_region(features[: len(tiles)], index)
        self._at, _ = _by_region([s.at for s in samples], index)
        self.varied, self.varied_count = self.features, self.count
        self.copies = copies if extra else 0
        if extra:
            self.varied, self.varied_count = _by_region(features, regions.index[0])
        self.probes = torch.cat([s.probes for s in samples])
        halves = [s.probes.chunk(2) for s in samples]
        self.neighbours = torch.cat([one - other for one, other in halves])
        self.plane, self.ids = regions.plane, regions.ids
        self.group = torch.arange(len(self.count))
        self.channel = torch.full_like(self.group, -1)
        self.planes = len(names)
        self.deepest = model.deepest
        self.mixed: tuple[tuple[str, Plane, int], ...] = ()
        self.crowded: set[int] = set()
        self._alike = self.group
        self._names = tuple(names)
        self._titles = {t.source.name: t.source.title for t in tiles}
        self.digest = digest_of(tiles)

    def batch(self, step: int) -> Batch:
        """Return the pixels of one step; the same for the same seed, step and paint."""
        rng = generator(self._seed, step)
        chosen = self._choose_regions(rng)
        each = max(8, PIXELS_PER_STEP // len(chosen))
        drawn = torch.rand(len(chosen), each, generator=rng)
        start = self.varied_count.cumsum(0) - self.varied_count
        index = start[chosen, None] + (drawn * self.varied_count[chosen, None]).long()
        regions = index_regions(
            self.group[chosen, None].expand(-1, each).reshape(1, -1) + 1,
            self.plane[chosen, None].expand(-1, each).reshape(1, -1),
        )
        device = self.varied.device
        return Batch(self.varied[index.flatten().to(device)], regions.to(device))

    def merge_alike(self, model: QuickModel) -> None:
        """Take regions that look alike as one from now on."""
        head = model.head
        standard = head.standardised(self.features)
        local = sum(head.widths[:_LOCAL_LEVELS])
        painted = self.ids < ACCEPTED
        some, count = only_regions(standard, self.count, painted)
        at, _ = only_regions(self._at, self.count, painted)
        group, alike = group_alike(
            some, count, self.plane[painted], at, local=local, channels=model.channels
        )
        self._alike = torch.full_like(self.ids, -1)
        self._alike[painted] = alike
        self.crowded = set(self.plane[painted][group != alike].tolist())
        self.group = torch.arange(len(self.ids)) + len(self.ids)
        self.group[painted] = group
        self.group = torch.unique(self.group, return_inverse=True)[1]

    def link(self, corrected: Corrected, head: Head) -> None:
        """Take regions of corrected planes as one that are of one channel, from now on."""
        places = [(number, name) for number, name in enumerate(self._names) if name in corrected]
        if not places:
            return
        soft = self.shares(head)
        used = np.zeros(soft.shape[1], bool)
        used[[*soft.argmax(1).tolist(), *corrected.accepted]] = True
        for number, place in places:
            own = (self.plane == number).nonzero()[:, 0]
            painted = own[self.ids[own] < ACCEPTED]
            groups = [painted[self.group[painted] == g] for g in set(self.group[painted].tolist())]
            if groups:  # else it is alone, and does not count
                said = torch.stack([soft[members].mean(0) for members in groups])
                corrected.guess(place, [self.ids[g].tolist() for g in groups], said.numpy(), used)
            self.channel[own] = torch.tensor(corrected.channels(place, self.ids[own].tolist()))
        linked = self.channel >= 0
        key = self.plane * soft.shape[1] + self.channel
        group = torch.where(linked, key + int(self.group.max()) + 1, self.group)
        self.group = torch.unique(group, return_inverse=True)[1]

    def note(self, corrected: Corrected, channel: Tensor) -> None:
        """Note of which channel (R,) each painted region was learnt."""
        for number, place in enumerate(self._names):
            own = (self.plane == number) & (self.ids < ACCEPTED)
            found: dict[int, int] = {}
            for id_, learnt in zip(self.ids[own].tolist(), channel[own].tolist(), strict=True):
                found[id_] = learnt if found.get(id_, learnt) == learnt else TWO
            corrected.note(place, found)

    @torch.no_grad()
    def shares(self, head: Head) -> Tensor:
        """Return (R, M) float64 mean probabilities of each region."""
        region = torch.repeat_interleave(torch.arange(len(self.count)), self.count)
        soft = torch.softmax(head(self.features), dim=1).cpu().double()
        zeros = soft.new_zeros(len(self.count), soft.shape[1])
        return zeros.index_add(0, region, soft) / self.count[:, None]

    def leave_to_begun(self, corrected: Corrected, head: Head) -> bool:
        """Accept no pixels that look most like a region that is begun on their plane.

        Returns
        -------
        bool
            Whether there are any.
        """
        of = torch.repeat_interleave(torch.arange(len(self.count)), self.count)
        changed = False
        for number, place in enumerate(self._names):
            begun = corrected.take_begun(place)
            accepted = ((self.plane == number) & (self.ids >= ACCEPTED))[of].nonzero()[:, 0]
            if not begun or not len(accepted):
                continue
            painted = ((self.plane == number) & (self.ids < ACCEPTED)).nonzero()[:, 0]
            some = [head.standardised(self.features[of == r]).cpu().double() for r in painted]
            within = torch.stack([one.var(0, correction=0) for one in some]).mean(0)
            scale = within.clamp(min=_LEAST_VARIANCE).rsqrt()
            centres = torch.stack([one.mean(0) for one in some])
            said = head.standardised(self.features[accepted]).cpu().double()
            nearest = torch.cdist(said * scale, centres * scale).argmin(1)
            wrong = torch.isin(self.ids[painted[nearest]], torch.tensor(sorted(begun)))
            corrected.drop(place, self._at[accepted[wrong]].numpy())
            changed |= bool(wrong.any())
        return changed

    @torch.no_grad()
    def object(self, corrected: Corrected, head: Head) -> bool:
        """No longer accept pixels that the head takes for what else is painted on their plane.

        Returns
        -------
        bool
            Whether there are any.
        """
        accepted = self.ids >= ACCEPTED
        if not bool(accepted.any()):
            return False
        region = torch.repeat_interleave(torch.arange(len(self.count)), self.count)
        now = head(self.features).argmax(1).cpu()
        key = self.plane * head.out.out_features + self.channel
        said = self.plane[region] * head.out.out_features + now
        # Regions of no known channel would have the key of another plane's last one.
        painted = key[~accepted & (self.channel >= 0)]
        wrong = accepted[region] & (said != key[region]) & torch.isin(said, painted)
        at, plane = self._at[wrong].numpy(), self.plane[region[wrong]].numpy()
        for number in np.unique(plane):
            corrected.object(self._names[number], at[plane == number])
        return bool(wrong.any())

    def find_mixed(self, head: Head) -> tuple[Mixed, ...]:
        """Return regions that show two kinds, as other planes tell."""
        free = self.channel < 0
        if not bool(free.any()):
            return ()
        group, plane = from_zero(self.group[free]), from_zero(self.plane[free])
        if teaching(planes_of(group, plane)) is None:
            return ()  # as mostly; describing takes longer
        features, neighbours = head.standardised(self.features), self.neighbours * head.scale
        some, count = only_regions(features, self.count, free)
        painted = describe(some, count, plane, group, neighbours)
        where = free.nonzero()[:, 0]
        return tuple(
            m._replace(regions=tuple(where[list(m.regions)].tolist()))
            for m in find_mixed(painted, group)
        )

    def part(self, mixed: Sequence[Mixed], head: Head) -> None:
        """Take regions that show two kinds as two from now on."""
        if not mixed:
            return
        regions = [region for found in mixed for region in found.regions]
        planes = [self._names[int(self.plane[region])] for region in regions]
        self.mixed = tuple(
            (self._titles[name], plane, int(self.ids[region]))
            for region, (name, plane) in zip(regions, planes, strict=True)
        )
        part = _parts(head.standardised(self.features), self.count, mixed)
        known = part.unique()  # type: ignore[no-untyped-call]
        if self.copies:
            other = _parts(head.standardised(self.varied), self.varied_count, mixed)
            # Copies must not have a part of which the paint itself has no pixel.
            other = torch.where(torch.isin(other, known), other, other ^ 1)
            where = torch.searchsorted(known, other)
            self.varied, self.varied_count = _by_region([self.varied], where)
        where = torch.searchsorted(known, part)
        self.features, self.count = _by_region([self.features], where)
        if not self.copies:
            self.varied, self.varied_count = self.features, self.count
        of, side = known // 2, known % 2
        self.plane, self.ids, self.channel = self.plane[of], self.ids[of], self.channel[of]
        self._alike = self._alike[of]
        self.group = torch.unique(2 * self.group[of] + side, return_inverse=True)[1]

    def settle(self, group: Tensor, *, varied: bool) -> None:
        """Take regions of one group as one, and draw from varied copies or not."""
        self.group = group
        if not varied:
            self.varied, self.varied_count = self.features, self.count

    def alike(self) -> tuple[Alike, ...]:
        """Return which regions are taken as one, but for want of channels."""
        groups = []
        forced = torch.isin(self.plane, torch.tensor(sorted(self.crowded), dtype=torch.int64))
        own = torch.where(forced, self._alike, -1)
        both = torch.unique(torch.stack([self.group, own]), dim=1, return_inverse=True)[1]
        for number in (torch.bincount(both) > 1).nonzero()[:, 0]:
            members = (both == number).nonzero()[:, 0]
            ids = sorted(i for i in set(self.ids[members].tolist()) if i < ACCEPTED)
            if len(ids) > 1:  # else parts of one region
                name, plane = self._names[int(self.plane[members[0]])]
                groups.append(Alike(name, plane, tuple(ids)))
        return tuple(groups)

    def _choose_regions(self, rng: torch.Generator) -> Tensor:
        """Return whole planes at random until REGIONS_PER_STEP are reached."""
        if len(self.plane) <= REGIONS_PER_STEP:
            return torch.arange(len(self.plane))
        taken: list[Tensor] = []
        total = 0
        for plane in torch.randperm(int(self.plane[-1]) + 1, generator=rng):
            regions = (self.plane == plane).nonzero()[:, 0]
            regions = regions[torch.randperm(len(regions), generator=rng)[:REGIONS_PER_STEP]]
            if taken and total + len(regions) > REGIONS_PER_STEP:
                break
            taken.append(regions)
            total += len(regions)
        return torch.cat(taken).sort().values


def _parts(standard: Tensor, count: Tensor, mixed: Sequence[Mixed]) -> Tensor:
    """Return (P,) twice the region of each pixel, plus one for the second part of mixed ones."""
    region = torch.repeat_interleave(torch.arange(len(count)), count)
    second = torch.zeros_like(region)
    for regions, weight, bias in mixed:
        own = torch.isin(region, torch.tensor(regions))
        some = standard[own.to(standard.device)].cpu().double().clamp(-OUTSIDE, OUTSIDE)
        second[own] = (some @ weight + bias > 0).long()
    return 2 * region + second


def _by_region(features: Sequence[Tensor], region: Tensor) -> tuple[Tensor, Tensor]:
    """Return (P, D) features sorted by region, and the (R,) pixels of each region."""
    order = torch.argsort(region, stable=True).to(features[0].device)
    return torch.cat(list(features))[order], torch.bincount(region)
