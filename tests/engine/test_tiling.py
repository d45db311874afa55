import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from napari_cas.engine.tiling import grid, overlapping, window, with_halo
from napari_cas.protocol import Box

sizes = st.tuples(st.integers(1, 3000), st.integers(1, 3000))
tiles = st.sampled_from([128, 256, 512])


@given(sizes, tiles)
def test_tiles_cover_the_plane_once_and_start_aligned(size, tile):
    found = grid(size, tile)
    assert sum(b.shape[0] * b.shape[1] for b in found) == size[0] * size[1]
    assert all(b.y0 % 64 == b.x0 % 64 == 0 for b in found)
    assert max(max(b.shape) for b in found) <= 1.5 * tile
    assert len(set(found)) == len(found)


def test_small_planes_stay_whole():
    assert grid((700, 512), 512) == [Box(0, 0, 700, 512)]
    assert len(grid((1024, 1024), 512)) == 4


@given(sizes, tiles, st.data())
def test_overlapping_tiles_hold_the_box(size, tile, data):
    y0, x0 = (data.draw(st.integers(0, n - 1)) for n in size)
    y1 = data.draw(st.integers(y0 + 1, size[0]))
    x1 = data.draw(st.integers(x0 + 1, size[1]))
    box = Box(y0, x0, y1, x1)
    parts = [t.intersection(box) for t in overlapping(grid(size, tile), box)]
    assert sum(np.prod(p.shape) for p in parts) == np.prod(box.shape)


@given(sizes, tiles, st.data())
def test_windows_are_aligned_and_hold_their_tile(size, tile, data):
    inner = data.draw(st.sampled_from(grid(size, tile)))
    outer = with_halo(inner, 64, size)
    assert outer.y0 % 32 == outer.x0 % 32 == 0
    found = window(inner, outer, 32)
    assert all(v % 32 == 0 for v in found)
    assert outer.y0 + found.y0 == inner.y0
    assert outer.y0 + found.y1 >= inner.y1
    assert outer.x0 + found.x1 >= inner.x1
