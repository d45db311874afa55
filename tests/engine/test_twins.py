import pytest
import torch

from napari_cas.engine.appearances import Painted, find_appearances
from napari_cas.engine.twins import join_twins

from .test_appearances import painted


def twice(kinds, seed=0, **options):
    """Return regions as `painted` does, every kind of a plane under two ids."""
    return painted([tuple(k for k in own for _ in range(2)) for own in kinds], seed, **options)


def joined(data, channels=8):
    return join_twins(data, find_appearances(data, channels).number)


@pytest.mark.parametrize("number", [2, 3])
def test_kinds_under_two_ids_are_joined_on_every_plane(number):
    data, kind = twice([tuple(range(number))] * 8)
    found = joined(data)
    pairs = set(zip(data.plane.tolist(), kind.tolist(), strict=True))
    assert len(pairs) == int(found.max()) + 1
    assert len(set(zip(found.tolist(), data.plane.tolist(), kind.tolist(), strict=True))) == len(
        pairs
    )


@pytest.mark.parametrize("spread", [1.0, 2.0])
def test_different_kinds_are_not_joined(spread):
    data, kind = painted([(0, 1, 2), (2, 3), (1, 3), (0, 2, 3)] * 2, spread=spread)
    assert joined(data).tolist() == sorted(range(len(kind)), key=lambda r: int(data.plane[r]))


def test_two_planes_say_too_little():
    data, kind = twice([(0, 1)] * 2)
    assert int(joined(data).max()) + 1 == len(kind)


def test_something_to_tell_apart_remains_where_nothing_can_be_told_apart():
    data, kind = painted([(0, 1)] * 8)
    blurred = data.features * 0
    same = Painted(blurred, data.region, data.means * 0, data.plane, torch.eye(12).double())
    assert int(join_twins(same, kind).max()) + 1 == len(kind)


def test_a_single_plane_is_believed():
    data, kind = painted([(0, 0, 1)])
    assert joined(data).tolist() == list(range(len(kind)))


@pytest.mark.parametrize(("apart", "regions"), [(3, 3), (4, 0)])
def test_kinds_that_seldom_meet_are_not_joined_by_what_a_few_planes_say(apart, regions):
    planes = [(0, 0, 2)] * 3 + [(0, 2)] * (2 * apart)
    data, _ = painted(planes)
    first, second = [0, 2], [1, 2]
    number = torch.tensor([0, 1, 2] * 3 + (first + second) * apart)
    assert int(join_twins(data, number).max()) + 1 == len(number) - regions
