import torch

from napari_cas.engine import alike
from napari_cas.engine.alike import group_alike


def regions(centres, per=100, features=20, seed=0):
    """Return features of regions around centres, one deviation wide."""
    generator = torch.Generator().manual_seed(seed)
    parts = [torch.randn(per, features, generator=generator) + c for c in centres]
    return torch.cat(parts), torch.full((len(centres),), per)


def groups(centres, plane=None, channels=8):
    features, count = regions(centres)
    plane = torch.zeros(len(centres), dtype=torch.int64) if plane is None else torch.tensor(plane)
    at = torch.zeros(len(features), 2, dtype=torch.int64)
    return group_alike(features, count, plane, at, local=10, channels=channels)[0].tolist()


def filled(centres, spread, side, seed=0):
    """Return groups of filled squares whose every 32 pixels lie around a centre of their own."""
    generator = torch.Generator().manual_seed(seed)
    features, at = [], []
    for centre in centres:
        own = centre + spread * torch.randn(side // 32, side // 32, 20, generator=generator)
        y, x = torch.randint(side, (2, 1024), generator=generator)
        features.append(own[y // 32, x // 32] + torch.randn(1024, 20, generator=generator))
        at.append(torch.stack([y, x], dim=1) + 1000)
    count, plane = torch.tensor([1024] * len(centres)), torch.zeros(len(centres), dtype=torch.int64)
    return group_alike(torch.cat(features), count, plane, torch.cat(at), local=10, channels=8)[
        0
    ].tolist()


def test_samples_of_one_distribution_are_one_and_others_are_not():
    first, second, third, fourth = groups([0.0, 0.0, 2.0, 2.0])
    assert first == second != third == fourth


def test_a_clear_difference_is_respected():
    assert len(set(groups([0.0, 1.5, 3.0, 4.5]))) == 4


def test_planes_are_looked_at_alone():
    found = groups([0.0, 2.0, 0.0, 2.0], plane=[0, 0, 1, 1])
    assert len(set(found)) == 4


def test_more_regions_than_channels_share_by_likeness():
    found = groups([0.0, 0.8, 3.0, 3.8, 9.0], channels=3)
    assert len(set(found)) == 3
    assert found[0] == found[1] != found[2] == found[3] != found[4]


def test_a_few_pixels_overrule_nobody():
    features, _ = regions([0.0, 0.0], per=5)
    count = torch.tensor([5, 5])
    plane, at = torch.zeros(2, dtype=torch.int64), torch.zeros(10, 2, dtype=torch.int64)
    group, alike = group_alike(features, count, plane, at, local=10, channels=8)
    assert len(set(group.tolist())) == 2
    assert group.tolist() == alike.tolist()


def test_a_small_difference_all_over_large_regions_is_respected():
    assert groups([0.0, 0.3])[0] == groups([0.0, 0.3])[1]
    one, other = filled([0.0, 0.3], spread=0.05, side=128)
    assert one != other


def test_large_regions_that_differ_as_each_does_from_place_to_place_are_one():
    one, other, third = filled([0.0, 0.2, 3.0], spread=0.4, side=128)
    assert one == other != third


def test_parts_grow_with_the_region():
    one, other = filled([0.0, 0.3], spread=0.05, side=512)
    assert one != other


def test_regions_too_small_for_parts_are_told_apart_by_their_pixels_alone():
    one, other = filled([0.0, 0.3], spread=0.0, side=32)
    assert one == other


def of_strokes(one, other, per=100):
    """Return groups of two regions of strokes around centres, 100 pixels below one another."""
    features, _ = regions([*one, *other], per)
    y = torch.arange(len(one) + len(other))[:, None].expand(-1, per).flatten() * 100
    at = torch.stack([y, torch.arange(per).repeat(len(one) + len(other))], dim=1)
    count, plane = (
        torch.tensor([per * len(one), per * len(other)]),
        torch.zeros(2, dtype=torch.int64),
    )
    return group_alike(features, count, plane, at, local=10, channels=8)[0].tolist()


def test_corrections_do_not_take_back_what_first_strokes_told_apart():
    one, other = of_strokes([0.0, -4.0, 4.0], [1.0, -4.0, 4.0])  # the first of each is its own
    assert one != other


def test_regions_whose_strokes_have_counterparts_are_one():
    one, other = of_strokes([0.0, -4.0, 4.0], [4.0, 0.0, -4.0])
    assert one == other


def test_many_regions_none_of_which_are_near_share_channels_all_the_same():
    found = groups([0.0, 4.0, 9.0, 14.0], channels=3)
    assert len(set(found)) == 3
    assert found[0] == found[1]


def test_more_regions_than_can_be_compared_join_the_largest(monkeypatch):
    monkeypatch.setattr(alike, "_MOST_REGIONS", 12)
    found = groups([0.0, 2.0, 4.0] * 10)
    assert len(set(found)) == 3
    assert found == found[:3] * 10
    assert len(set(groups([float(9 * i) for i in range(20)], channels=8))) == 8
