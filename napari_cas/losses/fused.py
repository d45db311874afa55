"""Region statistics on a CUDA device: one Triton kernel forward, one backward.

The same function as :class:`napari_cas.losses.portable.RegionMoments`, with the same closed-form
gradient, but the softmax never leaves the registers: the logits are read once in each pass and
their gradient is written once. Beyond the gradient the memory is O(R M).

A program takes a block of neighbouring pixels. They mostly belong to few regions, so it first sums
the block per region, one region after another, and adds these sums to the totals; only what is left
after :data:`_ROUNDS` regions (a block of confetti) is added pixel by pixel, where many different
addresses keep the atomic additions from queuing. Totals are float64.

Triton evaluates annotations when it compiles, which is why they name its own types.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
import triton
import triton.language as tl
from torch.autograd.function import once_differentiable

from napari_cas.losses.portable import MomentsContext, gradient_table

if TYPE_CHECKING:
    from torch import Tensor

_NONE = tl.constexpr(2**31 - 1)
_ROUNDS = 16
_VALUES_PER_PROGRAM = 4096


@triton.jit  # type: ignore[untyped-decorator]
def _place(pixels: tl.tensor, block: tl.constexpr) -> tl.tuple:
    """Return this program's item and pixels, from one axis: a grid's others end at 65,535."""
    blocks = tl.cdiv(pixels, block)
    item = (tl.program_id(0) // blocks).to(tl.int64)
    return item, tl.program_id(0) % blocks * block + tl.arange(0, block)


@triton.jit  # type: ignore[untyped-decorator]
def _offsets(
    c: tl.tensor, x: tl.tensor, channel_stride: tl.tensor, pixel_stride: tl.tensor,
    wide: tl.constexpr,
) -> tl.tensor:  # fmt: skip
    """Return where the values (channels, pixels) of an item lie.

    64 bits only where they are needed: they take half as many registers again.
    """
    if wide:
        c = c.to(tl.int64)
        x = x.to(tl.int64)
    return c[:, None] * channel_stride + x[None, :] * pixel_stride


@triton.jit  # type: ignore[untyped-decorator]
def _block_softmax(
    logits: tl.tensor,
    index: tl.tensor,
    item: tl.tensor,
    x: tl.tensor,
    pixels: tl.tensor,
    channels: tl.tensor,
    item_stride: tl.tensor,
    channel_stride: tl.tensor,
    pixel_stride: tl.tensor,
    width: tl.constexpr,
    wide: tl.constexpr,
) -> tl.tuple:
    """Return regions, mask and log-softmax of the pixels ``x`` of one batch item."""
    c = tl.arange(0, width)
    inside = x < pixels
    region = tl.load(index + item * pixels + x, mask=inside, other=-1).to(tl.int32)
    offsets = _offsets(c, x, channel_stride, pixel_stride, wide)
    live = (c < channels)[:, None] & inside[None, :]
    z = tl.load(logits + item * item_stride + offsets, mask=live, other=0.0).to(tl.float32)
    z = tl.where((c < channels)[:, None], z, float("-inf"))
    z = z - tl.max(z, 0)[None, :]
    z = z - tl.log(tl.sum(tl.exp(z), 0))[None, :]
    return region, live, z


@triton.jit  # type: ignore[untyped-decorator]
def _add(to: tl.tensor, values: tl.tensor, mask: tl.tensor) -> None:
    """Add to float64 totals that nobody reads before the kernel has ended.

    Relaxed, for the default puts a fence before each addition and empties the L1 cache after it.
    """
    tl.atomic_add(to, values.to(tl.float64), mask=mask, sem="relaxed")


@triton.jit  # type: ignore[untyped-decorator]
def _forward_kernel(
    logits: tl.tensor,
    index: tl.tensor,
    sums: tl.tensor,
    pixels: tl.tensor,
    channels: tl.tensor,
    item_stride: tl.tensor,
    channel_stride: tl.tensor,
    pixel_stride: tl.tensor,
    row: tl.tensor,
    logarithms: tl.constexpr,
    rounds: tl.constexpr,
    width: tl.constexpr,
    block: tl.constexpr,
    wide: tl.constexpr,
) -> None:
    """Add s and ‖s‖² (or log s) of a block of pixels to the sums (R, row) of their regions."""
    item, x = _place(pixels, block)
    region, live, logs = _block_softmax(
        logits, index, item, x, pixels, channels, item_stride, channel_stride, pixel_stride,
        width, wide,
    )  # fmt: skip
    c = tl.arange(0, width)
    present = c < channels
    soft = tl.exp(logs)
    squares = tl.sum(soft * soft, 0)
    logs = tl.where(live, logs, 0.0)
    left = tl.where(region >= 0, region, _NONE)
    lowest = tl.min(left, 0)
    turn = 0
    while (lowest < _NONE) & (turn < rounds):
        mine = left == lowest
        to = sums + lowest.to(tl.int64) * row
        part = tl.sum(tl.where(mine[None, :], soft, 0.0), 1)
        _add(to + c, part, present)
        if logarithms:
            part = tl.sum(tl.where(mine[None, :], logs, 0.0), 1)
            _add(to + channels + c, part, present)
        else:
            _add(to + channels, tl.sum(tl.where(mine, squares, 0.0), 0), lowest < _NONE)
        left = tl.where(mine, _NONE, left)
        lowest = tl.min(left, 0)
        turn += 1
    if lowest < _NONE:
        rest = left < _NONE
        each = live & rest[None, :]
        to = sums + tl.where(rest, left, 0).to(tl.int64) * row
        _add(to[None, :] + c[:, None], soft, each)
        if logarithms:
            _add(to[None, :] + channels + c[:, None], logs, each)
        else:
            _add(to + channels, squares, rest)


@triton.jit  # type: ignore[untyped-decorator]
def _backward_kernel(
    logits: tl.tensor,
    index: tl.tensor,
    table: tl.tensor,
    grad: tl.tensor,
    pixels: tl.tensor,
    channels: tl.tensor,
    item_stride: tl.tensor,
    channel_stride: tl.tensor,
    pixel_stride: tl.tensor,
    grad_item_stride: tl.tensor,
    grad_channel_stride: tl.tensor,
    grad_pixel_stride: tl.tensor,
    row: tl.tensor,
    logarithms: tl.constexpr,
    width: tl.constexpr,
    block: tl.constexpr,
    wide: tl.constexpr,
) -> None:
    """Write the gradient of a block of pixels, from its softmax and the table of its regions."""
    item, x = _place(pixels, block)
    region, live, logs = _block_softmax(
        logits, index, item, x, pixels, channels, item_stride, channel_stride, pixel_stride,
        width, wide,
    )  # fmt: skip
    c = tl.arange(0, width)
    soft = tl.exp(logs)
    # Row 0 of the table is zero: unpainted pixels and those past the end.
    own = table + (region + 1).to(tl.int64) * row
    pull = tl.load(own[None, :] + c[:, None], mask=live, other=0.0)
    if logarithms:
        push = tl.load(own[None, :] + channels + c[:, None], mask=live, other=0.0)
        level = tl.sum(soft * pull, 0) + tl.sum(push, 0)
        found = soft * (pull - level[None, :]) + push
    else:
        pull = pull + tl.load(own + channels)[None, :] * soft
        found = soft * (pull - tl.sum(soft * pull, 0)[None, :])
    offsets = _offsets(c, x, grad_channel_stride, grad_pixel_stride, wide)
    tl.store(grad + item * grad_item_stride + offsets, found.to(grad.dtype.element_ty), mask=live)


class FusedMoments(torch.autograd.Function):
    """Means over regions of s and of ‖s‖² (or of log s), fused; see the module's text."""

    @staticmethod
    def forward(
        ctx: MomentsContext, logits: Tensor, index: Tensor, count: Tensor, logarithms: bool
    ) -> tuple[Tensor, Tensor]:
        """Return means (R, M) of s, and means (R,) of ‖s‖² or (R, M) of log s, float64."""
        flat, index = _flat(logits, index)
        items, channels, pixels = flat.shape
        row = 2 * channels if logarithms else channels + 1
        sums = torch.zeros(count.numel(), row, dtype=torch.float64, device=logits.device)
        width, block = _sizes(channels)
        if flat.numel():
            _forward_kernel[(triton.cdiv(pixels, block) * items,)](
                flat, index, sums, pixels, channels, *flat.stride(), row,
                logarithms=logarithms, rounds=_ROUNDS, width=width, block=block, wide=_wide(flat),
            )  # fmt: skip
        means = sums / count[:, None]
        ctx.save_for_backward(logits, index, count)
        ctx.logarithms = logarithms
        second = means[:, channels:] if logarithms else means[:, channels]
        return means[:, :channels].contiguous(), second.contiguous()

    @staticmethod
    @once_differentiable
    def backward(
        ctx: MomentsContext, grad_means: Tensor, grad_second: Tensor
    ) -> tuple[Tensor, None, None, None]:
        """Return the gradient of the loss with respect to the logits."""
        logits, index, count = ctx.saved_tensors
        flat, index = _flat(logits, index)
        items, channels, pixels = flat.shape
        table = gradient_table(
            grad_means, grad_second, count, torch.float32, logarithms=ctx.logarithms
        )
        grad = torch.empty_like(flat)
        width, block = _sizes(channels)
        if flat.numel():
            _backward_kernel[(triton.cdiv(pixels, block) * items,)](
                flat, index, table, grad, pixels, channels, *flat.stride(), *grad.stride(),
                table.shape[1], logarithms=ctx.logarithms, width=width, block=block,
                wide=_wide(flat) or _wide(grad),
            )  # fmt: skip
        return grad.reshape(logits.shape), None, None, None


def _flat(logits: Tensor, index: Tensor) -> tuple[Tensor, Tensor]:
    """Return logits (B, M, P) and contiguous regions (B, P), both without a copy where possible."""
    return logits.detach().flatten(2), index.flatten(1).contiguous()


def _wide(flat: Tensor) -> bool:
    """Tell whether values of one item of (B, M, P) may lie 2³¹ values apart or further."""
    spans = zip(flat.shape[1:], flat.stride()[1:], strict=True)
    return sum((size - 1) * stride for size, stride in spans) >= 2**31


def _sizes(channels: int) -> tuple[int, int]:
    """Return the channels rounded up to a power of two and the pixels of a program."""
    width = triton.next_power_of_2(channels)
    # With more, registers spill (Triton 3.8).
    values = _VALUES_PER_PROGRAM if width < 64 else _VALUES_PER_PROGRAM // 2
    return width, max(values // width, 16)
