import random

import pytest
import torch
from torch.nn import functional as F  # noqa: N812

from napari_cas.engine import appearances
from napari_cas.engine.appearances import Painted, find_appearances, temperature

DEPTH = 12


def painted(kinds, seed=0, light=0.0, spread=1.0, pixels=40):
    """Return regions of the kinds named per plane: ((0, 1), (1, 2), …) and the kind of each.

    Kinds lie four deviations from the middle, each on an axis of its own; `light` moves a whole
    plane along yet another axis and partly towards the kinds'.
    """
    rng = torch.Generator().manual_seed(seed)

    def normal(*shape):
        return torch.randn(*shape, generator=rng, dtype=torch.float64)

    plane = torch.tensor([p for p, own in enumerate(kinds) for _ in own])
    kind = torch.tensor([k for own in kinds for k in own])
    shift = light * normal(len(kinds), 1) * torch.linspace(0.5, 1, DEPTH, dtype=torch.float64)
    means = 4 * torch.eye(DEPTH, dtype=torch.float64)[kind] + shift[plane]
    region = torch.arange(len(kind)).repeat_interleave(pixels)
    features = means[region] + spread * normal(len(region), DEPTH)
    means = torch.stack([features[region == r].mean(0) for r in range(len(kind))])
    off = features - means[region]
    return Painted(features, region, means, plane, off.T @ off / len(off)), kind


def partition(found, kind):
    return set(zip(found.tolist(), kind.tolist(), strict=True))


@pytest.mark.parametrize("number", [2, 3, 5])
def test_where_every_plane_shows_every_kind_their_number_is_found(number):
    data, kind = painted([tuple(range(number))] * 8)
    assert len(partition(find_appearances(data, 8).number, kind)) == number


def test_kinds_that_are_never_all_together_are_counted():
    data, kind = painted([(0, 1), (1, 2), (2, 3), (3, 0), (0, 2), (1, 3)] * 2)
    found = find_appearances(data, 8).number
    assert len(partition(found, kind)) == 4
    assert found.max() == 3


def test_light_that_changes_from_plane_to_plane_is_no_kind():
    data, kind = painted([(0, 1, 2)] * 10, light=2.5)
    assert len(partition(find_appearances(data, 8).number, kind)) == 3


def test_no_plane_has_one_appearance_twice_and_none_too_many():
    for seed in range(4):
        data, _ = painted([(0, 1, 2), (3, 1), (0,), (2, 3)] * 2, seed=seed, spread=6.0)
        found = find_appearances(data, 4).number
        assert found.max() < 4
        assert len(set(zip(found.tolist(), data.plane.tolist(), strict=True))) == len(found)


def test_one_plane_needs_no_choice():
    data, _ = painted([(0, 1, 2, 3)])
    assert find_appearances(data, 8).number.tolist() == [0, 1, 2, 3]


def test_two_planes_are_enough_to_compare():
    data, kind = painted([(0, 1), (1, 0)])
    assert len(partition(find_appearances(data, 8).number, kind)) == 2


def test_hundreds_of_planes_take_the_number_of_the_first_ones():
    data, kind = painted([(0, 1), (1, 2), (2, 0)] * 60, pixels=8)
    assert len(partition(find_appearances(data, 8).number, kind)) == 3


def test_the_noise_counts_what_changes_from_plane_to_plane():
    still, _ = painted([(0, 1)] * 10)
    moved, _ = painted([(0, 1)] * 10, light=2.0)
    assert find_appearances(moved, 4).noise.trace() > 2 * find_appearances(still, 4).noise.trace()


def test_pixels_need_not_be_in_order():
    data, _ = painted([(0, 1, 2)] * 6, light=1.0)
    order = torch.randperm(len(data.region), generator=torch.Generator().manual_seed(0))
    mixed = data._replace(features=data.features[order], region=data.region[order])
    assert torch.equal(find_appearances(mixed, 8).number, find_appearances(data, 8).number)


@pytest.mark.parametrize("many", [True, False])
def test_more_kinds_are_looked_for_only_where_there_are_about_as_many(many, monkeypatch):
    tried, alternate = [], appearances._alternate

    def watched(data, count, *, centred):
        tried.append(count)
        return alternate(data, count, centred=centred)

    monkeypatch.setattr(appearances, "_alternate", watched)
    rng = random.Random(0)
    kinds = [tuple(rng.sample(range(12), 3)) for _ in range(24)]
    data, kind = painted(kinds if many else [(0, 1, 2)] * 8)
    found = find_appearances(data, 64).number
    assert len(partition(found, kind)) == (12 if many else 3)
    assert max(tried) == (32 if many else 8)


@pytest.mark.parametrize("mistake", ["swapped", "alone"])
def test_what_merging_took_wrongly_other_planes_put_right(mistake):
    data, kind = painted([(0, 1, 2)] * 8)
    wrong = kind.clone()
    wrong[3:6] = torch.tensor([1, 0, 2]) if mistake == "swapped" else torch.tensor([3, 1, 2])
    assert torch.equal(appearances._as_others_say(data, wrong).number, kind)


@pytest.mark.parametrize("only", [(0, 1, 2, 3), (0, 1, 3), (3, 0)])
def test_what_a_single_plane_shows_stays_a_kind_of_its_own(only):
    data, kind = painted([(0, 1, 2)] * 8 + [only])
    found = find_appearances(data, 8).number
    assert partition(found, kind) == {(k, k) for k in range(4)}


@pytest.mark.parametrize("sure", [0.001, 0.02, 0.3, 1.0, 4.0, 100.0])
def test_the_temperature_is_the_best_of_all(sure):
    rng = torch.Generator().manual_seed(int(1000 * sure))
    target = torch.randint(3, (400,), generator=rng)
    logits = F.one_hot(target, 3).double() + torch.randn(400, 3, generator=rng).double()
    logits /= sure
    factors = torch.logspace(-2, 0.5, 21, dtype=torch.float64)
    costs = torch.stack([F.cross_entropy(logits * factor, target) for factor in factors])
    assert temperature(logits, target) == factors[costs.argmin()]
