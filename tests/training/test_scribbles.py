"""Simulated scribbles: inside their regions, along them, seeded, and careless when asked."""

from __future__ import annotations

import numpy as np
import pytest

from napari_cas.errors import InputError
from training.scribbles import Scribbles, scribble


@pytest.fixture(scope="module")
def truth() -> np.ndarray:
    """Four regions: a large one, a ring, its inside and one in two pieces; a strip of none."""
    y, x = np.mgrid[:120, :160]
    r = np.hypot(y - 60, x - 60)
    labels = np.where(r < 20, 3, np.where(r < 45, 2, 1))
    labels[5:15, 120:150] = labels[100:112, 120:150] = 7
    labels[:, :3] = 0
    return labels.astype(np.int32)


def test_each_region_gets_one_id_and_none_spills(truth):
    painted = scribble(truth, seed=1)
    ids = np.unique(painted)
    assert ids.tolist() == [0, 1, 2, 3, 4]
    hit = [np.unique(truth[painted == i]).tolist() for i in ids[1:]]
    assert sorted(hit) == [[1], [2], [3], [7]]


def test_same_seed_same_scribbles_and_another_seed_others(truth):
    assert np.array_equal(scribble(truth, seed=5), scribble(truth, seed=5))
    assert not np.array_equal(scribble(truth, seed=5), scribble(truth, seed=6))


def test_ids_are_those_of_the_truth_unless_shuffled(truth):
    painted = scribble(truth, Scribbles(shuffle=False), seed=2)
    assert np.array_equal(painted[painted > 0], truth[painted > 0])
    meanings = {tuple(_meaning(truth, scribble(truth, seed=s))) for s in range(12)}
    assert len(meanings) > 4


def test_strokes_lie_deep_within(truth):
    from scipy.ndimage import distance_transform_edt

    depth = distance_transform_edt(truth == 1)
    painted = [depth[scribble(truth, Scribbles(shuffle=False), seed=s) == 1] for s in range(8)]
    assert np.concatenate(painted).mean() > depth[truth == 1].mean()


def test_length_and_width_and_number_do_what_they_say(truth):
    def pixels(**options):
        return np.mean(
            [(scribble(truth, Scribbles(**options), seed=s) > 0).sum() for s in range(6)]
        )

    base = pixels(length=0.5, width=3)
    assert pixels(length=1.0, width=3) > 1.3 * base
    assert pixels(length=0.5, width=7) > 1.5 * base
    assert pixels(length=0.5, width=3, per_region=3) > 1.7 * base


@pytest.mark.parametrize("spill", [0.05, 0.2, 0.5])
def test_the_fraction_of_wrong_pixels_is_the_one_asked_for(truth, spill):
    painted = scribble(truth, Scribbles(spill=spill, shuffle=False), seed=3)
    for region in (1, 2, 3, 7):
        values = truth[painted == region]
        assert (values != region).mean() == pytest.approx(spill, abs=0.03)
        assert (values != 0).all()


def test_regions_of_one_pixel_or_line_are_painted():
    labels = np.ones((30, 30), np.int64)
    labels[4, 4], labels[20, :] = 2, 9
    painted = scribble(labels, Scribbles(shuffle=False), seed=0)
    assert set(np.unique(painted)) == {0, 1, 2, 9}
    assert (labels[painted > 0] == painted[painted > 0]).all()


def test_nothing_to_paint_paints_nothing():
    assert not scribble(np.zeros((9, 9), int)).any()


def test_bad_input_is_named(truth):
    with pytest.raises(InputError, match="float64"):
        scribble(np.zeros((3, 3)))
    with pytest.raises(InputError, match="spill < 1"):
        Scribbles(spill=1.0)
    with pytest.raises(InputError, match="length > 0"):
        Scribbles(length=0)


def _meaning(truth, painted):
    return [int(truth[painted == i][0]) for i in np.unique(painted)[1:]]
