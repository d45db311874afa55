import numpy as np
import pytest
import torch

from napari_cas.engine.align import align

CENTRES = np.array([[0.0, 0, 0], [6, 0, 0], [0, 6, 0], [0, 0, 6], [6, 6, 6]])


def regions(planes, kinds=3, seed=0, jitter=0.7):
    """Return points, planes and kinds of regions, `kinds` per plane in random order."""
    rng = np.random.default_rng(seed)
    kind = np.concatenate([rng.permutation(kinds) for _ in range(planes)])
    points = CENTRES[kind] + rng.normal(0, jitter, (len(kind), 3))
    plane = np.repeat(np.arange(planes), kinds)
    return torch.from_numpy(points), torch.from_numpy(plane), kind


def noise(seed, most=4):
    """Return regions without any structure, one to `most` per plane."""
    rng = np.random.default_rng(seed)
    plane = np.repeat(np.arange(20), rng.integers(1, most + 1, 20))
    return torch.from_numpy(rng.normal(0, 1, (len(plane), 2))), torch.from_numpy(plane)


def same_partition(found, kind):
    pairs = set(zip(np.asarray(found).tolist(), np.asarray(kind).tolist(), strict=True))
    return len(pairs) == len({a for a, _ in pairs}) == len({b for _, b in pairs})


def differ_on_every_plane(found, plane):
    return len(set(zip(found.tolist(), plane.tolist(), strict=True))) == len(found)


@pytest.mark.parametrize("kinds", [2, 3, 5])
def test_kinds_are_found_without_names(kinds):
    points, plane, kind = regions(10, kinds)
    assert same_partition(align(points, plane, kinds), kind)


def test_more_appearances_than_kinds_split_them():
    points, plane, kind = regions(10)
    found = align(points, plane, 5)
    assert found.max() == 4
    assert len(set(zip(found.tolist(), kind.tolist(), strict=True))) == 5


def test_numbers_count_from_zero_by_first_appearance():
    points, plane, _ = regions(4)
    found = align(points, plane, 3)
    assert found.dtype == torch.int64
    assert found[:3].tolist() == [0, 1, 2]
    for seed in range(5):
        found = align(*noise(seed), 4).tolist()
        assert list(dict.fromkeys(found)) == list(range(max(found) + 1))


def test_the_order_of_regions_does_not_matter():
    points, plane, kind = regions(10, kinds=5, seed=3)
    order = torch.randperm(len(plane), generator=torch.Generator().manual_seed(0))
    found = align(points[order], plane[order], 5)
    assert same_partition(found, kind[order.numpy()])
    assert same_partition(found, align(points, plane, 5)[order])


def test_the_numbers_of_planes_do_not_matter():
    points, plane, _ = regions(10, kinds=5, seed=3)
    renamed = torch.randperm(10, generator=torch.Generator().manual_seed(1))[plane] * 7 + 2
    assert torch.equal(align(points, renamed, 5), align(points, plane, 5))


def test_regions_of_one_plane_are_never_joined_even_where_they_coincide():
    points = torch.zeros(6, 3, dtype=torch.float64)
    plane = torch.tensor([0, 0, 0, 1, 1, 1])
    found = align(points, plane, 3)
    assert len(set(found[:3].tolist())) == len(set(found[3:].tolist())) == 3


@pytest.mark.parametrize("most", [4, 6])
def test_whatever_the_points_are_a_plane_has_different_numbers_and_not_too_many(most):
    for seed in range(10):
        points, plane = noise(seed)
        found = align(points, plane, most)
        assert differ_on_every_plane(found, plane)
        assert found.max() < most


def test_more_kinds_than_channels_share_them():
    # Five kinds, of which each plane shows two.
    rng = np.random.default_rng(0)
    kind = np.concatenate([rng.permutation(5)[:2] for _ in range(12)])
    points = torch.from_numpy(CENTRES[kind] + rng.normal(0, 0.3, (24, 3)))
    plane = torch.arange(12).repeat_interleave(2)
    found = align(points, plane, 3)
    assert set(found.tolist()) == {0, 1, 2}
    assert differ_on_every_plane(found, plane)


def test_on_one_plane_every_region_is_an_appearance_of_its_own():
    points, plane, _ = regions(1, kinds=5)
    assert align(points, plane, 8).tolist() == [0, 1, 2, 3, 4]
    assert align(points[:1], plane[:1], 8).tolist() == [0]


def test_a_region_alone_on_its_plane_joins_its_like():
    points, plane, _ = regions(3)
    alone = torch.from_numpy(CENTRES[1:2] + 0.3)
    found = align(torch.cat([points, alone]), torch.cat([plane, torch.tensor([9])]), 3)
    nearest = torch.cdist(points, alone).argmin()
    assert found[-1] == found[nearest]


def test_planes_of_single_regions_only_are_joined_by_distance():
    points = torch.tensor([[0.0], [0.1], [9.0], [9.1]], dtype=torch.float64)
    assert align(points, torch.arange(4), 2).tolist() == [0, 0, 1, 1]


def test_hundreds_of_planes_follow_the_first_ones():
    points, plane, kind = regions(200)
    assert same_partition(align(points, plane, 3), kind)


def test_a_late_plane_may_have_more_regions_than_all_before():
    points, plane, kind = regions(210, kinds=2, jitter=0.3)
    points = torch.cat([points, torch.from_numpy(CENTRES[:4])])
    plane = torch.cat([plane, torch.full((4,), 210)])
    found = align(points, plane, 4)
    assert same_partition(found, np.concatenate([kind, np.arange(4)]))


def test_it_is_the_same_every_time_and_leaves_its_input_alone():
    points, plane = noise(0)
    before = points.clone()
    assert torch.equal(align(points, plane, 4), align(points, plane, 4))
    assert torch.equal(points, before)
