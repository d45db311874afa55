import math

import pytest
import torch

from napari_cas.errors import InputError
from napari_cas.losses import index_regions
from napari_cas.losses.baselines import NamedCrossEntropy, named_cross_entropy


def test_hand_computed_value_leaves_unpainted_pixels_out():
    logits = torch.tensor([[[math.log(3), 0.0, 5.0], [0.0, 0.0, 0.0]]])
    loss = named_cross_entropy(logits, torch.tensor([[1, 2, 0]]))
    assert loss.item() == pytest.approx((math.log(4 / 3) + math.log(2)) / 2)
    other = NamedCrossEntropy(ignore_index=-7)(logits, torch.tensor([[1, 2, -7]]))
    assert torch.equal(loss, other)


def test_nothing_painted_is_zero():
    assert named_cross_entropy(torch.zeros(1, 2, 3), torch.zeros(1, 3).long()).item() == 0


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_sums_in_full(dtype):
    torch.manual_seed(0)
    logits, ids = torch.randn(4, 3, 200, 200).to(dtype), torch.randint(1, 4, (4, 200, 200))
    loss = named_cross_entropy(logits, ids)
    assert loss.dtype == torch.float32
    torch.testing.assert_close(loss, named_cross_entropy(logits.float(), ids))


@pytest.mark.parametrize(("ids", "got"), [([[1, 4]], "got 4"), ([[0, 1]], "got 0")])
def test_an_id_without_a_channel_is_refused(ids, got):
    with pytest.raises(InputError, match=f"no channel.*1 to 3, {got}"):
        named_cross_entropy(torch.zeros(1, 3, 2), torch.tensor(ids), ignore_index=9)


def test_indexed_regions_are_refused_for_they_have_no_names():
    ids = torch.ones(1, 2, dtype=torch.int64)
    with pytest.raises(InputError, match=r"integer tensor.*RegionIndex"):
        named_cross_entropy(torch.zeros(1, 3, 2), index_regions(ids))
