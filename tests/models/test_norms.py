import torch
from torch import nn

from napari_cas.models.norms import FrugalBatchNorm2d, normalise_in_place


def norm(kind, **settings):
    made = kind(5, **settings)
    with torch.no_grad():
        made.weight.uniform_(-2, 2)
        made.bias.normal_()
        made.running_mean.normal_()
        made.running_var.uniform_(1e-4, 3)
    return made


def pair():
    frugal, usual = norm(FrugalBatchNorm2d), nn.BatchNorm2d(5)
    usual.load_state_dict(frugal.state_dict())
    return frugal, usual


@torch.no_grad()
def test_the_maps_are_overwritten_by_what_batch_normalisation_says():
    for layout in (torch.contiguous_format, torch.channels_last):
        frugal, usual = (module.eval() for module in pair())
        maps = torch.randn(2, 5, 6, 7).contiguous(memory_format=layout)
        wanted = usual(maps.clone())
        found = frugal(maps)
        assert found.data_ptr() == maps.data_ptr()
        torch.testing.assert_close(found, wanted, rtol=1e-5, atol=1e-6)


def test_with_gradients_and_in_training_nothing_is_overwritten():
    for training in (False, True):
        frugal, usual = (module.train(training) for module in pair())
        maps = torch.randn(2, 5, 6, 7, requires_grad=True)
        before = maps.detach().clone()
        assert torch.equal(frugal(maps), usual(maps))
        with torch.no_grad():
            if training:
                assert torch.equal(frugal(maps), usual(maps))
        assert torch.equal(maps, before)
        assert torch.equal(frugal.running_var, usual.running_var)


@torch.no_grad()
def test_a_network_keeps_its_tensors_and_their_names():
    net = nn.Sequential(nn.Conv2d(3, 5, 3), norm(nn.BatchNorm2d, eps=1e-2, momentum=0.3)).eval()
    names, image = list(net.state_dict()), torch.rand(1, 3, 8, 8)
    before = net(image)
    normalise_in_place(net)
    assert isinstance(net[1], FrugalBatchNorm2d)
    assert (net[1].eps, net[1].momentum, net[1].training) == (1e-2, 0.3, False)
    assert list(net.state_dict()) == names
    torch.testing.assert_close(net(image), before, rtol=1e-5, atol=1e-6)
