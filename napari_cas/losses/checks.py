"""What every loss asks of its input before it looks at a value."""

from __future__ import annotations

import torch
from torch import Tensor

from napari_cas.errors import InputError
from napari_cas.losses.regions import RegionIndex, index_regions


def checked_regions(
    values: Tensor,
    regions: Tensor | RegionIndex,
    planes: Tensor | None = None,
    ignore_index: int = 0,
    *,
    name: str = "Logits",
) -> RegionIndex:
    r"""Return the regions of ``values`` (B, M, \*S), or raise because the two do not fit.

    Raises
    ------
    InputError
        ``values`` not floating point or without channel and space; regions of another shape, dtype
        or device; ``planes`` given twice.
    """
    check_values(values, name)
    if not isinstance(regions, RegionIndex):
        _check_fit(values, regions, name)
        return index_regions(regions, planes, ignore_index)
    if planes is not None:
        raise InputError("Planes are part of a RegionIndex already", todo="Leave `planes` out.")
    _check_fit(values, regions.index, name)
    return regions


def check_values(values: object, name: str = "Logits") -> None:
    """Raise unless ``values`` is floating point with batch, channels and space."""
    if not isinstance(values, Tensor) or not values.is_floating_point():
        got = str(values.dtype) if isinstance(values, Tensor) else type(values).__name__
        raise InputError(f"{name} must be a floating-point tensor", got=got)
    if values.ndim < 3 or values.shape[1] < 1:
        raise InputError(
            f"{name} have the wrong shape",
            expected="(batch, channels, *space) with at least one channel and spatial dimension",
            got=str(tuple(values.shape)),
        )


def check_finite(values: Tensor, wanted: bool | None = None, *, name: str = "Logits") -> None:
    """Raise if ``values`` are not finite; by default look only where looking needs no waiting."""
    if wanted is None:
        wanted = values.device.type == "cpu"
    # One quick pass: the sum. It may overflow although all are finite, hence the second look.
    dtype = torch.promote_types(values.dtype, torch.float32)
    if wanted and not bool(torch.isfinite(values.detach().sum(dtype=dtype))):
        bad = int((~torch.isfinite(values.detach())).sum())
        if bad:
            raise InputError(
                f"{name} are not finite",
                expected="finite numbers",
                got=f"{bad} of {values.numel()} NaN or infinite",
                todo="Lower the learning rate or check the input images.",
            )


def _check_fit(values: Tensor, regions: object, name: str) -> None:
    """Compare what can be compared without looking at values."""
    expected = (values.shape[0], *values.shape[2:])
    if not isinstance(regions, Tensor):
        raise InputError("Regions must be an integer tensor", got=type(regions).__name__)
    if tuple(regions.shape) != expected:
        raise InputError(
            f"Regions do not fit the {name.lower()}",
            expected=str(expected),
            got=str(tuple(regions.shape)),
        )
    if regions.device != values.device:
        raise InputError(
            "Regions are on another device", expected=str(values.device), got=str(regions.device)
        )
