"""The three losses on embeddings: values by hand, gradients, what all must do alike."""

import math

import pytest
import torch

from napari_cas.errors import InputError
from napari_cas.losses import index_regions
from napari_cas.losses.baselines import (
    DiscriminativeLoss,
    MagnetLoss,
    TripletLoss,
    discriminative_loss,
    magnet_loss,
    triplet_loss,
)

# Four pixels on a line in two regions: means 1 and 4.
LINE = torch.tensor([[[0.0, 2.0, 3.0, 5.0]]], dtype=torch.float64)
IDS = torch.tensor([[3, 3, 8, 8]])
LOSSES = [discriminative_loss, triplet_loss, magnet_loss]


def test_discriminative_by_hand():
    # Every pixel is 1 from its mean: (1 - 0.5)²; means are 3 apart: (4 - 3)² with push margin 2.
    loss = discriminative_loss(LINE, IDS, push_margin=2.0)
    assert loss.item() == pytest.approx(0.25 + 1.0 + 1e-3 * 2.5)
    loss = discriminative_loss(LINE, IDS, pull_margin=1.0, centre=0.0)
    assert loss.item() == 0


def test_triplet_by_hand():
    """Unit vectors at 0°, 60° | 90°, 180°; squared distances 2 - 2 cos."""
    angles = torch.tensor([0.0, 60.0, 90.0, 180.0], dtype=torch.float64).deg2rad()
    vectors = 5 * torch.stack([angles.cos(), angles.sin()])[None]
    d30, d60, d90, d120, d180 = (2 - 2 * math.cos(math.radians(a)) for a in (30, 60, 90, 120, 180))
    pairs = [
        d60 - d90 + 0.2,  # 0° to 60°: 90° is the nearest beyond
        d60 - d120 + 0.2,  # 60° to 0°: 30° is too near, 120° is beyond
        d90 - d90 + 0.2,  # 90° to 180°: 0° at the same distance is not beyond; farthest: 90°
        d90 - d120 + 0.2,  # 180° to 90°: 60° is 120° away
    ]
    assert d30 < d60 < d180
    wanted = sum(max(pair, 0) for pair in pairs) / 4
    assert triplet_loss(vectors, IDS).item() == pytest.approx(wanted)


def test_magnet_by_hand():
    # σ² = 4 · 1 / 3; pixel 0: own 1, other 16; pixel 2: own 1, other 4; mirrored for 3 and 5.
    two = 2 * 4 / 3
    hinges = [max((1 - other) / two + 1, 0) for other in (16, 4, 4, 16)]
    assert magnet_loss(LINE, IDS).item() == pytest.approx(sum(hinges) / 4)
    # Each pixel its own cluster: no spread at all, hence no cost.
    assert magnet_loss(LINE, IDS, clusters=torch.arange(4)[None]).item() == 0


def test_magnet_sums_over_the_clusters_of_other_regions():
    line = torch.tensor([[[0.0, 2.0, 3.0, 5.0, 4.0, 6.0]]], dtype=torch.float64)
    ids = torch.tensor([[3, 3, 8, 8, 8, 8]])
    clusters = torch.tensor([[0, 0, 0, 0, 1, 1]])  # means 1 | 4, 5
    two = 2 * 6 / 5

    def hinge(x, own, others):
        push = math.log(sum(math.exp(-((x - mean) ** 2) / two) for mean in others))
        return max((x - own) ** 2 / two + 1 + push, 0)

    first = (hinge(0, 1, (4, 5)) + hinge(2, 1, (4, 5))) / 2
    second = (hinge(3, 4, (1,)) + hinge(5, 4, (1,)) + hinge(4, 5, (1,)) + hinge(6, 5, (1,))) / 4
    loss = magnet_loss(line, ids, clusters=clusters)
    assert loss.item() == pytest.approx((first + second) / 2)


@pytest.mark.parametrize("loss", LOSSES)
def test_gradients(loss):
    torch.manual_seed(0)
    embeddings = torch.randn(2, 3, 7, dtype=torch.float64, requires_grad=True)
    ids = torch.tensor([[1, 1, 2, 2, 2, 3, 0], [1, 1, 1, 2, 2, 0, 0]])
    options = {"samples": 10} if loss is triplet_loss else {}

    def value(x):
        if loss is triplet_loss:
            return loss(x, ids, generator=torch.Generator().manual_seed(0), **options)
        return loss(x, ids)

    assert torch.autograd.gradcheck(value, (embeddings,))


