"""Windows of huge planes: around the view, on the grid, and no more restless than needed."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from napari_cas.protocol import Box
from napari_cas.ui import frame
from napari_cas.ui.frame import Frame, around, serves

SIZE = (30_000, 20_000)


def view(y, x, side):
    return Box(y, x, y + side, x + side)


@st.composite
def views(draw):
    height = draw(st.integers(1, 9000))
    width = draw(st.integers(1, 9000))
    y, x = draw(st.integers(0, SIZE[0] - height)), draw(st.integers(0, SIZE[1] - width))
    return Box(y, x, y + height, x + width)


def test_planes_that_a_texture_can_hold_are_held_whole():
    held = Frame((8192, 100), (1.0, 1.0))
    assert held.whole
    assert not held.cuts
    assert held.translate == (0, 0)
    array = object()
    assert held.data(array) is array
    assert not held.follow(view(8000, 0, 50))


@given(views())
def test_a_window_shows_the_view_and_serves_it(seen):
    window = around(seen, SIZE)
    assert serves(window, seen)
    assert window.clip(*SIZE) == window
    assert max(window.shape) <= frame.LARGEST + frame.GRID
    assert window.y0 % frame.GRID == window.x0 % frame.GRID == 0
    if max(seen.shape) <= frame.LARGEST:
        assert window.contains(seen)


def test_it_follows_only_a_view_that_has_left():
    held = Frame(SIZE, (0.5, 0.5))
    assert held.follow(view(1000, 1000, 800))
    box = held.box
    assert not held.follow(view(1100, 1200, 800))
    assert not held.follow(view(1200, 1200, 100))
    assert held.box == box
    assert held.follow(view(5000, 1000, 800))
    assert held.box.contains(view(5000, 1000, 800))
    assert held.translate == (held.box.y0 / 2, held.box.x0 / 2)


def test_an_overview_moves_no_window_and_is_cut():
    held = Frame(SIZE, (1.0, 1.0))
    assert held.cuts
    held.follow(view(1000, 1000, 800))
    assert not held.cuts
    box = held.box
    assert not held.follow(Box(-5000, -5000, 40_000, 40_000))
    assert held.box == box
    assert held.cuts


def test_a_view_off_the_plane_changes_nothing():
    held = Frame(SIZE, (1.0, 1.0))
    box = held.box
    assert not held.follow(view(50_000, 50_000, 800))
    assert held.box == box


@pytest.mark.parametrize("axes", [1, 2])
def test_leading_axes_are_not_moved(axes):
    held = Frame(SIZE, (3.0,) * axes + (0.5, 0.25))
    held.follow(view(10_000, 10_000, 800))
    y, x = held.origin
    assert held.translate == (*(0,) * axes, y * 0.5, x * 0.25)
