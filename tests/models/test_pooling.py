import pytest
import torch
from torch import nn
from torchvision.models import get_model

from napari_cas.models.pooling import LocalMean, ProjectedMean, local_mean, localise


def one_by_one(maps, window):
    """Return the means over windows that are moved onto the map, position by position."""
    means = torch.empty_like(maps)
    for y in range(maps.shape[-2]):
        for x in range(maps.shape[-1]):
            part = maps
            for dim, at in ((-2, y), (-1, x)):
                side = min(window, maps.shape[dim])
                first = min(max(at - side // 2, 0), maps.shape[dim] - side)
                part = part.narrow(dim, first, side)
            means[..., y, x] = part.mean((-2, -1))
    return means


@pytest.mark.parametrize("window", [1, 2, 3, 8, 9, 40])
@pytest.mark.parametrize("size", [(9, 14), (1, 10), (12, 3)])
def test_means_are_those_over_windows_that_stay_on_the_map(size, window):
    maps = torch.rand(2, 3, *size, dtype=torch.float64)
    assert torch.allclose(local_mean(maps, window), one_by_one(maps, window), atol=1e-12)


@pytest.mark.parametrize("size", [(1, 1), (8, 5), (8, 8)])
def test_on_a_map_no_larger_than_the_window_it_is_the_global_mean(size):
    maps = torch.rand(2, 3, *size)
    assert torch.equal(LocalMean(8)(maps), nn.AdaptiveAvgPool2d(1)(maps))


def test_many_channels_are_taken_in_parts():
    maps = torch.rand(1, 150, 6, 7)
    assert torch.equal(LocalMean(4)(maps), local_mean(maps, 4))


@pytest.mark.parametrize("size", [(9, 14), (3, 4)])
@pytest.mark.parametrize("bias", [True, False])
def test_a_projection_of_means_is_the_same_in_either_order(size, bias):
    conv = nn.Conv2d(6, 2, 1, bias=bias).double()
    maps = torch.rand(2, 6, *size, dtype=torch.float64)
    wanted = conv(LocalMean(4)(maps))
    found = ProjectedMean(conv, 4)(maps)
    assert found.shape == wanted.shape
    torch.testing.assert_close(found, wanted)


def test_it_can_be_learnt_through():
    maps = torch.rand(1, 2, 5, 6, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(LocalMean(3), (maps,))


def test_every_global_mean_of_a_network_gets_a_window_of_the_same_pixels():
    net = get_model("lraspp_mobilenet_v3_large", weights=None, weights_backbone=None).eval()
    names = list(net.state_dict())
    localise(net, 128)
    assert not any(isinstance(m, nn.AdaptiveAvgPool2d) for m in net.modules())
    windows = {n: m.window for n, m in net.named_modules() if isinstance(m, LocalMean)}
    # Three squeeze-and-excitation blocks at stride 8, five at 16, and the head's.
    assert sorted(windows.values()) == [8] * 6 + [16] * 3
    assert windows["classifier.scale.1.mean"] == 8
    assert list(net.state_dict()) == names
