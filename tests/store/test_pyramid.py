"""Downsampling against plain NumPy."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from napari_cas.store.pyramid import blocks, halve_mean, halve_mode, level_shapes

SHAPES = hnp.array_shapes(min_dims=2, max_dims=3, min_side=1, max_side=9)


@pytest.mark.parametrize("dtype", ["uint8", "int16", "uint16", "uint32", "int64", "uint64"])
@settings(deadline=None, max_examples=40)
@given(data=st.data())
def test_mean_of_integers_is_exact_even_at_the_limits(dtype, data):
    block = data.draw(hnp.arrays(dtype, SHAPES))
    out = halve_mean(block)
    assert out.dtype == block.dtype
    for index in np.ndindex(out.shape):
        y, x = 2 * index[-2], 2 * index[-1]
        rows = [y, min(y + 1, block.shape[-2] - 1)]
        columns = [x, min(x + 1, block.shape[-1] - 1)]
        four = [int(block[(*index[:-2], r, c)]) for r in rows for c in columns]
        assert int(out[index]) == (sum(four) + 2) // 4


def test_mean_of_floats_does_not_overflow():
    block = np.full((2, 2), np.finfo(np.float32).max, np.float32)
    assert halve_mean(block) == block[0, 0]


@settings(deadline=None, max_examples=60)
@given(hnp.arrays("int32", SHAPES, elements=st.integers(0, 3)))
def test_mode_is_a_most_frequent_label_and_prefers_paint(block):
    out = halve_mode(block)
    for index in np.ndindex(out.shape):
        y, x = 2 * index[-2], 2 * index[-1]
        rows = [y, min(y + 1, block.shape[-2] - 1)]
        columns = [x, min(x + 1, block.shape[-1] - 1)]
        four = [int(block[(*index[:-2], r, c)]) for r in rows for c in columns]
        top = max(four.count(v) for v in four)
        best = {v for v in four if four.count(v) == top}
        assert int(out[index]) in best
        assert int(out[index]) != 0 or best == {0}


def test_levels_end_below_512_pixels():
    assert level_shapes((5, 511, 511)) == [(5, 511, 511)]
    assert level_shapes((512, 3)) == [(512, 3), (256, 2)]
    assert len(level_shapes((30_000, 30_000))) == 7


def test_blocks_cover_everything_once():
    seen = np.zeros((2, 5, 7), int)
    for where in blocks((2, 5, 7), 3):
        seen[where] += 1
    assert (seen == 1).all()


def test_pixels_without_data_do_not_count_in_the_mean():
    nan = np.nan
    block = np.array([[1, nan, nan, nan, 5], [3, 5, nan, nan, nan]], np.float32)
    expected = np.array([[3, nan, 5]], np.float32)
    np.testing.assert_array_equal(halve_mean(block), expected)
    assert halve_mean(block).dtype == np.float32
