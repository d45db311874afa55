import pytest
import torch

from napari_cas.engine.appearances import Painted
from napari_cas.engine.mixed import find_mixed, sentence

from .test_appearances import DEPTH, painted


def lumped(data, kind, planes, pair=(0, 1)):
    """Return regions as `painted` does, two kinds of some planes as one region."""
    first, second = pair
    region = torch.arange(len(kind))
    for plane in planes:
        own = data.plane == plane
        region[own & (kind == second)] = region[own & (kind == first)]
    kept, renumbered = region.unique(return_inverse=True)
    index = renumbered[data.region]
    means = torch.stack([data.features[index == r].mean(0) for r in range(len(kept))])
    mixed = [int(renumbered[(data.plane == p) & (kind == first)]) for p in planes]
    return data._replace(region=index, means=means, plane=data.plane[kept]), mixed


def found_in(data):
    return find_mixed(data, torch.arange(len(data.means)))


@pytest.mark.parametrize("light", [0.0, 1.5])
def test_regions_painted_over_two_kinds_are_found_and_parted(light):
    data, kind = painted([(0, 1, 2)] * 9, light=light)
    both, mixed = lumped(data, kind, [1, 4, 7])
    found = found_in(both)
    assert sorted(m.regions for m in found) == [(r,) for r in mixed]
    for one in found:
        own = both.region == one.regions[0]
        second = both.features[own] @ one.weight + one.bias > 0
        true = kind[data.region[own]] == 1
        assert max((second == true).double().mean(), (second != true).double().mean()) > 0.95


def test_what_is_right_is_left_alone():
    for light in (0.0, 2.5):
        assert not found_in(painted([(0, 1, 2)] * 9, light=light)[0])
        # Planes that lack a kind are no mistake.
        assert not found_in(painted([(0, 1, 2), (0, 2), (1, 2)] * 4, light=light)[0])


def test_whoever_paints_two_kinds_as_one_as_often_as_apart_is_believed():
    data, kind = painted([(0, 1, 2)] * 8)
    assert len(found_in(lumped(data, kind, range(3))[0])) == 3
    assert not found_in(lumped(data, kind, range(4))[0])


def test_few_planes_say_too_little():
    data, kind = painted([(0, 1, 2)] * 3)
    assert not found_in(lumped(data, kind, [0])[0])


def test_kinds_that_the_teachers_cannot_tell_apart_part_nothing():
    data, _ = painted([(0, 0, 2)] * 9)
    assert not found_in(lumped(data, torch.tensor([0, 1, 2] * 9), [1, 4])[0])


def test_a_kind_that_another_region_shows_is_a_slip_of_the_brush():
    data, _ = painted([(0, 1, 2)] * 6 + [(0, 1)])
    spilt = data.features.clone()
    first, second = (data.region == r for r in torch.where(data.plane == 6)[0].tolist())
    spilt[first.nonzero()[:15, 0]] = spilt[second.nonzero()[:15, 0]]
    means = data.means.clone()
    means[-2] = spilt[first].mean(0)
    assert not found_in(Painted(spilt, data.region, means, data.plane, torch.eye(DEPTH).double()))


def test_regions_that_are_one_already_are_parted_together():
    data, kind = painted([(0, 1, 2)] * 9)
    both, (mixed,) = lumped(data, kind, [4])
    # The painted regions have twice as many numbers: each group has two members.
    (found,) = find_mixed(both, torch.arange(len(both.means)).repeat_interleave(2))
    assert found.regions == (2 * mixed, 2 * mixed + 1)


def test_the_sentence_names_image_plane_and_region():
    assert sentence([("cells", (2, 0), 7)]).startswith("Region 7 of cells, plane 2, 0 shows two")
    many = sentence([("a", (), n) for n in range(5)])
    assert many.startswith("Regions 0 of a; 1 of a; 2 of a; … show two kinds")
