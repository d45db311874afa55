"""What crosses the process boundary."""

import pytest

from napari_cas.protocol import Box

OUTER = Box(10, 20, 50, 60)


@pytest.mark.parametrize(
    ("other", "touches", "contains"),
    [
        (Box(10, 20, 50, 60), True, True),
        (Box(15, 25, 20, 30), True, True),
        (Box(0, 0, 11, 21), True, False),
        (Box(0, 0, 10, 60), False, False),  # edges meet, no pixel is shared
        (Box(50, 20, 60, 60), False, False),
    ],
)
def test_boxes_share_pixels_or_not(other, touches, contains):
    assert OUTER.touches(other) == other.touches(OUTER) == touches
    assert OUTER.contains(other) == contains


def test_the_common_part_and_where_it_lies_inside():
    part = OUTER.intersection(Box(40, 0, 90, 30))
    assert part == Box(40, 20, 50, 30)
    assert part.inside(OUTER) == Box(30, 0, 40, 10)
    assert part.inside(OUTER).shape == part.shape


def test_clipping_to_an_image_may_leave_nothing():
    assert Box(-5, 5, 8, 99).clip(10, 20) == Box(0, 5, 8, 20)
    assert Box(30, 30, 40, 40).clip(10, 20).shape == (0, 0)
