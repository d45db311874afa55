"""Partitions at every scale, from parts that are joined most alike first."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest

from training.hierarchy import colours, descriptors, merged, superpixels


@pytest.fixture
def strips() -> np.ndarray:
    """Six strips, three pixels wide, numbered from the left."""
    return np.repeat(np.arange(6), 3)[None].repeat(8, axis=0)


def test_descriptors_are_means_over_parts(strips):
    maps = np.random.default_rng(0).random((2, *strips.shape))
    found = descriptors(maps, strips)
    assert found.shape == (6, 2)
    for part in range(6):
        assert found[part] == pytest.approx(maps[:, strips == part].mean(1))


def test_the_most_alike_neighbours_are_joined_first(strips):
    features = np.array([[0.0], [0.1], [0.9], [1.0], [0.0], [3.0]])
    found = merged(features, strips, scales=(0.05, 0.2, 0.93, 5))
    assert [len(np.unique(labels)) for labels in found] == [6, 4, 3, 1]
    fine, pairs, *_ = found
    assert np.array_equal(np.unique(fine), np.arange(6))
    assert pairs[0, 0] == pairs[0, 3] != pairs[0, 6] == pairs[0, 9]
    # The fifth strip is like the first but lies apart from it: only neighbours are joined.
    assert pairs[0, 12] not in (pairs[0, 0], pairs[0, 6], pairs[0, 15])


def test_coarser_partitions_only_join(strips):
    features = np.random.default_rng(1).random((6, 3))
    found = merged(features, strips, scales=(0.1, 0.4, 0.7, 1.0))
    for fine, coarse in pairwise(found):
        pairs = np.unique(np.stack([fine.ravel(), coarse.ravel()]), axis=1)
        assert pairs.shape[1] == len(np.unique(fine))


def test_two_colours_are_told_apart_by_their_colour():
    rng = np.random.default_rng(0)
    image = np.full((60, 90, 3), (60, 60, 60), np.uint8)
    truth = np.zeros((60, 90), bool)
    truth[15:40, 20:60] = True
    image[truth] = (60, 160, 60)
    image += rng.integers(0, 12, image.shape, np.uint8)
    parts = superpixels(image)
    (found,) = merged(descriptors(colours(image), parts), parts, scales=(0.2,))
    # A superpixel across the edge may stay by itself.
    inside, outside = np.bincount(found[truth]), np.bincount(found[~truth])
    assert inside.argmax() != outside.argmax()
    assert inside.max() > 0.95 * truth.sum()
    assert outside.max() > 0.95 * (~truth).sum()
