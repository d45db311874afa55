"""One threshold for the set, or the best for each image."""

from __future__ import annotations

import numpy as np
import pytest

from napari_cas.errors import InputError
from napari_cas.metrics.boundaries import BoundaryCounts
from napari_cas.metrics.scales import boundary_scales, covering_scales, mean_scales


def test_means_by_hand():
    scores = [[0.2, 0.9, 0.5], [0.8, 0.1, 0.6]]
    found = mean_scales(scores)
    assert found == (pytest.approx(0.55), 2, pytest.approx(0.85))
    lower = mean_scales(scores, lower_is_better=True)
    assert lower == (pytest.approx(0.5), 0, pytest.approx(0.15))


def test_covering_pools_pixels():
    covered, pixels = [[50, 80], [10, 4]], [100, 20]
    found = covering_scales(covered, pixels)
    assert found == (pytest.approx(84 / 120), 1, pytest.approx(90 / 120))


def test_boundaries_pool_counts():
    good, bad = BoundaryCounts(9, 10, 9, 10), BoundaryCounts(1, 10, 1, 10)
    small = BoundaryCounts(1, 1, 1, 1)
    found = boundary_scales([[good, bad], [BoundaryCounts(0, 1, 0, 1), small]])
    assert found.threshold == 0
    assert found.ods == pytest.approx(9 / 11)
    assert found.ois == pytest.approx(10 / 11)


@pytest.mark.parametrize("scores", [[], [[]], [0.5]])
def test_nothing_is_an_error(scores):
    with pytest.raises(InputError, match="No scores"):
        mean_scales(np.array(scores))


def test_ragged_counts_are_an_error():
    with pytest.raises(InputError, match="No scores"):
        boundary_scales([[BoundaryCounts()], []])
