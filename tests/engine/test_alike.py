import torch

from napari_cas.engine.alike import group_alike


def regions(centres, per=100, features=20, seed=0):
    """Return features of regions around centres, one deviation wide."""
    generator = torch.Generator().manual_seed(seed)
    parts = [torch.randn(per, features, generator=generator) + c for c in centres]
    return torch.cat(parts), torch.full((len(centres),), per)


def groups(centres, plane=None, channels=8):
    features, count = regions(centres)
    plane = torch.zeros(len(centres), dtype=torch.int64) if plane is None else torch.tensor(plane)
    return group_alike(features, count, plane, local=10, channels=channels).tolist()


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
    plane = torch.zeros(2, dtype=torch.int64)
    assert len(set(group_alike(features, count, plane, local=10, channels=8).tolist())) == 2
