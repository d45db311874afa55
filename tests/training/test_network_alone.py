"""The network alone: what is held in memory answers as the source does that it was read from."""

from __future__ import annotations

import numpy as np

from napari_cas.protocol import Box
from training.network_alone import Held


class Ramp:
    name, channels, size = "ramp", 1, (100, 120)

    def read(self, plane, box):
        y, x = np.mgrid[box.slices]
        return (1000 * y + x)[None].astype(np.float32)


def test_what_is_held_answers_as_the_source_does():
    box, inside = Box(10, 20, 60, 90), Box(30, 40, 50, 60)
    held = Held(Ramp(), (), box)
    assert held.size == Ramp.size
    assert np.array_equal(held.read((), inside), Ramp().read((), inside))
    alone = Held(Ramp(), (), box, cut=True)
    assert alone.size == (50, 70)
    assert np.array_equal(alone.read((), Box(20, 20, 40, 40)), Ramp().read((), inside))
