import pytest
import torch

from napari_cas.losses import index_regions
from napari_cas.losses.discriminators import DISCRIMINATORS, log_overlap, log_volume, squared

from .oracle import log_volume_ends, shared_evenly


def regions_of(*numbers):
    """Return regions, one pixel each, `numbers[p]` of them on plane p."""
    longest = max(numbers)
    ids = torch.zeros(len(numbers), longest, dtype=torch.int64)
    for plane, number in enumerate(numbers):
        ids[plane, :number] = torch.arange(1, number + 1)
    return index_regions(ids)


def one_hot_shared_evenly(number, channels):
    return torch.eye(channels, dtype=torch.float64)[torch.arange(number) % channels]


SIZES = [(2, 2), (2, 5), (5, 5), (7, 3), (9, 3), (40, 8)]


@pytest.mark.parametrize(("number", "channels"), SIZES)
def test_squared_attains_both_bounds(number, channels):
    regions = regions_of(number)
    apart = one_hot_shared_evenly(number, channels)
    lowest = -2 * (number**2 - shared_evenly(number, channels))
    assert squared(apart, regions, mean=False).item() == pytest.approx(lowest)
    assert squared(apart, regions, mean=True).item() == pytest.approx(
        lowest / (number * (number - 1))
    )
    alike = torch.full((number, channels), 1 / channels, dtype=torch.float64)
    assert squared(alike, regions, mean=False).item() == pytest.approx(0, abs=1e-12)


@pytest.mark.parametrize(("number", "channels"), SIZES)
def test_log_volume_attains_its_bounds(number, channels):
    regions = regions_of(number)
    lowest, highest = log_volume_ends(number, channels)
    alike = torch.full((number, channels), 1 / channels, dtype=torch.float64)
    assert log_volume(alike, regions, mean=False).item() == pytest.approx(highest)
    assert log_volume(alike, regions, mean=True).item() == pytest.approx(highest / number)
    value = log_volume(one_hot_shared_evenly(number, channels), regions, mean=False).item()
    if number <= channels or number % channels == 0:
        assert value == pytest.approx(lowest)
    else:
        assert value >= lowest


def test_log_overlap_attains_its_bounds():
    regions = regions_of(3)
    apart = torch.eye(3, dtype=torch.float64)
    assert log_overlap(apart, regions, mean=True).item() == 0
    alike = apart[:1].expand(3, 3)
    assert log_overlap(alike, regions, mean=True).item() == pytest.approx(-torch.tensor(1e-3).log())


@pytest.mark.parametrize("name", DISCRIMINATORS)
@pytest.mark.parametrize(("number", "channels"), SIZES)
def test_random_descriptors_stay_within_bounds(name, number, channels):
    torch.manual_seed(number)
    regions = regions_of(number)
    ends = {
        "squared": (-2 * (number**2 - shared_evenly(number, channels)), 0),
        "log_overlap": (0, 6.9078 * number * (number - 1)),
        "log_volume": log_volume_ends(number, channels),
    }
    for sharpness in (0.1, 1, 10):
        soft = (sharpness * torch.randn(number, channels, dtype=torch.float64)).softmax(1)
        value = DISCRIMINATORS[name](soft, regions, mean=False).item()
        assert ends[name][0] - 1e-9 <= value <= ends[name][1] + 1e-9


@pytest.mark.parametrize("name", DISCRIMINATORS)
def test_planes_are_not_compared_and_count_alike(name):
    torch.manual_seed(0)
    soft = torch.randn(10, 4, dtype=torch.float64).softmax(1)
    function = DISCRIMINATORS[name]
    both = function(soft, regions_of(3, 7), mean=True)
    first = function(soft[:3], regions_of(3), mean=True)
    second = function(soft[3:], regions_of(7), mean=True)
    torch.testing.assert_close(both, (first + second) / 2)


@pytest.mark.parametrize("name", DISCRIMINATORS)
@pytest.mark.parametrize("mean", [True, False])
def test_one_region_alone_has_nothing_to_differ_from(name, mean):
    soft = torch.tensor([[0.2, 0.8]], dtype=torch.float64, requires_grad=True)
    value = DISCRIMINATORS[name](soft, regions_of(1), mean=mean)
    assert value.item() == 0
    assert torch.autograd.grad(value, soft)[0].abs().max() == 0


def test_squared_has_no_gradient_where_two_regions_saturate_one_channel_but_barriers_do():
    """The collapse of Eq. 1: the descriptor's gradient reaches the logits times s (1 - s)."""
    logits = torch.tensor([[6.0, 0, 0], [6, 0, 0.5]], dtype=torch.float64, requires_grad=True)
    pull = {
        name: torch.autograd.grad(function(logits.softmax(1), regions_of(2), mean=True), logits)[0]
        .abs()
        .max()
        .item()
        for name, function in DISCRIMINATORS.items()
    }
    assert pull["squared"] < 1e-4
    assert pull["log_overlap"] > 100 * pull["squared"]
    assert pull["log_volume"] > 100 * pull["squared"]
