"""The walk over the pixels against a plain evaluation in float64."""

import pytest
import torch

from napari_cas.losses import cas_loss, cas_terms, index_regions
from napari_cas.losses.moments import region_moments
from training.bench_loss import plain_loss

CHOICES = {"discriminator": "log_volume", "alpha": 0.7}


def exact(logits, regions, uniformer):
    """Return descriptors and spreads by one mask per region, in float64."""
    logs = logits.detach().double().log_softmax(1).movedim(1, -1)
    means, spreads = [], []
    for region in range(regions.count.numel()):
        vectors = logs[regions.index == region]
        mean = vectors.exp().mean(0)
        squares = (vectors.exp() - mean).square().sum(1).mean()
        entropy = -(mean * vectors).sum(1).mean()
        means.append(mean)
        spreads.append(squares if uniformer == "squared" else entropy)
    return torch.stack(means), torch.stack(spreads)


@pytest.mark.parametrize("uniformer", ["squared", "cross_entropy"])
@pytest.mark.parametrize(
    ("shape", "painted"),
    [
        ((2, 3, 90_001), 1.0),  # several chunks an item
        ((2, 3, 90_001), 0.1),  # several chunks, scribbles only
        ((50, 16, 21, 40), 0.9),  # several items a chunk
        ((50, 16, 21, 40), 0.2),
        ((1, 70, 9), 1.0),
    ],
)
def test_float32_agrees_with_float64(shape, painted, uniformer):
    torch.manual_seed(0)
    logits = (3 * torch.randn(shape)).requires_grad_()
    ids = torch.randint(1, 6, (shape[0], *shape[2:])) * (torch.rand(shape[0], *shape[2:]) < painted)
    regions = index_regions(ids)
    means, spreads = region_moments(logits, regions, uniformer)
    wanted_means, wanted_spreads = exact(logits, regions, uniformer)
    torch.testing.assert_close(means, wanted_means, rtol=1e-5, atol=1e-7)
    torch.testing.assert_close(spreads, wanted_spreads, rtol=1e-5, atol=1e-7)
    grads = []
    for dtype in (torch.float32, torch.float64):
        leaf = logits.detach().to(dtype).requires_grad_()
        loss = cas_loss(leaf, regions, uniformer=uniformer, **CHOICES)
        grads.append(torch.autograd.grad(loss, leaf)[0].double())
    assert (grads[0] - grads[1]).abs().max() < 1e-4 * grads[1].abs().max()
    assert grads[0].movedim(1, -1)[ids == 0].abs().sum() == 0


def test_spread_survives_cancellation_where_float32_sums_do_not():
    """A large region, almost one-hot: its spread is 1e-6 of the terms that cancel."""
    torch.manual_seed(0)
    logits = torch.randn(1, 4, 512, 512) * 0.1
    logits[:, 0] += 8
    regions = index_regions(torch.ones(1, 512, 512, dtype=torch.int64))
    _, wanted = exact(logits, regions, "squared")
    _, ours = region_moments(logits, regions, "squared")
    soft = logits.softmax(1).flatten(2)[0]
    pixels = soft.shape[1]
    running = [torch.zeros(1).index_add(0, torch.zeros(pixels, dtype=torch.int64), row)
               for row in (*soft, soft.square().sum(0))]  # fmt: skip
    naive = running[4] / pixels - sum((row / pixels) ** 2 for row in running[:4])
    assert wanted.item() < 1e-6
    assert abs(ours - wanted).item() < 2e-8
    assert abs(naive - wanted).item() > 100 * abs(ours - wanted).item()


@pytest.mark.parametrize("size", [60.0, 90.0, 3e4])
def test_logits_too_large_for_a_plain_exponential(size):
    torch.manual_seed(0)
    logits = (size * torch.randn(1, 4, 200)).requires_grad_()
    ids = torch.randint(0, 4, (1, 200))
    grads = []
    for dtype in (torch.float32, torch.float64):
        leaf = logits.detach().to(dtype).requires_grad_()
        terms = cas_terms(leaf, ids, **CHOICES)
        assert torch.isfinite(terms.total)
        grads.append(torch.autograd.grad(terms.total, leaf)[0].double())
    torch.testing.assert_close(grads[0], grads[1], rtol=1e-3, atol=1e-7)


@pytest.mark.parametrize("uniformer", ["squared", "cross_entropy"])
def test_memory_layout_does_not_matter(uniformer):
    torch.manual_seed(0)
    logits, ids = torch.randn(2, 5, 12, 10), torch.randint(0, 4, (2, 12, 10))
    wanted, gradients = None, []
    for layout in (
        logits.clone(),
        logits.clone(memory_format=torch.channels_last),
        logits.movedim(1, -1).contiguous().movedim(-1, 1),
        torch.randn(2, 5, 24, 10)[:, :, ::2].copy_(logits),
    ):
        leaf = layout.detach().requires_grad_()
        loss = cas_loss(leaf, ids, uniformer=uniformer, **CHOICES)
        gradients.append(torch.autograd.grad(loss, leaf)[0])
        wanted = loss if wanted is None else wanted
        torch.testing.assert_close(loss, wanted)
        torch.testing.assert_close(gradients[-1], gradients[0])


def kept_bytes(logits, regions):
    """Return the bytes kept for the backward pass beside logits and regions."""
    kept = {}

    def note(tensor):
        kept[tensor.data_ptr()] = tensor.numel() * tensor.element_size()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
        cas_loss(logits, regions)
    for tensor in (logits, regions.index):
        kept.pop(tensor.data_ptr())
    return sum(kept.values())


def test_keeps_a_small_softmax_and_computes_a_large_one_again():
    small = torch.randn(1, 8, 64, 64, requires_grad=True)
    regions = index_regions(torch.randint(1, 6, (1, 64, 64)))
    assert 8 * 64 * 64 * 4 < kept_bytes(small, regions) < 8 * 64 * 64 * 4 * 1.5
    large = torch.randn(1, 8, 1100, 1000, requires_grad=True)
    regions = index_regions(torch.randint(1, 6, (1, 1100, 1000)))
    assert kept_bytes(large, regions) < 50_000
    ours = torch.autograd.grad(cas_loss(large, regions), large)[0]
    exact = large.detach().double().requires_grad_()
    wanted = torch.autograd.grad(plain_loss(exact, regions), exact)[0]
    assert (ours - wanted).abs().max() < 1e-4 * wanted.abs().max()


def test_the_same_input_gives_the_same_bits():
    torch.manual_seed(0)
    logits = torch.randn(2, 8, 200, 200, requires_grad=True)
    regions = index_regions(torch.randint(0, 9, (2, 200, 200)))
    found = [torch.autograd.grad(cas_loss(logits, regions), logits)[0] for _ in range(3)]
    assert torch.equal(found[0], found[1])
    assert torch.equal(found[0], found[2])
