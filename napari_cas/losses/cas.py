"""The class-agnostic segmentation loss: regions pull together and apart, and nobody names them.

For a plane with N painted regions R_i, softmax vectors s(x) of M channels and descriptors
``ŝi = mean_{x in Ri} s(x)`` the paper [1]_ minimises (its Eq. 1)::

    L = Σ_i α (1/|R_i|) Σ_{x in R_i} ‖s(x) - ŝi‖²  -  (1 - α) Σ_{i≠j} ‖ŝi - ŝj‖²

The first term (uniformer) makes each region uniform, the second (discriminator) makes different
regions differ. ``reduction="sum"`` with ``discriminator="squared"`` is this equation as printed,
over ordered pairs.

Bounds
------
The paper states (-(1-α)N, αN]; that does not follow from Eq. 1. What does:

*Uniformer.* ``(1/|R|) Σ ‖s - ŝ‖² = E‖s‖² - ‖ŝ‖²``; with ``‖s‖² ≤ 1`` and ``‖ŝ‖² ≥ 1/M`` it lies in
[0, 1 - 1/M].

*Discriminator.* ``Σ_{i≠j} ‖ŝi - ŝj‖² = 2 N Σ‖ŝi‖² - 2 ‖Σ ŝi‖²`` is convex in each ŝi, so its
maximum is at one-hot descriptors, n_c of them in channel c: ``2 (N² - Σ n_c²)``, largest when
shared evenly. With N = qM + r, 0 ≤ r < M: ``Σ n_c² = M q² + 2 q r + r =: E``; for N ≤ M, E = N.

Each side is attained by both terms at once (uniform regions shared evenly among the channels; all
descriptors uniform while all pixels are one-hot), so for "sum" and one plane ::

    -2 (1 - α) (N² - E)  ≤  L  ≤  α N (1 - 1/M)

and for "mean" ``-2 (1 - α) (N² - E) / (N (N - 1)) ≤ L ≤ α (1 - 1/M)``, whose left side is
``-2 (1 - α)`` for 1 < N ≤ M.

References
----------
.. [1] A. Sharma, N. Khan, M. Mubashar, G. Sundaramoorthi, P. Torr, "Class-agnostic segmentation
loss and its application to salient object
   detection and segmentation", ICCV Workshops 2021.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, NamedTuple, get_args

import torch
from torch import Tensor, nn

from napari_cas.errors import InputError
from napari_cas.losses.checks import check_finite as refuse_non_finite
from napari_cas.losses.checks import checked_regions
from napari_cas.losses.discriminators import DISCRIMINATORS
from napari_cas.losses.eager import uncompiled
from napari_cas.losses.moments import region_moments
from napari_cas.losses.planes import mean_over_planes

if TYPE_CHECKING:
    from napari_cas.losses.regions import RegionIndex

Discriminator = Literal["squared", "log_overlap", "log_volume"]
Uniformer = Literal["squared", "cross_entropy"]
Reduction = Literal["mean", "sum"]


class CASTerms(NamedTuple):
    """The loss and what it is made of."""

    total: Tensor
    """Scalar: ``alpha * uniformer + (1 - alpha) * discriminator``."""
    uniformer: Tensor
    """Scalar, unweighted: how far regions are from uniform; 0 is best."""
    discriminator: Tensor
    """Scalar, unweighted: smaller means regions further apart."""
    descriptors: Tensor
    """(R, M) mean softmax vector of each region, float32 (float64 for float64 logits)."""
    regions: RegionIndex
    """The regions, in the order of ``descriptors``."""


@uncompiled
def cas_terms(
    logits: Tensor,
    regions: Tensor | RegionIndex,
    *,
    planes: Tensor | None = None,
    alpha: float = 0.9,
    discriminator: Discriminator = "log_volume",
    uniformer: Uniformer = "squared",
    reduction: Reduction = "mean",
    ignore_index: int = 0,
    check_finite: bool | None = None,
) -> CASTerms:
    """Return the class-agnostic segmentation loss with its terms and the region descriptors.

    Parameters and errors as in :func:`cas_loss`.

    Returns
    -------
    CASTerms
        All differentiable with respect to ``logits``.
    """
    _check_choices(alpha, discriminator, uniformer, reduction)
    regions = checked_regions(logits, regions, planes, ignore_index)
    refuse_non_finite(logits, check_finite)
    mean = reduction == "mean"
    # Under autocast the small products below would be rounded to 8 or 11 bits.
    with torch.autocast(logits.device.type, enabled=False):
        descriptors, spread = region_moments(logits, regions, uniformer)
        inner = mean_over_planes(spread, regions) if mean else spread.sum()
        outer = DISCRIMINATORS[discriminator](descriptors, regions, mean=mean)
        total = alpha * inner + (1 - alpha) * outer
        dtype = torch.promote_types(logits.dtype, torch.float32)
    return CASTerms(
        total.to(dtype), inner.to(dtype), outer.to(dtype), descriptors.to(dtype), regions
    )


def cas_loss(
    logits: Tensor,
    regions: Tensor | RegionIndex,
    *,
    planes: Tensor | None = None,
    alpha: float = 0.9,
    discriminator: Discriminator = "log_volume",
    uniformer: Uniformer = "squared",
    reduction: Reduction = "mean",
    ignore_index: int = 0,
    check_finite: bool | None = None,
) -> Tensor:
    r"""Return the class-agnostic segmentation loss.

    Parameters
    ----------
    logits : Tensor
        (B, M, \*S) floating point, before softmax; S has at least one dimension. A list of P pixels
        is (1, M, P).
    regions : Tensor or RegionIndex
        (B, \*S) integers: painted ids, meaningless across planes; ``ignore_index`` where unpainted.
        For many steps on the same paint, build a :class:`RegionIndex` once with
        :func:`index_regions`.
    planes : Tensor, optional
        (B,) or (B, \*S) integers that tell planes apart; by default each batch item is a plane.
        Crops of one plane that are given the same number share region statistics.
    alpha : float
        Weight α of the uniformer, in [0, 1]; 1 - α weighs the discriminator.
    discriminator : {"log_volume", "squared", "log_overlap"}
        How different regions are pushed apart; see :mod:`napari_cas.losses.discriminators`.
    uniformer : {"squared", "cross_entropy"}
        How pixels of a region are pulled together: mean squared distance to the descriptor (the
        paper), or mean cross-entropy to the detached descriptor, which keeps a gradient where the
        softmax saturates.
    reduction : {"mean", "sum"}
        "mean" averages over the regions and ordered pairs of each plane, then over planes that hold
        paint; "sum" sums, as Eq. 1 is printed.
    ignore_index : int
        Id of unpainted pixels. They receive no gradient.
    check_finite : bool, optional
        Whether to raise for non-finite logits. By default only on the CPU, since on an accelerator
        raising means waiting for it at every step; there, NaN in a painted pixel turns the loss
        into NaN, in an unpainted one this pixel's gradient.

    Returns
    -------
    Tensor
        Scalar, float32 (float64 for float64 logits). A plane with one region has a uniformer only;
        with no region at all the loss is zero with zero gradient, so that an unpainted batch does
        no harm. Differentiable once, by ``backward`` and ``torch.autograd.grad``: not twice, and
        not by the transforms of ``torch.func``. In what ``torch.compile`` compiles, the loss runs
        as it is between two graphs, and ``fullgraph=True`` is refused: how it walks over pixels
        depends on their values.

    Raises
    ------
    InputError
        Non-finite logits; regions of another shape, dtype or device; negative ids; α outside [0,
        1]; an unknown discriminator, uniformer or reduction.
    """
    return cas_terms(
        logits,
        regions,
        planes=planes,
        alpha=alpha,
        discriminator=discriminator,
        uniformer=uniformer,
        reduction=reduction,
        ignore_index=ignore_index,
        check_finite=check_finite,
    ).total


class CASLoss(nn.Module):
    """:func:`cas_loss` with its settings kept, as a module.

    Parameters as in :func:`cas_loss`; call with ``(logits, regions)`` and, optionally, ``planes``.

    Examples
    --------
    >>> logits = torch.zeros(1, 4, 8, 8, requires_grad=True)
    >>> regions = torch.zeros(1, 8, 8, dtype=torch.int64)
    >>> regions[0, :4], regions[0, 6:] = 1, 2
    >>> CASLoss(alpha=0.5, discriminator="squared")(logits, regions).item()
    0.0
    """

    def __init__(
        self,
        *,
        alpha: float = 0.9,
        discriminator: Discriminator = "log_volume",
        uniformer: Uniformer = "squared",
        reduction: Reduction = "mean",
        ignore_index: int = 0,
        check_finite: bool | None = None,
    ) -> None:
        super().__init__()
        _check_choices(alpha, discriminator, uniformer, reduction)
        self.alpha = alpha
        self.discriminator: Discriminator = discriminator
        self.uniformer: Uniformer = uniformer
        self.reduction: Reduction = reduction
        self.ignore_index = ignore_index
        self.check_finite = check_finite

    def forward(
        self, logits: Tensor, regions: Tensor | RegionIndex, planes: Tensor | None = None
    ) -> Tensor:
        """Return the scalar loss."""
        return cas_loss(
            logits,
            regions,
            planes=planes,
            alpha=self.alpha,
            discriminator=self.discriminator,
            uniformer=self.uniformer,
            reduction=self.reduction,
            ignore_index=self.ignore_index,
            check_finite=self.check_finite,
        )

    def extra_repr(self) -> str:
        """Return the settings for ``repr``."""
        return (
            f"alpha={self.alpha}, discriminator={self.discriminator!r}, "
            f"uniformer={self.uniformer!r}, reduction={self.reduction!r}"
        )


def _check_choices(alpha: float, discriminator: str, uniformer: str, reduction: str) -> None:
    try:
        fits = bool(0 <= alpha <= 1)  # NaN does not
    except (TypeError, ValueError, RuntimeError):  # no number, or several
        fits = False
    if not fits:
        raise InputError("alpha is out of range", expected="a number from 0 to 1", got=repr(alpha))
    for name, value, allowed in (
        ("discriminator", discriminator, get_args(Discriminator)),
        ("uniformer", uniformer, get_args(Uniformer)),
        ("reduction", reduction, get_args(Reduction)),
    ):
        if value not in allowed:
            raise InputError(f"Unknown {name}", expected=" or ".join(allowed), got=repr(value))
