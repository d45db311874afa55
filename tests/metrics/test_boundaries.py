"""Contours: how they are marked, matched within a tolerance and counted."""

from __future__ import annotations

import time

import numpy as np
import pytest
from scipy.optimize import linear_sum_assignment

from napari_cas.errors import InputError
from napari_cas.metrics.boundaries import (
    BoundaryCounts,
    boundary_counts,
    boundary_of,
    match,
    thinned,
)


def line(column: int, size: int = 60) -> np.ndarray:
    contour = np.zeros((size, size), bool)
    contour[:, column] = True
    return contour


def test_a_boundary_is_marked_before_the_change_as_in_bsds():
    labels = np.ones((4, 6), int)
    labels[:, 3:] = 2
    assert np.argwhere(boundary_of(labels)).tolist() == [[i, 2] for i in range(4)]
    assert np.argwhere(boundary_of(labels.T)).tolist() == [[2, i] for i in range(4)]
    corner = np.ones((4, 4), int)
    corner[2:, 2:] = 2
    assert np.argwhere(boundary_of(corner)).tolist() == [[1, 1], [1, 2], [1, 3], [2, 1], [3, 1]]


def test_a_uniform_image_has_none():
    assert not boundary_of(np.full((5, 5), 3)).any()


def test_lines_within_the_tolerance_match_and_others_do_not():
    truth = line(30)
    diagonal = np.hypot(60, 60)
    for shift, expected in ((0, 60), (2, 60), (4, 0)):
        found, confirmed = match(line(30 + shift), truth, tolerance=3 / diagonal)
        assert found.sum() == confirmed.sum() == expected


def test_no_pixel_is_matched_twice():
    truth = line(30)
    doubled = line(29) | line(31)
    found, confirmed = match(doubled, truth, tolerance=2 / np.hypot(60, 60))
    assert confirmed.sum() == 60
    assert found.sum() == 60
    counts = boundary_counts(doubled, [truth], tolerance=2 / np.hypot(60, 60), thin=False)
    assert counts.precision == 0.5
    assert counts.recall == 1.0


@pytest.mark.parametrize("seed", range(8))
def test_the_matching_is_as_large_as_an_assignment_can_make_it(seed):
    rng = np.random.default_rng(seed)
    found, truth = rng.random((14, 18)) < 0.12, rng.random((14, 18)) < 0.12
    reach = 2.3
    ours = match(found, truth, tolerance=reach / np.hypot(14, 18))[0].sum()
    here, there = np.argwhere(found), np.argwhere(truth)
    far = np.hypot(*(here[:, None] - there[None]).transpose(2, 0, 1)) > reach
    rows, columns = linear_sum_assignment(far)
    assert ours == (~far[rows, columns]).sum()


def test_contours_along_the_rim_match_only_within_the_image():
    rim = np.zeros((9, 12), bool)
    rim[0], rim[-1], rim[:, 0], rim[:, -1] = True, True, True, True
    assert match(rim, rim, tolerance=0)[0].sum() == rim.sum()
    left, right = np.zeros_like(rim), np.zeros_like(rim)
    left[1:, 0], right[:-1, -1] = True, True  # neighbours in memory, far apart in the image
    assert not match(right, left, tolerance=2 / np.hypot(9, 12))[0].any()


def test_any_annotator_confirms_and_each_must_be_found():
    counts = boundary_counts(line(10) | line(40), [line(10), line(40), line(50)], thin=False)
    assert counts == BoundaryCounts(found_matched=120, found=120, truth_matched=120, truth=180)
    assert counts.f == pytest.approx(2 * 1 * (2 / 3) / (1 + 2 / 3))


def test_thick_contours_are_thinned_first():
    thick = line(29) | line(30) | line(31)
    assert thinned(thick).sum() == pytest.approx(60, abs=2)
    assert boundary_counts(thick, [line(30)]).precision > 0.95


def test_counts_add_up():
    total = BoundaryCounts(1, 2, 3, 4) + BoundaryCounts(10, 20, 30, 40)
    assert total == BoundaryCounts(11, 22, 33, 44)
    assert total.precision == 0.5
    assert total.recall == 0.75


def test_nothing_found_scores_nothing():
    empty = np.zeros((60, 60), bool)
    counts = boundary_counts(empty, [line(3)])
    assert (counts.precision, counts.recall, counts.f) == (0, 0, 0)
    assert boundary_counts(line(3), [empty], thin=False).f == 0


def test_shapes_are_checked():
    with pytest.raises(InputError, match="Contours"):
        match(line(1), line(1)[:10])
    with pytest.raises(InputError, match="Not a partition"):
        boundary_of(np.zeros(4, int))


def test_contours_of_two_people_match_at_once(shared_data):
    from training.data.bsds import BSDS500

    truth = next(iter(BSDS500("val", shared_data / "bsds500")))
    begun = time.process_time()
    found, confirmed = match(truth.boundaries[0], truth.boundaries[1])
    assert found.sum() == confirmed.sum() > 3000
    assert time.process_time() - begun < 5  # scipy's bipartite matching takes half a minute
