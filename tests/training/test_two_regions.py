"""An image parted in two: cuts against all assignments, and images whose halves are known."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
from scipy.sparse import coo_array

from napari_cas.metrics.regions import covering
from training.two_regions import (
    Parts,
    _least_cut,
    drawn_anew,
    energies,
    normalised_cut,
    two_regions,
)


@pytest.fixture
def halves() -> np.ndarray:
    truth = np.ones((64, 96), np.intp)
    truth[:, 40:] = 2
    return truth


def stripes(truth: np.ndarray) -> np.ndarray:
    """Return an image whose regions differ in the direction of their stripes, in nothing else."""
    y, x = np.indices(truth.shape)
    waves = np.where(truth == 1, np.sin(x * np.pi / 2), np.sin(y * np.pi / 6))
    return np.repeat((127 + 90 * waves)[..., None], 3, axis=2).astype(np.uint8)


def parts_at(places: np.ndarray) -> Parts:
    count = len(places)
    nothing = np.zeros((count, 0))
    image = np.zeros((1, count, 3), np.uint8)
    return Parts(image, np.arange(count)[None], np.ones(count), None, places, nothing, nothing)


def test_the_least_cut_is_the_least_of_all_assignments():
    rng = np.random.default_rng(0)
    for _ in range(20):
        costs = rng.random((7, 2))
        pairs = np.array([(i, j) for i in range(7) for j in range(i) if rng.random() < 0.5])
        weights = rng.random(len(pairs))
        one_way = coo_array((weights, pairs.T), shape=(7, 7)).tocsr()

        def cost(labels, costs=costs, pairs=pairs, weights=weights):
            apart = np.array(labels)[pairs[:, 0]] != np.array(labels)[pairs[:, 1]]
            return costs[np.arange(7), labels].sum() + weights[apart].sum()

        found = _least_cut(costs, one_way + one_way.T).astype(int)
        assert cost(found) == pytest.approx(min(map(cost, product((0, 1), repeat=7))), abs=1e-3)


def test_a_normalised_cut_parts_what_is_unlike_and_not_a_single_outlier():
    rng = np.random.default_rng(0)
    features = np.concatenate([rng.normal(0, 0.1, (12, 2)), rng.normal(1, 0.1, (8, 2))])
    features[3] = (0.0, 0.6)
    second = normalised_cut(features, parts_at(rng.random((20, 2)) * 0.1))
    assert set(second[:12]) != set(second[12:])
    assert len(set(second[:12])) == len(set(second[12:])) == 1


def test_of_equals_the_cut_goes_between_places():
    places = np.concatenate([np.random.default_rng(0).random((10, 2)) * 0.2 + s for s in (0, 0.8)])
    second = normalised_cut(np.zeros((20, 1)), parts_at(places))
    assert len(set(second[:10])) == len(set(second[10:])) == 1
    assert second[0] != second[10]


@pytest.mark.parametrize("by", ["channels", "colour", "texture"])
def test_two_halves_are_found_by_what_tells_them_apart(by, halves):
    rng = np.random.default_rng(0)
    image = rng.integers(100, 140, (*halves.shape, 3)).astype(np.uint8)
    maps, weights = None, {}
    if by == "channels":
        left = np.clip(np.where(halves == 1, 0.7, 0.3) + rng.normal(0, 0.1, halves.shape), 0, 1)
        maps = np.stack([left, 1 - left]).astype(np.float32)
    elif by == "colour":
        image[halves == 2, 0] += 60
        weights = {"colour": 1.0}
    else:
        image = stripes(halves)
        weights = {"texture": 1.0}
    found = two_regions(Parts.of(image), maps, **weights)
    assert found.shape == halves.shape
    assert set(np.unique(found)) == {1, 2}
    assert covering(halves, found) > 0.9


def test_an_image_without_any_difference_is_parted_without_complaint():
    found = two_regions(Parts.of(np.full((64, 64, 3), 90, np.uint8)), None, colour=1, texture=1)
    assert found.shape == (64, 64)
    assert set(np.unique(found)) <= {1, 2}


def test_energies_tell_scale_and_nothing_of_brightness(halves):
    image = stripes(halves)
    found = energies(image)
    assert found.shape == (15, *halves.shape)
    brighter = energies(image + 20)
    assert found == pytest.approx(brighter, abs=0.02)  # roots of what rounding leaves
    fine, coarse = found[:, 20:40, 10:30].mean((1, 2)), found[:, 20:40, 60:80].mean((1, 2))
    # Stripes of 4 pixels have all but gone at a sigma of 2.8, those of 12 have not.
    assert fine[6] / fine[0] < 0.5 * coarse[6] / coarse[0]


def test_a_border_is_drawn_anew_where_the_image_has_it():
    truth = np.ones((128, 128), np.intp)
    truth[:, 70:] = 2
    image = np.random.default_rng(0).integers(60, 100, (128, 128, 3)).astype(np.uint8)
    image[truth == 2] += 80
    rough = np.roll(truth, 5, axis=1)
    rough[:, :5] = 1
    assert covering(truth, rough) < 0.95
    assert covering(truth, drawn_anew(image, rough)) > 0.99
    assert (drawn_anew(image, rough) == truth).mean() > 0.99  # and labels stay with their sides


def test_a_single_region_is_left_as_it_is():
    image = np.random.default_rng(0).integers(60, 100, (64, 64, 3)).astype(np.uint8)
    whole = np.ones((64, 64), np.intp)
    assert drawn_anew(image, whole) is whole
