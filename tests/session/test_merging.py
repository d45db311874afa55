"""Regions that look alike get one id, in the paint of one plane only."""

import numpy as np
import pytest

from napari_cas.protocol import Alike
from napari_cas.session import merging
from napari_cas.store import Project


@pytest.fixture
def entry(tmp_path):
    with Project.create(tmp_path / "p.zarr") as project:
        pixels = np.random.default_rng(0).integers(0, 255, (2, 600, 300), dtype=np.uint8)
        entry = project.add_image("stack", pixels, "zyx")
        for plane in (0, 1):
            for region in (1, 2, 3, 5):
                entry.regions[plane, 100 * region : 100 * region + 50, 250:270] = region
        yield entry


def test_the_smallest_id_stays_and_other_planes_are_left_alone(entry):
    before = np.asarray(entry.regions[...])
    merging.merge(entry, Alike("stack", (1,), (5, 2, 9)))
    after = np.asarray(entry.regions[...])
    assert (after[0] == before[0]).all()
    assert (after[1] == np.where(before[1] == 5, 2, before[1])).all()


def test_merging_what_is_no_longer_painted_changes_nothing(entry):
    before = np.asarray(entry.regions[...])
    merging.merge(entry, Alike("stack", (0,), (7, 8)))
    assert (np.asarray(entry.regions[...]) == before).all()


@pytest.mark.parametrize(
    ("groups", "text"),
    [
        ((), ""),
        ((Alike("a", (), (2, 3)),), "Regions 2, 3 of 'a' look alike: they are learnt as one."),
        (
            (Alike("a", (4,), tuple(range(1, 9))),),
            "Regions 1, 2, 3, 4, 5, … of 'a', plane 4 look alike: they are learnt as one.",
        ),
        (
            (Alike("a", (), (2, 3)), Alike("b", (), (1, 2, 4))),
            "5 regions look alike within 2 groups, each learnt as one.",
        ),
    ],
)
def test_one_sentence_says_it(groups, text):
    assert merging.summary(groups) == text
