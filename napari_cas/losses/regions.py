"""Which pixel belongs to which region: built once per batch, reused at every step."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from napari_cas.errors import InputError

_INTEGERS = (
    torch.uint8, torch.uint16, torch.uint32, torch.int8, torch.int16, torch.int32, torch.int64,
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class RegionIndex:
    """Compact regions of one batch.

    Regions are numbered 0..R-1, plane by plane and by rising id within a plane. Planes that hold no
    painted pixel do not appear.
    """

    index: Tensor
    r"""(B, \*S) int64, int32 on CUDA: region of each pixel, 0..R-1; -1 where nothing is painted."""
    plane: Tensor
    """(R,) int64: plane of each region, 0..P-1, rising."""
    count: Tensor
    """(R,) int64: pixels of each region, at least 1."""
    rank: Tensor
    """(R,) int64: position of each region among those of its plane, from 0."""
    ids: Tensor
    """(R,) int64: the id each region was painted with."""
    per_plane: Tensor
    """(P,) int64: number of regions of each plane, at least 1."""
    n_planes: int
    """Number of planes P that hold at least one region."""
    widest: int
    """Largest number of regions on one plane, 0 where there is none."""

    def to(self, device: torch.device | str) -> RegionIndex:
        """Return the same regions with all tensors on ``device``."""
        return RegionIndex(
            index=self.index.to(device, _index_dtype(torch.device(device))),
            plane=self.plane.to(device),
            count=self.count.to(device),
            rank=self.rank.to(device),
            ids=self.ids.to(device),
            per_plane=self.per_plane.to(device),
            n_planes=self.n_planes,
            widest=self.widest,
        )


def index_regions(
    regions: Tensor, planes: Tensor | None = None, ignore_index: int = 0
) -> RegionIndex:
    r"""Give every painted region of a batch a number, 0..R-1.

    Pixels of one id on one plane form one region, connected or not, and also when they are spread
    over several batch items (crops of one plane share their statistics). The same id on another
    plane is another region.

    Parameters
    ----------
    regions : Tensor
        (B, \*S) integers: painted ids, ``ignore_index`` where nothing is painted.
    planes : Tensor, optional
        Integers that tell planes apart, of shape (B,) or of the shape of ``regions``; by default
        each batch item is a plane of its own.
    ignore_index : int
        Id of unpainted pixels. It may be negative; all other ids must not.

    Returns
    -------
    RegionIndex
        On the device of ``regions``. Building it waits for the device (twice on an accelerator), so
        build it once and reuse it.

    Raises
    ------
    InputError
        Wrong dtype, shape or device, a negative id, or an `ignore_index` that is no integer.

    Examples
    --------
    >>> found = index_regions(torch.tensor([[7, 7, 0, 3], [3, 3, 0, 0]]))
    >>> found.index.tolist(), found.plane.tolist(), found.ids.tolist()
    ([[1, 1, -1, 0], [2, 2, -1, -1]], [0, 0, 1], [3, 7, 3])
    """
    _check_regions(regions)
    if not hasattr(ignore_index, "__index__"):
        raise InputError(
            "ignore_index must be an integer",
            got=repr(ignore_index),
            todo="If every pixel is painted, name an id that does not occur.",
        )
    plane = _plane_of_each_pixel(regions, planes)
    ids = regions.to(torch.int64)
    painted = ids != ignore_index
    low, high, first, last = _ranges(ids, plane, painted)
    if low < 0:
        raise InputError(
            "A region id is negative",
            expected=f"ids from 0 up, or {ignore_index} for unpainted pixels",
            got=str(low),
        )
    values = None
    if (high + 1) * (last - first + 1) > 2**62:  # keys would overflow
        values, ids = torch.unique(ids, return_inverse=True)
        numbers, plane = torch.unique(plane, return_inverse=True)
        high, first, last = len(values) - 1, 0, len(numbers) - 1
    width, height = high + 1, last - first + 1
    keys = torch.where(painted, (plane - first) * width + ids, width * height)
    index, found, count = _compact(keys, width * height)
    made = _assemble(index, found, count, width)
    return made if values is None else replace(made, ids=values[made.ids])


def _check_integers(values: object, name: str) -> None:
    if not isinstance(values, Tensor) or values.dtype not in _INTEGERS:
        got = str(values.dtype) if isinstance(values, Tensor) else type(values).__name__
        raise InputError(f"{name} must be an integer tensor", expected="an integer dtype", got=got)


def _check_regions(regions: Tensor) -> None:
    _check_integers(regions, "Regions")
    if regions.ndim < 2:
        raise InputError(
            "Regions have too few dimensions",
            expected="(batch, *space) with at least one spatial dimension",
            got=str(tuple(regions.shape)),
        )


def _plane_of_each_pixel(regions: Tensor, planes: Tensor | None) -> Tensor:
    """Return plane numbers, int64, that broadcast against ``regions``."""
    shape = (-1,) + (1,) * (regions.ndim - 1)
    if planes is None:
        return torch.arange(regions.shape[0], device=regions.device).view(shape)
    _check_integers(planes, "Planes")
    if planes.device != regions.device:
        raise InputError(
            "Planes are on another device", expected=str(regions.device), got=str(planes.device)
        )
    if planes.shape == regions.shape:
        return planes.to(torch.int64)
    if planes.shape == regions.shape[:1]:
        return planes.to(torch.int64).view(shape)
    raise InputError(
        "Planes do not fit the regions",
        expected=f"{tuple(regions.shape[:1])} or {tuple(regions.shape)}",
        got=str(tuple(planes.shape)),
    )


def _ranges(ids: Tensor, plane: Tensor, painted: Tensor) -> tuple[int, int, int, int]:
    """Return lowest and highest painted id and lowest and highest plane, with one wait."""
    if ids.numel() == 0:
        return 0, 0, 0, 0
    safe = torch.where(painted, ids, 0)
    ends = torch.stack([*safe.aminmax(), *plane.aminmax()]).tolist()
    return ends[0], ends[1], ends[2], ends[3]


def _compact(keys: Tensor, unpainted: int) -> tuple[Tensor, Tensor, Tensor]:
    """Return each pixel's rank among the keys present (-1: unpainted), those keys, their counts.

    Counting in a table needs two passes and no sort; only when ids are so sparse that the table
    would outgrow the pixels are they sorted.
    """
    flat = keys.reshape(-1)
    if unpainted <= 4 * flat.numel() + 65_536:
        table = torch.bincount(flat, minlength=unpainted + 1)[:unpainted]
        found = table.nonzero().squeeze(1)
        lookup = torch.full((unpainted + 1,), -1, dtype=torch.int64, device=keys.device)
        lookup[found] = torch.arange(found.numel(), device=keys.device)
        return lookup[flat].view(keys.shape), found, table[found]
    found, inverse, count = torch.unique(flat, return_inverse=True, return_counts=True)
    if bool(found[-1] == unpainted):
        found, count = found[:-1], count[:-1]
        inverse = torch.where(inverse == found.numel(), -1, inverse)
    return inverse.view(keys.shape), found, count


def _assemble(index: Tensor, found: Tensor, count: Tensor, width: int) -> RegionIndex:
    """Turn sorted keys (plane times ``width`` plus id) into a :class:`RegionIndex`."""
    _, plane, per_plane = torch.unique_consecutive(
        found // width, return_inverse=True, return_counts=True
    )
    first = per_plane.cumsum(0) - per_plane
    rank = torch.arange(found.numel(), device=found.device) - first[plane]
    widest = int(per_plane.max()) if found.numel() else 0
    index = index.to(_index_dtype(index.device))
    ids, n_planes = found % width, per_plane.numel()
    return RegionIndex(index, plane, count, rank, ids, per_plane, n_planes, widest)


def _index_dtype(device: torch.device) -> torch.dtype:
    """Return what is read fastest: the CPU's gather takes int64 only, on CUDA every byte counts."""
    return torch.int32 if device.type == "cuda" else torch.int64
