import itertools

import pytest
import torch

from napari_cas.losses import cas_loss

from .oracle import naive_loss

CHOICES = list(
    itertools.product(
        ("squared", "log_overlap", "log_volume"), ("squared", "cross_entropy"), ("mean", "sum")
    )
)


@pytest.mark.parametrize(("discriminator", "uniformer", "reduction"), CHOICES)
@pytest.mark.parametrize("space", [(23,), (6, 5), (3, 4, 3)])
def test_agrees_with_loops_over_pixels_and_pairs(space, discriminator, uniformer, reduction):
    torch.manual_seed(0)
    logits = torch.randn(3, 4, *space, dtype=torch.float64, requires_grad=True)
    regions = torch.randint(0, 4, (3, *space))
    regions[2] = torch.randint(0, 12, space)  # more regions than channels
    choice = {
        "alpha": 0.3,
        "discriminator": discriminator,
        "uniformer": uniformer,
        "reduction": reduction,
    }
    loss, naive = cas_loss(logits, regions, **choice), naive_loss(logits, regions, **choice)
    torch.testing.assert_close(loss, naive, rtol=1e-10, atol=1e-12)
    ours, theirs = (torch.autograd.grad(each, logits)[0] for each in (loss, naive))
    torch.testing.assert_close(ours, theirs, rtol=1e-8, atol=1e-12)
