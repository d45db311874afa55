"""What the quick network learns in closed form, before the steps of each round."""

from __future__ import annotations

from typing import TYPE_CHECKING

from napari_cas.engine.anchor import (
    Anchor,
    channels_of,
    learn_borders,
    start_from_discriminant,
)
from napari_cas.engine.composites import how_many, make_composites
from napari_cas.engine.corrected import Corrected
from napari_cas.engine.mixed import sentence
from napari_cas.engine.painting import digest_of
from napari_cas.engine.sampling import PixelSampler
from napari_cas.engine.variations import COPIES
from napari_cas.errors import RegionError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import numpy as np
    from numpy.typing import NDArray

    from napari_cas.engine.composites import Composites
    from napari_cas.engine.discriminant import Discriminant
    from napari_cas.engine.features import FeatureCache
    from napari_cas.engine.fit import Learner
    from napari_cas.engine.mixed import Mixed
    from napari_cas.engine.painting import PaintedTile, Region
    from napari_cas.engine.predict import Prediction
    from napari_cas.engine.sources import Source
    from napari_cas.models import QuickModel
    from napari_cas.protocol import Alike, Box, Plane

STEPS_PER_ROUND = 100

_CROWDED, _FEW = 0.8, 3
"""Kinds that are found may be too few where they are more than this share of the channels, and more
than so many: with twelve kinds and eight channels, seven or eight are found."""


def crowded_sentence(channels: int) -> str:
    """Return what the annotator is told where there may be more kinds than channels."""
    return (
        f"The regions show about as many kinds as there are channels ({channels}). Where different "
        "kinds are taken for one, choose more channels in the settings; the network then begins "
        "anew."
    )


class ClosedForm:
    """From paint to pixels and a linear map, round by round.

    Attributes
    ----------
    copies : int
        Varied copies of painted tiles that the linear map was found from.
    alike : tuple of Alike
        Regions that are taken as one.
    alone : tuple of (str, tuple of int, int)
        Image, plane and id of regions that do not count.
    corrected : Corrected
        What is known of planes that are painted after they were predicted.

    Parameters
    ----------
    model : QuickModel
        Its head is changed in place.
    learner : Learner
        Its penalty is set; it begins again where paint has changed.
    cache : FeatureCache
        Holds features between rounds.
    predict : callable
        From a source, a plane and a box to what the network says.
    seed : int
        Determines all that is drawn.
    """

    def __init__(
        self,
        model: QuickModel,
        learner: Learner,
        cache: FeatureCache,
        predict: Callable[[Source, Plane, Box], Prediction],
        seed: int,
    ) -> None:
        self._model, self._learner, self._cache = model, learner, cache
        self._predict, self._seed = predict, seed
        self.copies = 0
        self.alike: tuple[Alike, ...] = ()
        self.alone: tuple[Region, ...] = ()
        self.corrected = Corrected()
        self._found: Discriminant | None = None
        self._mixed: tuple[Mixed, ...] = ()

    def look(self, tiles: Sequence[PaintedTile], digest: str) -> tuple[Sequence[PaintedTile], bool]:
        """Add what is accepted to what is painted.

        Parameters
        ----------
        tiles : sequence of PaintedTile
            All that is painted.
        digest : str
            Of what this returned last.

        Returns
        -------
        sequence of PaintedTile
            The same tiles, with accepted pixels on planes that are corrected.
        bool
            Whether anything is new.
        """
        learnt = bool(self._model.head.linear_weight.any())
        self.corrected.look(tiles, self._soft if learnt else None, self._seed)
        said = self.corrected.hear(tiles, self._model.channels)
        self.alone = tuple(self.corrected.alone(tiles))
        joined = self.corrected.join(tiles)
        if not said and digest_of(joined) == digest:
            return joined, False
        self.corrected.accept_again()
        return self.corrected.join(tiles), True

    def sampler(
        self, tiles: Sequence[PaintedTile], rounds: int, say: Callable[[str], None]
    ) -> PixelSampler:
        """Find the linear map, and return what the steps of this round draw from.

        Parameters
        ----------
        tiles : sequence of PaintedTile
            As returned by :meth:`look`.
        rounds : int
            How many there were since anything was new; 0 if it is now.
        say : callable
            Takes a sentence for the annotator.
        """
        head, changed = self._model.head, not rounds
        sampler = self._draw(tiles)
        if not head.fitted:
            head.standardise(sampler.features)
        if changed and sampler.leave_to_begun(self.corrected, head):
            sampler = self._draw(self.corrected.join(tiles))
        known = not changed and sampler.copies == self.copies
        if known and self._found is not None:
            sampler.link(self.corrected, head)
            sampler.part(self._mixed, head)
            found = self._found
        else:
            found = self._solve(sampler, say, known=known)
            if changed and self._learner.step:  # what was learnt is beside another linear map
                self._learner.begin_again(head.restart)
            if not known and sampler.object(self.corrected, head):
                sampler = self._draw(self.corrected.join(tiles))
                found = self._solve(sampler, say, known=False)
            sampler.note(self.corrected, channels_of(head, sampler, found))
        sampler.settle(found.group, varied=found.varied)
        if found is not self._found:  # only then were regions compared
            self.alike = sampler.alike()
        self.copies, self._found = sampler.copies, found
        if self._learner.step:  # the first answer comes without, for haste
            made = self._composites(tiles, sampler, found, rounds)
            if made is not None:
                learn_borders(head, sampler, found, made)
        self._learner.penalty = Anchor(head, sampler.probes, self._seed)
        return sampler

    def _soft(self, tile: PaintedTile) -> NDArray[np.float32]:
        """Return probabilities (M, h, w) of a tile."""
        return self._predict(tile.source, tile.plane, tile.box).probabilities

    def _draw(self, tiles: Sequence[PaintedTile]) -> PixelSampler:
        # None at first, for haste.
        copies = min(COPIES, -(-self._learner.step // STEPS_PER_ROUND))
        return PixelSampler(self._model, tiles, self._cache, self._seed, copies)

    def _solve(
        self, sampler: PixelSampler, say: Callable[[str], None], *, known: bool
    ) -> Discriminant:
        """Put into the head what tells the painted regions apart, unless it is there already."""
        head = self._model.head
        sampler.merge_alike(self._model)
        sampler.link(self.corrected, head)
        if int(sampler.channel.min()) >= 0 and len(sampler.channel.unique()) < 2:  # type: ignore[no-untyped-call]
            raise RegionError(
                "Only one kind is painted",
                expected="two or more regions on one plane, or a correction of what was predicted",
                got="what was predicted, painted once more",
                todo="Paint something that looks different, or where the prediction is wrong.",
            )
        self._mixed = sampler.find_mixed(head)
        sampler.part(self._mixed, head)
        if sampler.mixed:
            say(sentence(sampler.mixed))
        found = start_from_discriminant(head, sampler, known=known)
        channels = self._model.channels
        if sampler.crowded or len(found.centre) > max(_CROWDED * channels, _FEW):
            say(crowded_sentence(channels))
        return found

    def _composites(
        self,
        tiles: Sequence[PaintedTile],
        sampler: PixelSampler,
        found: Discriminant,
        rounds: int,
    ) -> Composites | None:
        """Return this round's composites."""
        return make_composites(
            self._model,
            tiles,
            lambda tile, box: self._predict(tile.source, tile.plane, box).probabilities,
            self._cache,
            self._seed,
            how_many(rounds),
            # All regions of a single plane share its light; which side is up may part them.
            light=found.varied or sampler.planes == 1,
            side=found.varied,
        )
