"""Partitions at every scale, from parts that are joined most alike first."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest

from training.hierarchy import (
    basins,
    borders,
    colours,
    contrast,
    descriptors,
    merged,
    superpixels,
)


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
    found = merged(features, strips, scales=(0.05, 0.2, 0.85, 5))
    assert [len(np.unique(labels)) for labels in found] == [6, 4, 2, 1]
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


def test_what_lies_between_alike_parts_keeps_them_apart(strips):
    features = np.array([[0.0], [0.1], [0.2], [0.3], [0.4], [0.5]])
    edges = np.zeros(strips.shape)
    edges[:, 8:10] = 1  # on both sides of the border of the third and the fourth
    (without,) = merged(features, strips, scales=(0.5,))
    (found,) = merged(features, strips, edges, scales=(0.5,))
    assert len(np.unique(without)) == 1
    assert len(np.unique(found)) == 2
    assert found[0, 8] != found[0, 9]


def test_a_small_part_is_joined_over_a_step_that_keeps_large_ones_apart():
    parts = np.repeat([0, 1, 2], [10, 2, 10])[None].repeat(4, axis=0)
    (found,) = merged(np.array([[0.0], [1.0], [1.9]]), parts, scales=(0.9,))
    large = np.repeat([0, 1], [10, 12])[None].repeat(4, axis=0)
    assert np.array_equal(found, large)
    (two,) = merged(np.array([[0.0], [1.0]]), large, scales=(0.9,))
    assert two.max() == 1


def test_borders_count_pairs_and_add_up_the_larger_edge(strips):
    edges = np.arange(strips.shape[1])[None].repeat(len(strips), axis=0)
    assert borders(strips)[2, 3] == borders(strips)[3, 2] == 8
    assert borders(strips)[2, 4] == 0
    assert borders(strips, edges)[2, 3] == 8 * 9


def test_contrast_is_where_maps_change_and_adds_up_over_them():
    step = np.zeros((1, 20, 40))
    step[..., 20:] = 1
    found = contrast(step)
    assert found.shape == (20, 40)
    assert found[:, 19:21].min() > 0.7
    assert found[:, :10].max() < 1e-3
    assert contrast(3 * step) == pytest.approx(3 * found)
    assert contrast(np.concatenate([step, step])) == pytest.approx(2**0.5 * found)


def test_basins_end_where_contrast_is_largest():
    step = np.zeros((1, 40, 60))
    step[:, :, 23:] = 1
    step[:, 17:, 23:] = 2
    noise = np.random.default_rng(0).normal(0, 0.02, step.shape)
    parts = basins(contrast(step + noise))
    assert np.array_equal(np.unique(parts), np.arange(parts.max() + 1))
    assert parts.max() > 3  # the noise has minima of its own
    truth = np.unique(step, return_inverse=True)[1].reshape(40, 60)
    owned = [np.bincount(truth[parts == part]) for part in range(parts.max() + 1)]
    astray = sum(int(counts.sum() - counts.max()) for counts in owned)
    assert astray <= 60  # at most a pixel's width along the edges, 77 pixels long


def test_a_part_that_basins_draw_is_connected():
    from skimage.measure import label

    edges = np.random.default_rng(1).random((50, 70))
    parts = basins(edges)
    assert label(parts, background=-1, connectivity=2).max() == parts.max() + 1


def test_a_constant_image_is_one_basin():
    assert not basins(np.zeros((6, 8))).any()
