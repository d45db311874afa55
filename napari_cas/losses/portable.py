"""Region statistics with torch operations only, forward and backward in one pass each.

The loss is a function of few numbers per region: the descriptors ``ŝr = E[s]`` and either ``E‖s‖²``
or ``E[log s]``. So its gradient with respect to the logits z of a pixel x of region r needs,
besides s(x), only the small gradients ``a_r = dL/dŝr`` and ``b_r = dL/dE‖s‖²`` (or
``c_r = dL/dE[log s]``)::

    n_r dL/dz  =  s ∘ (g - ⟨s, g⟩),   g = a_r + 2 b_r s                 (squared uniformer)
    n_r dL/dz  =  s ∘ (a_r - ⟨s, a_r⟩)  +  c_r - s Σ c_r                (cross-entropy uniformer)

With Eq. 1 as printed, ``b_r = α`` and ``a_r = -2 α ŝr - 4 (1 - α) Σ_j (ŝr - ŝj)``, hence
``g = 2 α (s - ŝr) - 4 (1 - α) Σ_j (ŝr - ŝj)``: Eq. 2 of the paper. Other discriminators change a_r
alone.

Between the passes the softmax is kept while it is small. Beyond, it is computed again from the
logits: writing it to fresh memory and reading it back costs more than the exponentials.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch.autograd.function import FunctionCtx, once_differentiable

from napari_cas.losses.chunks import buffers_for, chunks, columns, put_columns, window

if TYPE_CHECKING:
    from torch import Tensor

    from napari_cas.losses.chunks import Chunk

_LANES = 8
"""Accumulators per region. Neighbouring pixels mostly belong to one region; with one accumulator
each addition would wait for the one before (measured: 5 times slower)."""
_KEPT_VALUES = 1 << 23
"""Keep the softmax on the CPU up to so many values, 32 MB of float32: larger blocks are taken from
the system and given back at every step, page by page."""
_SAFE_SUM = 1e30
"""Softmax denominators within 1/this and this need no shift by the maximum in float32."""


class MomentsContext(FunctionCtx):
    """What the forward pass leaves for the backward pass."""

    saved_tensors: tuple[Tensor, ...]
    logarithms: bool


class RegionMoments(torch.autograd.Function):
    """Means over regions of s and of ‖s‖² (or of log s), with closed-form gradient."""

    @staticmethod
    def forward(
        ctx: MomentsContext, logits: Tensor, index: Tensor, count: Tensor, logarithms: bool
    ) -> tuple[Tensor, Tensor]:
        """Return means (R, M) of s, and means (R,) of ‖s‖² or (R, M) of log s.

        Sums are kept in float64 (float32 on MPS, which has no float64): ``E‖s‖² - ‖ŝ‖²`` cancels.
        """
        walk = _Walk(logits, index, count)
        channels = logits.shape[1]
        rows = 2 * channels if logarithms else channels + 1
        sums = walk.zeros(rows, (count.numel() + 1) * _LANES, walk.wide)
        lanes = torch.arange(_LANES, device=logits.device).repeat(-(-walk.longest // _LANES))
        kept: list[Tensor] = []
        for chunk in walk.chunks:
            slot, soft, shifted, total = walk.softmax(chunk)
            if walk.keeps:
                kept += (slot, soft)
            source = walk.take("source", rows, slot, walk.wide)
            source[:channels].copy_(soft)
            work = walk.take("work", channels, slot)
            if logarithms:
                source[channels:].copy_(torch.sub(shifted, total.log(), out=work))
            else:
                source[channels].copy_(torch.mul(soft, soft, out=work).sum(0))
            bins = torch.add(lanes[: slot.numel()], slot, alpha=_LANES)
            sums.scatter_add_(1, bins.expand(rows, -1), source)
        means = sums.view(rows, -1, _LANES).sum(2)[:, 1:] / count
        ctx.save_for_backward(logits, index, count, *kept)
        ctx.logarithms = logarithms
        second = means[channels:].T if logarithms else means[channels]
        return means[:channels].T.contiguous(), second.contiguous()

    @staticmethod
    @once_differentiable
    def backward(
        ctx: MomentsContext, grad_means: Tensor, grad_second: Tensor
    ) -> tuple[Tensor, None, None, None]:
        """Return the gradient of the loss with respect to the logits."""
        logits, index, count, *kept = ctx.saved_tensors
        walk = _Walk(logits, index, count)
        table = gradient_table(
            grad_means, grad_second, count, walk.dtype, logarithms=ctx.logarithms
        ).T.contiguous()
        grad = torch.empty_like(walk.flat, memory_format=torch.contiguous_format)
        for number, chunk in enumerate(walk.chunks):
            slot, soft = kept[2 * number : 2 * number + 2] if kept else walk.softmax(chunk)[:2]
            into = None if walk.sparse else window(grad, chunk)
            part = walk.gradient(slot, soft, table, into, logarithms=ctx.logarithms)
            if into is None:
                walk.write(grad, chunk, part)
        return grad.view(logits.shape), None, None, None


class _Walk:
    """One pass over the pixels: reads logits chunk by chunk, with memory that is used again."""

    def __init__(self, logits: Tensor, index: Tensor, count: Tensor) -> None:
        self.flat = logits.detach().flatten(2)
        self.index, self.count = index.flatten(1)[:, None], count
        self.dtype = torch.promote_types(logits.dtype, torch.float32)
        self.wide = self.dtype if logits.device.type == "mps" else torch.float64
        self.chunks = list(chunks(self.flat))
        self.longest = max((chunk.pixels for chunk in self.chunks), default=0)
        self.buffers = buffers_for(logits.device)
        # Looking at values is free on the CPU and a wait elsewhere.
        self.look = logits.device.type == "cpu"
        self.keeps = self.look and logits.numel() <= _KEPT_VALUES
        # Scribbles cover little: then it pays to pick out the painted pixels first.
        self.sparse = self.look and 2 * int(count.sum()) < index.numel()

    def zeros(self, rows: int, length: int, dtype: torch.dtype) -> Tensor:
        return torch.zeros(rows, length, dtype=dtype, device=self.flat.device)

    def take(self, name: str, rows: int, slot: Tensor, dtype: torch.dtype | None = None) -> Tensor:
        """Return working memory (rows, n) for the n pixels in ``slot``."""
        return self.buffers.take(name, self.flat, (rows, slot.numel()), dtype or self.dtype)

    def softmax(self, chunk: Chunk) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Return region + 1 (n,), softmax (M, n), shifted logits (M, n), sum of exp (n,)."""
        slot = columns(self.index, chunk)[0].to(torch.int64) + 1
        cols = columns(self.flat, chunk)
        if self.sparse:
            painted = slot.nonzero().squeeze(1)
            slot, cols = slot[painted], cols.index_select(1, painted)
        cols = cols.to(self.dtype)
        if self.keeps:
            soft = torch.empty_like(cols, memory_format=torch.contiguous_format)
        else:
            soft = self.take("soft", cols.shape[0], slot)
        total = torch.exp(cols, out=soft).sum(0) if self.look else None
        if total is None or not _safe(total):
            cols = torch.sub(cols, cols.amax(0), out=self.take("work", cols.shape[0], slot))
            total = torch.exp(cols, out=soft).sum(0)
        return slot, soft.mul_(total.reciprocal()), cols, total

    def gradient(
        self, slot: Tensor, soft: Tensor, table: Tensor, into: Tensor | None, *, logarithms: bool
    ) -> Tensor:
        """Return the gradient (M, n), in ``into`` or in working memory."""
        channels = soft.shape[0]
        g, work = self.take("g", table.shape[0], slot), self.take("work", channels, slot)
        torch.gather(table, 1, slot.expand(g.shape), out=g)
        first, rest = g[:channels], g[channels:]
        if not logarithms:
            first.addcmul_(soft, rest)
        first.sub_(torch.mul(first, soft, out=work).sum(0))
        if not logarithms:
            return torch.mul(soft, first, out=work if into is None else into)
        first.sub_(rest.sum(0))
        return torch.addcmul(rest, soft, first, out=work if into is None else into)

    def write(self, grad: Tensor, chunk: Chunk, part: Tensor) -> None:
        """Write the gradient of a chunk; zero where nothing is painted."""
        if self.sparse:
            full = part.new_zeros((part.shape[0], chunk.pixels))
            painted = columns(self.index, chunk)[0].ge(0).nonzero().squeeze(1)
            part = full.index_copy_(1, painted, part)
        put_columns(grad, chunk, part)


def gradient_table(
    grad_means: Tensor, grad_second: Tensor, count: Tensor, dtype: torch.dtype, *, logarithms: bool
) -> Tensor:
    """Return a_r and 2 b_r (or c_r) per pixel, one row a region; row 0 is zero, for unpainted.

    Shape (R + 1, M + 1) for the squared uniformer, (R + 1, 2 M) for cross-entropy.
    """
    second = grad_second if logarithms else 2 * grad_second[:, None]
    rows = torch.cat([grad_means, second], dim=1) / count[:, None]
    return torch.nn.functional.pad(rows, (0, 0, 1, 0)).to(dtype)


def _safe(total: Tensor) -> bool:
    """Tell whether the plain exponentials neither over- nor underflowed."""
    if total.numel() == 0:
        return True
    low, high = total.aminmax()
    return bool(low > 1 / _SAFE_SUM) and bool(high < _SAFE_SUM)
