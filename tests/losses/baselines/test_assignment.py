import itertools
import math

import pytest
import torch
from torch.nn.functional import cross_entropy

from napari_cas.errors import InputError
from napari_cas.losses import index_regions
from napari_cas.losses.baselines import (
    AssignedCrossEntropy,
    CACELoss,
    assigned_cross_entropy,
    cace_loss,
)


def best_by_trying_all(logits, ids, channels):
    """Return, averaged over planes, the cross-entropy of the best injective naming."""
    losses = []
    for one, own in zip(logits, ids, strict=True):
        names = [i for i in own.unique().tolist() if i]
        found = []
        for order in itertools.permutations(range(channels), len(names)):
            target = torch.full_like(own, -1)
            for name, channel in zip(names, order, strict=True):
                target[own == name] = channel
            found.append(cross_entropy(one[None], target[None], ignore_index=-1))
        losses.append(torch.stack(found).min())
    return torch.stack(losses).mean()


@pytest.mark.parametrize("seed", range(4))
def test_finds_the_best_naming(seed):
    torch.manual_seed(seed)
    logits = torch.randn(3, 4, 20, dtype=torch.float64, requires_grad=True)
    ids = torch.randint(0, 4, (3, 20)) * 7
    ours, wanted = assigned_cross_entropy(logits, ids), best_by_trying_all(logits, ids, 4)
    torch.testing.assert_close(ours, wanted)
    for one, other in zip(
        torch.autograd.grad(ours, logits), torch.autograd.grad(wanted, logits), strict=True
    ):
        torch.testing.assert_close(one, other)


def test_hand_computed_value():
    """Softmax (3/4, 1/4) in region 9 of three pixels, (1/4, 3/4) in region 4 of one."""
    a = math.log(3)
    logits = torch.tensor([[[a, a, a, 0.0], [0.0, 0.0, 0.0, a]]])
    ids = torch.tensor([[9, 9, 9, 4]])
    for loss in (assigned_cross_entropy, cace_loss):
        assert loss(logits, ids).item() == pytest.approx(-math.log(3 / 4))
    # One region of two alike pixels of opposite opinion: both namings cost the same.
    mixed = logits[:, :, 2:]
    wanted = (-math.log(3 / 4) - math.log(1 / 4)) / 2
    assert cace_loss(mixed, torch.tensor([[1, 1]])).item() == pytest.approx(wanted)


def test_regions_can_weigh_alike():
    a = math.log(3)
    logits = torch.tensor([[[a, a, a, 0.0], [0.0, 0.0, 0.0, 0.0]]])
    ids = torch.tensor([[1, 1, 1, 2]])
    low, even = -math.log(3 / 4), math.log(2)
    assert assigned_cross_entropy(logits, ids).item() == pytest.approx((3 * low + even) / 4)
    alike = AssignedCrossEntropy(per_region=True)(logits, ids)
    assert alike.item() == pytest.approx((low + even) / 2)


def test_more_regions_than_channels_share_evenly():
    logits = torch.zeros(1, 2, 5)
    logits[0, 0] = 9  # every region prefers channel 0, three of five get it
    loss = assigned_cross_entropy(logits, torch.arange(1, 6)[None])
    assert loss.item() == pytest.approx(2 / 5 * 9, rel=1e-3)


def test_binary_form_is_the_minimum_of_both_namings():
    torch.manual_seed(0)
    logits = torch.randn(4, 2, 6, 5)
    ids = torch.randint(1, 3, (4, 6, 5))
    both = [
        torch.stack([cross_entropy(z[None], t[None]) for z, t in zip(logits, target, strict=True)])
        for target in (ids - 1, 2 - ids)
    ]
    wanted = torch.minimum(*both).mean()
    torch.testing.assert_close(cace_loss(logits, ids), wanted)
    torch.testing.assert_close(CACELoss()(logits, index_regions(ids)), wanted)


def test_nothing_painted_is_zero():
    logits = torch.randn(1, 2, 3, requires_grad=True)
    loss = assigned_cross_entropy(logits, torch.zeros(1, 3, dtype=torch.int64))
    assert loss.item() == 0
    assert torch.autograd.grad(loss, logits)[0].abs().sum() == 0


def test_binary_form_refuses_more():
    ids = torch.tensor([[1, 2, 3]])
    with pytest.raises(InputError, match=r"two channels.*got 3"):
        cace_loss(torch.zeros(1, 3, 3), ids)
    with pytest.raises(InputError, match=r"two regions.*got 3"):
        cace_loss(torch.zeros(1, 2, 3), ids)
    with pytest.raises(InputError, match="not finite"):
        assigned_cross_entropy(torch.full((1, 2, 3), math.nan), ids)
