"""Run by test_fused.py in a process of its own, where Triton interprets its kernels on the CPU."""

import itertools

import torch

from napari_cas.losses import fused, index_regions
from napari_cas.losses.fused import FusedMoments
from napari_cas.losses.moments import _difference, _fused_works
from napari_cas.losses.portable import RegionMoments


def ragged(shape, number):
    """Return strips of random length: some of one pixel, some ids absent, some unpainted."""
    pixels = shape[0] * torch.Size(shape[1:]).numel()
    lengths = torch.randint(1, 40, (pixels,))
    ids = torch.randint(0, number + 1, (pixels,)).repeat_interleave(lengths)[:pixels]
    ids[3], ids[-1] = number + 1, number + 2  # one pixel each
    return index_regions(ids.view(shape))


def moments(function, logits, regions, logarithms, weights):
    leaf = logits.detach().requires_grad_()
    means, second = function.apply(leaf, regions.index, regions.count, logarithms)
    total = (means * weights[0]).sum() + (second * weights[1]).sum()
    return means, second, torch.autograd.grad(total, leaf)[0]


class OneAxis:
    """A kernel that refuses to be launched on a grid of several axes."""

    def __init__(self, kernel):
        self.kernel = kernel

    def __getitem__(self, grid):
        assert len(grid) == 1
        return self.kernel[grid]


def compare(logits, regions, logarithms, tolerance=1e-4):
    channels = logits.shape[1]
    weights = (
        torch.randn(regions.count.numel(), channels, dtype=torch.float64),
        torch.randn(
            regions.count.numel(), *((channels,) if logarithms else ()), dtype=torch.float64
        ),
    )
    ours = moments(FusedMoments, logits, regions, logarithms, weights)
    wanted = moments(RegionMoments, logits.double(), regions, logarithms, weights)
    assert ours[2].dtype == logits.dtype
    assert ours[2].shape == logits.shape
    for one, other in zip(ours, wanted, strict=True):
        error = (one.double() - other).abs().max() / other.abs().max()
        assert error < tolerance, (tuple(logits.shape), logarithms, float(error))


torch.manual_seed(0)
for logarithms in (False, True):
    for channels, space, number in (
        (2, (9,), 1),
        (5, (30, 17), 3),
        (16, (700,), 200),
        (70, (90,), 4),
    ):
        regions = ragged((2, *space), number)
        compare(3 * torch.randn(2, channels, *space), regions, logarithms)
    # Confetti: more regions in a block than are summed one after another.
    regions = index_regions(torch.randint(0, 400, (2, 600)))
    compare(3 * torch.randn(2, 8, 600), regions, logarithms)
    # Channels-last memory, half precision, logits that need the shift.
    regions = ragged((2, 12, 10), 3)
    logits = torch.randn(2, 6, 12, 10).to(memory_format=torch.channels_last)
    compare(logits, regions, logarithms)
    compare(logits.to(torch.bfloat16), regions, logarithms, tolerance=1e-2)
    compare(200 * logits, regions, logarithms)
    compare(logits, regions.__class__(**{
        **{name: getattr(regions, name) for name in regions.__slots__},
        "index": regions.index.to(torch.int32),
    }), logarithms)  # fmt: skip
# One image of more than 2³¹ values: memory is reserved, and touched only where the values lie.
FAR = 2**30 + 64
memory = torch.empty(2 * FAR + 20, dtype=torch.bfloat16)
for strides, space in (((1, FAR, 1), 20), ((1, 1, FAR), 3)):
    far = memory.as_strided((1, 3, space), strides)
    far.copy_(torch.randn(1, 3, space))
    compare(far, index_regions(torch.randint(1, 3, (1, space))), False, tolerance=1e-2)
# Any number of images: a grid's axes other than the first end at 65,535.
regions = ragged((5, 30), 2)
for name in ("_forward_kernel", "_backward_kernel"):
    setattr(fused, name, OneAxis(getattr(fused, name)))
compare(torch.randn(5, 3, 30), regions, False)
# What is tried before the first step must not find fault with kernels that are right.
for dtype, most in ((torch.float32, 1e-5), (torch.bfloat16, 2**-7), (torch.float16, 1e-3)):
    for channels, logarithms in itertools.product((1, 6), (False, True)):
        found = _difference(FusedMoments, torch.device("cpu"), dtype, channels, logarithms)
        assert found < most, (dtype, channels, logarithms, found)
assert _fused_works(torch.device("cpu"), torch.float32, 3, False)
print("agrees")