@pytest.mark.parametrize("loss", LOSSES)
def test_planes_are_averaged_and_crops_of_one_plane_join(loss):
    torch.manual_seed(0)
    embeddings, ids = torch.randn(2, 3, 12, dtype=torch.float64), torch.randint(1, 4, (2, 12))
    each = [loss(embeddings[i : i + 1], ids[i : i + 1]) for i in range(2)]
    torch.testing.assert_close(loss(embeddings, ids), sum(each) / 2)
    joined = torch.cat([embeddings[:1], embeddings[1:]], dim=2)
    torch.testing.assert_close(
        loss(embeddings, ids, planes=torch.tensor([4, 4])), loss(joined, ids.view(1, 24))
    )


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("ids", [[[0, 0, 0, 0]], [[5, 5, 5, 5]]])
def test_nothing_to_compare_leaves_a_finite_gradient(loss, ids):
    leaf = LINE.clone().requires_grad_()
    value = loss(leaf, torch.tensor(ids))
    gradient = torch.autograd.grad(value, leaf)[0]
    assert torch.isfinite(gradient).all()
    if loss is not discriminative_loss or ids == [[0, 0, 0, 0]]:
        assert value.item() == 0


def test_triplets_are_drawn_evenly_over_regions():
    """With 8 samples from 1000 pixels and 4, the small region is there whole."""
    embeddings = torch.cat([torch.ones(1, 1, 1000), -torch.ones(1, 1, 4)], dim=2)
    embeddings = torch.cat([embeddings, torch.zeros(1, 1, 1004)], dim=1)
    ids = torch.cat([torch.ones(1, 1000).long(), torch.full((1, 4), 2)], dim=1)
    for seed in range(5):
        generator = torch.Generator().manual_seed(seed)
        # Opposite unit vectors: all pairs satisfied whatever is drawn, but only if both are drawn.
        assert triplet_loss(embeddings, ids, margin=5.0, samples=8, generator=generator) == 1.0


@pytest.mark.parametrize("loss", LOSSES)
def test_bad_input(loss):
    with pytest.raises(InputError, match="Embeddings are not finite"):
        loss(LINE * math.nan, IDS)
    with pytest.raises(InputError, match=r"do not fit the embeddings.*\(1, 4\)"):
        loss(LINE, IDS[:, :3])
    with pytest.raises(InputError, match="negative"):
        loss(LINE, -IDS)


def test_no_samples():
    with pytest.raises(InputError, match="samples from 1 up, got 0"):
        triplet_loss(LINE, IDS, samples=0)


def test_bad_clusters():
    with pytest.raises(InputError, match=r"do not fit.*\(1, 4\), got list"):
        magnet_loss(LINE, IDS, clusters=[[0, 0, 1, 1]])
    with pytest.raises(InputError, match=r"Clusters do not fit.*\(1, 3\)"):
        magnet_loss(LINE, IDS, clusters=torch.zeros(1, 3).long())
    with pytest.raises(InputError, match="cluster is negative"):
        magnet_loss(LINE, IDS, clusters=torch.tensor([[0, 0, -1, 0]]))


@pytest.mark.parametrize(
    ("module", "loss"),
    [
        (DiscriminativeLoss(), discriminative_loss),
        (TripletLoss(), triplet_loss),
        (MagnetLoss(), magnet_loss),
    ],
)
def test_modules_take_prepared_regions(module, loss):
    torch.testing.assert_close(module(LINE, index_regions(IDS)), loss(LINE, IDS))


def test_the_magnet_module_takes_clusters():
    clusters = torch.tensor([[0, 1, 0, 0]])
    wanted = magnet_loss(LINE, IDS, clusters=clusters)
    torch.testing.assert_close(MagnetLoss()(LINE, IDS, clusters=clusters), wanted)
    assert wanted != magnet_loss(LINE, IDS)
