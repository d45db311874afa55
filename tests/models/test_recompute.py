import copy

import torch
from torch import nn

from napari_cas.models.recompute import Recomputed, recompute


def block(channels):
    return nn.Sequential(
        nn.Conv2d(channels, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU(inplace=True)
    )


def networks():
    torch.manual_seed(0)
    plain = nn.Sequential(nn.Sequential(block(3), block(4), block(4)), nn.Conv2d(4, 2, 1))
    frugal = copy.deepcopy(plain)
    recompute(frugal, ["0"])
    return plain, frugal


def kept(net, image):
    """Return values that the backward pass of a network needs, and leave its gradients."""
    sizes = {}

    def pack(tensor):
        sizes[tensor.data_ptr()] = tensor.numel()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        loss = net(image).square().mean()
    loss.backward()
    return sum(sizes.values())


def test_gradients_and_statistics_are_the_same_to_the_bit():
    plain, frugal = networks()
    assert isinstance(frugal[0], Recomputed)
    for training in (True, False, True):
        image = torch.rand(2, 3, 16, 16)
        values = [kept(net.train(training), image) for net in (plain, frugal)]
        assert values[1] < 0.6 * values[0]
    assert frugal.state_dict().keys() == plain.state_dict().keys()
    for name, value in plain.state_dict().items():
        assert torch.equal(value, frugal.state_dict()[name]), name
    for one, other in zip(plain.parameters(), frugal.parameters(), strict=True):
        assert torch.equal(one.grad, other.grad)


def test_momentum_and_count_are_there_again_after_an_error():
    _, frugal = networks()
    loss = frugal(torch.rand(2, 3, 8, 8)).sum()
    norm = frugal[0][1][1]
    norm.register_forward_hook(lambda *_: 1 / 0)
    try:
        loss.backward()
    except ZeroDivisionError:
        assert norm.momentum == 0.1
        assert norm.num_batches_tracked == 1
    else:
        raise AssertionError


@torch.no_grad()
def test_without_gradients_it_is_a_sequence():
    plain, frugal = networks()
    image = torch.rand(1, 3, 9, 9)
    assert torch.equal(frugal.eval()(image), plain.eval()(image))
